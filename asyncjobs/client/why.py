"""Why a job waits: one sentence, made by one pure function from the rows of a few bounded statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from asyncjobs.checks import durations
from asyncjobs.checks.queue_patterns import serves
from asyncjobs.checks.texts import cut
from asyncjobs.client.stored_outcomes import read_counts
from asyncjobs.db import why as reading
from asyncjobs.db.awaits import Awaited, read_awaited
from asyncjobs.db.connecting import Connection
from asyncjobs.db.limiting import BY
from asyncjobs.db.rows import State, state_name
from asyncjobs.db.why import AtLimit, Serving, Waiting
from asyncjobs.definitions.order_keys import shown_key
from asyncjobs.exceptions import JobNotFound
from asyncjobs.failing.stored_errors import last_error
from asyncjobs.performing.versions import waited
from asyncjobs.values.plain_json import shown_object

_LONGEST = 300
"""Characters of an error's message or of a reason in a sentence."""
NAMED = 3
"""Jobs named in a sentence, of those that a job waits for."""


class Facts(NamedTuple):
    """The facts behind the sentence, beside the job itself."""

    workers: int
    """Live workers."""
    serving: int
    """Live workers with a pool that serves the job's queue."""
    knowing: int
    """Workers among `serving` that know the job's kind."""
    slots: int
    """Slots of the pools of `knowing` that serve the queue."""
    taken: int
    """Jobs that these pools hold; more than `slots` while jobs are claimed ahead."""
    ahead: int
    """Ready jobs that come before the job; at most 1,000 are counted."""
    held_up: str = ""
    """Why none of the workers that know the kind claims anything; empty: one does."""
    limit: AtLimit | None = None
    """The limit at which the job waits."""


class Why(NamedTuple):
    """The reason for a job's state."""

    job: Waiting
    facts: Facts
    sentence: str
    awaited: Sequence[Awaited] = ()
    """The first jobs that a running job waits for."""


async def ask(connection: Connection, job_id: UUID, show_key: Callable[[str], str] = str) -> Why:
    """Read what a job waits for.

    Args:
        connection: Any connection.
        job_id: The job.
        show_key: Returns what is said of a limit's key, which may end in values of arguments.

    Raises:
        JobNotFound: No row can be seen.
    """
    workers = await reading.read_serving(connection)
    job = await reading.read_why(
        connection, job_id, {kind for worker in workers if not worker.late for kind in worker.kinds}
    )
    if job is None:
        raise JobNotFound(job_id)
    facts = look(job, workers)
    if job.state in (State.ready, State.running):
        limit = await reading.read_limit(connection, job_id, NAMED)
        facts = facts._replace(limit=limit and limit._replace(key=show_key(limit.key)))
    awaited = await read_awaited(connection, job_id, NAMED) if job.state == State.running else []
    return Why(job, facts, say(job, facts, workers, awaited), awaited)


def look(job: Waiting, workers: Sequence[Serving]) -> Facts:
    """Return the facts about a job, given all workers."""
    alive = [worker for worker in workers if not worker.late]
    serving = [worker for worker in alive if any(serves(queues, job.queue) for queues, _ in worker.pools)]
    knowing = [worker for worker in serving if job.kind in worker.kinds]
    slots = taken = 0
    for worker in knowing:
        for queues, concurrency in worker.pools:
            if serves(queues, job.queue):
                slots += concurrency
                taken += sum(count for queue, count in worker.held.items() if serves(queues, queue))
    held_up = [worker.claims_nothing for worker in knowing]
    return Facts(
        len(alive), len(serving), len(knowing), slots, taken, job.ahead, held_up[0] if held_up and all(held_up) else ""
    )


