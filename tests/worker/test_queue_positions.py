"""Where a worker begins to look: pure, no database."""

from __future__ import annotations

from asyncjobs.worker.claiming.queue_positions import LAG, MOST_PRIORITIES, MOST_QUEUES, QueuePositions

START = -(2**63)


def position_of(positions: QueuePositions, queue: str, priority: int) -> int:
    (found,) = [r for r in positions.ranges(1, queue, full=False) if r.low == r.high == priority]
    return found.mark


def test_the_ranges_of_a_queue_cover_every_priority_once_and_in_order() -> None:
    positions = QueuePositions()
    for priority in (5, -3, 32767, -32768):
        positions.claimed("q", priority, 1)
    ranges = positions.ranges(1, "q", full=False)
    covered = [p for r in ranges for p in (r.low, r.high)]
    assert covered == sorted(covered)
    assert ranges[0].low == -32768 and ranges[-1].high == 32767
    assert all(after.low == before.high + 1 for before, after in zip(ranges, ranges[1:], strict=False))


def test_a_mark_is_in_force_only_after_two_rolls_since_a_lower_seq_may_commit_later() -> None:
    positions = QueuePositions()
    positions.roll(0.0, 0)
    positions.claimed("q", 0, 100)
    assert position_of(positions, "q", 0) == START
    positions.roll(LAG, 0)
    assert position_of(positions, "q", 0) == START
    positions.roll(2 * LAG, 0)
    assert position_of(positions, "q", 0) == 100


def test_a_notice_lowers_the_mark_to_its_seq() -> None:
    positions = QueuePositions()
    positions.claimed("q", 0, 100)
    positions.roll(0.0, 0)
    positions.roll(LAG, 0)
    positions.lower("q", 40)
    assert position_of(positions, "q", 0) == 40
    positions.roll(2 * LAG, 0)
    assert position_of(positions, "q", 0) == 40


def test_a_queue_that_ran_dry_is_passed_up_to_the_horizon_even_without_a_claimed_job() -> None:
    positions = QueuePositions()
    positions.roll(0.0, 5_000)
    positions.exhausted("q")
    positions.roll(LAG, 6_000)
    positions.roll(2 * LAG, 7_000)
    assert position_of(positions, "q", 0) == 5_000


def test_a_full_look_ignores_marks() -> None:
    positions = QueuePositions()
    positions.claimed("q", 0, 100)
    assert [(r.low, r.high, r.mark) for r in positions.ranges(1, "q", full=True)] == [(-32768, 32767, START)]


def test_so_many_priorities_have_marks_and_no_more() -> None:
    positions = QueuePositions()
    for priority in range(1, 100):
        positions.claimed("q", priority, priority)
    assert len([r for r in positions.ranges(1, "q", full=False) if r.low == r.high]) == MOST_PRIORITIES


def test_notices_of_ever_new_queues_leave_nothing_behind() -> None:
    positions = QueuePositions()
    positions.claimed("real", 0, 7)
    for number in range(2 * MOST_QUEUES):
        positions.lower(f"made-up-{number}", 0)
        positions.ranges(1, f"made-up-{number}", full=False)
        positions.exhausted(f"made-up-{number}")
        positions.keep(["real"])
    assert len(positions) <= MOST_QUEUES + 2
    positions.roll(0.0, 0)
    positions.roll(LAG, 0)
    assert position_of(positions, "real", 0) == 7


def test_a_claim_after_a_full_one_begins_where_that_one_ended_without_a_lag() -> None:
    positions = QueuePositions()
    positions.roll(0.0, 0)

    def quick() -> list[int]:
        return [r.mark for r in positions.ranges(1, "q", full=False, continues=True) if r.low == r.high == 0]

    positions.claimed("q", 0, 100)
    assert quick() == [100]
    positions.claimed("q", 0, 64)  # of a look from further back
    assert quick() == [64]
    positions.lower("q", 40)
    assert quick() == [40]
    positions.roll(LAG, 0)
    positions.roll(2 * LAG, 0)
    assert position_of(positions, "q", 0) == 40
