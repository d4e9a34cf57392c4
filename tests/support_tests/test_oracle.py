import asyncio
import os
from types import SimpleNamespace

import pytest

from tests.support import oracle as writer
from tests.support.oracle import Oracle
from tests.support.processes import until


@pytest.fixture
def oracle(tmp_path, monkeypatch):
    oracle = Oracle(tmp_path / "oracle")
    for name, value in oracle.environment.items():
        monkeypatch.setenv(name, value)
    return oracle


def job(n=1, attempt=1):
    return SimpleNamespace(id=f"job-{n}", attempt=attempt)


async def test_what_is_awaited_is_found_when_it_is_written(oracle):
    waiting = asyncio.create_task(oracle.wait_for(event="start", count=2, colour="red"))
    await asyncio.sleep(0)
    writer.note(job(1), "start", colour="red")
    writer.note(job(2), "start", colour="blue")
    assert await until(lambda: len(oracle._events) == 2)  # read by the one who waits, which is nobody else
    assert not waiting.done()
    writer.note(job(3), "start", colour="red")
    assert [event.job_id for event in await waiting] == ["job-1", "job-3"]


async def test_waiting_in_vain_shows_what_was_written(oracle):
    writer.note(job(), "start")
    with pytest.raises(TimeoutError, match=r"0 of 1 events[\s\S]*job-1"):
        await oracle.wait_for(event="end", timeout=0.02)


def test_half_a_line_is_left_for_later(oracle):
    writer.note(job(), "start")
    whole = oracle.path.read_bytes()
    with oracle.path.open("ab") as file:
        file.write(whole[:20])
    assert len(oracle.events()) == 1
    with oracle.path.open("ab") as file:
        file.write(whole[20:])
    assert len(oracle.events()) == 2


def test_lines_of_many_processes_do_not_mix(oracle):
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            try:
                for n in range(500):
                    writer.note(job(n), "start", padding="x" * 300)
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    events = oracle.events()
    assert len(events) == 2000
    assert {event.pid for event in events} == set(children)


def test_an_interval_ends_with_the_error_too(oracle):
    with pytest.raises(KeyError), writer.interval(job()):
        raise KeyError
    with writer.interval(job(attempt=2)):
        pass
    assert [(run.attempt, run.how) for run in oracle.runs("job-1")] == [(1, "KeyError"), (2, "ok")]
    assert oracle.overlaps() == []


def test_two_runs_of_one_job_at_once_overlap_and_of_two_jobs_do_not(oracle):
    with writer.interval(job(1)), writer.interval(job(2)), writer.interval(job(1, attempt=2)):
        pass
    ((first, second),) = oracle.overlaps()
    assert (first.job_id, first.attempt, second.attempt) == ("job-1", 1, 2)


def test_a_run_of_a_process_that_says_it_dies_is_over(oracle):
    writer.note(job(), "start")
    writer.write("dying")
    writer.note(job(attempt=2), "start")
    assert [run.how for run in oracle.runs()] == ["dying", ""]
    assert oracle.overlaps() == []


def test_a_run_without_an_end_overlaps_every_later_one(oracle):
    writer.note(job(), "start")
    writer.note(job(attempt=2), "start")
    assert len(oracle.overlaps()) == 1


def test_nothing_is_written_where_nobody_asks(oracle, monkeypatch):
    monkeypatch.delenv(writer.PATH_VARIABLE)
    writer.note(job(), "start")
    assert oracle.events() == []
