"""The checked types that settings are made of; each refusal says the limit and the remedy."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from asyncjobs.durations import TEN_YEARS, read_seconds, shown
from asyncjobs.settings.urls import check_database_url

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

_UNITS = {"": 0, "KiB": 10, "MiB": 20, "GiB": 30}
_SIZE = re.compile(r"\s*([0-9]{1,12})\s*(|KiB|MiB|GiB)\s*")
_QUEUE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def whole(minimum: int, maximum: int) -> BeforeValidator:
    """A whole number; the environment's text counts, `true` and 3.5 do not."""

    def check(value: Any) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
            raise ValueError(f"{shown(value)} is not allowed; give a whole number from {minimum} to {maximum}")
        return number

    return BeforeValidator(check)


def time(minimum: float = 0.0, maximum: float = TEN_YEARS) -> BeforeValidator:
    """Seconds within limits, from any form of `asyncjobs.durations`."""

    def check(value: Any) -> float:
        return read_seconds(value, minimum=minimum, maximum=maximum)

    return BeforeValidator(check)


def size(minimum: int, maximum: int) -> BeforeValidator:
    """Bytes: a whole number, or text with a unit, such as "64MiB"."""

    def check(value: Any) -> int:
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        number = value if found is None else int(found[1]) << _UNITS[found[2]]
        if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
            limits = f"from {minimum >> 20}MiB to {maximum >> 20}MiB"
            raise ValueError(f'{shown(value)} is not allowed; give {limits}, as bytes or as text like "64MiB"')
        return number

    return BeforeValidator(check)


def queue_entry(value: Any) -> str:
    """An entry of a pool's queues: a name, a pattern (`*`, `mail*`) or an exclusion (`-bulk`, `-bulk*`)."""
    text = value if isinstance(value, str) else ""
    name = text.removeprefix("-").removesuffix("*")
    if text != "*" and not _QUEUE.fullmatch(name):
        raise ValueError(
            f"{shown(value)} is no queue; give a name of 1 to 64 of A-Z a-z 0-9 _ . : -, "
            'or a pattern: "*", "mail*", or "-bulk" to leave a queue out'
        )
    return text


def _module(value: Any) -> str:
    if not isinstance(value, str) or not all(part.isidentifier() for part in value.split(".")):
        raise ValueError(f'{shown(value)} is no module; give its dotted name, such as "app.jobs"')
    return value


def _kind_prefix(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z0-9_.:-]{0,40}", value):
        raise ValueError(f'{shown(value)} is no prefix; give up to 40 of A-Z a-z 0-9 _ . : -, such as "shop."')
    return value


def _log_level(value: Any) -> str:
    level = value.lower() if isinstance(value, str) else ""
    if level not in LOG_LEVELS:
        names = ", ".join(f'"{name}"' for name in LOG_LEVELS[:-1])
        raise ValueError(f'{shown(value)} is not allowed; give {names} or "{LOG_LEVELS[-1]}"')
    return level


def _database_url(value: Any) -> str:
    if not isinstance(value, str):
        # Whatever it is, it may hold the password: it is not shown.
        raise ValueError("not text; give postgresql://user:password@host/database, or leave it empty")  # noqa: TRY004
    return check_database_url(value.strip())


Queue = Annotated[str, BeforeValidator(queue_entry)]
Module = Annotated[str, BeforeValidator(_module)]
KindPrefix = Annotated[str, BeforeValidator(_kind_prefix)]
LogLevel = Annotated[str, BeforeValidator(_log_level)]
DatabaseURL = Annotated[str, BeforeValidator(_database_url)]
