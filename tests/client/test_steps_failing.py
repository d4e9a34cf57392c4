"""Steps that fail, through a worker: whose error it is, who has a say in it, and what is kept."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from asyncjobs import (
    AsyncJobs,
    Cursor,
    Job,
    JobFailed,
    Retry,
    attribute,
    current_job,
    job,
    retry_on,
    step,
)

ran: list[str] = []
asked: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def forgotten() -> None:
    ran.clear()
    asked.clear()
    given_back.clear()


async def steps_of(connection: asyncpg.Connection, made: Job[Any]) -> dict[str, str]:
    """The states of the steps of a finished job, by name, in their order."""
    found = await connection.fetch(
        "select s->>'name' as name, s->>'state' as state from asyncjobs.finished, json_array_elements(steps::json) as s"
        " where id = $1",
        made.id,
    )
    return {row["name"]: row["state"] for row in found}


async def failed(made: Job[Any], attempts: int) -> JobFailed:
    """How a job failed, after so many attempts."""
    with pytest.raises(JobFailed) as raised:
        await made.result(timeout=20)
    assert (await made.status()).attempt == attempts
    return raised.value


@job(kind="failing.misplaced")
@retry_on(Exception, wait=0, attempts=5)
async def misplaced(how: str) -> None:
    me = current_job()
    ran.append(how)

    async def inner() -> None:
        await me.step("inner", asyncio.sleep, 0)

    def in_a_thread(page: int) -> None: ...

    async def sleeping() -> None:
        await me.sleep("inner", 1)

    match how:
        case "nested":
            await me.step("outer", inner)
        case "nested sleep":
            await me.step("outer", sleeping)
        case "called":
            await me.step("outer", 3)
        case "arguments":
            await me.step("outer", sleeping, timeout=3)
        case "arguments in a thread":
            await me.step("outer", in_a_thread)
        case "list":
            await me.run("outer", [misplaced("a")])
        case "definition":
            await me.run("outer", misplaced)
        case "duplicate":
            await me.step("outer", asyncio.sleep, 0)
            await me.step("outer", asyncio.sleep, 0)
        case "concurrent":
            await asyncio.gather(me.step("outer", asyncio.sleep, 0.01), me.step("inner", asyncio.sleep, 0.01))
        case "concurrent in a group":
            async with asyncio.TaskGroup() as group:
                group.create_task(me.step("outer", asyncio.sleep, 0.01))
                group.create_task(me.step("inner", asyncio.sleep, 0.01))
        case _:
            await me.step(how, asyncio.sleep, 0)


class TestStepsOutOfPlace:
    """`InvalidStep` fails the job, though it would be retried for anything else."""

    @pytest.mark.parametrize(
        ("how", "said"),
        [
            ("nested", "'inner' is begun inside step 'outer'"),
            ("nested sleep", "'inner' is begun inside step 'outer'"),
            ("nested sleep", "sleep, wait_for and run are steps themselves: call them from perform"),
            ("called", "step 'outer' is given int, which cannot be called"),
            (
                "arguments",
                "got an unexpected keyword argument 'timeout': arguments after the function are passed to it",
            ),
            (
                "arguments in a thread",
                "missing 1 required positional argument: 'page': arguments after the function are passed to it",
            ),
            ("duplicate", "'outer' is run twice"),
            ("concurrent", "'inner' is begun while another task of the job is in step 'outer'"),
            ("concurrent in a group", "'inner' is begun while another task of the job is in step 'outer'"),
            ("", "is no name of a step"),
            ("x" * 402, "is no name of a step"),
        ],
        ids=[
            "nested",
            "nested sleep",
            "remedy",
            "called",
            "arguments",
            "arguments in a thread",
            "duplicate",
            "concurrent",
            "concurrent in a group",
            "empty name",
            "long name",
        ],
    )
    async def test_they_fail_the_job_and_are_never_retried(self, jobs: AsyncJobs, how: str, said: str) -> None:
        error = await failed(await misplaced(how).enqueue(), attempts=1)
        assert said in str(error) or "unhandled errors in a TaskGroup" in str(error)
        assert ran == [how]


@pytest.mark.parametrize(("how", "what"), [("list", "list"), ("definition", "JobFunction")])
async def test_what_is_no_job_cannot_be_run_as_a_step(jobs: AsyncJobs, how: str, what: str) -> None:
    error = await failed(await misplaced(how).enqueue(), attempts=5)
    assert f"run: {what} is no job: give the jobs one by one" in str(error)


class Mixed(Job, kind="failing.Mixed"):
    """Declared steps with a sleep between them, run one by one."""

    @step(retry=retry_on(ConnectionError, wait=0, attempts=3))
    async def fetch(self) -> int:
        ran.append("fetch")
        if ran.count("fetch") < 3:
            raise ConnectionError("not yet")
        return 7

    @step(isolated=True)
    async def store(self, connection: asyncpg.Connection) -> None:
        ran.append("store")
        await connection.fetch("select 1")

    @step(on_error="handled")
    async def risky(self) -> None:
        raise ValueError("not today")

    @step(when=lambda self: False)
    async def never(self) -> None:
        ran.append("never")

    def handled(self, error: BaseException) -> None:
        ran.append(f"handled {error}")

    async def perform(self) -> int:
        fetched = await self.step("fetch", self.fetch)
        await self.sleep("cool-down", 0.01)
        await self.step("store", self.store)
        await self.step("risky", self.risky)
        await self.step("never", self.never)
        return fetched


async def test_a_declared_step_that_is_called_keeps_its_options_and_may_stand_beside_a_sleep(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await Mixed().enqueue()
    assert await made.result(timeout=20) == 7
    assert ran == ["fetch", "fetch", "fetch", "store", "handled not today"]
    assert await steps_of(connection, made) == {
        "fetch": "succeeded", "cool-down": "succeeded", "store": "succeeded", "risky": "handled", "never": "skipped"
    }  # fmt: skip


class Forgetful(Job, kind="failing.Forgetful"):
    @step
    async def work(self) -> None: ...

    async def perform(self) -> None: ...


async def test_a_perform_that_runs_none_of_the_declared_steps_is_warned_of_once(
    jobs: AsyncJobs, caplog: pytest.LogCaptureFixture
) -> None:
    for made in [await Forgetful().enqueue() for _ in range(3)]:
        await made.result(timeout=20)
    assert caplog.text.count("failing.Forgetful declares steps, and its perform() has run none of them") == 1
    await (await Mixed().enqueue()).result(timeout=20)
    assert "failing.Mixed declares" not in caplog.text


order = ["a", "b"]


@job(kind="failing.changed")
@retry_on(Exception, wait=0, attempts=9)
async def changed() -> None:
    me = current_job()
    for name in order:
        await me.step(name, ran.append, name)
    if me.attempt == 1:
        order.reverse()
        raise ValueError("and the code changes")


async def test_code_that_changed_while_a_job_was_in_flight_fails_it_with_the_names_of_both_versions(
    jobs: AsyncJobs,
) -> None:
    error = await failed(await changed().enqueue(), attempts=2)
    assert "Recorded: 'a', 'b'. The code now: 'b' …" in str(error)
    assert ran == ["a", "b"]


@dataclass
class Parsed:
    at: datetime
    total: Decimal


async def parse() -> Parsed:
    ran.append("parse")
    return Parsed(datetime(2026, 1, 2), Decimal("1.10"))


def names() -> set[str]:
    ran.append("names")
    return {"a"}


async def nothing() -> None:
    ran.append("nothing")


@job(kind="failing.typed")
@retry_on(ValueError, wait=0)
async def typed() -> str:
    me = current_job()
    got = [await me.step("parse", parse), await me.step("names", names), await me.step("nothing", nothing)]
    if me.attempt == 1:
        raise ValueError
    return repr(got) + f" resumed={me.resumed}"


async def test_results_are_given_back_in_their_types(jobs: AsyncJobs) -> None:
    made = await typed().enqueue()
    expected = [Parsed(datetime(2026, 1, 2), Decimal("1.10")), {"a"}, None]
    assert await made.result(timeout=20) == repr(expected) + " resumed=True"
    assert ran == ["parse", "names", "nothing"]


class Conditional(Job, kind="failing.Conditional"):
    async def _no(self) -> bool:
        asked["method"] += 1
        return False

    def _yes(self) -> bool:
        asked["unless"] += 1
        return True

    async def _asynchronous(self) -> bool:  # given as a function
        asked["async"] += 1
        return False

    @step(when="_no")
    async def by_method(self) -> None:
        ran.append("by_method")

    @step(when=_asynchronous)
    async def by_async(self) -> None:
        ran.append("by_async")

    @step(when=lambda self: asked.update(["sync"]))
    async def by_sync(self) -> None:
        ran.append("by_sync")

    @step(unless="_yes")
    async def by_unless(self) -> None:
        ran.append("by_unless")

    @step(when=lambda self: True, unless=lambda self: False)
    async def by_both(self) -> None:
        ran.append("by_both")

    async def perform(self) -> None:
        await self.run_steps()
        if self.attempt == 1:
            raise Retry(wait=0)


async def test_what_was_skipped_is_recorded_and_not_asked_again(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await Conditional().enqueue()
    await made.result(timeout=20)
    assert asked == {"method": 1, "async": 1, "sync": 1, "unless": 1}
    assert ran == ["by_both"]
    states = await steps_of(connection, made)
    assert states == {
        "by_method": "skipped", "by_async": "skipped", "by_sync": "skipped", "by_unless": "skipped", "by_both": "succeeded",
    }  # fmt: skip


class Begun(Job, kind="failing.Begun"):
    @step(when=lambda self: asked.update(["when"]) is None and self.attempt == 1)
    async def work(self, cursor: Cursor[int]) -> None:
        async for n in cursor.each(range(3)):
            ran.append(str(n))
            if self.attempt == 1 and n == 1:
                raise Retry(wait=0)


async def test_a_step_that_has_begun_is_not_skipped_on_a_second_thought(jobs: AsyncJobs) -> None:
    await (await Begun().enqueue()).result(timeout=20)
    assert asked == {"when": 1} and ran == ["0", "1", "1", "2"]


class Handled(Job, kind="failing.Handled"):
    how: str

    async def _handler(self, error: BaseException) -> None:
        ran.append(f"handler {type(error).__name__}")
        if self.how == "raises":
            raise KeyError("from the handler")
        if self.how == "retries":
            raise Retry(wait=0)

    @step(on_error="_handler")
    async def risky(self) -> None:
        ran.append("risky")
        if self.how != "retries" or self.attempt == 1:
            raise ValueError("risky")

    @step
    async def after(self) -> None:
        ran.append("after")
        if self.how == "returns" and self.attempt == 1:
            raise Retry(wait=0)


class TestOnError:
    async def test_that_returns_has_handled_it_for_good(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await Handled(how="returns").enqueue()
        await made.result(timeout=20)
        assert ran == ["risky", "handler ValueError", "after", "after"]
        assert await steps_of(connection, made) == {"risky": "handled", "after": "succeeded"}
        [stored] = await connection.fetch("select steps::json->0->>'error' as error from asyncjobs.finished")
        assert "ValueError" in stored["error"] and "risky" in stored["error"]

    async def test_that_raises_puts_its_own_error_in_the_place_of_the_steps(self, jobs: AsyncJobs) -> None:
        error = await failed(await Handled(how="raises").enqueue(), attempts=1)
        assert "from the handler" in str(error)
        assert ran == ["risky", "handler ValueError"]

    async def test_may_say_how_the_attempt_ends(self, jobs: AsyncJobs) -> None:
        made = await Handled(how="retries").enqueue()
        await made.result(timeout=20)
        assert ran == ["risky", "handler ValueError", "risky", "after"]


class Patient(Job, kind="failing.Patient"):
    """Its steps have retries of their own, then a handler, then the job's policies."""

    @step(retry=retry_on(ValueError, wait=0, attempts=2), on_error=lambda self, error: ran.append("handled"))
    async def first(self) -> None:
        ran.append("first")
        raise ValueError

    @step(retry=[retry_on(KeyError, wait=0, attempts=2), retry_on(ValueError, wait=0, attempts=3)])
    async def second(self) -> None:
        ran.append("second")
        raise ValueError


