"""FastAPI and Starlette: the answer when a queue is full, and what a job shows as server-sent events.

::

    app.add_exception_handler(QueueFull, queue_full_handler)

    @app.get("/renderings/{job_id}/events")
    async def events(job_id: UUID, request: Request) -> Response:
        return event_stream(job_id, request)

`event_stream` needs the extra `web`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from datetime import UTC
from typing import TYPE_CHECKING, Any
from uuid import UUID

from starlette.responses import JSONResponse, Response

from asyncjobs.exceptions import AsyncJobsError, InvalidCall, JobNotFound, NotOpen
from asyncjobs.jobs.naming import JobOrId, id_of
from asyncjobs.performing import open_clients
from asyncjobs.performing.calls import FOLLOW
from asyncjobs.records.live import Progress
from asyncjobs.values import codec

if TYPE_CHECKING:
    from starlette.requests import Request

logger = logging.getLogger("asyncjobs.client")

RETRY_AFTER = (5, 15)
"""Seconds; drawn at random, so that clients do not come back all at once."""


async def queue_full_handler(_request: Request, _error: Exception) -> JSONResponse:
    """Answer 503, with `Retry-After`, where a queue holds as many jobs as its `max_depth` allows."""
    return JSONResponse(
        {"detail": "too many jobs are waiting: try again later"},
        status_code=503,
        headers={"Retry-After": str(random.randint(*RETRY_AFTER))},
    )


END = "end"
"""The id of the last event. A browser that comes back with it is told, by 204, to come no more."""


def event_stream(job: JobOrId, request: Request) -> Response:
    """Answer with what a job shows, as server-sent events, until it is final.

    An item is an event without a name, for ``source.onmessage``: its data is the item's JSON, its id the item's number. A
    browser's `EventSource` that has lost the connection comes back with the last id, to any process, and misses nothing;
    others may give ``?after=n``. ``progress`` events have ``{"done", "of", "note", "at"}``. The last event is ``end``, with
    ``{"state", "reason"}``; the state is null when no such job can be seen, and `reason` then says so. Where the database
    fails, the answer is cut short without it: a browser comes back for the rest, and the log has the error.

    The client that was opened last is used. Whoever may see the job's items must be decided before this is called.

    Args:
        job: A job, a UUID or its text.
        request: The request of FastAPI or Starlette.

    Raises:
        NotOpen: No AsyncJobs is open in this process.
        NotEnqueued: `job` has no row yet.
        InvalidOption: `job` is neither a job nor an id.
        InvalidCall: The extra `web` is not installed.
    """
    try:
        from sse_starlette import EventSourceResponse
    except ImportError:
        raise InvalidCall("event_stream() needs sse-starlette: pip install 'asyncjobs-pg[web]'") from None
    last = request.headers.get("last-event-id") or request.query_params.get("after", "")
    if last == END:
        return Response(status_code=204)
    after = int(last) if last.isascii() and last.isdecimal() and len(last) < 19 else 0
    client = open_clients.current(FOLLOW)
    # nginx holds events back otherwise.
    return EventSourceResponse(_events(client, id_of(job), after), headers={"X-Accel-Buffering": "no"})


async def _events(client: open_clients.OpenClient, job_id: UUID, after: int) -> AsyncIterator[dict[str, Any]]:
    try:
        async for shown in client.follow(job_id, after):
            if isinstance(shown, Progress):
                at = shown.at.astimezone(UTC).isoformat()
                data = {"done": shown.done, "of": shown.of, "note": shown.note, "at": at}
                yield {"event": "progress", "data": codec.dumps(data)}
            else:
                yield {"id": str(shown.n), "data": codec.dumps(shown.value)}
        state, reason = (await client.states([job_id])).get(job_id, (None, ""))
    except JobNotFound as error:
        state, reason = None, str(error)
    except NotOpen:
        return
    except AsyncJobsError as error:
        logger.warning("what job %s shows was not sent to its end: %s", job_id, error)
        return
    yield {"event": END, "id": END, "data": codec.dumps({"state": state, "reason": reason})}
