"""Actions on jobs by hand: retry, discard and cancel, by id or by a filter.

They are done in batches, each in a statement and a transaction of its own: an error undoes no batch before, and the same
call again goes on from there. Jobs are taken in the order of their ids, each once, and none that was enqueued or has ended
after the call: a job that fails again at once is not retried for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

from asyncjobs.client.job_filters import Action, Filter, matches
from asyncjobs.client.stored_outcomes import read_steps
from asyncjobs.db import job_actions
from asyncjobs.db.job_actions import BATCH, Done, Picked
from asyncjobs.db.jobs import read_status
from asyncjobs.db.rows import State
from asyncjobs.db.sessions import Runs
from asyncjobs.definitions import registry
from asyncjobs.exceptions import InvalidOption
from asyncjobs.values import codec

FIRST = 10
"""Matching jobs that are returned one by one."""
_NIL = UUID(int=0)


class Asked(NamedTuple):
    """An action on jobs, with its options."""

    action: Action
    reason: str = ""
    """The reason of a discard or a cancel; stored with each job."""
    forced: bool = False
    """Retry jobs that succeeded, too, and jobs scheduled for their first run."""
    from_step: str | None = None
    """Retry from this step on; None: after the steps that have succeeded."""


class Answer(NamedTuple):
    """The result, or after a dry run the expected result, of an action on one job that was named."""

    id: UUID
    done: bool
    state: State | None
    """The job's state; None: there is no such job."""
    children: int = 0
    """For a retry: failed jobs that a step of this one ran, and that are retried when it runs."""
    taken_by: UUID | None = None
    """For a retry: the job that has the unique key, so that this one was not retried."""
    along: int = 0
    """For a cancel: other jobs that are cancelled with this one: the rest of its chain, and jobs that its steps run."""


class Matched(NamedTuple):
    """The result, or after a dry run the expected result, of an action on all jobs that match a filter."""

    total: int
    """The number of jobs; with those that were cancelled along with others, which a dry run does not count."""
    first: list[Picked]
    """At most `FIRST` of the jobs, as they were before; with their last errors after a dry run."""


def may(asked: Asked, state: int, attempt: int) -> bool:
    """Whether an action can be done with a job in this state and of this attempt."""
    match asked.action:
        case Action.retry if state == State.scheduled:
            return attempt > 0 or asked.forced
        case Action.retry:
            return state > State.succeeded or (state == State.succeeded and asked.forced)
        case _:
            return state in asked.action.states


def _answer(job_id: UUID, found: Done | None, children: Mapping[UUID, int]) -> Answer:
    if found is None:
        return Answer(job_id, False, None)
    retried = children.get(job_id, 0) if found.done else 0
    return Answer(job_id, found.done, State(found.state), retried, taken_by=found.taken_by, along=found.along)