@retry_on(ValueError, wait=0, attempts=2)
class MorePatient(Patient, kind="failing.MorePatient"): ...


class TestRetriesOfASteps:
    async def test_count_by_themselves_and_then_the_handler_is_asked(self, jobs: AsyncJobs) -> None:
        await failed(await Patient().enqueue(), attempts=4)
        assert ran == ["first", "first", "handled", *["second"] * 3]

    async def test_are_followed_by_the_jobs_own_policies(self, jobs: AsyncJobs) -> None:
        await failed(await MorePatient().enqueue(), attempts=5)
        assert ran == ["first", "first", "handled", *["second"] * 4]


class Timed(Job, kind="failing.Timed"):
    started = threading.Event()

    @step(timeout=0.05, on_error=lambda self, error: ran.append(str(error)))
    async def slow(self) -> None:
        await asyncio.sleep(60)

    @step(timeout=timedelta(milliseconds=500), on_error=lambda self, error: ran.append(type(error).__name__))
    def slow_thread(self) -> None:  # begins within its time, and outlasts it, on a busy machine too
        threading.Event().wait(2)
        ran.append("its thread went on to its end")

    @step(timeout=60)
    async def quick(self) -> None:
        ran.append("quick")


async def test_a_step_that_takes_too_long_ends_in_a_timeout_error(jobs: AsyncJobs) -> None:
    await (await Timed().enqueue()).result(timeout=20)
    late = "step 'slow' took longer than its timeout of 0.05 s"
    assert ran == [late, "its thread went on to its end", "TimeoutError", "quick"]


