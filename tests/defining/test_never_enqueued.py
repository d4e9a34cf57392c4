"""A job that was made and dropped warns, with the line that made it; one that was used for anything does not."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import (
    AlreadyEnqueued,
    AsyncJobs,
    InvalidArguments,
    InvalidOption,
    Job,
    JobNeverEnqueued,
    NotEnqueued,
    NotOpen,
    current_job,
    enqueue_all,
    job,
)
from asyncjobs.definitions import never_enqueued, registry


@job(kind="never.send")
async def send(n: int) -> int:
    return n


class Send(Job, kind="never.Send"):
    n: int

    async def perform(self) -> int:
        return self.n


@job(kind="never.parent")
async def parent() -> list[int]:
    return await current_job().run("children", send(1), send(2))


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    gc.collect()  # jobs that other tests have left in cycles would warn here
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", JobNeverEnqueued)
        yield found


def here() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


MAKE = pytest.mark.parametrize("make", [lambda: send(1), lambda: Send(n=1)], ids=["function", "class"])


class TestWarns:
    def test_with_the_line_that_made_it(self, caught: list[warnings.WarningMessage]) -> None:
        send(1); line = here()  # noqa: E702 - on one line  # fmt: skip
        Send(n=2); second = here()  # noqa: E702  # fmt: skip
        assert [(w.category, w.filename, w.lineno) for w in caught] == [
            (JobNeverEnqueued, __file__, line),
            (JobNeverEnqueued, __file__, second),
        ]
        assert "never.send" in str(caught[0].message) and f"{__file__}:{line}" in str(caught[0].message)

    def test_of_the_line_that_made_it_where_it_is_dropped_later(self, caught: list[warnings.WarningMessage]) -> None:
        made = [send(1)]; line = here()  # noqa: E702  # fmt: skip
        assert not caught
        made.clear()
        assert [w.lineno for w in caught] == [line]

    @MAKE
    def test_of_one_that_was_only_set(
        self, caught: list[warnings.WarningMessage], make: Callable[[], Job[Any]]
    ) -> None:
        make().set(wait=5)
        assert len(caught) == 1

    @pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
    @MAKE
    def test_that_only_the_await_was_forgotten(
        self, caught: list[warnings.WarningMessage], make: Callable[[], Job[Any]]
    ) -> None:
        make().enqueue()  # type: ignore[unused-coroutine]
        make().set(wait=5).perform_now()  # type: ignore[unused-coroutine]
        make().set(wait=5)
        told = [str(w.message) for w in caught if w.category is JobNeverEnqueued]
        assert "its enqueue() was not awaited, so it did nothing: write `await …(…).enqueue()`" in told[0]
        assert "its perform_now() was not awaited" in told[1]
        assert "neither enqueued nor used" in told[2]

    def test_once_a_line_by_default_and_never_where_it_is_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(never_enqueued, "_registries", {})
        for action, count in (("default", 1), ("ignore", 0), ("always", 10)):
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter(action, JobNeverEnqueued)  # type: ignore[arg-type]
                for n in range(10):
                    send(n)
            assert len(found) == count

    @pytest.mark.filterwarnings("error::asyncjobs.JobNeverEnqueued")
    def test_as_an_error_it_cannot_be_raised_and_names_the_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", told.append)
        send(1); line = here()  # noqa: E702  # fmt: skip
        assert f"{__file__}:{line}" in str(told[0].exc_value)


class TestDoesNotWarn:
    @pytest.fixture(autouse=True)
    def nothing_caught(self, caught: list[warnings.WarningMessage]) -> Iterator[None]:
        yield
        assert [str(w.message) for w in caught] == []

    @MAKE
    async def test_of_one_that_was_performed_here(self, make: Callable[[], Job[Any]]) -> None:
        await make().perform_now()

    @MAKE
    async def test_of_one_that_was_enqueued_and_run(self, jobs: AsyncJobs, make: Callable[[], Job[Any]]) -> None:
        await (await make().enqueue())
        await (await jobs.enqueue(make()))
        assert await enqueue_all(make() for _ in range(3)) == 3

    async def test_of_those_that_a_job_runs_and_that_are_loaded(self, jobs: AsyncJobs) -> None:
        made = await parent().enqueue()
        assert await made.result(timeout=20) == [1, 2]
        assert (await jobs.get(made.id, parent)).id == (await jobs.get(made.id)).id
        assert await jobs.retry(made.id, force=True)
        assert await made.result(timeout=20) == [1, 2]

    @MAKE
    async def test_of_one_whose_use_failed(self, make: Callable[[], Job[Any]]) -> None:
        with pytest.raises(NotOpen):
            await make().enqueue()
        with pytest.raises(NotOpen):
            make().enqueue_from_thread()
        with pytest.raises(NotEnqueued):
            await make()
        with pytest.raises(InvalidOption):
            make().set(queue="!")

    async def test_of_those_beside_one_that_could_not_be_enqueued(self, client: AsyncJobs) -> None:
        with pytest.raises(InvalidOption, match="item 2"):
            await enqueue_all([send(1), send(2), None, send(3)])  # type: ignore[list-item]

        def fails() -> Iterator[Job[Any]]:
            yield send(1)
            raise OSError("the file ends")

        with pytest.raises(OSError):
            await enqueue_all(fails())

    def test_of_one_that_could_not_be_made(self) -> None:
        with pytest.raises(InvalidArguments):
            send("no number")  # type: ignore[arg-type]
        with pytest.raises(InvalidArguments):
            Send(n="no number")  # type: ignore[arg-type]

    async def test_of_one_that_was_set_too_late(self, client: AsyncJobs) -> None:
        made = await send(1).enqueue()
        with pytest.raises(AlreadyEnqueued):
            made.set(wait=1)

    def test_of_one_that_was_copied_or_pickled_which_it_can_be(self) -> None:
        made = Send(n=3)
        assert (copy.copy(made).n, pickle.loads(pickle.dumps(made)).n) == (3, 3)

    def test_of_a_definition_that_loads_a_row(self) -> None:
        definition = registry.find("never.send")
        assert definition is not None
        definition.load('{"n": 1}')


@pytest.mark.processes
@pytest.mark.slow
def test_when_the_interpreter_ends_what_is_left_says_nothing(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from asyncjobs import job\n@job\ndef send() -> None: ...\nkept = send()\nkept.itself = kept\n")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
