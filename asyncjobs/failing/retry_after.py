"""`Retry-After`: the time at which an error says that a service may be called again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST = 86_400.0
"""The most seconds that are used: a mistake of the service must not stop a rate for weeks."""


def retry_after(error: BaseException) -> float | None:
    """Return the seconds until an error, or its cause, says that a call may be tried again; None: it does not say.

    They come from its attribute `retry_after`, in seconds or as a timedelta, or from the header ``Retry-After`` of its
    `response`, in seconds or as a date (RFC 9110, 10.2.3), as errors of HTTP clients have it. At most `LONGEST`.
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
    except Exception:  # another library's attribute of that name may be anything
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