class Threaded(Job, kind="failing.Threaded"):
    how: str = ""

    @step
    def work(self) -> int:
        ran.append("main" if threading.current_thread() is threading.main_thread() else "thread")
        if self.how:
            raise {"SystemExit": SystemExit, "ValueError": ValueError, "StopIteration": StopIteration}[self.how](7)
        return current_job().attempt

    async def perform(self) -> bool:
        await self.run_steps()
        return await self.step("another", lambda: threading.current_thread() is threading.main_thread())


class TestDefSteps:
    async def test_run_in_a_thread_that_knows_its_job(self, jobs: AsyncJobs) -> None:
        assert await (await Threaded().enqueue()).result(timeout=20) is False
        assert ran == ["thread"]

    @pytest.mark.parametrize("how", ["SystemExit", "ValueError", "StopIteration"])
    async def test_fail_as_any_other(self, jobs: AsyncJobs, how: str) -> None:
        error = await failed(await Threaded(how=how).enqueue(), attempts=1)
        assert how in str(error) or how in error.error_type
        assert await (await Threaded().enqueue()).result(timeout=20) is False


class Progressing(Job, kind="failing.Progressing"):
    how: str
    total: int = attribute(default=0)

    @step
    async def first(self) -> None:
        self.total += 1

    @step(retry=retry_on(ValueError, wait=0))
    async def export(self, cursor: Cursor[int]) -> None:
        async for n in cursor.each(range(1, 6)):
            ran.append(f"{n}")
            self.total += 10 * n
            if n == 3 and self.attempt == 1:
                raise ValueError

    async def perform(self) -> int:
        await self.run_steps()
        return self.total


