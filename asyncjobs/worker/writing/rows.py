"""Rows: an attempt's outcome as the end to write."""

from __future__ import annotations

from asyncjobs.db.rows import Finish, RatePause, Reschedule, State
from asyncjobs.definitions.definition import Definition
from asyncjobs.failing.deciding import What
from asyncjobs.failing.retry_after import retry_after
from asyncjobs.failing.stored_errors import describe_error, storable
from asyncjobs.jobs.ordering import limit_keys_of, name_under
from asyncjobs.performing.outcomes import Outcome
from asyncjobs.records.claimed import Claimed
from asyncjobs.values import codec
from asyncjobs.worker.job_processes.sent_outcomes import End

_STATES = {
    What.succeed: State.succeeded,
    What.fail: State.failed,
    What.discard: State.discarded,
    What.cancel: State.cancelled,
}


def pauses_of(claimed: Claimed, definition: Definition, error: BaseException) -> tuple[RatePause, ...]:
    """Return the pauses that an error demands for the job's rates with `follow_retry_after`; none if it names no time."""
    names = {name_under(definition, rate) for rate in definition.options.rate_limit if rate.follow_retry_after}
    if not names or (seconds := retry_after(error)) is None:
        return ()
    try:
        keys = limit_keys_of(definition.load(claimed.args))
    except Exception:  # of its arguments or of a callable `by`: the outcome is written all the same
        return ()
    return tuple(RatePause(key["key"], seconds) for key in keys if key["name"] in names)


def row_of(outcome: Outcome, claimed: Claimed, *, days: int, started: bool, begun: float) -> End:
    """Return the end to write for an attempt.

    Args:
        outcome: The outcome of the attempt.
        claimed: The row that was claimed.
        days: Days for which the job is kept once it is final.
        started: Whether the job's code was started: then `expires` has no effect any more.
        begun: When the attempt began here, by the monotonic clock.
    """
    error = None if outcome.error is None else describe_error(outcome.error, attempt=claimed.attempt, begun=begun)
    if (state := _STATES.get(outcome.what)) is not None:
        reason = None if outcome.reason is None else storable(outcome.reason)
        return Finish(
            claimed.id, claimed.fence, state, outcome.result, error, reason, days, claimed.batch, outcome.then
        )
    if outcome.what is What.drop:
        return None
    counts = None if outcome.counts is None else codec.dumps(outcome.counts)
    if outcome.what is What.retry:
        queue, priority = outcome.queue, outcome.priority
        return Reschedule(
            claimed.id, claimed.fence, outcome.wait, error, counts, spent=True, queue=queue, priority=priority
        )
    # Snoozed, given back or parked. A wait for an event without a time limit has 0; a time limit is always more than 0.
    return Reschedule(claimed.id, claimed.fence, outcome.wait, error, counts, started=started, waits=outcome.on_event)
