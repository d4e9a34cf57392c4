"""What is said of a database that cannot be reached or used: where it is, and what to change."""

from __future__ import annotations

import asyncio
import getpass
import socket
import ssl
from typing import Any

import asyncpg
import pytest

from asyncjobs import DatabaseError, DatabaseUnavailable
from asyncjobs.db import driver, errors, sql, url_parts
from asyncjobs.db.connecting import connect
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy


async def refusal(url: str, **options: Any) -> DatabaseError:
    with pytest.raises(DatabaseError) as raised:
        await connect(url, **options)
    assert "canary7" not in str(raised.value)
    return raised.value


async def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await refusal("postgresql://u:canary7@db.nowhere:5433/d")
    assert isinstance(error, DatabaseUnavailable)
    assert "there is no host db.nowhere:5433" in str(error)


async def test_where_nothing_answers_is_named() -> None:
    assert "no answer from the database at 127.0.0.1:1: " in str(await refusal("postgresql://u:canary7@127.0.0.1:1/d"))


async def test_a_refusal_is_an_answer_and_silence_and_an_unknown_way_are_none(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not errors.is_silence(await refusal("postgresql://u:canary7@127.0.0.1:1/d"))
    assert not errors.is_silence(await refusal("postgresql:///d?host=/no/such/directory"))
    assert not errors.is_silence(await refusal(url.replace("/test_", "/missing_")))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://u:canary7@127.0.0.1:{port}/d?sslmode=disable"
        assert errors.is_silence(await refusal(url, timeout=0.2))

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert errors.is_silence(await refusal("postgresql://u:canary7@db.nowhere/d"))


@pytest.mark.parametrize("host", ["no..such", "x" * 64])
async def test_a_host_that_can_be_none_is_named(host: str) -> None:
    assert host in str(await refusal(f"postgresql://u:canary7@{host}/d"))


async def test_an_unknown_database_comes_with_the_remedy(url: str) -> None:
    error = str(await refusal(url.replace("/test_", "/missing_")))
    assert "does not exist (SQLSTATE 3D000): correct the name in database_url, or make it at /" in error


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("sslmod=require", "the parameter sslmod of database_url is unknown: did you mean sslmode?"),
        (
            "aplication_name=x",
            "the parameter aplication_name of database_url is unknown: did you mean application_name?",
        ),
    ],
)
async def test_an_unknown_parameter_is_the_urls(url: str, parameter: str, said: str) -> None:
    assert said in str(await refusal(f"{url}&{parameter}"))


async def test_a_value_that_a_parameter_cannot_have_is_the_urls_and_will_not_pass() -> None:
    error = await refusal("postgresql://u:canary7@127.0.0.1:1/d?sslmode=requird")
    assert not isinstance(error, DatabaseUnavailable)
    assert error.misconfigured
    assert str(error).startswith("database_url, or a PG* variable that completes it, cannot be used: ")


@pytest.mark.parametrize(
    ("name", "value"), [("PGPORT", "many"), ("PGSSLMODE", "requird"), ("PGTARGETSESSIONATTRS", "x")]
)
async def test_a_variable_that_cannot_be_used_is_named_as_one(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    error = await refusal("postgresql://u:canary7@127.0.0.1/d")
    assert error.misconfigured
    assert "a PG* variable" in str(error)


@pytest.mark.parametrize("parameter", ["sslrootcert=/no/such.crt", "sslmode=require&sslcert=/no/such.crt"])
async def test_a_file_of_the_url_that_is_not_there_is_named_with_its_parameter(parameter: str) -> None:
    error = await refusal(f"postgresql://u:canary7@127.0.0.1:1/d?sslmode=verify-full&{parameter}")
    assert error.misconfigured
    assert "the file /no/such.crt cannot be read; see ssl" in str(error)


async def test_a_user_without_a_name_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", nobody)
    error = await refusal("postgresql://127.0.0.1:1/d")
    assert error.misconfigured
    assert "database_url names no user" in str(error)


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("statement_timeout=soon", 'invalid value for parameter "statement_timeout": "soon"'),
        ("no_such_setting=1", "what is none of libpq's is a setting of the session"),
    ],
)
async def test_a_setting_that_the_server_refuses_is_the_urls(url: str, parameter: str, said: str) -> None:
    error = await refusal(f"{url}&{parameter}")
    assert error.misconfigured
    assert said in str(error)


async def test_an_error_without_a_word_is_told_by_its_name() -> None:
    assert str(errors.translated(TimeoutError())).endswith(": TimeoutError")


async def test_a_shorter_connect_timeout_of_the_url_is_kept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://u:canary7@127.0.0.1:{port}/d?sslmode=disable&connect_timeout=1"
        async with asyncio.timeout(PATIENCE):
            await refusal(url, timeout=2 * PATIENCE)


async def test_what_the_url_says_of_the_socket_is_set(proxy: Proxy) -> None:
    opened = await connect(f"{proxy.url()}?sslmode=disable&keepalives=1&keepalives_idle=77&keepalives_count=4")
    try:
        link = opened._transport.get_extra_info("socket")
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
    finally:
        opened.terminate()


def test_the_systems_certificates_verify_the_whole_of_the_server() -> None:
    given = driver.arguments("postgresql://u@h/d?sslrootcert=system&application_name=x", 5)
    assert given["dsn"] == "postgresql://u@h/d"
    assert given["ssl"].check_hostname
    assert given["ssl"].verify_mode is ssl.CERT_REQUIRED


async def test_what_a_pooler_makes_of_prepared_statements_comes_with_the_remedy() -> None:
    error = asyncpg.DuplicatePreparedStatementError('prepared statement "__asyncpg_stmt_1__" already exists')
    assert "a port in session mode" in str(errors.translated(error))


@pytest.mark.parametrize(
    ("url", "server", "login"),
    [
        ("postgresql://u:canary7@h:5/d", "h:5", "u"),
        ("postgresql://My%20App@h,h2:6/d", "h,h2:6", '"My App"'),
        ("postgresql:///d?host=%2Ftmp%2Fx&user=app", "/tmp/x", "app"),
        ("postgresql:///d", "localhost", None),
    ],
)
def test_a_url_says_where_and_who(url: str, server: str, login: str | None) -> None:
    assert (url_parts.server_of(url), url_parts.login_of(url)) == (server, login)


def test_every_statement_that_is_counted_to_a_role_is_there() -> None:
    for name in errors.ENQUEUING | errors.LOOKING:
        assert sql.name_of(sql.read(name)) == name
    assert not errors.ENQUEUING & errors.LOOKING


async def test_a_right_that_the_users_own_statement_lacks_is_no_role_of_ours(connection: asyncpg.Connection) -> None:
    error = asyncpg.InsufficientPrivilegeError("permission denied for table customer")
    assert str(errors.translated(error)) == "permission denied for table customer"
    await connection.execute("select 1")
