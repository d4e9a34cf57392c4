"""Jobs as the pages list them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asyncjobs.client import finding
from asyncjobs.client.job_filters import fails_so
from asyncjobs.client.label_filters import Words, read_words
from asyncjobs.db import looking
from asyncjobs.db.connecting import Connection
from asyncjobs.db.looking import Counted, Wanted
from asyncjobs.db.reading import ListedJob
from asyncjobs.db.rows import State
from asyncjobs.definitions import registry
from asyncjobs.exceptions import InvalidArguments, InvalidOption
from asyncjobs.failing.stored_errors import type_and_message
from asyncjobs.web.refusals import bad


async def page_of_jobs(
    connection: Connection, wanted: Wanted, *, before: UUID | None, limit: int
) -> tuple[list[ListedJob], UUID | None]:
    """Return a page of jobs, newest first, and the id after which the next one begins; None: there are no more.

    The work is bounded: where few jobs match, a page may have fewer than `limit`, or none, and yet be followed by another.
    """
    if wanted.by_index:
        sought = _sought(wanted)
        found = await finding.find(lambda operation: operation(connection), sought, before=before, limit=limit + 1)
        return found[:limit], found[limit - 1].id if len(found) > limit else None
    if wanted.kind is not None:
        wanted = wanted._replace(kind=registry.stored_name(wanted.kind))
    found = []
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
    if wanted.by_index:
        return {state.name: await _count(connection, wanted._replace(state=state)) for state in State}
    if wanted.kind is not None:
        wanted = wanted._replace(kind=registry.stored_name(wanted.kind))
    return {each.state.name: _counted(each) for each in await looking.count_states(connection, wanted)}


async def _count(connection: Connection, wanted: Wanted) -> dict[str, Any]:
    most = looking.COUNTED_FEW
    found = await finding.count(lambda operation: operation(connection), _sought(wanted), most=most + 1)
    return {"jobs": min(found, most), "more": found > most}


def _sought(wanted: Wanted) -> finding.Wanted:
    try:
        sought = finding.wanted_of(
            state=None if wanted.state is None else wanted.state.name,
            kind=wanted.kind,
            queue=wanted.queue,
            error=wanted.error,
            **words_of(wanted),
        )
        return sought if wanted.kind is None else sought._replace(kinds=(wanted.kind,))
    except (InvalidOption, InvalidArguments) as error:
        raise bad(str(error)) from None


def words_of(wanted: Wanted) -> Words:
    """Return the part of a filter that is searched for in an index.

    Raises:
        Refused: The argument is not NAME=VALUE.
    """
    try:
        return read_words([wanted.tag] if wanted.tag else (), (), [wanted.arg] if wanted.arg else ())
    except InvalidOption as error:
        raise bad(str(error).replace("--arg", "arg")) from None


def _counted(each: Counted) -> dict[str, Any]:
    return {"jobs": each.jobs, "more": each.cut}


def values_of(job: ListedJob) -> dict[str, Any]:
    """Return a job as values of JSON; `error` is that of its failure, or for which it is tried again."""
    return {**finding.values_of(job), "error": type_and_message(finding.error_that_holds(job))}
