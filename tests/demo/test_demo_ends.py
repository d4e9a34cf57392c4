"""The demo ended before its end, and its worker and PostgreSQL killed under it: nothing is left, no card is lost."""

import os
import re
import signal
import time

import pytest

from asyncjobs.demo.sources import sample_texts
from tests.demo.conftest import END, WORDS, until
from tests.support.processes import SLACK


def make_texts(directory, number):
    """Make some texts to be drawn, each different; the card of the first is there long before those of the others."""
    samples = [WORDS, *(sample.read_text() for sample in sample_texts())]
    texts = directory / "texts"
    texts.mkdir()
    for n in range(number):
        (texts / f"text{n}.txt").write_text(f"{samples[n % len(samples)]} number{n}")
    return texts


def unfinished(demo):
    return list((demo.directory / "cards").glob(".*"))


@pytest.mark.parametrize(
    ("number", "code", "moment"),
    [
        (signal.SIGINT, 130, "the server's start"),
        pytest.param(signal.SIGHUP, 129, "PostgreSQL", marks=pytest.mark.slow),
        (signal.SIGTERM, 143, "drawn"),
    ],
)
def test_a_signal_ends_it_and_everything_it_started(start, number, code, moment):
    demo = start(make_texts(start.directory, 40))
    if moment == "the server's start":
        until(lambda: list(demo.temporary.glob("*/*")))
    else:
        demo.wait_for(moment)
    footprint = demo.footprint()
    assert footprint.left
    begun = time.monotonic()
    demo.process.send_signal(number)
    errors = demo.end(code)
    assert time.monotonic() - begun < 5 + SLACK
    assert "of 40 texts; the worker and PostgreSQL are gone" in errors
    assert footprint.left == demo.footprint().left == []
    assert list(demo.temporary.iterdir()) == []
    assert unfinished(demo) == []
    assert (demo.directory / "cards").exists() == bool(demo.cards)


@pytest.mark.slow
def test_control_c_leaves_a_terminal_as_it_was_and_no_color_is_honoured(start):
    environment = {"TERM": "xterm-256color", "NO_COLOR": "1"}
    demo = start(make_texts(start.directory, 40), terminal=True, environment=environment)
    until(lambda: demo.output and demo.cards)
    footprint = demo.footprint()
    # The terminal sends its SIGINT to the session's foreground: the worker is not to hear it before the demo does.
    assert all(os.getsid(worker) == worker for worker in demo.workers())
    os.write(demo.keys, b"\x03")
    demo.end(130)
    assert "Interrupted at" in demo.output
    assert not re.search(r"\x1b\[([0-9]+;)*(3[0-8]|4[0-8]|9[0-7])(;[0-9]+)*m", demo.output)
    assert demo.output.count("\x1b[?25h") == demo.output.count("\x1b[?25l")
    assert footprint.left == []
    assert unfinished(demo) == []


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_it_and_everything_it_started(start):
    demo = start(make_texts(start.directory, 40), terminal=True, environment={"TERM": "xterm-256color"})
    until(lambda: demo.output and demo.cards)
    footprint = demo.footprint()
    demo.hang_up()
    assert demo.process.wait(END) == 128 + signal.SIGHUP
    assert footprint.left == []
    assert unfinished(demo) == []


def test_a_worker_killed_half_way_loses_no_card(start):
    texts = [start.directory / f"text{n}.txt" for n in range(10)]
    for text in texts:
        text.write_text(f"{WORDS} {text.stem}")
    demo = start(*texts, "--json")
    until(lambda: list(demo.temporary.iterdir()))
    held = texts[4:7]  # as many as it draws at once
    for text in held:
        pipe = text.with_suffix(".pipe")
        os.mkfifo(pipe)
        pipe.rename(text)  # whoever opens it waits for somebody who writes
    until(lambda: len(demo.cards) == 4)
    (worker,) = demo.workers()
    for text in held:
        text.unlink()
        text.write_text(f"{WORDS} {text.stem}")
    os.kill(worker, signal.SIGKILL)
    demo.end()
    summary = demo.summary()
    assert demo.cards == sorted(f"text{n}.svg" for n in range(10))
    assert (summary["drawn"], summary["jobs"], summary["worker_deaths"]) == (10, 20, 1)
    attempts = [text["attempts"] for text in summary["texts"]]
    assert attempts[4:7] == [2, 2, 2]
    assert {*attempts} <= {1, 2}  # of those that it had done, or not begun
    assert summary["incidents"] == ["the worker process ended by SIGKILL: another one takes its jobs over"]
    assert unfinished(demo) == []
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
def test_workers_that_die_again_and_again_end_it_with_the_end_of_their_log(start):
    demo = start(make_texts(start.directory, 200))
    killed = set()
    while demo.process.poll() is None:
        for worker in set(demo.workers()) - killed:
            killed.add(worker)
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.05)
    errors = demo.end(code=1)
    assert "the worker process died 5 times, now by SIGKILL; its log ends:" in errors
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
def test_a_postgresql_that_is_killed_ends_it_with_a_clear_message(start):
    demo = start(make_texts(start.directory, 200))
    demo.wait_for("drawn")
    footprint = demo.footprint()
    (postmaster,) = demo.postmasters()
    os.kill(postmaster, signal.SIGKILL)
    errors = demo.end(code=3)
    assert "the demo's PostgreSQL is gone" in errors
    assert footprint.left == []


@pytest.mark.slow
def test_one_that_is_killed_takes_its_worker_along_and_the_next_clears_the_rest(start):
    texts = make_texts(start.directory, 12)
    demo = start(texts)
    demo.wait_for("drawn")
    footprint, workers = demo.footprint(), demo.workers()
    demo.process.kill()
    demo.end(-signal.SIGKILL)
    until(lambda: not set(demo.workers()) & set(workers), 10)
    assert footprint.left
    start(texts / "text0.txt").end()
    assert footprint.left == []
    assert list(demo.temporary.iterdir()) == []
