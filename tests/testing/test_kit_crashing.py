from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import kit_jobs
import pytest
from kit_jobs import (
    RepeatsAnInsert,
    Safe,
    asks_for_ever,
    broken,
    charge,
    lines,
    looks_before_it_writes,
    looks_in_each_child,
    parent,
    repeats_after_wait,
    repeats_at_its_end,
    repeats_in_a_child,
    reset,
    waits_in_every_way,
)  # fmt: skip

from asyncjobs import InvalidOption
from asyncjobs.db.connecting import connect
from asyncjobs.testing import Jobs, crashing
from asyncjobs.testing.crashing import Crashing
from tests.support.sweeps import slowly


@pytest.fixture(autouse=True)
def _lines(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kit_jobs, "LINES", tmp_path / "lines")
    kit_jobs.reset()


@pytest.fixture
async def cards(jobs: Jobs, monkeypatch):
    """What `reset` and `observe` are for a job that writes cards into the database and lines into a file."""
    monkeypatch.setattr(kit_jobs, "URL", jobs.database_url)
    connection = await connect(jobs.database_url, is_lent=True)
    await connection.execute("create table if not exists card (text text)")

    async def new() -> None:
        reset()
        await connection.execute("delete from card")

    async def read() -> tuple[list[str], list[str]]:
        return [row["text"] for row in await connection.fetch("select text from card order by 1")], lines()

    yield new, read
    await connection.execute("drop table card")
    connection.terminate()


async def test_a_reset_that_waits_for_ever_is_named_with_the_cut_that_came_before_it(jobs: Jobs, monkeypatch) -> None:
    monkeypatch.setattr(crashing, "LEAST_LIMIT", 1.0)
    calls = 0

    async def new() -> None:
        nonlocal calls
        calls += 1
        reset()
        if calls == 4:  # two clean runs, and one that was cut
            await asyncio.Event().wait()

    with pytest.raises(
        AssertionError, match=r"(?s)reset\(\) has waited for \d+ s: .*in `finally`.*was cut at place 1: "
    ) as raised:
        await jobs.crash_everywhere(waits_in_every_way, reset=new, observe=sorted_lines, how="cancel")
    assert "kit_jobs.py" in str(raised.value)


def sorted_lines() -> list[str]:
    return sorted(lines())


UNSAFE = [
    # What a cancellation shows, too, or another test here, is killed under `-m slow`.
    pytest.param(how, job, marks=[pytest.mark.slow] if how == "kill" and job in kit_jobs.UNSAFE["cancel"] else [])
    for how, jobs_of_it in kit_jobs.UNSAFE.items()
    for job in jobs_of_it
]


@pytest.mark.parametrize(
    ("how", "unsafe"), UNSAFE, ids=lambda value: getattr(value, "kind", None) or getattr(value, "__name__", value)
)
async def test_an_unsafe_job_is_caught(jobs: Jobs, how, unsafe) -> None:
    def new() -> None:
        reset()
        kit_jobs.LINES.with_suffix(".lock").unlink(missing_ok=True)

    with pytest.raises(AssertionError, match="is not crash-safe") as failure:
        await jobs.crash_everywhere(lambda: unsafe(), reset=new, observe=sorted_lines, how=how)
    number = int(re.search(r"only=\('\w+', (\d+)\)", str(failure.value))[1])
    with pytest.raises(AssertionError, match=f"at place {number}: "):
        await jobs.crash_everywhere(lambda: unsafe(), reset=new, observe=sorted_lines, only=(how, number))


async def test_an_effect_and_its_checkpoint_in_two_commits_are_caught(jobs: Jobs, cards) -> None:
    new, read = cards
    with pytest.raises(AssertionError, match="is not crash-safe: killed"):
        await jobs.crash_everywhere(RepeatsAnInsert, reset=new, observe=read, how="kill")