def say(job: Waiting, facts: Facts, workers: Sequence[Serving], awaited: Sequence[Awaited] = ()) -> str:
    """Return one sentence about a job, without its subject: what it waits for, where it runs, or how it ended."""
    match job.state:
        case State.scheduled:
            return _scheduled(job, facts)
        case State.ready:
            # Reasons that keep a job from starting; the first that holds is told.
            obstacles = (
                _paused,
                _end_asked,
                _nobody,
                _unserved,
                _unknown,
                _held_up,
                _expired,
                _suspect,
                _other_version,
                _limited,
                _no_slot,
                _others,
            )
            found = next(
                filter(None, (obstacle(job, facts) for obstacle in obstacles)), "is ready, and is claimed next"
            )
            return f"{found}{_crashed_once(job)}{_interrupted(job)}"
        case State.running:
            runs = _running(job, workers)
            alive = any(worker.id == job.worker and not worker.late for worker in workers)
            if alive and facts.limit is not None:
                return f"{_limited(job, facts)}; it {runs}"
            return f"{_awaiting(awaited)}; it {runs}" if awaited and alive else runs
        case State.waiting:
            return _parked(job)
        case State.succeeded:
            return f"succeeded {_ended(job)}, in attempt {job.attempt}"
        case State.failed:
            because = f"; {_short(job.reason)}" if job.reason and job.error else ""
            return f"failed {_ended(job)}, in attempt {job.attempt}, with {_error(job)}{because}"
        case State.discarded:
            return f"was discarded {_ended(job)}: {_short(job.reason)}"
        case State.cancelled:
            return f"was cancelled {_ended(job)}: {_short(job.reason)}"
    return f"is in {state_name(job.state)}, which this version of asyncjobs does not know"


_Obstacle = Callable[[Waiting, Facts], str | None]


def _paused(job: Waiting, _: Facts) -> str | None:
    return f"waits: {said}" if (said := _pause(job)) else None


def _pause(job: Waiting) -> str:
    """Return the pause that holds the job: for how long, by whom and why; empty: there is none."""
    pause = shown_object(job.pause or "{}")
    if not pause:
        return ""
    what = f"queue {job.queue}" if pause.get("scope") == "queue" else f"kind {job.kind}"
    left = pause.get("left")
    until = f", for {_span(left)} more" if isinstance(left, int | float) else ""
    by = f", by {_short(str(pause['by']))}" if pause.get("by") else ""
    because = f" ({_short(str(pause['reason']))})" if pause.get("reason") else ""
    return f"{what} is paused{until}{by}{because}"


def _end_asked(job: Waiting, _: Facts) -> str | None:
    if job.cancel_reason is None:
        return None
    return f"was asked to be cancelled ({_short(job.cancel_reason)}): the next worker that claims it ends it"


def _nobody(_: Waiting, facts: Facts) -> str | None:
    return None if facts.workers else "waits for a worker: none is alive; start one with `asyncjobs run`"


def _unserved(job: Waiting, facts: Facts) -> str | None:
    if facts.serving:
        return None
    return (
        f"waits for a worker that serves queue {job.queue} (alive: {facts.workers}, serving it: none): "
        "add it to a pool's queues"
    )


def _unknown(job: Waiting, facts: Facts) -> str | None:
    if facts.knowing:
        return None
    return (
        f"waits for a worker that knows kind {job.kind} (serving queue {job.queue}: {facts.serving}, knowing it: none): "
        "import its module there"
    )


def _held_up(_: Waiting, facts: Facts) -> str | None:
    if not facts.held_up:
        return None
    which = "the worker that would run it claims" if facts.knowing == 1 else "the workers that would run it claim"
    return f"waits: {which} nothing ({_short(facts.held_up)})"


def _expired(job: Waiting, _: Facts) -> str | None:
    return "was not started in time: the next worker that claims it discards it" if job.expired else None


def _suspect(job: Waiting, _: Facts) -> str | None:
    if job.crashes <= 1:
        return None
    return f"{_suspected(job)}: it runs apart, {_company(job)}, and waits for its turn"


def _crashed_once(job: Waiting) -> str:
    return "; its process died once while it ran, and it runs again like any other" if job.crashes == 1 else ""


