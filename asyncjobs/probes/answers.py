"""Answers to probes, and the paths at which they are given."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

OK, NOT_FOUND, NOT_IMPLEMENTED, UNAVAILABLE = 200, 404, 501, 503
LIVEZ, READYZ, METRICS = "/livez", "/readyz", "/metrics"
TEXT, JSON = "text/plain; charset=utf-8", "application/json"


class Answer(NamedTuple):
    """An answer to a request."""

    status: int
    body: bytes
    content_type: str = TEXT


Answers: TypeAlias = Mapping[str, Callable[[], Awaitable[Answer]]]
"""What answers, by path."""


def said(*, ok: bool, **facts: Any) -> Answer:
    """Return an answer with facts, as JSON: 200 if all is well, else 503."""
    body = json.dumps({"ok": ok, **facts}, default=str).encode() + b"\n"
    return Answer(OK if ok else UNAVAILABLE, body, JSON)


async def answer(answers: Answers, path: str) -> Answer:
    """Return the answer for a path; 404 where there is none."""
    found = answers.get(path)
    if found is None:
        return Answer(NOT_FOUND, f"nothing is here: there are {', '.join(answers)}\n".encode())
    return await found()
