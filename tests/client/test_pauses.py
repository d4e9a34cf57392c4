"""Pausing queues and kinds: what is not started, where, and from when on; and what goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, InvalidOption, Limit, job
from asyncjobs.db import sql
from asyncjobs.worker.slots import pauses as knowing
from tests.support.asking import until
from tests.support.processes import until_so

SUSPECT = (
    "insert into asyncjobs.job (id, kind, queue, crashes, args) "
    'values (gen_random_uuid(), $1, $2, 2, \'{"name": "suspect"}\')'
)
started: list[str] = []
gate = asyncio.Event()


@job(kind="pauses.note", queue="pausable")
async def note(name: str) -> None:
    started.append(name)


@job(kind="pauses.marker")
async def marker() -> None: ...


@job(kind="pauses.other", queue="pausable", aliases=("pauses.former",))
async def other(name: str) -> None:
    started.append(name)


@job(kind="pauses.hold", queue="pausable")
async def hold(name: str) -> None:
    started.append(name)
    await gate.wait()


@job(kind="pauses.limited", queue="pausable", concurrency=Limit(1, key="pauses.shared"))
async def limited(name: str) -> None:
    started.append(name)


@job(kind="pauses.twofold", queue="pausable", concurrency=[Limit(1, key="pauses.first"), Limit(1, key="pauses.second")])
async def twofold(name: str) -> None:
    started.append(name)


@job(kind="pauses.beside", concurrency=Limit(1, key="pauses.first"))
async def beside(name: str) -> None:
    started.append(name)


@pytest.fixture(autouse=True)
def nothing_started() -> None:
    global gate
    started.clear()
    gate = asyncio.Event()


async def settled(jobs: AsyncJobs) -> None:
    """Wait until a worker has run what may be run: a job of another queue and kind, enqueued last, was."""
    await (await marker().enqueue()).result(timeout=30)


@pytest.mark.parametrize("what", [{"queue": "pausable"}, {"kind": "pauses.note"}, {"kind": note}], ids=str)
async def test_nothing_of_what_is_paused_starts_until_it_is_resumed(jobs: AsyncJobs, what: Any) -> None:
    await jobs.pause(**what, reason="a fire")
    paused = note("held")
    await jobs.enqueue(paused)
    await settled(jobs)
    assert started == []
    assert (await paused.status()).state == "ready"
    assert await jobs.resume(**what)
    await paused.result(timeout=30)
    assert not await jobs.resume(**what)


async def test_other_kinds_of_a_queue_go_on_when_one_is_paused_and_aliases_do_not(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await jobs.pause(kind=other)
    await jobs.enqueue(other("held"))
    await connection.execute(
        "select asyncjobs.enqueue('pauses.former', '{\"name\": \"alias\"}'::json, queue => 'pausable')"
    )
    await (await note("free").enqueue()).result(timeout=30)
    await settled(jobs)
    assert started == ["free"]
    assert [pause.kind for pause in await jobs.pauses()] == ["pauses.former", "pauses.other"]
    await jobs.resume(kind=other)
    await until_so(lambda: len(started) == 3)


async def test_what_runs_goes_on(jobs: AsyncJobs) -> None:
    running = hold("running")
    await jobs.enqueue(running)
    await until_so(lambda: started == ["running"])
    await jobs.pause(queue="pausable")
    await jobs.pause(kind=hold)
    gate.set()
    await running.result(timeout=30)


async def test_what_was_claimed_and_waits_for_a_slot_is_given_back_unspent(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running() as jobs:
        await until_so(lambda: jobs.healthy)
        worker = jobs._worker
        assert worker is not None
        first = hold("first")
        await jobs.enqueue(first)
        await until_so(lambda: started == ["first"])
        [pool] = worker.parts.pools
        pool._rate = 1e6  # as if the jobs before had been quick: it claims ahead
        monkeypatch.setattr(pool, "progressed", lambda: True)  # and as if jobs went on starting
        monkeypatch.setattr(pool, "measure", lambda _: None)
        waiting = [note(f"waiting {n}") for n in range(5)]
        await jobs.enqueue_all(waiting)
        await until_so(lambda: len(pool.queued) == 5)
        await jobs.pause(queue="pausable")
        await until(connection, "select count(*) = 5 from asyncjobs.job where state = 1 and attempt = 0")
        gate.set()
        await first.result(timeout=30)
        await settled(jobs)
        assert started == ["first"]
        await jobs.resume(queue="pausable")
        await until_so(lambda: len(started) == 6)


@pytest.mark.parametrize("sees", ["the database", "nothing"])
async def test_without_a_notice_what_waits_is_looked_after_and_given_back_where_nobody_can_look(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, sees: str
) -> None:
    async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running() as jobs:
        await until_so(lambda: jobs.healthy)
        worker = jobs._worker
        assert worker is not None
        worker.parts.listener.unsubscribe("asyncjobs_pauses", worker.parts.pauses.notified)
        [pool] = worker.parts.pools
        monkeypatch.setattr(pool, "progressed", lambda: True)
        monkeypatch.setattr(pool, "measure", lambda _: None)
        await jobs.enqueue(hold("first"))
        await until_so(lambda: started == ["first"])
        pool._rate = 1e6
        await jobs.enqueue_all([note(f"waiting {n}") for n in range(5)])
        await until_so(lambda: len(pool.queued) == 5)
        pool._rate = 0.0  # what is given back is not claimed again
        if sees == "nothing":
            monkeypatch.setattr(worker.parts.pauses, "ask", lambda: None)
            monkeypatch.setattr(worker.parts.pauses, "known_at", worker.parts.pauses.known_at)
        else:
            await jobs.pause(queue="pausable")
        await until(connection, "select count(*) = 5 from asyncjobs.job where state = 1 and attempt = 0")
        if sees == "the database":
            assert worker.parts.pauses.queues == {"pausable"}
        worker.parts.listener.subscribe("asyncjobs_pauses", worker.parts.pauses.notified)
        gate.set()


async def test_a_claim_that_begins_after_the_pause_brings_nothing_though_its_worker_has_not_heard(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowing.Pauses, "learn", lambda *_, **__: None)
    monkeypatch.setattr(knowing.Pauses, "notified", lambda *_: None)
    async with make_jobs().running() as jobs:
        await until_so(lambda: jobs.healthy)
        await jobs.pause(queue="pausable")
        await jobs.pause(kind=beside)
        for n in range(20):
            await jobs.enqueue_all([note(f"{n}"), beside(f"{n}")])
        for kind, queue in (("pauses.note", "pausable"), ("pauses.beside", "default"), ("pauses.note", "default")):
            await connection.execute(SUSPECT, kind, queue)
        await settled(jobs)
        # A suspect as well, behind one that may not.
        await until(connection, "select count(*) = 1 from asyncjobs.finished where kind = 'pauses.note'")
    assert started in ([], ["suspect"])  # in a process of its own, or here
    assert await connection.fetchval("select count(*) = 42 and max(attempt) = 0 from asyncjobs.job")


async def test_a_suspect_of_what_is_paused_does_not_start(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    await jobs.pause(kind=note)
    await jobs.pause(queue="suspects")
    await connection.execute(SUSPECT, "pauses.note", "pausable")
    await connection.execute(SUSPECT, "pauses.other", "suspects")
    await connection.execute(SUSPECT, "pauses.other", "pausable")  # this one is looked for with them
    await until(connection, "select count(*) = 2 from asyncjobs.job where state = 1")
    await until(connection, "select count(*) = 1 from asyncjobs.finished")
    await jobs.resume(kind=note)
    await jobs.resume(queue="suspects")
    await until(connection, "select count(*) = 3 from asyncjobs.finished")


async def test_a_pause_ends_by_itself_at_its_time_and_everything_starts(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    pause = await jobs.pause(queue="pausable", until=timedelta(seconds=1), reason="a moment", by="ada")
    assert pause.until is not None
    assert (pause.queue, pause.kind, pause.reason, pause.by) == ("pausable", None, "a moment", "ada")
    held = note("held")
    await jobs.enqueue(held)
    await held.result(timeout=30)
    [late] = await connection.fetchrow(
        "select extract(epoch from started_at - $1)::float8 from asyncjobs.finished", pause.until
    )
    assert late >= 0
    assert await jobs.pauses() == []


async def test_it_outlasts_restarts_and_a_new_worker_knows(
    make_jobs: Callable[..., AsyncJobs], client: AsyncJobs
) -> None:
    await client.pause(queue="pausable")
    await client.enqueue(note("held"))
    for _ in range(2):
        async with make_jobs().running() as jobs:
            await settled(jobs)
            assert started == []
    assert [pause.queue for pause in await client.pauses()] == ["pausable"]


async def test_paused_again_the_last_word_holds(client: AsyncJobs) -> None:
    await client.pause(queue="pausable", until=3600, reason="first", by="ada")
    again = await client.pause(queue="pausable", reason="second", by="bob")
    assert await client.pauses() == [again]
    assert (again.until, again.reason, again.by) == (None, "second", "bob")


async def test_it_says_who_paused_by_login_and_host(client: AsyncJobs) -> None:
    pause = await client.pause(kind="pauses.note")
    assert "@" in pause.by
    assert pause.kind == "pauses.note"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give queue= or kind=, one of them"),
        ({"queue": "q", "kind": "k"}, "give queue= or kind=, one of them"),
        ({"queue": "mail*"}, "is a pattern, and a pause is of one queue"),
        ({"queue": "a b"}, "is no queue name"),
        ({"queue": 7}, "is no queue name"),
        ({"kind": 7}, "is no job definition"),
        ({"kind": " k"}, "is no kind"),
        ({"queue": "q", "until": "tomorrow"}, "give an aware datetime, a timedelta, or seconds"),
        ({"queue": "q", "until": True}, "give an aware datetime, a timedelta, or seconds"),
        ({"queue": "q", "until": 0}, "until=0 is not allowed"),
        ({"queue": "q", "until": -1.5}, "until=-1.5 is not allowed"),
        ({"queue": "q", "until": float("nan")}, "until=nan is not a time"),
        ({"queue": "q", "until": datetime(2030, 1, 1)}, "has no time zone"),
        ({"queue": "q", "until": datetime.now(UTC) - timedelta(hours=1)}, "has come already, by the database's clock"),
        ({"queue": "q", "until": datetime(9999, 1, 1, tzinfo=UTC)}, "use a time within ten years"),
        ({"queue": "q", "reason": 7}, "reason=7 is no text"),
        ({"queue": "q", "reason": "r" * 1001}, "use at most 1000"),
        ({"queue": "q", "reason": "\0"}, "cannot be stored"),
        ({"queue": "q", "by": ""}, "by='' is no name"),
        ({"queue": "q", "by": "\0"}, "is no name"),
    ],
)  # fmt: skip
async def test_what_cannot_be_paused_is_refused(client: AsyncJobs, given: Any, says: str) -> None:
    with pytest.raises(InvalidOption, match=says.replace("*", r"\*")):
        await client.pause(**given)
    assert await client.pauses() == []


async def test_why_says_that_it_is_paused_until_when_by_whom_and_why(client: AsyncJobs) -> None:
    held, later = note("held"), note("later")
    await client.enqueue(held)
    await later.set(wait=3600).enqueue()
    await client.pause(queue="pausable", until=7200, reason="mail host is down", by="ada@here")
    said = await client.why(held)
    assert said.startswith("waits: queue pausable is paused, for ")
    assert said.endswith(" more, by ada@here (mail host is down)")
    assert "then it waits on, while queue pausable is paused" in await client.why(later)
    await client.resume(queue="pausable")
    await client.pause(kind=note, by="bob")
    assert await client.why(held) == "waits: kind pauses.note is paused, by bob"


async def test_a_paused_job_holds_no_place_of_a_limit_that_others_share(
    make_jobs: Callable[..., AsyncJobs], client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    admit = sql.read("admit")
    first, second = limited("first"), limited("second").set(queue="elsewhere")
    await client.enqueue(first)
    await connection.fetch(admit, 100)
    assert await connection.fetchval(
        "select admitted = seq from asyncjobs.job"
    )  # it has passed, and was not started yet
    await client.enqueue(second)
    await client.pause(queue="pausable")
    async with make_jobs().running() as jobs:
        await second.result(timeout=30)
        assert started == ["second"]
        await jobs.resume(queue="pausable")
        await first.result(timeout=30)


async def test_a_paused_job_that_waits_at_its_second_limit_gives_back_the_first(
    make_jobs: Callable[..., AsyncJobs], client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await client.enqueue(twofold("blocks"))
    await connection.fetch(sql.read("admit"), 100)
    waits, aside = twofold("waits"), beside("aside")
    await connection.execute("update asyncjobs.limits set most = 2 where name = 'pauses.first'")
    await client.enqueue(waits)
    for _ in range(3):
        await connection.fetch(sql.read("admit"), 100)
    assert await connection.fetchval("select limit_key from asyncjobs.job where id = $1", waits.id) == "pauses.second"
    await client.pause(queue="pausable")
    async with make_jobs().running() as jobs:
        await client.enqueue(aside)
        await aside.result(timeout=30)
        assert started == ["aside"]
        await jobs.resume(queue="pausable")
        await waits.result(timeout=30)


async def test_a_look_at_limits_with_paused_jobs_comes_to_an_end(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await client.pause(queue="pausable")
    await client.enqueue_all(limited(str(n)) for n in range(5))
    for _ in range(3):
        row = await connection.fetchrow(sql.read("admit"), 100)
    assert row["passed"] == 0
    assert not row["again"]


async def test_a_blocking_program_pauses_too(make_jobs: Callable[..., AsyncJobs]) -> None:
    def program() -> list[Any]:
        with make_jobs().blocking() as blocking:
            made = blocking.pause(queue="pausable", until=60, by="ada")
            found = blocking.pauses()
            return [made == found[0], blocking.resume(queue="pausable"), blocking.pauses()]

    assert await asyncio.to_thread(program) == [True, True, []]
