"""An attempt's ending as the row to write."""

from __future__ import annotations

from asyncjobs.db.rows import Claimed, Finish, Reschedule, State
from asyncjobs.defining import codec
from asyncjobs.defining.deciding import What
from asyncjobs.defining.settling import Ending
from asyncjobs.defining.stored_errors import describe_error, storable

_STATES = {
    What.succeed: State.succeeded,
    What.fail: State.failed,
    What.discard: State.discarded,
    What.cancel: State.cancelled,
}


def outcome(
    claimed: Claimed, ending: Ending, *, days: int, started: bool, result: str | None = None
) -> Finish | Reschedule | None:
    """Return what is to be written about an attempt; None when nothing may be.

    Args:
        claimed: The row that was run.
        ending: How that ended.
        days: How many days it is kept when it is final.
        started: Whether its code was started: then it was in time.
        result: JSON of what it returned.
    """
    error = None if ending.error is None else describe_error(ending.error, attempt=claimed.attempt)
    if (state := _STATES.get(ending.what)) is not None:
        reason = None if ending.reason is None else storable(ending.reason)
        return Finish(claimed.id, claimed.fence, state, result, error, reason, days)
    if ending.what is What.retry:
        counts = None if ending.counts is None else codec.dumps(ending.counts)
        return Reschedule(
            claimed.id,
            claimed.fence,
            ending.wait,
            error,
            counts,
            spent=True,
            queue=ending.queue,
            priority=ending.priority,
        )
    if ending.what is What.drop:
        return None
    # Snoozed, released or parked. One without a time that waits for an event has 0, and no time is ever less than a moment.
    counts = None if ending.counts is None else codec.dumps(ending.counts)
    return Reschedule(claimed.id, claimed.fence, ending.wait, error, counts, started=started, waits=ending.on_event)


def counts_of(claimed: Claimed) -> dict[str, int]:
    """Return how often each declaration has taken an error of a job; what somebody wrote by hand counts for nothing."""
    if claimed.counts is None:
        return {}
    try:
        stored = codec.loads(claimed.counts)
    except ValueError:
        return {}
    items = stored.items() if isinstance(stored, dict) else ()
    return {key: value for key, value in items if type(value) is int}
