"""The answer of a FastAPI application when a queue is full; needs `fastapi`.

::

    app.add_exception_handler(QueueFull, queue_full_handler)
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from fastapi import Request

RETRY_AFTER = (5, 15)
"""Seconds; drawn at random, so that clients do not come back all at once."""


async def queue_full_handler(_request: Request, _error: Exception) -> JSONResponse:
    """Answer 503, with `Retry-After`, where a queue holds as many jobs as its `max_depth` allows."""
    return JSONResponse(
        {"detail": "too many jobs are waiting: try again later"},
        status_code=503,
        headers={"Retry-After": str(random.randint(*RETRY_AFTER))},
    )
