"""Durable sleep and events, through a worker: the run ends, and the job goes on when it is over."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from callers import WAYS

from asyncjobs import (
    AsyncJobs,
    InvalidArguments,
    InvalidOption,
    JobCancelled,
    JobDiscarded,
    JobFailed,
    Retry,
    current_job,
    emit,
    job,
    retry_on,
)
from asyncjobs.db.connecting import connect
from asyncjobs.worker.writing.step_recorder import AttemptRecorder
from tests.support.asking import until

ran: list[str] = []


def named(value: Any) -> str:
    """A test's name for a value: the same in every process that collects it."""
    return type(value).__name__ if type(value) is object else repr(value)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    ran.clear()


TRIED = """
select exists (select from pg_stat_activity where datname = current_database() and query like '%begin_wait%' and query_start > $1
               and pid <> pg_backend_pid())
"""
"""Whether a wait was begun since a time."""
LONG_EVENT, LONG_KEY = "e" * 200, "🔑" * 200


@job(kind="waiting.for_long_event")
async def for_long_event() -> Any:
    return await current_job().wait_for(LONG_EVENT, key=LONG_KEY)


@job(kind="waiting.for_event")
async def for_event(key: Any = None, timeout: float | None = None) -> Any:
    ran.append("run")
    return await current_job().wait_for("approved", key=key, timeout=timeout)


async def parked(connection: asyncpg.Connection, count: int = 1) -> None:
    await until(connection, "select count(*) = $1 from asyncjobs.job where state = 3", count)


async def kept(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("select count(*) from asyncjobs.event"))


