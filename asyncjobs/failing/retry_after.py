"""When the other side of a call wants to be asked again, as an error says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST = 86_400.0
"""Seconds that are believed: a mistake of the other side must not stop a rate for weeks."""


def retry_after(error: BaseException) -> float | None:
    """Return in how many seconds an error, or what has caused it, says that it may be tried again; None: it does not say.

    Its attribute `retry_after`, in seconds or as a timedelta; or the header ``Retry-After`` of its `response`, in seconds or
    as a date (RFC 9110, 10.2.3), as the errors of HTTP clients have it. At most `LONGEST`.
    """
    for each in (error, error.__cause__):
        if each is None:
            continue
        for said in (getattr(each, "retry_after", None), _header(each)):
            if (seconds := _seconds(said)) is not None:
                return min(seconds, LONGEST)
    return None


def _header(error: BaseException) -> Any:
    headers = getattr(getattr(error, "response", None), "headers", None)
    try:
        return None if headers is None else headers.get("Retry-After")
    except Exception:  # whatever an error of somebody's has under that name
        return None


def _seconds(said: Any) -> float | None:
    if isinstance(said, timedelta):
        said = said.total_seconds()
    if isinstance(said, str):
        try:
            said = float(said)
        except ValueError:
            said = _until(said)
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < float("inf"):
        return None
    return float(said)


def _until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
