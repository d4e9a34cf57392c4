"""What is said of a database that cannot be reached or used: where it is, and what to change."""

from __future__ import annotations

import socket
from typing import Any

import asyncpg
import pytest

from asyncjobs import DatabaseError, DatabaseUnavailable
from asyncjobs.db import errors, places, sql
from asyncjobs.db.connecting import connect


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
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not errors.is_silence(await refusal("postgresql://u:canary7@127.0.0.1:1/d"))
    assert not errors.is_silence(await refusal("postgresql:///d?host=/no/such/directory"))
    assert not errors.is_silence(await refusal(database_url.replace("/test_", "/missing_")))
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


async def test_an_unknown_database_comes_with_the_remedy(database_url: str) -> None:
    error = str(await refusal(database_url.replace("/test_", "/missing_")))
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
async def test_an_unknown_parameter_is_the_urls(database_url: str, parameter: str, said: str) -> None:
    assert said in str(await refusal(f"{database_url}&{parameter}"))


async def test_a_value_that_a_parameter_cannot_have_is_the_urls_and_will_not_pass(database_url: str) -> None:
    error = await refusal(f"{database_url}&sslmode=requird")
    assert not isinstance(error, DatabaseUnavailable)
    assert str(error).startswith("database_url cannot be used: ")


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
    assert (places.server_of(url), places.login_of(url)) == (server, login)


def test_every_statement_that_is_counted_to_a_role_is_there() -> None:
    for name in errors.ENQUEUING | errors.LOOKING:
        assert sql.name_of(sql.read(name)) == name
    assert not errors.ENQUEUING & errors.LOOKING


async def test_a_right_that_the_users_own_statement_lacks_is_no_role_of_ours(connection: asyncpg.Connection) -> None:
    error = asyncpg.InsufficientPrivilegeError("permission denied for table customer")
    assert str(errors.translated(error)) == "permission denied for table customer"
    await connection.execute("select 1")
