"""What can be done by hand, each with its entry in the audit, written in the same transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.checks.durations import seconds
from asyncjobs.client.job_actions import Answer, Asked, JobActions
from asyncjobs.client.job_filters import Action, Filter
from asyncjobs.client.recurring import no_such
from asyncjobs.db import audit, pausing, recurring, workers
from asyncjobs.db.connecting import Connection
from asyncjobs.db.job_actions import Cancelled, Done
from asyncjobs.db.rows import State
from asyncjobs.db.sessions import Runs
from asyncjobs.definitions.ids import new_id
from asyncjobs.exceptions import AsyncJobsError
from asyncjobs.jobs.pauses import paused
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.refusals import bad, missing

logger = logging.getLogger("asyncjobs.web")
T = TypeVar("T")

MOST_CHOSEN = 200
"""Jobs that can be chosen one by one."""
PATIENCE = 1.0
"""Seconds for which an answer waits for an action on many jobs; what is left is done meanwhile."""
PAST = {Action.retry: "retried", Action.discard: "discarded", Action.cancel: "cancelled"}


class OnOne(Runs):
    """Runs operations on one connection, in the transaction that it is in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run(self, operation: Callable[[Connection], Awaitable[T]], *, deadline: float | None = None) -> T:
        """See `Runs.run`."""
        del deadline  # the transaction around it has its own
        return await operation(self._connection)


class Noting(Runs):
    """Runs each operation in a transaction of its own that also notes how many jobs it has changed."""

    def __init__(self, sessions: Runs, entry: int) -> None:
        self._sessions = sessions
        self._entry = entry

    async def run(self, operation: Callable[[Connection], Awaitable[T]], *, deadline: float | None = None) -> T:
        """See `Runs.run`."""

        async def noted(connection: Connection) -> T:
            async with connection.transaction():
                result = await operation(connection)
                if (changed := _changed(result)) > 0:
                    await audit.add(connection, self._entry, jobs=changed, over=False)
            return result

        return await self._sessions.run(noted, deadline=deadline)