@pytest.mark.parametrize("safe", [looks_before_it_writes, *slowly(looks_in_each_child)])
async def test_a_safe_job_passes_and_the_places_are_counted(jobs: Jobs, safe) -> None:
    kills = await jobs.crash_everywhere(safe, reset=reset, observe=sorted_lines, how="kill")
    cancels = await jobs.crash_everywhere(safe, reset=reset, observe=sorted_lines, how=["cancel"])
    assert kills >= 4 and cancels >= 2
    if safe is looks_before_it_writes:
        assert await jobs.crash_everywhere(safe, reset=reset, observe=sorted_lines) == kills + cancels
        assert await jobs.crash_everywhere(safe, reset=reset, observe=sorted_lines, limit=1) == 2


async def test_a_job_that_waits_in_every_way_passes_and_each_of_them_is_a_place(jobs: Jobs, every: int) -> None:
    for how in ("kill", "cancel"):
        places = await jobs.crash_everywhere(waits_in_every_way, reset=reset, observe=sorted_lines, how=how)
        assert places * every >= 12


async def test_steps_that_survive_anything_pass(jobs: Jobs, cards, every: int) -> None:
    new, read = cards
    assert await jobs.crash_everywhere(Safe, reset=new, observe=read) * every > 40


async def test_a_failure_names_the_users_line_the_occurrence_the_difference_and_the_call(jobs: Jobs) -> None:
    with pytest.raises(AssertionError) as failure:
        await jobs.crash_everywhere(repeats_in_a_child, reset=reset, observe=sorted_lines, how="kill")
    text = str(failure.value)
    line = charge.__code__.co_firstlineno + 3
    assert re.search(
        rf"killed by SIGKILL at place \d+: {re.escape(kit_jobs.__file__)}:{line - 2} in charge, time 2\n", text
    ), text
    assert "    await asyncio.sleep(0)\n    when this was done, before the job knew it" in text
    assert "  - ['one', 'two']\n  + ['one', 'one', 'two']" in text
    assert re.search(r"This case alone: await jobs.crash_everywhere\(…, only=\('kill', \d+\)\)", text)


@pytest.mark.parametrize("how", ["kill", "cancel"])
async def test_a_failure_in_a_def_step_or_at_the_checkpoint_of_a_declared_one_names_the_step(jobs: Jobs, how) -> None:
    with pytest.raises(AssertionError, match="is not crash-safe") as failure:
        await jobs.crash_everywhere(kit_jobs.RepeatsInAThread, reset=reset, observe=sorted_lines, how=how)
    line = kit_jobs.RepeatsInAThread.write.__code__.co_firstlineno
    assert f"{kit_jobs.__file__}:{line} in RepeatsInAThread.write" in str(failure.value)


@pytest.mark.slow
async def test_how_many_places_wait_for_a_thread_is_said_in_the_result(jobs: Jobs, capsys) -> None:
    found = await jobs.crash_everywhere(kit_jobs.HalfInAThread, reset=reset, observe=sorted_lines)
    assert found.in_threads >= 2
    said = f"{int(found)} places, {found.in_threads} of them waits for a thread, whose code is cut nowhere"
    assert repr(found) == said and said in capsys.readouterr().out
    without = await jobs.crash_everywhere(looks_before_it_writes, reset=reset, observe=sorted_lines)
    assert (without.in_threads, repr(without)) == (0, f"{int(without)} places")


async def test_the_end_of_a_job_without_steps_is_a_place(jobs: Jobs) -> None:
    with pytest.raises(AssertionError, match="before the job's end was written"):
        await jobs.crash_everywhere(repeats_at_its_end, reset=reset, observe=lines)


