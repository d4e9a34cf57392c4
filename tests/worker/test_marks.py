"""Where a worker begins to look: pure, no database."""

from __future__ import annotations

from asyncjobs.worker.claiming.marks import LAG, MOST_PRIORITIES, MOST_QUEUES, Marks

START = -(2**63)


def mark_of(marks: Marks, queue: str, priority: int) -> int:
    (found,) = [r for r in marks.ranges(1, queue, full=False) if r.low == r.high == priority]
    return found.mark


def test_the_ranges_of_a_queue_cover_every_priority_once_and_in_order() -> None:
    marks = Marks()
    for priority in (5, -3, 32767, -32768):
        marks.claimed("q", priority, 1)
    ranges = marks.ranges(1, "q", full=False)
    covered = [p for r in ranges for p in (r.low, r.high)]
    assert covered == sorted(covered)
    assert ranges[0].low == -32768 and ranges[-1].high == 32767
    assert all(after.low == before.high + 1 for before, after in zip(ranges, ranges[1:], strict=False))


def test_a_mark_is_in_force_only_after_two_rolls_since_a_lower_seq_may_commit_later() -> None:
    marks = Marks()
    marks.roll(0.0, 0)
    marks.claimed("q", 0, 100)
    assert mark_of(marks, "q", 0) == START
    marks.roll(LAG, 0)
    assert mark_of(marks, "q", 0) == START
    marks.roll(2 * LAG, 0)
    assert mark_of(marks, "q", 0) == 100


def test_a_notice_lowers_the_mark_to_its_seq() -> None:
    marks = Marks()
    marks.claimed("q", 0, 100)
    marks.roll(0.0, 0)
    marks.roll(LAG, 0)
    marks.lower("q", 40)
    assert mark_of(marks, "q", 0) == 40
    marks.roll(2 * LAG, 0)
    assert mark_of(marks, "q", 0) == 40


def test_a_queue_that_ran_dry_is_passed_up_to_the_horizon_even_without_a_claimed_job() -> None:
    marks = Marks()
    marks.roll(0.0, 5_000)
    marks.exhausted("q")
    marks.roll(LAG, 6_000)
    marks.roll(2 * LAG, 7_000)
    assert mark_of(marks, "q", 0) == 5_000


def test_a_full_look_ignores_marks() -> None:
    marks = Marks()
    marks.claimed("q", 0, 100)
    assert [(r.low, r.high, r.mark) for r in marks.ranges(1, "q", full=True)] == [(-32768, 32767, START)]


def test_so_many_priorities_have_marks_and_no_more() -> None:
    marks = Marks()
    for priority in range(1, 100):
        marks.claimed("q", priority, priority)
    assert len([r for r in marks.ranges(1, "q", full=False) if r.low == r.high]) == MOST_PRIORITIES


def test_notices_of_ever_new_queues_leave_nothing_behind() -> None:
    marks = Marks()
    marks.claimed("real", 0, 7)
    for number in range(2 * MOST_QUEUES):
        marks.lower(f"made-up-{number}", 0)
        marks.ranges(1, f"made-up-{number}", full=False)
        marks.exhausted(f"made-up-{number}")
        marks.keep(["real"])
    assert len(marks) <= MOST_QUEUES + 2
    marks.roll(0.0, 0)
    marks.roll(LAG, 0)
    assert mark_of(marks, "real", 0) == 7


def test_a_claim_after_a_full_one_begins_where_that_one_ended_without_a_lag() -> None:
    marks = Marks()
    marks.roll(0.0, 0)

    def quick() -> list[int]:
        return [r.mark for r in marks.ranges(1, "q", full=False, quick=True) if r.low == r.high == 0]

    marks.claimed("q", 0, 100)
    assert quick() == [100]
    marks.claimed("q", 0, 64)  # of a look from further back
    assert quick() == [64]
    marks.lower("q", 40)
    assert quick() == [40]
    marks.roll(LAG, 0)
    marks.roll(2 * LAG, 0)
    assert mark_of(marks, "q", 0) == 40
