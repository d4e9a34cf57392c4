"""An attempt's outcome as the row to write."""

from __future__ import annotations

from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.defining import codec
from asyncjobs.defining.claimed import Claimed
from asyncjobs.defining.deciding import What
from asyncjobs.defining.settling import Outcome
from asyncjobs.defining.stored_errors import describe_error, storable
from asyncjobs.worker.ends import End

_STATES = {
    What.succeed: State.succeeded,
    What.fail: State.failed,
    What.discard: State.discarded,
    What.cancel: State.cancelled,
}


def row_of(outcome: Outcome, claimed: Claimed, *, days: int, started: bool) -> End:
    """Return what is to be written about an attempt.

    Args:
        outcome: How it ended.
        claimed: The row that was run.
        days: How many days it is kept when it is final.
        started: Whether its code was started: then it was in time.
    """
    error = None if outcome.error is None else describe_error(outcome.error, attempt=claimed.attempt)
    if (state := _STATES.get(outcome.what)) is not None:
        reason = None if outcome.reason is None else storable(outcome.reason)
        return Finish(claimed.id, claimed.fence, state, outcome.result, error, reason, days)
    if outcome.what is What.drop:
        return None
    counts = None if outcome.counts is None else codec.dumps(outcome.counts)
    if outcome.what is What.retry:
        return Reschedule(
            claimed.id, claimed.fence, outcome.wait, error, counts, spent=True, queue=outcome.queue,
            priority=outcome.priority,
        )  # fmt: skip
    # Snoozed, released or parked. One without a time that waits for an event has 0, and no time is ever less than a moment.
    return Reschedule(claimed.id, claimed.fence, outcome.wait, error, counts, started=started, waits=outcome.on_event)
