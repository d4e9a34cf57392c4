"""Types of settings' values, checked; each refusal says the limit and the remedy."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from asyncjobs import schedules
from asyncjobs.checks import names, texts
from asyncjobs.checks.addresses import read_address
from asyncjobs.checks.durations import TEN_YEARS, read_seconds
from asyncjobs.settings.urls import check_database_url

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

_UNITS = {"": 0, "KiB": 10, "MiB": 20, "GiB": 30}
_SIZE = re.compile(r"\s*([0-9]{1,12})\s*(|KiB|MiB|GiB)\s*")


def as_toml(value: object) -> str:
    """Return a value as messages show it: short, as TOML writes it, and without all of a URL but its scheme."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return texts.shown(value)
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return texts.cut(re.sub(r"://.*", "://***", text, flags=re.DOTALL))


def whole(minimum: int, maximum: int) -> BeforeValidator:
    """Return the check of a whole number; text is allowed, as variables hold it, `true` and 3.5 are not."""

    def check(value: Any) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
            raise ValueError(f"{as_toml(value)} is not allowed; give a whole number from {minimum} to {maximum}")
        return number

    return BeforeValidator(check)


def time(minimum: float = 0.0, maximum: float = TEN_YEARS) -> BeforeValidator:
    """Return the check of seconds within limits, in any form of `asyncjobs.checks.durations`."""

    def check(value: Any) -> float:
        try:
            return read_seconds(value, minimum=minimum, maximum=maximum)
        except ValueError as error:
            raise ValueError(f"{as_toml(value)} {error}") from None

    return BeforeValidator(check)


def size(minimum: int, maximum: int) -> BeforeValidator:
    """Return the check of bytes: a whole number, or text with a unit, such as "64MiB"."""

    def check(value: Any) -> int:
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        number = value if found is None else int(found[1]) << _UNITS[found[2]]
        if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
            limits = f"from {minimum >> 20}MiB to {maximum >> 20}MiB"
            raise ValueError(f'{as_toml(value)} is not allowed; give {limits}, as bytes or as text like "64MiB"')
        return number

    return BeforeValidator(check)


def queue_entry(value: Any) -> str:
    """Check an entry of a pool's queues: a name, a pattern (`*`, `mail*`) or an exclusion (`-bulk`, `-bulk*`)."""
    text = value if isinstance(value, str) else ""
    name = text.removeprefix("-").removesuffix("*")
    if text != "*" and not names.is_queue(name):
        raise ValueError(
            f"{as_toml(value)} is no queue; give a name, {names.QUEUE_RULE}; "
            'or a pattern: "*", "mail*", or "-bulk" to leave a queue out'
        )
    return text


def _one_queue(value: Any) -> str:
    if not isinstance(value, str) or not names.is_queue(value):
        raise ValueError(f"{as_toml(value)} is no queue; give a name, {names.QUEUE_RULE}")
    return value


def _kind(value: Any) -> str:
    if not isinstance(value, str) or not names.is_kind(value):
        raise ValueError(f'{as_toml(value)} is no kind of job; give its name, such as "app.jobs.DailyReport"')
    return value


def _recurring_name(value: Any) -> str:
    if not isinstance(value, str) or not names.is_kind(value):
        raise ValueError(f"{as_toml(value)} is no name; use {names.KIND_RULE}")
    return value


def _limit_name(value: Any) -> str:
    if not isinstance(value, str) or not names.is_kind(value):
        raise ValueError(
            f'{as_toml(value)} is no limit; give a kind, such as "app.jobs.charge", or a shared key: {names.KIND_RULE}'
        )
    if ") " in value:
        raise ValueError(
            f"{as_toml(value)} is one key of a limit; give the limit, and set a single key by `jobs.set_limit`"
        )
    return value


def _limit_number(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    raise ValueError('a table is no number; a name with dots stands in quotes, as in "app.jobs.charge" = 5')


def _times(value: Any) -> str:
    return schedules.checked_text(value)


def _zone(value: Any) -> str:
    return schedules.zone_of(value).key


def _queue_name(value: Any) -> str:
    if not isinstance(value, str) or not names.is_queue(value):
        raise ValueError(f"{as_toml(value)} is no queue; give the name of one queue, {names.QUEUE_RULE}")
    return value


def _module(value: Any) -> str:
    if not isinstance(value, str) or not all(part.isidentifier() for part in value.split(".")):
        raise ValueError(f'{as_toml(value)} is no module; give its dotted name, such as "app.jobs"')
    return value


def _kind_prefix(value: Any) -> str:
    if not isinstance(value, str) or not names.is_prefix(value):
        raise ValueError(f'{as_toml(value)} is no prefix; give {names.PREFIX_RULE}, such as "shop."')
    return value


def _log_level(value: Any) -> str:
    level = value.lower() if isinstance(value, str) else ""
    if level not in LOG_LEVELS:
        others = ", ".join(f'"{name}"' for name in LOG_LEVELS[:-1])
        raise ValueError(f'{as_toml(value)} is not allowed; give {others} or "{LOG_LEVELS[-1]}"')
    return level


def _http_address(value: Any) -> str:
    if value == "":
        return ""
    try:
        return str(read_address(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise ValueError(f"{as_toml(value)} is no address; {error}") from None


def _database_url(value: Any) -> str:
    if not isinstance(value, str):
        # Not shown, as any value here may hold the password.
        raise ValueError("not text; give postgresql://user:password@host/database, or leave it empty")  # noqa: TRY004
    return check_database_url(value.strip())


Queue = Annotated[str, BeforeValidator(queue_entry)]
OneQueue = Annotated[str, BeforeValidator(_one_queue)]
RecurringJob = Annotated[str, BeforeValidator(_kind)]
RecurringName = Annotated[str, BeforeValidator(_recurring_name)]
LimitName = Annotated[str, BeforeValidator(_limit_name)]
LimitNumber = Annotated[int, whole(0, 1_000_000), BeforeValidator(_limit_number)]
Times = Annotated[str, BeforeValidator(_times)]
Zone = Annotated[str, BeforeValidator(_zone)]
QueueName = Annotated[str, BeforeValidator(_queue_name)]
Module = Annotated[str, BeforeValidator(_module)]
KindPrefix = Annotated[str, BeforeValidator(_kind_prefix)]
LogLevel = Annotated[str, BeforeValidator(_log_level)]
HttpAddress = Annotated[str, BeforeValidator(_http_address)]
DatabaseURL = Annotated[str, BeforeValidator(_database_url)]