async def test_an_error_after_progress_keeps_the_progress_and_the_attributes_of_the_last_move(
    jobs: AsyncJobs,
) -> None:
    assert await (await Progressing(how="").enqueue()).result(timeout=20) == 151
    assert ran == ["1", "2", "3", "3", "4", "5"]


class Caught(Job, kind="failing.Caught"):
    """Catches a step's error itself, and goes on to the next."""

    async def perform(self) -> list[str]:
        got = []
        for name in ("a", "b", "c"):
            try:
                got.append(await self.step(name, self._work, name))
            except ValueError:
                got.append(f"{name} failed")
        if self.attempt == 1:
            raise Retry(wait=0)
        return got

    async def _work(self, name: str) -> str:
        ran.append(name)
        if name == "b" and self.attempt == 1:
            raise ValueError
        return name


async def test_a_step_whose_error_the_job_caught_is_run_again_and_the_others_are_not(jobs: AsyncJobs) -> None:
    assert await (await Caught().enqueue()).result(timeout=20) == ["a", "b", "c"]
    assert ran == ["a", "b", "c", "b"]


class Unstorable(Job, kind="failing.Unstorable"):
    where: str
    value: Any = attribute(default=None)

    def _handler(self, error: BaseException) -> None:
        ran.append("handler")

    @step(on_error="_handler")
    async def work(self, cursor: Cursor[Any]) -> Any:
        return await self._work(cursor)

    async def _work(self, cursor: Cursor[Any]) -> Any:
        ran.append("work")
        match self.where:
            case "cursor":
                await cursor.set(float("nan"))
            case "cursor in each":
                async for _ in cursor.each([1, 2**70]):
                    await asyncio.sleep(0.01)
            case "cursor in map":
                await cursor.map(lambda n: asyncio.sleep(0.01), [1, 2**70])
            case "attribute":
                self.value = object()
            case "attribute at a move":
                self.value = object()
                await cursor.set(1)
            case "result":
                return "\ud800"
        return None


class Retried(Unstorable, kind="failing.Retried"):
    @step(retry=retry_on(Exception, wait=0, attempts=5))
    async def work(self, cursor: Cursor[Any]) -> Any:
        return await self._work(cursor)