def _suspected(job: Waiting) -> str:
    return f"is a suspect, because its process died {job.crashes} times while it ran"


def _company(job: Waiting) -> str:
    if job.together == 1:
        return "alone in a process"
    others = "other suspects" if job.together is None else f"at most {job.together - 1} other suspects"
    return f"alone or with {others} in a process"


def _other_version(job: Waiting, _: Facts) -> str | None:
    before = waited(read_counts(job.counts))
    if before is None:
        return None
    return (
        "waits for a worker of another version: its arguments are not those of the code that met it last "
        f"({_short(before.facts)}), which gave it back, for {_span(before.seconds)} in all; it fails when version_grace "
        "is over"
    )


def _limited(_: Waiting, facts: Facts) -> str | None:
    limit = facts.limit
    if limit is None:
        return None
    key = _short(shown_key(limit.key))
    ahead = f", and {_ahead(limit.ahead)} ahead of it there" if limit.ahead else ""
    if not limit.is_known:
        return f"waits at the limit {key!r}: no worker has said yet what it allows"
    if limit.most is not None and limit.held >= limit.most:
        by = BY[limit.said_by]
        if not limit.most:
            return f"waits at the limit {key!r}, which is 0 {by}: `jobs.set_limit` says another number"
        more = f" and {limit.held - len(limit.holders)} more" if limit.held > len(limit.holders) else ""
        holders = f"{', '.join(map(str, limit.holders))}{more}"
        return f"waits at the limit {key!r}: {limit.most} at once {by}, held by {holders}{ahead}"
    if limit.next_start is not None:
        return f"waits for its start by the rate {key!r}: the next is due in {_span(limit.next_start)}{ahead}"
    return f"waits at {key!r}, and is let pass next{ahead}"


def _no_slot(job: Waiting, facts: Facts) -> str | None:
    if facts.taken < facts.slots:
        return None
    ahead = f", and {_ahead(facts.ahead)} ahead of it" if facts.ahead else ""
    return f"waits for a free slot: all {facts.slots} of the pools that serve queue {job.queue} are taken{ahead}"


def _others(job: Waiting, facts: Facts) -> str | None:
    return f"waits for its turn: {_ahead(facts.ahead)} ahead of it in queue {job.queue}" if facts.ahead else None


def _linked(job: Waiting) -> str:
    """Return what a job waits for that starts after another job."""
    before = f"{job.before_kind} {job.after}" if job.before_kind is not None else f"job {job.after}"
    if job.anyhow:
        return f"waits for the end of {before}, which has its unique key and runs: it is the newer one"
    where = "the job before it" if job.links == 1 else f"the job {job.links} before it"
    waits = f"waits for {where} in its chain, {before}"
    match job.before_state:
        case None:
            return f"{waits}, which is gone from the history: a worker ends this one within the hour"
        case State.failed:
            return (
                f"{waits}, which has failed: retried and succeeding, it lets the chain go on; discarded, it ends that"
            )
        case State.discarded | State.cancelled:
            return f"{waits}, which was {state_name(job.before_state)}: retry that one, too"
    return f"{waits} ({state_name(job.before_state)})"


def _scheduled(job: Waiting, facts: Facts) -> str:
    if job.after is not None:
        return _linked(job)
    if (other := _other_version(job, facts)) is not None and job.step is None:
        return other
    due_in = job.due_in or 0.0
    error = last_error(job.error)
    failed = job.step is None and error is not None and error.attempt == job.attempt > 0
    what = f"the end of its sleep {_short(job.step)!r}" if job.step else "its retry" if failed else "its time"
    because = f": attempt {job.attempt} failed with {_error(job)}" if failed else _interrupted(job)
    if pause := _pause(job):
        because = f"{because}; then it waits on, while {pause}"
    if due_in > 0:
        return f"waits for {what}, at {_time(job.run_at)}, in {_span(due_in)}{because}"
    nobody = "no worker is alive to make it ready" if not facts.workers else "a worker makes it ready next"
    return f"waits for {what}, which came {_span(-due_in)} ago, and {nobody}{because}"


