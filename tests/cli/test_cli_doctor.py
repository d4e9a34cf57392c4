"""`asyncjobs doctor`."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import cli_jobs
import pytest

from asyncjobs.cli.doctor import Finding, connection_finding, server_findings, worker_findings
from asyncjobs.client.unserved_jobs import of_two_applications, serves, unserved
from asyncjobs.db import migrating, reading
from asyncjobs.db.connecting import connect
from asyncjobs.db.reading import Limits, Server
from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.settings import Pool, Settings
from asyncjobs.terminal import tls
from tests.support.directories import RUNNABLE
from tests.support.proxy import Proxy

SERVER = Server("16.1", 16, "UTF8", "d", "r", False, False, "on", None, False, None, 1000.0)


async def diagnose(cli, code=0):
    findings = await asyncio.to_thread(cli.json, "doctor", code=code)
    return {finding["check"]: (finding["verdict"], finding["text"]) for finding in findings}


def verdicts(server, url="postgresql://u@localhost/d", here=1000.0):
    return {found.check: found.verdict for found in server_findings(server, url, clock_here=here)}


async def test_a_healthy_system_is_ok_throughout(as_role, cli, start):  # with the functions of no superuser
    worker = start()
    await worker.wait_for_log("ready: worker")
    found = await diagnose(cli)
    assert {verdict for verdict, _ in found.values()} == {"ok"}, found
    assert "can enqueue, work, look, migrate" in found["rights"][1]


async def test_ready_jobs_that_nobody_will_take_are_named(cli, start, enqueue, sql):
    worker = start(ASYNCJOBS_POOLS='[{"queues": ["critical"], "concurrency": 1}]')
    await worker.wait_for_log("ready: worker")
    await enqueue(cli_jobs.add(1))
    await sql("select asyncjobs.enqueue(kind => 'other.kind', queue => 'critical')")
    findings = await asyncio.to_thread(cli.json, "doctor")
    jobs = [finding for finding in findings if finding["check"] == "jobs"]
    assert [finding["verdict"] for finding in jobs] == ["warn", "warn"]
    assert "1 x other.kind ready in queue critical, whose workers do not know this kind" in jobs[0]["text"]
    assert "1 x cli_jobs.add ready in queue default, which no worker's pools serve" in jobs[1]["text"]


async def test_a_count_that_was_broken_off_is_said_to_be_the_least_there_is(cli, start, enqueue, monkeypatch):
    monkeypatch.setattr(reading, "LOOKED_AT", 3)
    await enqueue(*(cli_jobs.add(n) for n in range(2)))
    assert (await diagnose(cli))["jobs"] == ("ok", "2 ready")
    await enqueue(*(cli_jobs.add(n) for n in range(3)))
    assert (await diagnose(cli))["jobs"] == ("ok", "at least 3 ready")
    worker = start(ASYNCJOBS_POOLS='[{"queues": ["critical"], "concurrency": 1}]')
    await worker.wait_for_log("ready: worker")
    assert (await diagnose(cli))["jobs"][1].startswith("at least 3 x cli_jobs.add ready in queue default")


async def test_without_workers_it_warns_and_without_a_schema_it_fails(cli, make_cli, empty_database_url):
    found = await diagnose(cli)
    assert found["workers"][0] == "warn"
    found = await diagnose(make_cli(empty_database_url), code=3)
    assert found["schema"][0] == "fail"
    assert "asyncjobs db migrate" in found["schema"][1]


@pytest.fixture
async def standby():
    """The URL of a server that takes no writes, as it thinks that another is its primary."""
    place = Path(tempfile.mkdtemp(prefix="aj-", dir=RUNNABLE))
    place.chmod(0o755)
    try:
        async with EmbeddedPostgres(place / "pg") as primary:
            connection = await connect(primary.url())
            await migrating.migrate(connection)
            connection.terminate()
        (place / "pg" / "data" / "standby.signal").touch()
        async with EmbeddedPostgres(place / "pg") as server:
            yield server.url()
    finally:
        shutil.rmtree(place)


async def test_a_standby_is_examined_to_the_end(make_cli, standby):
    found = await diagnose(make_cli(standby), code=3)
    assert found["writes"] == ("fail", "this is a standby, which takes no writes: point database_url at the primary")
    assert [check for check, (verdict, _) in found.items() if verdict == "fail"] == ["writes"]
    assert found["jobs"] == ("ok", "0 ready")


async def test_a_pooler_that_swallows_notices_is_found(make_cli, database_url):
    async with Proxy.in_front_of(database_url) as proxy:
        proxy.drop_messages("A")
        found = await diagnose(make_cli(proxy.url(database_url.partition("?")[0].rpartition("/")[2])), code=3)
    assert found["listen/notify"][0] == "fail"
    assert "transaction mode" in found["listen/notify"][1]


async def test_what_cannot_be_reached_and_settings_that_do_not_work_fail(make_cli):
    cli = make_cli("postgresql://u@127.0.0.1:1/x")
    assert (await diagnose(cli, code=3))["database"][0] == "fail"
    (cli.directory / "config.toml").write_text("[default]\nleese = 3\n")
    assert (await diagnose(cli, code=3))["settings"][0] == "fail"


def test_each_fact_about_the_server_is_judged():
    assert set(verdicts(SERVER).values()) == {"ok"}
    assert verdicts(SERVER._replace(major=12))["version"] == "fail"
    assert verdicts(SERVER._replace(encoding="SQL_ASCII"))["encoding"] == "fail"
    assert verdicts(SERVER._replace(standby=True))["writes"] == "fail"
    assert verdicts(SERVER._replace(read_only=True))["writes"] == "fail"
    assert verdicts(SERVER._replace(synchronous_commit="off"))["synchronous_commit"] == "warn"
    assert verdicts(SERVER, here=1002.5)["clock"] == "warn"
    assert verdicts(SERVER, here=998.5)["clock"] == "ok"


@pytest.mark.parametrize(
    ("limits", "processes", "verdict", "said"),
    [
        (Limits(None, None, 97), 1, "ok", "everybody together on this server may have 97; 1 worker process"),
        (Limits(3, None, 97), 1, "fail", "role r may have 3; 1 worker process of these pools need 4"),
        (Limits(4, 50, 97), 1, "warn", "role r may have 4"),
        (Limits(None, 11, 97), 3, "fail", "database d may have 11; 3 worker processes of these pools need 12"),
        (Limits(-1, None, 30), 3, "fail", "role r may have -1"),
    ],
)
def test_the_connections_that_the_pools_need_are_compared_with_each_limit(limits, processes, verdict, said):
    pools = [Pool(queues=("*",), concurrency=1, processes=processes), Pool(queues=("a",), concurrency=1)]
    found = connection_finding(limits, SERVER, Settings(pools=pools))
    assert found.verdict == verdict
    assert said in found.text
    assert ("raise the limit" in found.text) is (verdict != "ok")


async def test_a_role_that_may_have_too_few_connections_fails(make_cli, database_url, sql):
    role = f"few_of_{urlsplit(database_url).path.strip('/')}"
    await sql(f"create role {role} login password 'x' connection limit 3")
    await sql(f"grant all on schema asyncjobs to {role}")
    await sql(f"grant select on all tables in schema asyncjobs to {role}")
    parts = urlsplit(database_url)
    limited = urlunsplit(parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}"))
    verdict, text = (await diagnose(make_cli(limited), code=3))["connections"]
    assert (verdict, text.startswith(f"role {role} may have 3; ")) == ("fail", True)
    await sql(f"drop owned by {role}")
    await sql(f"drop role {role}")


def test_a_worker_that_claims_nothing_is_named_with_its_reason():
    about, report = {"host": "box", "pid": 7}, {"claims_nothing": "1 of 2 connections: too many"}
    row = reading.WorkerRow(UUID(int=1), about, report, 1.0, 1.0, False, 0)
    assert Finding("warn", "workers", "box, pid 7 claims nothing: 1 of 2 connections: too many") in worker_findings(
        [row]
    )


def test_a_link_over_the_network_must_be_verified():
    away = SERVER._replace(address="10.0.0.1")
    secured = away._replace(tls=True, tls_version="TLSv1.3")
    full = "postgresql://u@h/d?sslmode=verify-full"
    assert verdicts(away)["tls"] == "warn"
    assert verdicts(secured)["tls"] == "warn"
    assert verdicts(secured, full)["tls"] == "ok"
    for here, address in (("localhost", "127.0.0.1"), ("127.0.0.1:6432", "127.0.0.1"), ("[::1]:5432", "::1")):
        assert verdicts(SERVER._replace(address=address), f"postgresql://u@{here}/d")["tls"] == "ok"
    assert tls.state(secured, full) == "TLSv1.3, verify-full"
    assert tls.state(secured, "postgresql://u@h/d") == "TLSv1.3, certificate not verified"
    assert tls.state(away, full) == "no TLS"


@pytest.mark.parametrize("address", [None, "127.0.0.1", "::1"])
def test_a_link_to_another_machine_is_open_though_its_server_sees_a_pooler_beside_it_alone(address):
    near = SERVER._replace(address=address)
    url = "postgresql://u@db.example.com:6432/app"
    assert "the link to db.example.com:6432 has no TLS:" in tls.warning(near, url)
    assert tls.state(near, url) == "no TLS"
    assert tls.warning(near, "postgresql://u@localhost,db.example.com/app")
    for here in ("postgresql:///app?host=/run/postgresql", "postgresql://u@%2Frun%2Fpg/app", "postgresql:///app"):
        assert tls.warning(near, here) is None


def test_workers_that_serve_one_kind_with_different_code_are_told():
    shop = {"kinds": ["app.other", "jobs.notify", "jobs.pay"]}
    crm = {"kinds": ["jobs.call", "jobs.notify", "lib.more"]}
    [told] = of_two_applications([shop, crm, shop, {}])
    assert told.startswith("workers that serve jobs.notify differ in what else jobs defines (jobs.call and jobs.pay):")
    newer, part, apart = (
        {"kinds": [*shop["kinds"], "jobs.refund"]},
        {"kinds": ["app.other"]},
        {"kinds": ["shop.jobs.notify"]},
    )
    assert list(of_two_applications([shop, newer, part, apart])) == []


def test_queues_are_served_by_pattern_and_exclusion():
    worker = {"pools": [{"queues": ["mail*", "-mail-bulk"], "concurrency": 1}, {"queues": "?"}, {}], "kinds": ["k"]}
    assert serves(worker, "mail-1")
    assert not serves(worker, "mail-bulk")
    assert not serves(worker, "default")
    assert list(unserved([("mail-1", "k", 3)], [worker])) == []
    assert len(list(unserved([("mail-1", "x", 3), ("default", "k", 1)], [worker]))) == 2