PLACES = ["cursor", "cursor in each", "cursor in map", "attribute", "attribute at a move", "result"]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("of", [Unstorable, Retried])
async def test_what_cannot_be_stored_fails_the_job_and_is_never_retried_nor_handled(
    jobs: AsyncJobs, of: Any, where: str
) -> None:
    error = await failed(await of(where=where).enqueue(), attempts=1)
    assert "UnstorableResult" in error.error_type and f"{of._definition.kind}." in str(error)
    assert ran == ["work"]


given_back: list[Any] = []


def cursor_job(name: str, annotation: Any, value: Any) -> Callable[[], Job[Any]]:
    async def work(self: Any, cursor: Any) -> None:
        if self.attempt == 1:
            assert not cursor.resumed
            await cursor.set(value)
            raise Retry(wait=0)
        given_back.append(cursor.value)

    work.__annotations__ = {"cursor": Cursor[annotation]}
    return type(f"Of_{name}", (Job,), {"work": step(work)}, kind=f"failing.cursor_{name}")


VALUES: dict[str, tuple[Any, Any]] = {
    "int": (int, 2**63 - 1), "negative": (int, -(2**63)), "zero": (int, 0), "text": (str, "ünï 🎉 \\ \" ' \n"),
    "empty": (str, ""), "nul": (bytes, b"\x00\xff"), "date": (datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    "decimal": (Decimal, Decimal("1E-20")), "tuple": (tuple[str, int], ("a", 1)), "parsed": (Parsed, Parsed(datetime(2026, 1, 1), Decimal(1))),
    "false": (bool, False), "float": (float, 0.1), "long": (str, "x" * 1_000_000), "nested": (dict[str, list[int]], {"a": [1] * 100}),
}  # fmt: skip
OF = {name: cursor_job(name, *how) for name, how in VALUES.items()}


@pytest.mark.parametrize("name", VALUES)
async def test_a_cursor_is_given_back_in_its_type(jobs: AsyncJobs, name: str) -> None:
    await (await OF[name]().enqueue()).result(timeout=20)
    assert given_back == [VALUES[name][1]] and type(given_back[0]) is type(VALUES[name][1])


@job(kind="stepping.records_much")
async def records_much(count: int, size: int) -> int:
    steps = current_job()
    for n in range(count):
        await steps.step(f"page {n}", page, size)
    return count


async def page(size: int) -> str:
    return "ä" * size


class Rewrites(Job, kind="stepping.rewrites_much"):
    count: int

    @step
    async def go(self, cursor: Cursor[str]) -> None:
        for n in range(self.count):
            await cursor.set(f"{n:x>400000}")

    @step(isolated=True)
    async def isolated(self, connection: Any) -> str:
        await connection.execute("insert into much values (1)")
        return "x" * 700_000


async def test_more_than_may_be_recorded_of_a_job_is_refused_at_the_step(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    await connection.execute("create table if not exists much (n integer)")
    async with make_jobs(max_recorded="1MiB").running():
        assert await (await records_much(10, 50_000).enqueue()).result(timeout=20) == 10
        made = await records_much(12, 50_000).enqueue()
        with pytest.raises(JobFailed, match=r"InvalidStep: .*with step 'page 10', 1\.0 MiB .*; max_recorded is 1 MiB"):
            await made.result(timeout=20)
        status = await made.status()
        assert (status.attempt, len(status.steps)) == (1, 10)
        with pytest.raises(JobFailed, match="with step 'isolated'"):  # and what it has done is undone
            await (await Rewrites(count=20).enqueue()).result(timeout=20)
    assert await connection.fetchval("select count(*) from much") == 0


cursor_types: list[Any] = []


async def moved(cursor: Any) -> None:
    await cursor.set(41)
    raise ValueError


async def moved_later(cursor: Cursor[datetime]) -> None:
    await cursor.checkpoint()


@job(kind="failing.cursor_of_another_type")
async def cursor_of_another_type() -> None:
    await current_job().step("move", cursor_types[0])


async def test_a_cursor_that_was_recorded_as_another_type_is_not_read_as_this_one(jobs: AsyncJobs) -> None:
    cursor_types[:] = [moved]
    made = await cursor_of_another_type().enqueue()
    with pytest.raises(JobFailed, match="ValueError"):
        await made.result(timeout=20)
    cursor_types[:] = [moved_later]
    await jobs.retry(made.id)
    with pytest.raises(JobFailed, match="its cursor was recorded as 41, which is read as datetime"):
        await made.result(timeout=20)