class JobActions:
    """Does actions on jobs.

    Args:
        sessions: The connections for statements.
        retention: Seconds that a live job is kept after it was discarded or cancelled.
    """

    def __init__(self, sessions: Runs, retention: float) -> None:
        self._sessions = sessions
        self._days = math.ceil(retention / 86_400)

    async def named(self, asked: Asked, ids: Sequence[UUID], *, dry_run: bool = False) -> list[Answer]:
        """Do an action with jobs by their ids; return the result of each, in the given order.

        Args:
            asked: The action.
            ids: The jobs; an id given twice counts once.
            dry_run: Change nothing, and return the expected results.
        """
        wanted = sorted(set(ids))
        found: dict[UUID, Done] = {}
        children: dict[UUID, int] = {}
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            if asked.action is Action.retry and asked.from_step is None:
                children |= await self._sessions.run(partial(job_actions.failed_children, ids=batch))
            done = await (self._would(asked, batch) if dry_run else self._do(asked, batch))
            found.update((one.id, one) for one in done)
        return [_answer(job_id, found.get(job_id), children) for job_id in dict.fromkeys(ids)]

    async def matching(self, asked: Asked, wanted: Filter, *, dry_run: bool = False) -> Matched:
        """Do an action with all jobs that match a filter, the oldest first.

        Args:
            asked: The action.
            wanted: A filter made for the same action.
            dry_run: Change nothing, and return the expected result.
        """
        if wanted.group is not None:
            wanted = await self._resolved(wanted, wanted.group)
        before = await self._sessions.run(partial(job_actions.read_before, seconds=wanted.older_than))
        count, first = 0, list[Picked]()
        for final in (False, True):
            states = [state for state in wanted.states if state.final is final]
            after: UUID | None = _NIL if states else None
            look_at = BATCH
            while after is not None and (wanted.limit is None or count < wanted.limit):
                stretch = await self._sessions.run(
                    partial(
                        job_actions.pick,
                        final=final,
                        after=after,
                        states=states,
                        kinds=wanted.kinds and list(map(registry.stored_name, wanted.kinds)),
                        queue=wanted.queue,
                        before=before,
                        error=None if wanted.error is None else codec.dumps(wanted.error)[1:-1],
                        labels=wanted.labelled.labels,
                        look_at=look_at,
                        limit=BATCH if wanted.limit is None else wanted.limit - count,
                    )
                )
                after = stretch.last
                # While most jobs match, a batch at a time; while few do, more, to save round trips.
                look_at = BATCH if len(stretch.picked) > BATCH / 4 else min(2 * look_at, job_actions.LOOKED_AT)
                picked = [job for job in stretch.picked if may(asked, job.state, job.attempt) and matches(job, wanted)]
                if picked and wanted.labelled.reads_arguments:
                    have = partial(
                        job_actions.having_arguments,
                        ids=[job.id for job in picked],
                        arguments=wanted.labelled.all_arguments,
                    )
                    having = await self._sessions.run(have)
                    picked = [job for job in picked if job.id in having]
                if picked and not dry_run:
                    done = await self._do(asked, [job.id for job in picked], [job.fence for job in picked])
                    changed = {one.id for one in done if one.done}
                    picked = [job for job in picked if job.id in changed]
                    count += sum(one.along for one in done)
                count += len(picked)
                first += picked[: FIRST - len(first)]
        if dry_run and wanted.error is None:
            first = await self._with_errors(first)
        return Matched(count, first)

    async def _resolved(self, wanted: Filter, group: str) -> Filter:
        """Narrow a filter to the kind and the error of its group.

        Raises:
            InvalidOption: There is no such group among the newest failed jobs.
        """
        found = await self._sessions.run(job_actions.read_failures)
        known = next((one for one in found.groups if one.id == group), None)
        if known is None:
            among = "there are" if found.is_complete else f"are the newest, {found.looked_at} of them,"
            raise InvalidOption(
                f"no group {group} among the failed jobs that {among}: `asyncjobs jobs failed` shows the groups; a group's "
                "id changes with the line of the code"
            )
        return wanted._replace(kinds=(known.kind,), error=known.error)

    async def _with_errors(self, jobs: list[Picked]) -> list[Picked]:
        found = await self._sessions.run(partial(job_actions.pick_ids, ids=[job.id for job in jobs]))
        errors = {job.id: job.error for job in found}
        return [job._replace(error=errors.get(job.id)) for job in jobs]

    async def _would(self, asked: Asked, ids: Sequence[UUID]) -> list[Done]:
        picked = await self._sessions.run(partial(job_actions.pick_ids, ids=ids))
        would = [Done(job.id, may(asked, job.state, job.attempt), job.state) for job in picked]
        if asked.action is not Action.cancel:
            return would
        along = await self._sessions.run(
            partial(job_actions.count_along, ids=sorted(one.id for one in would if one.done))
        )
        return [one._replace(along=along.get(one.id, 0)) for one in would]

    async def _do(self, asked: Asked, ids: Sequence[UUID], fences: Sequence[int] | None = None) -> list[Done]:
        match asked.action:
            case Action.retry:
                if asked.from_step is not None:
                    await self._check_step(ids, asked.from_step)
                return await self._sessions.run(
                    partial(job_actions.retry, ids=ids, fences=fences, forced=asked.forced, from_step=asked.from_step)
                )
            case Action.discard:
                return await self._sessions.run(
                    partial(job_actions.discard, ids=ids, fences=fences, reason=asked.reason, days=self._days)
                )
        # Without fences: a job that was asked to be cancelled must not start, even if it has changed since it was found.
        came_to = await self._sessions.run(partial(job_actions.cancel, ids=ids, reason=asked.reason, days=self._days))
        states = {"cancelled": State.cancelled, "cancelling": State.running}
        done = [
            Done(each.id, True, states[each.came_to], along=each.along) for each in came_to if each.came_to in states
        ]
        final = [each.id for each in came_to if each.came_to == "final"]
        if not final:
            return done
        picked = await self._sessions.run(partial(job_actions.pick_ids, ids=final))
        return [*done, *(Done(job.id, False, job.state) for job in picked)]

    async def _check_step(self, ids: Sequence[UUID], name: str) -> None:
        """Refuse a retry from a step that one of the jobs has not reached.

        Raises:
            InvalidOption: A job has not reached it.
        """
        for job_id in ids:
            row = await self._sessions.run(partial(read_status, job_id=job_id))
            if row is not None and name not in (names := [step.name for step in read_steps(row.steps)]):
                known = f"recorded are {', '.join(names)}" if names else "nothing is recorded of any"
                raise InvalidOption(
                    f"nothing is recorded of a step {name!r} of job {job_id}: {known}; a job that is retried without a step "
                    "goes on after those that have succeeded, with the one that failed"
                )
