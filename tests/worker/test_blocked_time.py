"""Whether it is the loop that is late, or the one who looks."""

import pytest

from asyncjobs.worker.watching.blocked_time import BlockedTime

INTERVAL = 0.05


def owed(*looks: tuple[float, float, float]) -> float:
    """What the last look finds: each is its time, the last pulse, the CPU seconds that the loop's thread has used."""
    patience = BlockedTime(INTERVAL)
    patience.begin(0.0, 0.0)
    found = 0.0
    for now, pulse, used in looks:
        found = patience.owed(now, pulse, used)
    return found


def test_a_loop_that_sets_its_pulse_owes_nothing_to_speak_of() -> None:
    assert owed((0.05, 0.04, 0.0), (0.1, 0.09, 0.0)) == pytest.approx(0.01)


def test_a_blocked_loop_owes_the_time_since_its_pulse_whether_it_sleeps_or_computes() -> None:
    looks = [(n * INTERVAL, 0.0) for n in range(1, 5)]
    assert owed(*((now, pulse, 0.0) for now, pulse in looks)) == pytest.approx(0.2)
    assert owed(*((now, pulse, now) for now, pulse in looks)) == pytest.approx(0.2)


def test_a_machine_that_slept_owes_nothing_for_it() -> None:
    assert owed((0.05, 0.04, 0.0), (3600.0, 0.04, 0.0)) == pytest.approx(INTERVAL + 0.01)
    # The loop was the first to wake.
    assert owed((0.05, 0.04, 0.0), (3600.0, 3599.99, 0.0)) == pytest.approx(0.0)


def test_threads_that_keep_everybody_from_the_interpreter_are_not_the_loops_fault() -> None:
    assert owed(*((n * 0.3, 0.0, n * 0.04) for n in range(1, 5))) == pytest.approx(4 * INTERVAL)


def test_a_call_of_the_loop_that_keeps_the_interpreter_is() -> None:
    assert owed((0.05, 0.04, 0.01), (2.05, 0.04, 2.01)) == pytest.approx(2.01)


def test_what_was_excused_is_forgotten_with_the_next_pulse() -> None:
    assert owed((0.05, 0.04, 0.0), (10.0, 0.04, 0.0), (10.05, 10.0, 0.0), (10.1, 10.0, 0.0)) == pytest.approx(0.1)
