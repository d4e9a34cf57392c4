"""Jobs that fail, through a worker and the database: what is retried, what is kept, what those who await it see."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel, field_serializer

from asyncjobs import (
    AsyncJobs,
    Discard,
    Job,
    JobCancelled,
    JobDiscarded,
    JobFailed,
    Retry,
    Snooze,
    after_discard,
    current_job,
    discard_on,
    errors,
    job,
    rescue_from,
    retry_on,
)
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


class Broken(Exception):
    pass


@job(kind="failing.flaky", queue="numbers")
@retry_on(Broken, wait=0, attempts=4, queue="later", priority=7)
async def flaky(fails: int) -> int:
    if current_job().attempt <= fails:
        raise Broken(f"number {current_job().attempt}")
    return current_job().attempt


class TestARetry:
    async def test_is_the_same_job_and_every_attempts_error_is_kept_oldest_first(self, jobs: AsyncJobs) -> None:
        made = await flaky(2).enqueue()
        assert await made.result(timeout=20) == 3
        status = await made.status()
        assert (status.id, status.attempt, status.crashes) == (made.id, 3, 0)
        assert [(error.attempt, error.message) for error in status.errors] == [(1, "number 1"), (2, "number 2")]
        assert (status.queue, status.priority) == ("later", 7)

    async def test_ends_in_failed_when_its_attempts_are_used_up(self, jobs: AsyncJobs) -> None:
        made = await flaky(9).enqueue()
        with pytest.raises(JobFailed, match="Broken: number 4"):
            await made.result(timeout=20)
        assert (await made.status()).attempt == 4

    async def test_waits_in_the_database(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await patient().enqueue()
        await until(connection, "select true from asyncjobs.job where id = $1 and attempt = 1 and state = 0", made.id)
        seconds = await connection.fetchval(
            "select extract(epoch from run_at - clock_timestamp())::float8 from asyncjobs.job"
        )
        assert 3500 < seconds <= 3600 * 1.15
        assert jobs._worker is not None and jobs._worker.running == 0


@job(kind="failing.patient")
@retry_on(Broken, wait=3600)
async def patient() -> None:
    raise Broken


async def note_exhausted(lost: Job[Any], error: BaseException) -> None:
    SEEN.append(("exhausted", lost.attempt, str(error)))


async def fail_exhausted(lost: Job[Any], error: BaseException) -> None:
    raise LookupError("worse") from error


@job(kind="failing.exhausted")
@retry_on(Broken, wait=0, attempts=2, on_exhausted=note_exhausted, report=True)
@retry_on(ValueError, wait=0, attempts=2, on_exhausted=fail_exhausted)
async def exhausted(how: str) -> None:
    raise Broken("over") if how == "broken" else ValueError("over")


@exhausted.after_discard
def note_given_up(lost: Job[Any], error: BaseException) -> None:
    SEEN.append(("given up", type(error).__name__))


class TestTheLastWord:
    async def test_of_on_exhausted_discards(self, jobs: AsyncJobs) -> None:
        reported: list[str] = []
        listener = errors.subscribe(lambda error, **report: reported.append((str(error), report["context"]["attempt"])))
        try:
            with pytest.raises(JobDiscarded, match="over"):
                await (await exhausted("broken").enqueue()).result(timeout=20)
        finally:
            errors.unsubscribe(listener)
        assert SEEN == [("exhausted", 2, "over"), ("given up", "Broken")]
        assert reported == [("over", 1), ("over", 2)]

    async def test_fails_the_job_when_it_raises(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobFailed, match="LookupError: worse"):
            await (await exhausted("value").enqueue()).result(timeout=20)
        assert SEEN == [("given up", "LookupError")]


@discard_on(Broken)
class Rescued(Job, kind="failing.Rescued"):
    how: str

    async def perform(self) -> str:
        if self.how == "long":
            raise Broken("x" * 5_000_000)
        raise {"broken": Broken, "lookup": LookupError, "value": ValueError, "type": TypeError}[self.how](self.how)

    @rescue_from(LookupError, ValueError)
    async def saved(self, error: Exception) -> None:
        if self.how == "value":
            raise Discard("not worth it")

    @after_discard
    async def given_up(self, error: BaseException) -> None:
        SEEN.append(type(error).__name__)


class RescuedLate(Job[None], kind="failing.RescuedLate", timeout=1):
    async def perform(self) -> None:
        await asyncio.Event().wait()

    @rescue_from(TimeoutError)
    async def saved(self, error: TimeoutError) -> None:
        async def fails() -> None:
            raise Broken("in a task of the handler")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
        except* Broken:
            SEEN.append("handled")


class TestRescueAndDiscard:
    async def test_a_rescue_from_a_timeout_is_not_cancelled_and_handles_what_its_own_tasks_raise(
        self, jobs: AsyncJobs
    ) -> None:
        await (await RescuedLate().enqueue()).result(timeout=20)
        await RescuedLate().perform_now()
        assert SEEN == ["handled", "handled"]

    async def test_a_rescue_that_returns_is_success_with_none_and_the_error_is_kept(self, jobs: AsyncJobs) -> None:
        made = await Rescued(how="lookup").enqueue()
        assert await made.result(timeout=20) is None
        status = await made.status()
        assert (status.state, [error.type for error in status.errors]) == ("succeeded", ["builtins.LookupError"])
        assert SEEN == []

    @pytest.mark.parametrize(("how", "ending"), [("value", "not worth it"), ("broken", "Broken: broken")])
    async def test_what_is_discarded_says_why(self, jobs: AsyncJobs, how: str, ending: str) -> None:
        with pytest.raises(JobDiscarded, match=ending):
            await (await Rescued(how=how).enqueue()).result(timeout=20)
        assert len(SEEN) == 1

    async def test_an_error_that_nobody_takes_fails(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobFailed, match="TypeError"):
            await (await Rescued(how="type").enqueue()).result(timeout=20)
        assert SEEN == ["TypeError"]


@job(kind="failing.says")
@retry_on(Exception, wait=0, attempts=1)
async def says(what: str) -> str:
    times = SEEN.count(what)
    SEEN.append(what)
    if times == 0:
        match what:
            case "snooze":
                raise Snooze(0)
            case "retry":
                raise Retry(0, "again")
            case "retry from":
                raise Retry(0) from Broken("the cause")
    return f"{what}, attempt {current_job().attempt}"


class TestWhatAJobSaysItself:
    async def test_a_job_that_snoozes_when_performed_now_is_awaited_if_it_was_enqueued_before(
        self, make_jobs: Any
    ) -> None:
        async with make_jobs():
            made = await snoozes_once().enqueue()
            performed = asyncio.ensure_future(made.perform_now())
            await until_so(lambda: SEEN)
            async with make_jobs().running():
                assert await performed == "of its row"
        assert SEEN == ["snoozed"]

    async def test_a_snooze_spends_no_attempt_and_leaves_no_error(self, jobs: AsyncJobs) -> None:
        made = await says("snooze").enqueue()
        assert await made.result(timeout=20) == "snooze, attempt 1"
        assert (await made.status()).errors == []

    @pytest.mark.parametrize(("what", "kept"), [("retry", "again"), ("retry from", "the cause")])
    async def test_a_retry_spends_an_attempt_and_no_policys_count(self, jobs: AsyncJobs, what: str, kept: str) -> None:
        made = await says(what).enqueue()
        assert await made.result(timeout=20) == f"{what}, attempt 2"
        assert [error.message for error in (await made.status()).errors] == [kept]


@job(kind="failing.late", timeout=0.05)
@retry_on(TimeoutError, wait=0, attempts=2)
async def late() -> str:
    if current_job().attempt == 1:
        await asyncio.sleep(600)
    return "in time"


@job(kind="failing.late_for_good", timeout=0.05)
async def late_for_good() -> None:
    try:
        await asyncio.sleep(600)
    finally:
        SEEN.append(current_job().cancel_reason)


@job(kind="failing.expires", expires_in=0.001)
async def expires() -> None:
    SEEN.append("ran")


@job(kind="failing.in_time", timeout=0.05)
@retry_on(Exception, wait=0, attempts=3)
async def in_time() -> str:
    SEEN.append("ran")
    return "done"


@in_time.after_perform
async def outlast_the_timeout(made: Job[Any]) -> None:
    loop = asyncio.get_running_loop()
    later = loop.create_future()
    loop.call_later(0.05, later.set_result, None)  # the timeout's own timer would be served before it
    await later
    SEEN.append(made.cancel_reason)


@job(kind="failing.snoozes_once")
async def snoozes_once() -> str:
    if not SEEN:
        SEEN.append("snoozed")
        raise Snooze(3600)
    return "of its row"


@job(kind="failing.interrupted", expires_in=3600)
async def interrupted() -> str:
    if not SEEN:
        SEEN.append("interrupted")
        await asyncio.Event().wait()
    return "went on"


class TestTime:
    async def test_a_timeout_is_an_error_that_policies_see(self, jobs: AsyncJobs) -> None:
        assert await (await late().enqueue()).result(timeout=20) == "in time"

    async def test_a_timeout_that_no_policy_takes_fails(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobFailed, match="TimeoutError: the attempt took longer than its timeout of 0.05 s"):
            await (await late_for_good().enqueue()).result(timeout=20)
        assert SEEN == ["timeout"]

    async def test_a_timeout_ends_with_the_jobs_own_code(self, jobs: AsyncJobs) -> None:
        assert await (await in_time().enqueue()).result(timeout=20) == "done"
        assert SEEN == ["ran", None]

    async def test_what_is_not_started_in_time_is_discarded_and_never_runs(self, make_jobs: Any) -> None:
        async with make_jobs():
            made = await expires().enqueue()
            async with asyncio.timeout(PATIENCE):
                while (await made.status()).expires_at > (await later_than()):
                    pass
        async with make_jobs().running():
            with pytest.raises(JobDiscarded, match="JobExpired"):
                await made.result(timeout=20)
        assert SEEN == []

    async def test_what_was_started_in_time_goes_on_after_a_worker_that_stopped(self, make_jobs: Any) -> None:
        async with make_jobs():
            async with make_jobs(shutdown_timeout=0).running():
                made = await interrupted().enqueue()
                await until_so(lambda: SEEN)
            status = await made.status()
            assert (status.state, status.attempt, status.expires_at) == ("ready", 0, None)  # it cannot expire
            async with make_jobs().running():
                assert await made.result(timeout=20) == "went on"


async def later_than() -> Any:
    """The time of an enqueue now, by the database's clock."""
    return (await (await flaky(0).set(wait=600).enqueue()).status()).enqueued_at


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Exiting(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Lying(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise KeyboardInterrupt


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no")


def circle() -> Exception:
    first, second = Broken("first"), Broken("second")
    first.__cause__, second.__cause__ = second, first
    return first


def deep(levels: int) -> None:
    if levels:
        deep(levels - 1)
    raise Broken("deep")


ODD = {
    "NUL and surrogates": lambda: Broken("a\x00b\ud800"),
    "unreadable": lambda: Unreadable(),
    "exiting": lambda: Exiting(),
    "lying": lambda: Lying(),
    "unpicklable": lambda: Unpicklable("x"),
    "huge": lambda: Broken("x" * 10_000_000),
    "circle": circle,
    "group": lambda: ExceptionGroup("two", [ValueError("one"), ExceptionGroup("more", [TypeError("other")])]),
    "cancelled group": lambda: BaseExceptionGroup("two", [ValueError("one"), asyncio.CancelledError()]),
}


TYPES = {"unreadable": "Unreadable", "exiting": "Exiting", "lying": "KeyboardInterrupt", "unpicklable": "Unpicklable",
         "group": "ExceptionGroup", "cancelled group": "BaseExceptionGroup"}  # fmt: skip


@job(kind="failing.odd")
async def odd(which: str) -> None:
    if which == "deep":
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(6_000)
        try:
            deep(5_000)
        finally:
            sys.setrecursionlimit(limit)
    error = ODD[which]()
    raise error


class Unserializable(BaseModel):
    field: int = 0

    @field_serializer("field")
    def refuse(self, field: int) -> int:
        raise RuntimeError("this one never")


def nested(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


def endless() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


UNSTORABLE = {
    "object": object,
    "generator": lambda: (number for number in range(3)),
    "NaN": lambda: float("nan"),
    "NUL": lambda: "\x00",
    "circle": endless,
    "deep": lambda: nested(100_000),
    "big": lambda: "x" * 20_000_000,
}


@job(kind="failing.unstorable")
@retry_on(Exception, wait=0, attempts=3)
async def unstorable(which: str) -> Any:
    SEEN.append("ran")
    return UNSTORABLE[which]()


@job(kind="failing.unserializable")
@retry_on(Exception, wait=0, attempts=3)
async def unserializable() -> Unserializable:
    SEEN.append("ran")
    return Unserializable()


@job(kind="failing.annotated")
@retry_on(Exception, wait=0, attempts=3)
async def annotated(which: str) -> list[list[int]]:
    SEEN.append("ran")
    return {"deep": nested(100_000), "circle": endless(), "other": ["text"]}[which]


class Unhandled(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "failing." in record.getMessage():
            raise OSError("no space left on device")


@job(kind="failing.throws")
async def throws(name: str) -> None:
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit,
           "CancelledError": asyncio.CancelledError}[name]  # fmt: skip


class TestWhateverIsRaised:
    @pytest.mark.parametrize("which", [*ODD, "deep"])
    async def test_it_is_stored_bounded_and_the_job_has_failed(
        self, jobs: AsyncJobs, which: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = await odd(which).enqueue()
        with pytest.raises(JobFailed):
            await made.result(timeout=20)
        [error] = (await made.status()).errors
        assert error.type.rpartition(".")[2] == TYPES.get(which, "Broken")
        assert len(error.message) < 40_000 and len(error.traceback) < 40_000
        assert all(record.getMessage().encode() for record in caplog.records)

    @pytest.mark.parametrize(
        "made",
        [
            *(pytest.param(lambda which=which: unstorable(which), id=which) for which in UNSTORABLE),
            *(
                pytest.param(lambda which=which: annotated(which), id=f"annotated {which}")
                for which in ("deep", "circle", "other")
            ),
            pytest.param(lambda: unserializable(), id="unserializable"),
        ],
    )
    async def test_a_result_that_cannot_be_stored_fails_and_is_never_retried(self, jobs: AsyncJobs, made: Any) -> None:
        with pytest.raises(JobFailed, match="UnstorableResult"):
            await (await made().enqueue()).result(timeout=20)
        assert SEEN == ["ran"]

    @pytest.mark.parametrize("name", ["failing", "succeeding"])
    async def test_a_log_handler_that_raises_changes_nothing(self, jobs: AsyncJobs, name: str) -> None:
        handler = Unhandled()
        loggers = [logging.getLogger(name) for name in ("asyncjobs.worker", "asyncjobs.hooks", "asyncjobs.errors")]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            if name == "failing":
                with pytest.raises(JobFailed, match="Broken: number 4"):
                    await (await flaky(9).enqueue()).result(timeout=20)
            else:
                assert await (await hooked("KeyError").enqueue()).result(timeout=20) == "done"
        finally:
            for logger in loggers:
                logger.removeHandler(handler)

    @pytest.mark.parametrize("raised", ["KeyError", "Unreadable", "SystemExit", "CancelledError"])
    async def test_what_a_hook_raises_after_the_work_is_done_changes_nothing(
        self, jobs: AsyncJobs, raised: str
    ) -> None:
        assert await (await hooked(raised).enqueue()).result(timeout=20) == "done"
        assert SEEN == ["ran"]

    async def test_a_reason_is_short_however_long_the_error(
        self, jobs: AsyncJobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        with pytest.raises(JobDiscarded):
            await (await Rescued(how="long").enqueue()).result(timeout=20)
        assert max(len(record.getMessage()) for record in caplog.records) < 1_000

    async def test_a_wait_function_that_fails_without_a_text_stands_for_the_default(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await oddly_patient().enqueue()
        seconds = await until(
            connection,
            "select extract(epoch from run_at - enqueued_at)::float8 from asyncjobs.job where attempt = 1 and state = 0",
        )
        assert 3 <= seconds < 30

    async def test_a_signal_out_of_a_task_group_is_the_jobs(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobDiscarded, match="out of a task"):
            await (await grouped().enqueue()).result(timeout=20)

    @pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError"])
    async def test_what_would_end_a_loop_ends_the_job_alone(self, jobs: AsyncJobs, name: str) -> None:
        with pytest.raises(JobFailed, match=name):
            await (await throws(name).enqueue()).result(timeout=20)
        assert await (await flaky(0).enqueue()).result(timeout=20) == 1

    async def test_stored_arguments_that_no_longer_fit_go_through_the_policies(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await connection.fetchval(
            "select asyncjobs.enqueue(kind => 'failing.flaky', args => '{\"fails\": \"many\"}')"
        )
        with pytest.raises(JobFailed, match="InvalidArguments"):
            await (await jobs.get(made)).result(timeout=20)


@job(kind="failing.hooked")
@retry_on(Exception, wait=0, attempts=3)
async def hooked(raised: str) -> str:
    SEEN.append("ran")
    return "done"


@hooked.after_perform
async def spoil(made: Job[Any]) -> None:
    raise {"KeyError": KeyError, "Unreadable": Unreadable, "SystemExit": SystemExit,
           "CancelledError": asyncio.CancelledError}[made.arguments["raised"]]  # fmt: skip


@job(kind="failing.oddly_patient")
@retry_on(Broken, wait=lambda _executions: odd_wait())
async def oddly_patient() -> None:
    raise Broken


def odd_wait() -> float:
    raise Unreadable


async def give_up() -> None:
    raise Discard("out of a task")


@job(kind="failing.grouped")
async def grouped() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(give_up())


async def hold(cleanup: float = 0.0) -> None:
    try:
        SEEN.append("begun")
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(cleanup)
        SEEN.append(current_job().cancel_reason)


holding = job(kind="failing.hold")(hold)


@job(kind="failing.swallow")
@retry_on(Exception, wait=0)
async def swallow() -> str:
    SEEN.append("begun")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        SEEN.append("swallowed")
    return "as if nothing had happened"


@job(kind="failing.raises_then")
@retry_on(Broken, wait=0)
async def raises_when_cancelled() -> None:
    SEEN.append("begun")
    try:
        await asyncio.sleep(600)
    finally:
        raise Broken


@job(kind="failing.finishing")
async def finishing() -> str:
    return "done"


@finishing.after_perform
async def linger(made: Job[Any]) -> None:
    await hold()


async def begun(count: int = 1) -> None:
    await until_so(lambda: SEEN.count("begun") >= count)


class TestCancelling:
    @pytest.mark.parametrize("wait", [None, 60])
    async def test_what_has_not_begun_is_cancelled_at_once(self, client: AsyncJobs, wait: float | None) -> None:
        made = holding()
        await (made if wait is None else made.set(wait=wait)).enqueue()
        assert await made.cancel("too late")
        with pytest.raises(JobCancelled, match="too late"):
            await made.result(timeout=20)
        assert not await made.cancel()

    async def test_what_runs_gets_its_cancellation_and_its_cleanup_runs(self, jobs: AsyncJobs) -> None:
        made = await holding(0.01).enqueue()
        await begun()
        assert await jobs.cancel(made.id, "enough")
        with pytest.raises(JobCancelled, match="enough"):
            await made.result(timeout=20)
        assert SEEN == ["begun", "user"]

    async def test_a_lost_notice_is_made_up_for_by_the_poll(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await holding().enqueue()
        await begun()
        await connection.execute("update asyncjobs.job set cancel_reason = 'quietly'")
        with pytest.raises(JobCancelled, match="quietly"):
            await made.result(timeout=20)

    @pytest.mark.parametrize("stubborn", [swallow, raises_when_cancelled])
    async def test_it_is_cancelled_whatever_it_makes_of_it_and_never_retried(
        self, jobs: AsyncJobs, stubborn: Any
    ) -> None:
        made = await stubborn().enqueue()
        await begun()
        await made.cancel("enough")
        with pytest.raises(JobCancelled, match="enough"):
            await made.result(timeout=20)
        assert SEEN.count("begun") == 1
        assert (await made.status()).result is None

    async def test_a_draining_worker_cancels_too(self, make_jobs: Any) -> None:
        async with make_jobs() as watching:
            working = make_jobs(shutdown_timeout=60)
            async with working.running():
                made = await watching.enqueue(holding())
                await begun()
                worker = working._worker
                assert worker is not None
                worker.stop()
                await watching.cancel(made.id, "while it drains")
            with pytest.raises(JobCancelled, match="while it drains"):
                await (await watching.get(made.id)).result(timeout=20)

    async def test_by_notice_in_another_process_long_before_its_poll(
        self, make_jobs: Any, connection: asyncpg.Connection
    ) -> None:
        async with make_jobs(dispatcher={"polling_interval": 60}).running() as working:
            made = await working.enqueue(holding())
            await begun()
            # As another process would: over a connection of its own.
            assert await connection.fetchval("select asyncjobs.cancel($1, 'told', 7)", made.id) == "cancelling"
            with pytest.raises(JobCancelled, match="told"):
                await made.result(timeout=20)
        assert SEEN == ["begun", "user"]

    async def test_it_is_not_run_again_when_its_worker_dies_after_the_request(
        self, make_jobs: Any, connection: asyncpg.Connection
    ) -> None:
        async with make_jobs() as watching:
            made = await watching.enqueue(holding())
            # Claimed by a worker that has died since, with the request on its row.
            await connection.execute(
                "update asyncjobs.job set state = 2, attempt = 1, fence = 1, worker = gen_random_uuid(), started_at = now()"
            )
            assert await watching.cancel(made.id, "no more")
            async with make_jobs().running():
                with pytest.raises(JobCancelled, match="no more"):
                    await made.result(timeout=20)
        assert SEEN == []

    async def test_the_work_is_not_done_twice_when_the_worker_stops_during_a_hook(self, make_jobs: Any) -> None:
        async with make_jobs() as watching:
            async with make_jobs(shutdown_timeout=0).running():
                made = await watching.enqueue(finishing())
                await begun()
            status = await watching.status(made.id)
        assert (status.state, SEEN) == ("succeeded", ["begun", "shutdown"])

    async def test_a_stopping_worker_gives_it_back_unspent(self, make_jobs: Any) -> None:
        async with make_jobs() as watching:
            async with make_jobs(shutdown_timeout=0).running():
                made = await watching.enqueue(holding())
                await begun()
            status = await watching.status(made.id)
        assert (status.state, status.attempt, status.errors) == ("ready", 0, [])
        assert SEEN == ["begun", "shutdown"]