@pytest.mark.slow
async def test_jobs_that_a_job_waits_for_run_and_are_not_cut(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    compare = Crashing._compare

    def note(self, how, number, place, left) -> None:
        places.append(place)
        compare(self, how, number, place, left)

    monkeypatch.setattr(Crashing, "_compare", note)
    await jobs.crash_everywhere(lambda: parent(2), reset=reset, observe=lambda: set(lines()), how="kill")
    *cut, uncut = places
    assert {place.function.partition(".")[0] for place in cut} == {"parent"} and uncut is None
    assert [place.what for place in cut][-2:] == ["the job's end", "the job's end"]


async def test_reset_make_and_observe_may_be_async(jobs: Jobs) -> None:
    async def new() -> None:
        reset()

    async def make():
        return looks_before_it_writes()

    async def observe() -> list[str]:
        return lines()

    assert await jobs.crash_everywhere(make, reset=new, observe=observe, limit=1) == 2


async def test_a_clean_run_that_fails_or_does_not_end_is_said_at_once(jobs: Jobs) -> None:
    with pytest.raises(
        AssertionError, match=r"the clean run, cut nowhere, is failed: builtins.ValueError: broken by intent"
    ):
        await jobs.crash_everywhere(broken, reset=reset, observe=lines)
    with pytest.raises(AssertionError, match="is waiting: it waits for an event: emit it in reset or make"):
        await jobs.crash_everywhere(asks_for_ever, reset=reset, observe=lines)


async def test_a_run_that_is_not_the_same_twice_is_said_at_once(jobs: Jobs) -> None:
    count = iter(range(100))
    with pytest.raises(AssertionError, match="two clean runs differ"):
        await jobs.crash_everywhere(looks_before_it_writes, reset=reset, observe=lambda: next(count))


async def test_a_job_that_does_not_run_in_a_forked_child_is_said_at_once(jobs: Jobs) -> None:
    parent_pid = os.getpid()

    def observe() -> str:
        return "same"

    from asyncjobs import job

    @job(kind="only_in_the_parent")
    async def only_here() -> None:
        if os.getpid() != parent_pid:
            raise RuntimeError("a connection of another process")

    with pytest.raises(AssertionError, match=r"(?s)forked child differs.*in_child=.*a connection of another process"):
        await jobs.crash_everywhere(only_here, reset=reset, observe=observe)


async def test_what_is_called_first_in_each_child_can_open_connections_anew(jobs: Jobs, tmp_path) -> None:
    here = os.getpid()
    called = tmp_path / "called"

    def in_child() -> None:
        assert os.getpid() != here
        called.write_text("yes")

    await jobs.crash_everywhere(
        looks_before_it_writes, reset=reset, observe=lines, how="kill", limit=1, in_child=in_child
    )
    assert called.read_text() == "yes"


async def test_what_cannot_be_used_is_refused(jobs: Jobs) -> None:
    job = looks_before_it_writes()
    for make, options, text in [
        (lambda: None, {}, "must return a job"),
        (lambda: job, {}, "the same job twice"),
        (looks_before_it_writes, {"observe": lambda: None}, "observe returned None"),
        (looks_before_it_writes, {"how": "burn"}, 'use "kill", "cancel" or both'),
    ]:
        with pytest.raises(InvalidOption, match=text):
            await jobs.crash_everywhere(make, **{"reset": reset, "observe": lines, **options})


async def test_no_process_and_no_task_factory_is_left_behind(jobs: Jobs) -> None:
    before = asyncio.get_running_loop().get_task_factory()
    known = _children()
    await jobs.crash_everywhere(looks_before_it_writes, reset=reset, observe=lines, limit=1)
    assert asyncio.get_running_loop().get_task_factory() is before
    assert _children() <= known, "one lives on, or is not waited for"


def _children() -> set[str]:
    """Those of this process, ended ones that nobody has waited for among them."""
    return {pid for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()}


def test_it_works_without_an_event_loop_of_the_test(jobs_sync) -> None:
    assert jobs_sync.crash_everywhere(looks_before_it_writes, reset=reset, observe=lines) >= 4
    with pytest.raises(AssertionError, match="is not crash-safe"):
        jobs_sync.crash_everywhere(repeats_after_wait, reset=reset, observe=lines)


@pytest.mark.slow
def test_it_works_on_uvloop(jobs: Jobs) -> None:
    import uvloop

    async def main() -> None:
        for how in ("kill", "cancel"):
            assert await jobs.crash_everywhere(looks_in_each_child, reset=reset, observe=sorted_lines, how=how) >= 5
            with pytest.raises(AssertionError, match="in charge, time 2\n    await asyncio.sleep"):
                await jobs.crash_everywhere(repeats_in_a_child, reset=reset, observe=sorted_lines, how=how)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
