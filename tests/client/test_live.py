"""What a job shows while it runs: its progress, and the items of its stream, for readers in any process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from client_jobs import Gate

from asyncjobs import (
    AsyncJobs,
    AwaitCycle,
    InsideEventLoop,
    InvalidCall,
    InvalidOption,
    Job,
    JobFailed,
    JobNotFound,
    NotEnqueued,
    NotOpen,
    NotRunning,
    UnstorableResult,
    after_discard,
    current_attempt,
    discard_on,
    job,
    retry_on,
)
from asyncjobs.client import live as following
from asyncjobs.db import live
from asyncjobs.values import codec
from asyncjobs.worker.writing import live_writer
from tests.support.processes import PATIENCE


@job(kind="live.send")
async def send(count: int, gate: str = "") -> int:
    me = current_attempt()
    for number in range(1, count + 1):
        me.progress(number, of=count, note=f"item {number}")
        await me.send({"number": number})
        if gate and number == count // 2:
            Gate.all[gate].arrived.set()
            await Gate.all[gate].open.wait()
    return count


@job(kind="live.show")
async def show(given: list[Any], gate: str = "") -> None:
    me = current_attempt()
    for done, of, note in given:
        me.progress(done, of=of, note=note)
    if gate:
        Gate.all[gate].arrived.set()
        await Gate.all[gate].open.wait()


@job(kind="live.nan")
async def not_a_number() -> None:
    for done in (float("nan"), "3", None, True, 10**400):
        current_attempt().progress(done)


class NoText:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@job(kind="live.exact")
async def exact() -> None:
    current_attempt().progress(Decimal("1.5"), of=Fraction(7, 2))


@job(kind="live.no_text")
async def no_text() -> None:
    note: Any = NoText()
    current_attempt().progress(1, note=note)
    current_attempt().progress(1, of=10**400)


@job(kind="live.odd_note")
async def odd_note() -> None:
    current_attempt().progress(1, of=0, note="\0 " + "ü" * 1_000)


@job(kind="live.refused")
async def refused(what: str) -> None:
    await current_attempt().send(1)
    await current_attempt().send({"nul": "\0"} if what == "nul" else float("nan") if what == "nan" else object())


@retry_on(ValueError, wait=0, attempts=3)
@job(kind="live.thrice")
async def thrice() -> None:
    me = current_attempt()
    me.progress(me.number, of=3)
    await me.send(me.number)
    await me.send(-me.number)
    if me.number < 3:
        raise ValueError("again")


@job(kind="live.thread")
def from_thread(count: int) -> None:
    me = current_attempt()
    for number in range(1, count + 1):
        me.progress(number, of=count)
        me.send_from_thread(number)


@job(kind="live.process", executor="process")
def from_process(count: int) -> None:
    me = current_attempt()
    for number in range(1, count + 1):
        me.progress(number, of=count)
        me.send_from_thread(number)


@job(kind="live.misused")
async def misused(how: str, jobs_id: str = "") -> str:
    me = current_attempt()
    if how == "from_thread on the loop":
        me.send_from_thread(1)
    elif how == "another loop":
        await asyncio.to_thread(lambda: asyncio.run(me.send(1)))
    elif how == "itself":
        async for _ in JOBS[0].stream(me.job):
            pass
    return how


@job(kind="live.wrong")
async def wrong(how: str) -> None:
    me: Any = current_attempt()
    match how:
        case "total":
            me.progress(1, total=10)
        case "by position":
            me.progress(1, 10)
        case "two items":
            await me.send(1, 2)
        case "two items of a thread":
            me.send_from_thread(1, 2)
        case "an object":
            await me.send({"at": object()})
        case "not awaited":
            me.send(1)


JOBS: list[AsyncJobs] = []


@job(kind="live.fan")
async def fan(count: int) -> list[int]:
    me, called = current_attempt(), list[int]()

    async def one(n: int) -> None:
        for _ in range(n % 7):
            await asyncio.sleep(0)
        called.append(n)
        await me.send(n)

    async with asyncio.TaskGroup() as group:
        for n in range(count):
            group.create_task(one(n))
    return called


@job(kind="live.left_behind")
async def left_behind(gate: str, sends: bool) -> None:
    me = current_attempt()

    async def later() -> None:
        await Gate.all[gate].open.wait()
        try:
            await me.send("late")
        except BaseException as error:
            ENDS.append(error)
        Gate.all[gate].arrived.set()

    LEFT.append(asyncio.create_task(later()))
    if sends:
        await me.send("in time")


LEFT: list[asyncio.Task[None]] = []
ENDS: list[BaseException] = []


@job(kind="live.outer")
async def outer() -> None:
    await send(2).perform_now()


class Discarded(Job, kind="live.Discarded"):
    discard_on(ValueError)

    async def perform(self) -> None:
        await current_attempt().send("performed")
        raise ValueError("not worth it")

    @after_discard
    async def told(self, _error: BaseException) -> None:
        await current_attempt().send("discarded")


@job(kind="live.cancelled")
async def cleaned_up(gate: str) -> None:
    me = current_attempt()
    try:
        Gate.all[gate].arrived.set()
        await asyncio.sleep(PATIENCE)
    finally:
        await me.send("cleaned up")
        me.progress(1, of=1, note="cleaned up")


async def items(reader: AsyncIterator[Any]) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return [item async for item in reader]


class TestStreams:
    async def test_every_reader_gets_every_item_once_early_late_and_from_the_middle(
        self, jobs: AsyncJobs, make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        gate = Gate("middle")
        made = await send(40, "middle").enqueue()
        early = [asyncio.ensure_future(items(jobs.stream(made))) for _ in range(5)]
        await gate.arrived.wait()
        async with make_jobs() as other:
            middle = asyncio.ensure_future(items(other.stream(str(made.id), after=15)))
            gate.open.set()
            for read in [*await asyncio.gather(*early), await items(jobs.stream(made.id))]:
                assert [item.n for item in read] == list(range(1, 41))
                assert [item.value for item in read] == [{"number": n} for n in range(1, 41)]
                assert {item.attempt for item in read} == {1}
            assert [item.n for item in await middle] == list(range(16, 41))
        assert await items(jobs.stream(made, after=40)) == await items(jobs.stream(made, after=1_000)) == []
        assert (await made.status()).items == 40

    async def test_an_item_comes_while_the_job_runs(self, jobs: AsyncJobs) -> None:
        gate = Gate("runs")
        made = await send(2, "runs").enqueue()
        stream = jobs.stream(made)
        assert (await anext(stream)).value == {"number": 1}
        assert (await made.status()).state == "running"
        gate.open.set()
        assert [item.n for item in await items(stream)] == [2]

    async def test_a_thousand_readers_share_the_connection_and_the_reads(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads: list[int] = []

        async def counted(*given: Any, **named: Any) -> Any:
            found = await read(*given, **named)
            reads.append(len(found))
            return found

        read = live.read_stream
        monkeypatch.setattr(following.live, "read_stream", counted)
        gate = Gate("thousand")
        made = await send(100, "thousand").enqueue()
        readers = [asyncio.ensure_future(items(jobs.stream(made))) for _ in range(1_000)]
        await gate.arrived.wait()
        listening = """select count(*) from pg_stat_activity where datname = current_database()
                       and application_name = 'asyncjobs listener'"""
        assert await connection.fetchval(listening) == 1
        gate.open.set()
        assert {len(read) for read in await asyncio.gather(*readers)} == {100}
        assert sum(reads) < 1_000  # of 100,000 that were read

    async def test_after_a_retry_it_goes_on_and_an_item_tells_its_attempt(self, jobs: AsyncJobs) -> None:
        made = await thrice().enqueue()
        read = await items(jobs.stream(made))
        assert [(item.n, item.value, item.attempt) for item in read] == [
            (1, 1, 1), (2, -1, 1), (3, 2, 2), (4, -2, 2), (5, 3, 3), (6, -3, 3),
        ]  # fmt: skip

    @pytest.mark.parametrize("definition", [from_thread, from_process])
    async def test_it_can_be_sent_to_from_threads_and_processes_of_their_own(
        self, jobs: AsyncJobs, definition: Any
    ) -> None:
        made = await definition(20).enqueue()
        assert [item.value for item in await items(jobs.stream(made))] == list(range(1, 21))
        await made
        assert (await made.status()).progress.done == 20

    async def test_what_hooks_and_cleanup_send_is_in_it(self, jobs: AsyncJobs) -> None:
        made = await Discarded().enqueue()
        assert [item.value for item in await items(jobs.stream(made))] == ["performed", "discarded"]
        gate = Gate("cleanup")
        cancelled = await cleaned_up("cleanup").enqueue()
        await gate.arrived.wait()
        await cancelled.cancel()
        assert [item.value for item in await items(jobs.stream(cancelled))] == ["cleaned up"]
        assert (await cancelled.status()).progress.note == "cleaned up"

    @pytest.mark.parametrize("what", ["nul", "nan", "object"])
    async def test_what_is_not_json_fails_the_job_and_what_came_before_is_there(
        self, jobs: AsyncJobs, what: str
    ) -> None:
        made = await refused(what).enqueue()
        with pytest.raises(JobFailed, match="item") as raised:
            await made
        assert raised.value.error_type.endswith("UnstorableResult")
        assert [item.value for item in await items(jobs.stream(made))] == [1]

    async def test_an_item_that_the_database_refuses_fails_the_job(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await connection.execute("alter table asyncjobs.stream_item add constraint short check (length(value) < 13)")
        made = await send(9).enqueue()
        assert await made == 9
        made = await send(20).enqueue()
        with pytest.raises(JobFailed, match="short"):
            await made
        read = await items(jobs.stream(made))
        assert [item.n for item in read] == list(range(1, len(read) + 1))

    async def test_send_waits_while_a_thousand_are_unwritten_and_other_jobs_go_on(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        gate = Gate("locked")
        made = await send(4, "locked").enqueue()
        await gate.arrived.wait()
        first = jobs.stream(made)
        assert (await anext(first)).n == 1
        await first.aclose()
        async with connection.transaction():
            await connection.fetch("select from asyncjobs.job where id = $1 for update", made.id)
            gate.open.set()
            more = await send(live_writer.MOST_UNWRITTEN * 3).enqueue()
            assert len(await items(jobs.stream(more))) == live_writer.MOST_UNWRITTEN * 3
        assert [item.n for item in await items(jobs.stream(made))] == [1, 2, 3, 4]

    @pytest.mark.parametrize("count", [100, 3 * live_writer.MOST_UNWRITTEN])
    async def test_items_of_many_tasks_stand_in_the_order_of_their_calls(self, jobs: AsyncJobs, count: int) -> None:
        made = await fan(count).enqueue()
        called = await made.result(timeout=PATIENCE)
        assert [item.value for item in await items(jobs.stream(made))] == called

    @pytest.mark.parametrize("sent", [True, False], ids=["the stream began", "nothing was sent"])
    async def test_after_the_attempt_nothing_is_taken(self, jobs: AsyncJobs, sent: bool) -> None:
        gate = Gate("left")
        made = await left_behind("left", sent).enqueue()
        await made
        gate.open.set()
        await gate.arrived.wait()
        assert isinstance(ENDS.pop(), NotRunning)
        assert [item.value for item in await items(jobs.stream(made))] == ["in time"] * sent

    async def test_wrong_calls(self, jobs: AsyncJobs) -> None:
        JOBS[:] = [jobs]
        for how, error in [
            ("from_thread on the loop", InsideEventLoop),
            ("another loop", NotRunning),
            ("itself", AwaitCycle),
        ]:
            with pytest.raises(JobFailed) as raised:
                await (await misused(how).enqueue())
            assert raised.value.error_type == f"asyncjobs.exceptions.{error.__name__}"
        made = send(1)
        with pytest.raises(NotEnqueued):
            jobs.stream(made)
        await made.enqueue()
        for after in (-1, 1.5, "3", None, True, 2**63):
            with pytest.raises(InvalidOption, match="after="):
                jobs.stream(made, after=after)
        for follow in (jobs.stream, jobs.watch):
            with pytest.raises(InvalidOption):
                follow("no id")
            with pytest.raises(JobNotFound):
                await items(follow(uuid4()))
        with pytest.raises(NotOpen):
            AsyncJobs().stream(made)

    async def test_readers_are_told_when_the_client_is_closed(self, make_jobs: Callable[..., AsyncJobs]) -> None:
        async with make_jobs() as client:
            made = await send(1).enqueue()
            readers = [asyncio.ensure_future(items(follow(made))) for follow in (client.stream, client.watch)]
            await asyncio.sleep(0)
        for reader in readers:
            with pytest.raises(NotOpen):
                await reader

    async def test_a_reader_that_is_cancelled_takes_nothing_from_the_others(self, jobs: AsyncJobs) -> None:
        gate = Gate("cancelled")
        made = await send(10, "cancelled").enqueue()
        staying, going = (asyncio.ensure_future(items(jobs.stream(made))) for _ in range(2))
        await gate.arrived.wait()
        going.cancel()
        await asyncio.wait([going])
        gate.open.set()
        assert len(await staying) == 10

    async def test_performed_now_it_is_the_callers_and_in_a_program_nobodys(self, jobs: AsyncJobs) -> None:
        made = await outer().enqueue()
        assert [item.value for item in await items(jobs.stream(made))] == [{"number": 1}, {"number": 2}]
        assert (await made.status()).progress.of == 2
        assert await send(3).perform_now() == 3


class TestWrongCalls:
    @pytest.mark.parametrize(
        ("how", "error", "says"),
        [
            ("total", InvalidCall, r"^progress\(\) has no option 'total': write of=…; there are of, note$"),
            ("by position", InvalidCall, r"the rest goes by name: `progress\(3, of=40, note="),
            ("two items", InvalidCall, r"^send\(\): give the item: `await current_attempt\(\)\.send\(value\)`$"),
            ("two items of a thread", InvalidCall, r"^send_from_thread\(\): give the item"),
            (
                "an object",
                UnstorableResult,
                r"^send\(\): invalid item: item\.at: object is not plain JSON; pass dict \(with str keys\), list",
            ),
        ],
    )
    async def test_each_says_what_to_write(self, how: str, error: type[Exception], says: str) -> None:
        with pytest.raises(error, match=says):
            await wrong(how).perform_now()

    async def test_a_send_that_is_not_awaited_warns_with_its_name(self) -> None:
        with pytest.warns(RuntimeWarning, match=r"'CurrentAttempt\.send' was never awaited"):
            await wrong("not awaited").perform_now()

    async def test_nothing_is_followed_that_is_not_enqueued(self, client: AsyncJobs) -> None:
        for follow in (client.watch, client.stream):
            with pytest.raises(NotEnqueued, match=r"nothing but `await job\.enqueue\(\)` does that"):
                await anext(follow(send(1)))


class TestProgress:
    async def test_the_last_comes_at_once_and_the_later_ones_until_the_end(self, jobs: AsyncJobs) -> None:
        gate = Gate("progress")
        made = await show([[1, 4, "one"], [2, 4, "two"]], "progress").enqueue()
        watching = jobs.watch(made)
        await gate.arrived.wait()
        seen = await anext(watching)
        while seen.done != 2:
            seen = await anext(watching)
        assert (seen.done, seen.of, seen.note, seen.share) == (2, 4, "two", 0.5)
        assert (await made.status()).progress == seen
        again = jobs.watch(made)
        assert await anext(again) == seen
        gate.open.set()
        assert await items(watching) == await items(again) == []
        assert await items(jobs.watch(made)) == [seen]

    async def test_it_is_written_five_times_a_second_at_most_and_the_last_before_the_end(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await connection.execute("create table written (n integer)")
        await connection.execute(
            "create function note() returns trigger language plpgsql as "
            "'begin insert into public.written values (new.done); return new; end'"
        )
        await connection.execute(
            "create trigger note before insert or update on asyncjobs.live_job for each row execute function note()"
        )
        made = await show([[number, None, ""] for number in range(1, 1_001)]).enqueue()
        await made
        written = [row["n"] for row in await connection.fetch("select n from written order by n")]
        assert written[-1] == 1_000
        assert len(written) <= 3
        assert (await made.status()).progress.of is None

    async def test_what_is_no_number_is_said_once_and_fails_nothing(
        self, jobs: AsyncJobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = await not_a_number().enqueue()
        with caplog.at_level(logging.WARNING):
            await made
        said = [record.getMessage() for record in caplog.records if "progress" in record.getMessage()]
        assert said == [f"live.nan {made.id}: its progress is left out: done=nan is no finite number"]
        assert (await made.status()).progress is None

    async def test_a_number_may_be_exact(self, jobs: AsyncJobs) -> None:
        made = await exact().enqueue()
        await made
        shown = (await made.status()).progress
        assert (shown.done, shown.of) == (1.5, 3.5)

    async def test_a_note_without_a_text_fails_nothing(self, jobs: AsyncJobs, caplog: pytest.LogCaptureFixture) -> None:
        made = await no_text().enqueue()
        with caplog.at_level(logging.WARNING):
            await made
        said = [record.getMessage() for record in caplog.records if "progress" in record.getMessage()]
        assert said == [f"live.no_text {made.id}: its progress is left out: no text"]
        assert (await made.status()).progress is None

    async def test_a_note_may_be_any_text(self, jobs: AsyncJobs) -> None:
        made = await odd_note().enqueue()
        await made
        progress = (await made.status()).progress
        assert (progress.of, progress.share, len(progress.note)) == (0, None, 503)
        assert progress.note.startswith("\\x00 üü")

    async def test_a_number_that_json_has_no_int_for_is_a_float(self, jobs: AsyncJobs) -> None:
        made = await show([[1e300, 2**53, ""]]).enqueue()
        [seen] = [seen async for seen in jobs.watch(made)]
        assert codec.loads(codec.dumps([seen.done, seen.of])) == [1e300, 2**53]

    async def test_a_job_that_shows_nothing_ends_all_the_same(self, jobs: AsyncJobs) -> None:
        made = await show([]).enqueue()
        assert await items(jobs.watch(made)) == await items(jobs.stream(made)) == []
        status = await made.status()
        assert (status.progress, status.items) == (None, 0)


class TestKeeping:
    async def test_they_go_with_the_job_when_its_time_is_over(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        old, new = await send(3).enqueue(), await send(2).enqueue()
        await asyncio.gather(old, new)
        await connection.execute(
            "create table asyncjobs.finished_20200101 partition of asyncjobs.finished "
            "for values from ('2020-01-01') to ('2020-01-02')"
        )
        await connection.execute("update asyncjobs.finished set expires_on = '2020-01-01' where id = $1", old.id)
        await connection.fetchval("select asyncjobs.drop_expired()")
        while await live.forget(connection, 2):
            pass
        left = await connection.fetch("select job, count(*) from asyncjobs.stream_item group by job")
        assert [tuple(row) for row in left] == [(new.id, 2)]
        assert await connection.fetchval("select array_agg(job) from asyncjobs.live_job") == [new.id]
