"""`AsyncJobs().blocking()`: programs without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from client_jobs import double

from asyncjobs import (
    AlreadyOpen,
    AsyncJobs,
    InsideEventLoop,
    InvalidArguments,
    InvalidCall,
    InvalidOption,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    NotEnqueued,
    NotOpen,
    SchemaMismatch,
    current_job,
    job,
)
from asyncjobs.client.blocking import BlockingJobs, BlockingRecurring
from asyncjobs.client.recurring import Recurring
from tests.conftest import Databases
from tests.support import warm
from tests.support.processes import PATIENCE


@job(kind="blocking.breaks")
async def breaks() -> None:
    raise ValueError("on purpose")


@job(kind="blocking.for_approval")
async def for_approval(key: int) -> Any:
    return await current_job().wait_for("blocking.approved", key=key)


@pytest.fixture(scope="module")
def worker(databases: Databases, plain_config: Path) -> Iterator[str]:
    """A worker, on a loop in another thread; the URL of its database."""
    stop, ready = threading.Event(), threading.Event()

    async def work() -> None:
        pools = [{"queues": ["*"], "concurrency": 10}]
        async with AsyncJobs(database_url=url, config=plain_config, shutdown_timeout=1, pools=pools).running():
            ready.set()
            await asyncio.to_thread(stop.wait)

    with databases.another() as url:
        thread = threading.Thread(target=lambda: asyncio.run(work()))
        thread.start()
        assert ready.wait(PATIENCE)
        yield url
        stop.set()
        thread.join()


@pytest.fixture
def blocking(request: pytest.FixtureRequest) -> Iterator[BlockingJobs]:
    """On the database of the worker, where the test has that, or on one of which no test looks at all jobs."""
    url = request.getfixturevalue("worker" if "worker" in request.fixturenames else "shared_url")
    with AsyncJobs(database_url=url).blocking() as jobs:
        yield jobs


class TestWhatItGives:
    def test_jobs_are_enqueued_and_awaited_without_await(self, worker: str, blocking: BlockingJobs) -> None:
        made = blocking.enqueue(double(4))
        assert blocking.result(made, timeout=20) == 8
        assert blocking.status(made).state == blocking.status(made.id).state == "succeeded"
        again = blocking.get(str(made.id), double)
        assert blocking.result(again) == 8
        assert not blocking.cancel(made)
        assert not blocking.retry(made) and blocking.retry(made.id, force=True)

    @pytest.mark.parametrize("named", [lambda made: made, lambda made: made.id, lambda made: str(made.id)])
    def test_a_job_is_named_by_itself_by_its_id_or_by_the_text_of_that(
        self, worker: str, blocking: BlockingJobs, named: Callable[[Job[int]], Any]
    ) -> None:
        made = named(blocking.enqueue(double(4)))
        assert blocking.result(made, timeout=20) == 8
        assert blocking.get(made).arguments == blocking.get(made, double).arguments == {"number": 4}
        assert blocking.status(made).result == 8
        assert not blocking.cancel(made)
        assert blocking.retry(made, force=True)

    def test_a_job_that_waits_for_an_event_gets_it(self, worker: str, blocking: BlockingJobs) -> None:
        assert blocking.emit("blocking.approved", key=7, payload={"by": "kim"}) == 0
        assert blocking.result(blocking.enqueue(for_approval(7)), timeout=20) == {"by": "kim"}

    def test_many_are_enqueued_and_their_iterable_is_read_in_the_callers_thread(self, blocking: BlockingJobs) -> None:
        threads = set()

        def made() -> Iterator[Any]:
            for number in range(4_500):
                threads.add(threading.get_ident())
                yield double(number)

        assert blocking.enqueue_all(made()) == 4_500
        assert threads == {threading.get_ident()}

    def test_a_job_is_cancelled(self, blocking: BlockingJobs) -> None:
        made = blocking.enqueue(double(1).set(wait=60))
        assert blocking.cancel(made, reason="not needed")
        with pytest.raises(JobCancelled, match="not needed"):
            blocking.result(made, timeout=20)

    def test_what_recurs_is_added_paused_run_and_removed(self, blocking: BlockingJobs) -> None:
        recurring = blocking.recurring
        added = recurring.add(
            "nightly", double(4), schedule="30 2 * * *", timezone="Europe/Paris", queue="low", priority=3, catch_up="all",
            overlap="skip", jitter=5, enabled=True,
        )  # fmt: skip
        assert (added.name, added.kind, added.schedule, added.timezone) == (
            "nightly",
            double.kind,
            "30 2 * * *",
            "Europe/Paris",
        )
        assert (added.queue, added.priority, added.catch_up, added.overlap, added.jitter) == (
            "low",
            3,
            "all",
            "skip",
            5,
        )
        recurring.add("off", double(5), schedule="@daily", enabled=False)
        recurring.pause("nightly")
        assert [(each.name, each.paused, each.next_at is None) for each in recurring.all()] == [
            ("nightly", True, True), ("off", False, True)
        ]  # fmt: skip
        recurring.resume("nightly")
        assert recurring.all()[0].next_at is not None
        made = recurring.run("nightly")
        assert (made.arguments, blocking.status(made).queue) == ({"number": 4}, "low")
        assert recurring.remove("off") and not recurring.remove("off")
        with pytest.raises(InvalidOption, match="nothing recurs under the name 'of': there are nightly"):
            recurring.pause("of")

    def test_of_what_recurs_it_has_what_the_other_face_has(self) -> None:
        def face(kind: type) -> dict[str, list[str]]:
            methods = {name: method for name, method in vars(kind).items() if not name.startswith("_")}
            return {
                name: [str(each) for each in inspect.signature(method).parameters.values()]
                for name, method in methods.items()
            }

        assert face(BlockingRecurring) == face(Recurring)

    def test_the_methods_of_a_job_work_beside_it(self, blocking: BlockingJobs) -> None:
        assert double(1).enqueue_from_thread().disposition == "enqueued"

    def test_many_threads_use_it_at_once(self, worker: str, blocking: BlockingJobs) -> None:
        def one(number: int) -> int:
            return blocking.result(blocking.enqueue(double(number)), timeout=30)

        with ThreadPoolExecutor(20) as pool:
            assert list(pool.map(one, range(100))) == [2 * number for number in range(100)]

    def test_it_may_be_opened_again(self, shared_url: str) -> None:
        jobs = AsyncJobs(database_url=shared_url)
        blocking = jobs.blocking()
        for opened in (blocking, blocking, jobs.blocking()):
            with opened:
                opened.enqueue(double(1))


class TestErrors:
    def test_arrive_as_themselves(self, worker: str, blocking: BlockingJobs) -> None:
        with pytest.raises(JobFailed, match="on purpose"):
            blocking.result(blocking.enqueue(breaks()), timeout=20)
        with pytest.raises(NotEnqueued):
            blocking.result(double(1))
        with pytest.raises(NotEnqueued):
            blocking.status(double(1))
        with pytest.raises(JobNotFound):
            blocking.get("01900000-0000-7000-8000-000000000000")
        with pytest.raises(InvalidOption, match="is a definition"):
            blocking.enqueue(double)  # type: ignore[type-var]
        with pytest.raises(TimeoutError, match="is not final"):
            blocking.result(blocking.enqueue(double(1).set(wait=60)), timeout=0.05)

    def test_an_iterable_that_fails_keeps_the_chunks_before_and_says_how_many(self, blocking: BlockingJobs) -> None:
        def made() -> Iterator[Any]:
            for number in range(2_500):
                yield double(number)
            raise OSError("the file ends")

        with pytest.raises(OSError, match="the file ends") as caught:
            blocking.enqueue_all(made())
        assert "2000 jobs of the 2000 items before" in caught.value.__notes__[0]

    @pytest.mark.parametrize("wrong", ["", "x", 5, None, double], ids=["empty", "text", "number", "none", "function"])
    def test_what_names_no_job_is_refused(self, blocking: BlockingJobs, wrong: Any) -> None:
        for ask in (blocking.get, blocking.result, blocking.status, blocking.cancel, blocking.retry):
            with pytest.raises(InvalidOption, match="names no job: give a job that was enqueued, its id"):
                ask(wrong)

    @pytest.mark.parametrize("wrong", [double(1), 7], ids=["a job", "a number"])
    def test_what_is_no_iterable_is_refused(self, blocking: BlockingJobs, wrong: Any) -> None:
        with pytest.raises(InvalidOption, match="takes an iterable of jobs"):
            blocking.enqueue_all(wrong)

    def test_a_database_without_the_schema_is_named_and_nothing_is_left_open(self, server: Any) -> None:
        before = threading.active_count()
        blocking = AsyncJobs(database_url=server.url("postgres")).blocking()
        with pytest.raises(SchemaMismatch), blocking:
            pass
        assert threading.active_count() == before
        with pytest.raises(NotOpen, match="with AsyncJobs"):
            blocking.enqueue(double(1))

    def test_opened_twice_it_says_so(self, blocking: BlockingJobs, shared_url: str) -> None:
        with pytest.raises(AlreadyOpen), blocking:
            pass
        jobs = AsyncJobs(database_url=shared_url)
        with jobs.blocking():
            with pytest.raises(AlreadyOpen), jobs.blocking():
                pass

    def test_after_its_block_it_is_closed(self, shared_url: str) -> None:
        with AsyncJobs(database_url=shared_url).blocking() as blocking:
            pass
        for use in (
            lambda: blocking.enqueue(double(1)),
            lambda: blocking.emit("approved"),
            lambda: blocking.recurring,
        ):
            with pytest.raises(NotOpen, match="with AsyncJobs"):
                use()

    async def test_inside_a_running_loop_it_is_refused_and_the_way_is_named(self, shared_url: str) -> None:
        blocking = AsyncJobs(database_url=shared_url).blocking()
        with pytest.raises(InsideEventLoop, match="async with AsyncJobs"), blocking:
            pass
        await asyncio.to_thread(blocking.__enter__)
        try:
            for use in (
                lambda: blocking.enqueue(double(1)),
                lambda: blocking.emit("approved"),
                lambda: blocking.recurring,
            ):
                with pytest.raises(InsideEventLoop, match="await"):
                    use()
        finally:
            await asyncio.to_thread(blocking.__exit__)

    def test_a_plain_with_names_both_ways(self) -> None:
        jobs: Any = AsyncJobs()
        with pytest.raises(InvalidCall, match=r"async with AsyncJobs\(\).*with AsyncJobs\(\)\.blocking\(\)"):
            with jobs:
                pass

    def test_arguments_that_do_not_fit_are_refused_before_anything_is_asked(self) -> None:
        with pytest.raises(InvalidArguments):
            double("no number")  # type: ignore[arg-type]


PROGRAM = """
import sys
from asyncjobs import AsyncJobs, job

@job(kind="blocking.never")
async def never() -> None: ...

with AsyncJobs(database_url=sys.argv[1]).blocking() as jobs:
    made = jobs.enqueue(never().set(wait=3600))
    print("enqueued", flush=True)
    {then}
"""


def program(directory: Path, url: str, then: str) -> subprocess.Popen:
    path = directory / "program.py"
    path.write_text(PROGRAM.format(then=then))
    words = [sys.executable, str(path), url]
    return warm.start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def test_ctrl_c_in_the_main_thread_ends_the_program_and_leaves_nothing(shared_url: str, tmp_path: Path) -> None:
    with program(tmp_path, shared_url, "jobs.result(made)") as running:
        assert running.stdout is not None and running.stdout.readline() == "enqueued\n"
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in said and "never awaited" not in said and "was destroyed" not in said


def test_a_program_that_forgets_to_close_it_ends_all_the_same(shared_url: str, tmp_path: Path) -> None:
    with program(tmp_path, shared_url, "AsyncJobs(database_url=sys.argv[1]).blocking().__enter__()") as running:
        _, said = running.communicate(timeout=PATIENCE)
    assert (running.returncode, said) == (0, "")
