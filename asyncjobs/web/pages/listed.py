"""Jobs as the pages list them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asyncjobs.client.job_actions import fails_so
from asyncjobs.db import looking
from asyncjobs.db.connecting import Connection
from asyncjobs.db.looking import Counted, Wanted
from asyncjobs.db.reading import ListedJob
from asyncjobs.db.rows import State, state_name
from asyncjobs.definitions import registry
from asyncjobs.failing.stored_errors import read_errors

_PAST = (State.running, State.waiting, State.succeeded)
"""States in which the errors of a job are of earlier attempts."""


async def page_of_jobs(
    connection: Connection, wanted: Wanted, *, before: UUID | None, limit: int
) -> tuple[list[ListedJob], UUID | None]:
    """Return a page of jobs, newest first, and the id after which the next one begins; None: there are no more.

    The work is bounded: where few jobs match, a page may have fewer than `limit`, or none, and yet be followed by another.
    """
    if wanted.kind is not None:
        wanted = wanted._replace(kind=registry.stored_name(wanted.kind))
    found: list[ListedJob] = []
    after = before
    for look_at in looking.LOOKS:
        look = await looking.look(connection, wanted, before=after, look_at=look_at, limit=limit + 1 - len(found))
        found += [job for job in look.jobs if fails_so(job, wanted.error)]
        after = look.last
        if len(found) > limit:
            return found[:limit], found[limit - 1].id
        if after is None:
            break
    return found, after


async def counts(connection: Connection, wanted: Wanted) -> dict[str, dict[str, Any]]:
    """Return the number of jobs in each state that match the rest of a filter, as far as they are counted."""
    if wanted.kind is not None:
        wanted = wanted._replace(kind=registry.stored_name(wanted.kind))
    return {each.state.name: _counted(each) for each in await looking.count_states(connection, wanted)}


def _counted(each: Counted) -> dict[str, Any]:
    return {"jobs": each.jobs, "more": each.cut}


def values_of(job: ListedJob) -> dict[str, Any]:
    """Return a job as values of JSON; `error` is that of its failure, or for which it is tried again."""
    errors = [] if job.state in _PAST else read_errors(job.error)
    return {
        **job._asdict(),
        "state": state_name(job.state),
        "error": {"type": errors[-1].type, "message": errors[-1].message} if errors else None,
    }