def _interrupted(job: Waiting) -> str:
    """Return the reason of the last interruption, if no attempt has ended since; else an empty text."""
    error = last_error(job.error)
    if error is None or error.type != "asyncjobs.exceptions.JobInterrupted" or error.attempt != job.attempt + 1:
        return ""
    return f": it {_short(error.message)}"


def _parked(job: Waiting) -> str:
    if job.event is None:
        return "is parked: it waits for an event or for other jobs, and holds no slot"
    which = f"{_short(job.event)!r}" + (f" of key {_short(job.key)!r}" if job.key else "")
    until = "" if job.run_at is None else f", until {_time(job.run_at)}, for {_span(job.due_in)} more"
    return f"is parked: it waits for the event {which}{until}, and holds no slot"


def _running(job: Waiting, workers: Sequence[Serving]) -> str:
    worker = next((worker for worker in workers if worker.id == job.worker), None)
    again = "any other makes it ready again"
    if not any(other is not worker and not other.missed for other in workers):
        again = "no other is alive to make it ready again; start one with `asyncjobs run`"
    asked = ""
    if job.cancel_reason is not None:
        asked = f"was asked to be cancelled ({_short(job.cancel_reason)}) and has not ended yet: it "
    if worker is None:
        return f"{asked}ran in attempt {job.attempt} on worker {job.worker}, which is dead: {again}"
    place = ", ".join(filter(None, (worker.host, f"pid {worker.pid}" if worker.pid else "")))
    where = f"worker {worker.id} ({place})" if place else f"worker {worker.id}"
    runs = f"{asked}runs since {_time(job.started_at)}, for {_span(job.since)}, in attempt {job.attempt} on {where}"
    if job.crashes > 1:
        runs = f"{_suspected(job)}; it {runs}{f', apart, {_company(job)}' if job.apart else ''}"
    if worker.late:
        return f"{runs}, which is silent for {_span(worker.silent)} and has lost its lease: {again}"
    if worker.missed:
        return f"{runs}, which is silent for {_span(worker.silent)}: if it is dead, {again}"
    return runs


def _awaiting(awaited: Sequence[Awaited]) -> str:
    """Return which jobs a running job waits for."""
    first = awaited[0]
    names = ", ".join(f"{one.kind} {one.id} ({state_name(one.state)})" for one in awaited)
    more = f" and {first.left - len(awaited)} more" if first.left > len(awaited) else ""
    jobs = "job" if first.of == 1 else "jobs"
    if first.step is None:
        return f"waits for {first.left} {'job' if first.left == 1 else 'jobs'} that it awaits, {names}{more}"
    return f"waits for {first.left} of {first.of} {jobs} that its step {_short(first.step)!r} runs, {names}{more}"


def _ended(job: Waiting) -> str:
    return f"at {_time(job.finished_at)}, {_span(job.since)} ago"


def _error(job: Waiting) -> str:
    last = last_error(job.error)
    if last is None:
        return f"no error kept ({_short(job.reason)})"
    return _short(": ".join(filter(None, (last.type.removeprefix("builtins."), last.message))))


def _short(text: str | None) -> str:
    """Return text on one line, cut when it is long."""
    line = " ".join((text or "").split()) or "no reason given"
    return cut(line, _LONGEST)


def _time(moment: datetime | None) -> str:
    return "a time unknown" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _span(seconds: float | None) -> str:
    """Return a time span, rounded: the longer it is, the coarser."""
    given = max(seconds or 0.0, 0.0)
    unit = 0.1 if given < 10 else 1 if given < 3600 else 60 if given < 172_800 else 3600
    return durations.spell(round(given / unit) * unit)


def _ahead(number: int) -> str:
    if number >= reading.COUNTED:
        return f"at least {number} jobs are"
    return "1 job is" if number == 1 else f"{number} jobs are"