def _changed(result: Any) -> int:
    """Return how many jobs a statement has changed, by its result."""
    if not isinstance(result, list):
        return 0
    done = sum(one.done + one.along for one in result if isinstance(one, Done))
    return done + sum(
        (one.came_to in ("cancelled", "cancelling")) + one.along for one in result if isinstance(one, Cancelled)
    )


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who acts.

    Attributes:
        dashboard: Where.
        who: His name, or his address.
    """

    dashboard: Dashboard
    who: str

    @property
    def _retention(self) -> float:
        return self.dashboard.settings.retention

    async def _together(self, body: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `body` in one transaction."""

        async def whole(connection: Connection) -> T:
            async with connection.transaction():
                return await body(connection)

        return await self.dashboard.writing.run(whole)

    async def _note(
        self, connection: Connection, action: str, scope: str, subject: str, *, detail: str = "", jobs: int = 0
    ) -> int:
        entry = await audit.begin(connection, who=self.who, action=action, scope=scope, subject=subject, detail=detail)
        await audit.add(connection, entry, jobs=jobs, over=True)
        return entry

    async def jobs(self, asked: Asked, ids: Sequence[UUID]) -> int:
        """Do an action with jobs by their ids, in one transaction; return the entry."""

        async def body(connection: Connection) -> int:
            answers = await JobActions(OnOne(connection), self._retention).named(asked, ids)
            name = asked.action.value
            for answer in answers:
                detail = _problem(asked, answer) or _said(asked)
                jobs = answer.done + answer.along
                last = await self._note(connection, name, "job", str(answer.id), detail=detail, jobs=jobs)
            if len(answers) == 1:
                return last
            problems = [problem for answer in answers if (problem := _problem(asked, answer))]
            detail = "; ".join([*filter(None, [_said(asked)]), *dict.fromkeys(problems)])
            jobs = sum(answer.done + answer.along for answer in answers)
            return await self._note(connection, name, "jobs", f"{len(answers)} chosen jobs", detail=detail, jobs=jobs)

        return await self._together(body)

    async def all_jobs(self, asked: Asked, wanted: Filter, words: str) -> int:
        """Do an action with all jobs that match; what takes long goes on behind. Return the entry."""
        entry = await self.dashboard.writing.run(
            lambda connection: audit.begin(
                connection, who=self.who, action=asked.action.value, scope="jobs", subject=words, detail=_said(asked)
            )
        )
        task = self.dashboard.services.start(self._all(entry, asked, wanted), name="dashboard action")
        await asyncio.wait([task], timeout=PATIENCE)
        return entry

    async def _all(self, entry: int, asked: Asked, wanted: Filter) -> None:
        writing, trouble = self.dashboard.writing, None
        try:
            await JobActions(Noting(writing, entry), self._retention).matching(asked, wanted)
        except AsyncJobsError as error:
            logger.warning("%s of %s has ended with an error: %s", asked.action.value, wanted, error)
            trouble = f"ended early: {error}"
        except asyncio.CancelledError:
            trouble = "ended early: the dashboard was stopped"
            raise
        finally:
            await writing.run(lambda connection: audit.add(connection, entry, jobs=0, over=True, trouble=trouble))

    async def pause(self, queue: str | None, kind: str | None, *, reason: str, until: str | None) -> int:
        """Pause a queue or a kind; return the entry."""
        what = paused(queue, kind)
        try:
            span = None if until is None else seconds(until, name="until", minimum=limits.SHORTEST_TIMEOUT)
        except ValueError:
            raise bad("until must be a time span such as 45s, 10m, 2h or 7d") from None

        async def body(connection: Connection) -> int:
            await pausing.pause(
                connection, what.scope, what.names, until=None, seconds=span, reason=reason, by=self.who
            )
            said = ", ".join(filter(None, (f"for {until}" if until else "", reason)))
            return await self._note(connection, "pause", what.scope, what.names[0], detail=said)

        return await self._together(body)

    async def resume(self, queue: str | None, kind: str | None) -> int:
        """Resume a queue or a kind; return the entry."""
        what = paused(queue, kind)

        async def body(connection: Connection) -> int:
            resumed = await pausing.resume(connection, what.scope, what.names)
            return await self._note(
                connection, "resume", what.scope, what.names[0], detail="" if resumed else "it was not paused"
            )

        return await self._together(body)

    async def quiet(self, worker: UUID, *, wanted: bool) -> int:
        """Tell a worker to claim nothing, or to claim again; return the entry."""

        async def body(connection: Connection) -> int:
            host = await workers.quiet(connection, worker, wanted=wanted)
            if host is None:
                raise missing("This worker is not alive any more.")
            return await self._note(connection, "quiet" if wanted else "go on", "worker", str(worker), detail=host)

        return await self._together(body)

    async def recurring(self, action: str, name: str) -> int:
        """Pause or resume a schedule, or enqueue a job of it now; return the entry."""

        async def body(connection: Connection) -> int:
            detail = ""
            if action == "run":
                job = await recurring.run(connection, name, new_id())
                found, detail = job is not None, "" if job is None else f"job {job.id}"
            else:
                change = recurring.pause if action == "pause" else recurring.resume
                found = await change(connection, name)
            if not found:
                known, _ = await recurring.read(connection)
                raise missing(no_such(name, [each.name for each in known]))
            return await self._note(connection, action, "recurring", name, detail=detail)

        return await self._together(body)


def _said(asked: Asked) -> str:
    parts = (asked.reason, f"from step {asked.from_step}" if asked.from_step else "", "at once" if asked.forced else "")
    return ", ".join(filter(None, parts))


def _problem(asked: Asked, answer: Answer) -> str | None:
    """Return why nothing was done with a job, and the remedy; None: something was."""
    if answer.done:
        return None
    if answer.state is None:
        return "nothing was done: it is not there any more"
    if answer.taken_by is not None:
        return f"nothing was done: job {answer.taken_by} has its unique key; cancel that one first, or let it end"
    match asked.action, answer.state:
        case Action.discard, State.running:
            remedy = "it runs: cancel it"
        case Action.retry, State.waiting:
            remedy = "it waits: emit its event; or cancel it, and retry it from a step"
        case _:
            remedy = f"it {'has ended as' if answer.state.final else 'is'} {answer.state.name}"
    return f"nothing was done: {remedy}"