class TestEvents:
    async def test_a_job_goes_on_with_the_payload_of_the_event(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await for_event(7).enqueue()
        await parked(connection)
        row = await connection.fetchrow(
            "select attempt, worker, run_at = 'infinity' as for_ever, errors from asyncjobs.job"
        )
        assert row is not None and tuple(row) == (0, None, True, None)
        assert await emit("approved", key=8) == 0
        assert await emit("other", key=7) == 0
        assert await emit("approved") == 0
        assert await emit("approved", key=7, payload={"by": ["kim", None, 1.5]}) == 1
        assert await made.result(timeout=20) == {"by": ["kim", None, 1.5]}
        assert ran == ["run", "run"] and (await made.status()).attempt == 1

    async def test_one_that_was_emitted_before_is_kept_for_its_first_waiter(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        assert [await emit("approved", payload=n) for n in (1, 2)] == [0, 0]
        first = await for_event().enqueue()
        assert await first.result(timeout=20) == 1
        assert await (await for_event().enqueue()).result(timeout=20) == 2
        assert ran == ["run", "run"] and await kept(connection) == 0

    async def test_all_that_wait_go_on_and_nothing_is_kept(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = [await for_event().enqueue() for _ in range(3)]
        await parked(connection, 3)
        assert await emit("approved", payload="all") == 3
        assert [await each.result(timeout=20) for each in made] == ["all"] * 3
        assert await kept(connection) == 0

    async def test_one_without_a_payload_is_none(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await for_event().enqueue()
        await parked(connection)
        assert await emit("approved") == 1
        assert await made.result(timeout=20) is None

    @pytest.mark.parametrize(
        ("waited", "emitted"),
        [
            (7, 7),
            (7, "7"),
            ("a b", "a b"),
            (-(2**63), -(2**63)),
            (str(UUID(int=7)), UUID(int=7)),
            ("🎉 ' \\", "🎉 ' \\"),
        ],
        ids=str,
    )
    async def test_a_key_is_text_a_number_or_a_uuid(self, jobs: AsyncJobs, waited: Any, emitted: Any) -> None:
        await emit("approved", key=emitted, payload="found")
        assert await (await for_event(waited).enqueue()).result(timeout=20) == "found"

    async def test_emitted_between_the_beginning_of_the_wait_and_the_end_of_the_run_it_is_not_lost(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin_wait = AttemptRecorder.begin_wait
        woken: list[int] = []

        async def and_emit(self: AttemptRecorder, *given: Any, **named: Any) -> Any:
            record = await begin_wait(self, *given, **named)
            if not woken:
                woken.append(await emit("approved", payload="in between"))
            return record

        monkeypatch.setattr(AttemptRecorder, "begin_wait", and_emit)
        made = await for_event().enqueue()
        assert await made.result(timeout=20) == "in between"
        assert woken == [1] and ran == ["run", "run"] and await kept(connection) == 0

    async def test_emitted_in_a_transaction_that_is_open_when_the_wait_begins_it_is_not_lost(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        other = await connect(url)
        async with other.transaction():
            assert await emit("approved", payload="late", connection=other) == 0
            [begun] = await connection.fetchrow("select clock_timestamp()")
            made = await for_event().enqueue()
            await until(connection, TRIED, begun)  # in vain, for as long as this is open
        assert await made.result(timeout=20) == "late"
        other.terminate()

    async def test_many_emits_and_waits_at_once_meet_each_other(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = [for_event(n % 50) for n in range(100)]

        async def emits() -> None:
            for n in range(50):
                await emit("approved", key=n, payload=n)

        await asyncio.gather(jobs.enqueue_all(made), emits())
        # Each event woke all who waited by then, or the first to come: a second one wakes the rest.
        await until(connection, "select not exists (select from asyncjobs.job where state <> 3)")
        left = await connection.fetch("select distinct key from asyncjobs.step where state = 'waiting'")
        assert await kept(connection) == 0
        for row in left:
            assert await emit("approved", key=row["key"], payload=int(row["key"])) >= 1
        assert [await each.result(timeout=20) for each in made] == [n % 50 for n in range(100)]

    async def test_an_event_and_a_key_of_all_the_characters_there_may_be_are_waited_for_and_run_again_by_hand(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await for_long_event().enqueue()
        for payload in (1, 2):
            await parked(connection)
            assert await emit(LONG_EVENT, key=LONG_KEY, payload=payload) == 1
            assert await made.result(timeout=20) == payload
            [step] = (await made.status()).steps
            assert step.name == f"{LONG_EVENT} {LONG_KEY}"
            if payload == 1:
                await jobs.retry(made.id, force=True, from_step=step.name)
                made = await jobs.get(made.id, for_long_event)

    async def test_from_sql(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await for_event("42").enqueue()
        await parked(connection)
        sql = """select asyncjobs.emit('approved', key => '42', payload => '{"by": "kim"}')"""
        assert await connection.fetchval(sql) == 1
        assert await made.result(timeout=20) == {"by": "kim"}
        assert await connection.fetchval("select asyncjobs.emit('approved')") == 0
        assert await (await for_event().enqueue()).result(timeout=20) is None

    @pytest.mark.parametrize("call", ["null", "''", "repeat('x', 201)", "'x', repeat('k', 201)", "'x', null"])
    async def test_bad_input_from_sql_is_refused(self, connection: asyncpg.Connection, call: str) -> None:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="must have"):
            await connection.execute(f"select asyncjobs.emit({call})")

    @pytest.mark.parametrize("name", ["", "x" * 201, "a\x00", "\ud800", None, 7], ids=named)
    async def test_a_bad_name_is_refused(self, client: AsyncJobs, name: Any) -> None:
        with pytest.raises(InvalidOption, match="event="):
            await emit(name)

    @pytest.mark.parametrize("key", ["", "x" * 201, "a\x00", "\ud800", True, 1.5, b"x", ["a"]], ids=named)
    async def test_a_bad_key_is_refused(self, client: AsyncJobs, key: Any) -> None:
        with pytest.raises(InvalidOption, match="key="):
            await emit("approved", key=key)

    @pytest.mark.parametrize("payload", [float("nan"), "\ud800", "a\x00", object(), 2**70], ids=named)
    async def test_a_bad_payload_is_refused(self, client: AsyncJobs, payload: Any) -> None:
        with pytest.raises(InvalidArguments):
            await emit("approved", payload=payload)

    @pytest.mark.parametrize("way", WAYS)
    async def test_in_the_callers_transaction_it_is_emitted_if_and_only_if_that_commits(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, url: str, way: str
    ) -> None:
        made = await for_event(1).enqueue()
        await parked(connection)
        async with WAYS[way](url) as caller:
            assert await emit("approved", key=1, payload="undone", connection=caller.connection) == 1
            assert await emit("approved", key=2, payload="undone", connection=caller.connection) == 0
            await caller.rollback()
        assert await kept(connection) == 0
        await parked(connection)
        async with WAYS[way](url) as caller:
            assert await emit("approved", key=1, payload=["committed", "$1 :x %s"], connection=caller.connection) == 1
            await caller.commit()
        assert await made.result(timeout=20) == ["committed", "$1 :x %s"]


@job(kind="waiting.timed")
@retry_on(ValueError, wait=0)
async def timed(timeout: float) -> str:
    ran.append("run")
    me = current_job()
    try:
        await me.wait_for("never", timeout=timeout)
    except TimeoutError as error:
        ran.append(str(error))
    if me.attempt == 1:
        raise ValueError
    return await me.step("after", lambda: "after")


@job(kind="waiting.insistent")
@retry_on(TimeoutError, wait=0, attempts=3)
async def insistent(timeout: float) -> Any:
    ran.append("run")
    return await current_job().wait_for("ready", timeout=timeout)


@job(kind="waiting.changed")
async def changed() -> str:
    me = current_job()
    match versions:
        case ["sleep"]:
            await me.sleep("nap", 0)
        case ["wait"]:
            await me.wait_for("event", name="nap")
        case _:
            await me.step("nap", lambda: None)
    ran.append("past")
    raise ValueError


versions: list[str] = []
FORMS = {"sleep": "a sleep", "wait": "a wait", "code": "code"}


@pytest.mark.parametrize(("then", "now"), [(then, now) for then in FORMS for now in FORMS if then != now])
async def test_a_record_is_asked_what_it_was(jobs: AsyncJobs, then: str, now: str) -> None:
    versions[:] = [then]
    await emit("event")
    made = await changed().enqueue()
    with pytest.raises(JobFailed, match="ValueError"):
        await made.result(timeout=20)
    versions[:] = [now]
    await jobs.retry(made.id)
    with pytest.raises(JobFailed, match=f"recorded as {FORMS[then]} .*, and is {FORMS[now]} now"):
        await made.result(timeout=20)
    assert ran == ["past"]


class TestTimeouts:
    @pytest.mark.parametrize("timeout", [0, 0.1])
    async def test_a_wait_that_is_over_raises_a_timeout_error_each_time(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, timeout: float
    ) -> None:
        made = await timed(timeout).enqueue()
        assert await made.result(timeout=20) == "after"
        assert [line for line in ran if line != "run"] == ["no event 'never' came in time"] * 2
        assert ran.count("run") == (3 if timeout else 2)
        state = "select steps::json->0->>'state' from asyncjobs.finished"
        assert await connection.fetchval(state) == "timed_out"

    async def test_one_that_ended_the_attempt_is_waited_for_anew_by_a_policys_retry(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await insistent(0.1).enqueue()
        with pytest.raises(JobFailed, match="no event 'ready' came in time"):
            await made.result(timeout=20)
        status = await made.status()
        assert (status.attempt, ran) == (3, ["run"] * 6)  # each attempt begins a wait, is parked, and goes on
        assert [each.state for each in status.steps] == ["failed"]

    async def test_one_that_ended_the_attempt_is_waited_for_anew_by_a_retry_by_hand(self, jobs: AsyncJobs) -> None:
        made = await for_event(timeout=0.05).enqueue()
        with pytest.raises(JobFailed):
            await made.result(timeout=20)
        await emit("approved", payload="at last")  # kept, since nobody waits
        assert await jobs.retry(made.id)
        assert await made.result(timeout=20) == "at last"

    async def test_it_is_the_jobs_own_error_and_goes_to_its_policies(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobFailed, match=r"TimeoutError: no event 'approved' came in time"):
            await (await for_event(timeout=0.05).enqueue()).result(timeout=20)

    async def test_an_event_in_time_ends_the_wait(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await for_event(timeout=60).enqueue()
        await parked(connection)
        due = await connection.fetchval("select extract(epoch from run_at - clock_timestamp()) from asyncjobs.job")
        assert 50 < due <= 60
        assert await emit("approved", payload=1) == 1
        assert await made.result(timeout=20) == 1

    async def test_an_event_after_its_time_is_kept_for_the_next(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        with pytest.raises(JobFailed):
            await (await for_event(timeout=0).enqueue()).result(timeout=20)
        assert await emit("approved", payload="next") == 0
        assert await (await for_event().enqueue()).result(timeout=20) == "next"


@job(kind="waiting.bad")
@retry_on(Exception, wait=0, attempts=2)
async def bad(what: str) -> None:
    me = current_job()
    ran.append(what)
    match what:
        case "event":
            await me.wait_for("")
        case "key":
            await me.wait_for("a", key="")
        case "timeout":
            await me.wait_for("a", timeout=-1)
        case "duration":
            await me.sleep("a", -1)
        case "name":
            await me.sleep("", 1)
        case "same twice":
            await me.wait_for("here")
            await me.wait_for("here")
        case "named":
            await me.wait_for("here", name="first")
            await me.wait_for("here", name="second")


class TestBadInput:
    @pytest.mark.parametrize("what", ["event", "key", "timeout", "duration"])
    async def test_is_an_error_of_the_job(self, jobs: AsyncJobs, what: str) -> None:
        with pytest.raises(JobFailed, match="InvalidOption"):
            await (await bad(what).enqueue()).result(timeout=20)

    async def test_a_bad_name_is_an_invalid_step(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobFailed, match="InvalidStep"):
            await (await bad("name").enqueue()).result(timeout=20)
        assert ran == ["name"]

    async def test_two_waits_for_one_event_want_names(self, jobs: AsyncJobs) -> None:
        for _ in range(2):
            await emit("here")
        with pytest.raises(JobFailed, match="step 'here' is run twice"):
            await (await bad("same twice").enqueue()).result(timeout=20)
        for _ in range(2):
            await emit("here")
        await (await bad("named").enqueue()).result(timeout=20)


@job(kind="waiting.sleeper")
async def sleeper(seconds: float, times: int = 1) -> list[str]:
    ran.append("run")
    me = current_job()
    slept: list[str] = [await me.step("began", lambda: datetime.now(UTC).isoformat())]
    for n in range(times):
        await me.sleep(f"nap {n}", timedelta(seconds=seconds))
        slept.append(await me.step(f"after {n}", lambda: datetime.now(UTC).isoformat()))
    return slept


class TestSleep:
    async def test_the_run_ends_and_goes_on_when_it_is_over(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await sleeper(0.2, times=3).enqueue()
        times = [datetime.fromisoformat(text) for text in await made.result(timeout=20)]
        gaps = [(b - a).total_seconds() for a, b in zip(times, times[1:], strict=False)]
        assert len(gaps) == 3 and all(0.19 < gap < 5 for gap in gaps)
        status = await made.status()
        assert (status.attempt, status.errors, ran.count("run")) == (1, [], 4)

    async def test_none_at_all_is_over_at_once(self, jobs: AsyncJobs) -> None:
        assert len(await (await sleeper(0).enqueue()).result(timeout=20)) == 2
        assert ran == ["run"]

    async def test_it_holds_no_slot(self, make_jobs: Any, connection: asyncpg.Connection) -> None:
        async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running():
            made = [await sleeper(3600).enqueue() for _ in range(5)]
            await until(connection, "select count(*) = 5 from asyncjobs.step where state = 'sleeping'")
            assert await (await sleeper(0).enqueue()).result(timeout=20)
            for each in made:
                await each.cancel()

    async def test_it_goes_on_in_another_worker_for_what_is_left(
        self, client: AsyncJobs, make_jobs: Any, connection: asyncpg.Connection
    ) -> None:
        async with make_jobs().running():
            made = await sleeper(1).enqueue()
            await until(connection, "select count(*) = 1 from asyncjobs.job where state = 0")
        async with make_jobs().running():
            [began, after] = [datetime.fromisoformat(text) for text in await made.result(timeout=20)]
        assert 0.99 < (after - began).total_seconds() < 5


@job(kind="waiting.both")
async def both(sleeps: bool) -> str:
    me = current_job()
    await me.step("first", ran.append, "first")
    if sleeps:
        await me.sleep("wait", 3600)
    else:
        await me.wait_for("approved", name="wait")
    return await me.step("last", lambda: "last")


@pytest.mark.parametrize("sleeps", [True, False], ids=["sleeping", "waiting"])
class TestByHand:
    async def made(self, connection: asyncpg.Connection, sleeps: bool) -> Any:
        made = await both(sleeps).enqueue()
        await until(connection, "select exists (select from asyncjobs.job where state = $1)", 0 if sleeps else 3)
        return made

    async def states(self, connection: asyncpg.Connection) -> list[str]:
        rows = await connection.fetch(
            "select s->>'state' as state from asyncjobs.finished, json_array_elements(steps::json) as s"
        )
        assert await connection.fetchval("select count(*) from asyncjobs.step") == 0
        return [row["state"] for row in rows]

    async def test_cancelled_it_takes_its_steps_along(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, sleeps: bool
    ) -> None:
        made = await self.made(connection, sleeps)
        assert await made.cancel("enough")
        with pytest.raises(JobCancelled, match="enough"):
            await made.result(timeout=20)
        assert await self.states(connection) == ["succeeded", "sleeping" if sleeps else "waiting"]
        assert await emit("approved") == 0  # nobody waits for it any more

    async def test_discarded_it_takes_its_steps_along(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, sleeps: bool
    ) -> None:
        made = await self.made(connection, sleeps)
        assert await jobs.discard(made.id, reason="gone")
        with pytest.raises(JobDiscarded, match="gone"):
            await made.result(timeout=20)
        assert await self.states(connection) == ["succeeded", "sleeping" if sleeps else "waiting"]

    async def test_retried_after_that_it_waits_on_with_its_first_step_done(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, sleeps: bool
    ) -> None:
        made = await self.made(connection, sleeps)
        await made.cancel()
        assert await jobs.retry(made.id)
        await until(connection, "select exists (select from asyncjobs.job where state = $1)", 0 if sleeps else 3)
        assert ran == ["first"]
        if not sleeps:
            assert await emit("approved") == 1
            assert await (await jobs.get(made.id, both)).result(timeout=20) == "last"
            assert await self.states(connection) == ["succeeded"] * 3

    async def test_retried_while_it_waits_it_waits_on(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, sleeps: bool
    ) -> None:
        made = await self.made(connection, sleeps)
        await jobs.retry(made.id, force=True)
        await until(connection, "select exists (select from asyncjobs.job where state = $1)", 0 if sleeps else 3)
        assert ran == ["first"] and await connection.fetchval("select count(*) from asyncjobs.finished") == 0
        await made.cancel()

    async def test_cancelled_while_it_is_being_parked_it_ends(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, sleeps: bool
    ) -> None:
        begin_wait = AttemptRecorder.begin_wait

        async def and_ask(self: AttemptRecorder, *given: Any, **named: Any) -> Any:
            record = await begin_wait(self, *given, **named)
            await connection.execute("update asyncjobs.job set cancel_reason = 'enough' where state = 2")
            return record

        monkeypatch.setattr(AttemptRecorder, "begin_wait", and_ask)
        with pytest.raises(JobCancelled, match="enough"):
            await (await both(sleeps).enqueue()).result(timeout=20)


@job(kind="waiting.here")
async def here() -> list[Any]:
    me = current_job()
    first = await me.step("first", lambda: ran.append("first") or "first")
    await me.sleep("nap", 0.05)
    got = await me.wait_for("approved", timeout=60)
    if me.attempt == 1:
        raise Retry(wait=0)
    return [first, got, await me.step("last", lambda: "last")]


async def test_performed_now_a_job_goes_on_in_a_worker_when_it_sleeps(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await emit("approved", payload="yes")
    assert await here().perform_now() == ["first", "yes", "last"]
    assert ran == ["first"]
    assert await connection.fetchval("select count(*) from asyncjobs.step") == 0


@job(kind="waiting.swallowing")
async def swallowing() -> int:
    with contextlib.suppress(BaseException):
        await current_job().sleep("a while", 60)
    ran.append("went on")
    return 3


async def test_a_job_that_catches_the_end_of_its_run_and_goes_on_has_failed_and_says_why(jobs: AsyncJobs) -> None:
    with pytest.raises(JobFailed, match="caught the signal that ends the run at 'a while'"):
        await (await swallowing().enqueue()).result(timeout=20)
    assert ran == ["went on"]
