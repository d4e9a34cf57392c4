"""Schedules: cron with five or six fields, `@daily` and the like, and `every 10 minutes`, in a time zone.

cronsim walks the fields on a clock without summer time; one rule here decides about times that a zone's clock skips or shows
twice. A time of day happens once: if it is skipped, at the first instant after the gap; if it is shown twice, the first
time. A cron that includes every hour, like `*/15 * * * *`, and `every …` follow elapsed time: they go on through an hour
that is shown twice, and have no extra times for one that is skipped.
"""

from __future__ import annotations

import copy
import difflib
import re
import zoneinfo
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cronsim import CronSim, CronSimError

from asyncjobs.checks.durations import read_seconds, spell
from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import InvalidSchedule

FORMS: Final = 'give cron fields like "0 6 * * *", with seconds "*/10 * * * * *", "@daily" or "every 10 minutes"'
LONGEST_TEXT: Final = 200
SHORTEST, LONGEST = 1.0, 366 * 86_400.0
"""Seconds from one tick to the next that `every …` allows."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_LONGEST_REPEAT: Final = timedelta(hours=3)
"""More than any zone sets its clock back at once; Antarctica/Troll does by two hours."""
_FIRST_SPAN: Final = timedelta(minutes=1)

_ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY_ONE: Final = {
    "year": "@yearly",
    "month": "@monthly",
    "week": "@weekly",
    "day": "@daily",
    "hour": "@hourly",
    "minute": "* * * * *",
    "second": "* * * * * *",
}
_UNITS: Final = {"week": 604_800.0, "day": 86_400.0, "hour": 3_600.0, "minute": 60.0, "second": 1.0}
_EVERY: Final = re.compile(r"every\s+(?:([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*)?([a-z]+?)s?", re.IGNORECASE)
_RANGES: Final = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L or LW",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT, where 0 and 7 are Sunday",
}


class Ticks(NamedTuple):
    """The last times of a schedule before a moment."""

    times: list[datetime]
    """In UTC, the earliest first."""
    has_more: bool
    """Whether there were earlier ones."""


class Schedule:
    """A schedule in a time zone.

    Args:
        text: Cron with five or six fields, the seconds first where there are six; a name like ``@daily``; or
            ``every 10 minutes``, counted from the beginning of 1970 in UTC.
        timezone: The time zone of the fields and names, as in ``Europe/Paris``.

    Raises:
        InvalidSchedule: The text is none of these, it never happens, or there is no such time zone.
    """

    def __init__(self, text: Any, timezone: Any = "UTC") -> None:
        self.zone = zone_of(timezone)
        self.text, self.timezone = checked_text(text), str(timezone)
        self._clock = _read(self.text)

    def after(self, moment: datetime) -> datetime | None:
        """Return the first time after an aware datetime, in UTC; None: there is none within fifty years."""
        return self._clock.after(moment.astimezone(UTC), self.zone)

    def last_of(self, since: datetime, until: datetime, most: int) -> Ticks:
        """Return the last times, at most `most`, that are later than `since` and not later than `until`.

        It takes as long as a few times `most` steps, however far `since` is from `until`.
        """
        span = _FIRST_SPAN
        while True:
            begin = max(since, until - span)
            found: deque[datetime] = deque(self._times(begin, until), maxlen=most + 1)
            if len(found) > most or begin == since:
                break
            span *= 4
        return Ticks(list(found)[-most:], len(found) > most)

    def _times(self, since: datetime, until: datetime) -> Iterator[datetime]:
        moment: datetime | None = since
        while moment is not None and (moment := self.after(moment)) is not None and moment <= until:
            yield moment

    @property
    def in_words(self) -> str:
        """The schedule in English."""
        return self._clock.in_words if self.timezone == "UTC" else f"{self._clock.in_words} ({self.timezone})"

    def __repr__(self) -> str:
        return f"Schedule({self.text!r}, {self.timezone!r})"


@lru_cache(maxsize=1_000)
def schedule(text: str, timezone: str) -> Schedule:
    """Return a schedule, which is read once and kept; see `Schedule`."""
    return Schedule(text, timezone)


def checked_text(text: Any, name: str = "schedule") -> str:
    """Return the text of a schedule.

    Raises:
        InvalidSchedule: It cannot be read, or never happens.
    """
    if not isinstance(text, str):
        raise InvalidSchedule(f"{name}={shown(text)} is no text: {FORMS}")
    if len(text) > LONGEST_TEXT:
        raise InvalidSchedule(f"{name} has {len(text)} characters: use at most {LONGEST_TEXT}; {FORMS}")
    try:
        _read(text)
    except InvalidSchedule as error:
        raise InvalidSchedule(f"{name}={shown(text)} {error}") from None
    return text


def zone_of(name: Any) -> zoneinfo.ZoneInfo:
    """Return a time zone by its name.

    Raises:
        InvalidSchedule: There is no zone of this name.
    """
    remedy = 'give a name of the IANA database, such as "Europe/Paris" or "UTC"'
    if not isinstance(name, str) or name == "localtime":
        raise InvalidSchedule(f"timezone={shown(name)} is no time zone's name: {remedy}")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        by_lower = {each.lower(): each for each in known} | {each.rpartition("/")[2].lower(): each for each in known}
        places = [each for each in by_lower if len(each) > 4]  # an abbreviation that looks alike is another zone
        word = name.strip().lower().replace(" ", "_")
        near = by_lower.get(word) or next(
            (by_lower[each] for each in difflib.get_close_matches(word, places, n=1, cutoff=0.8)), None
        )
        meant = f"did you mean {near!r}?" if near else remedy
        raise InvalidSchedule(f"timezone={shown(name)} is no known time zone: {meant}") from None


class _Every:
    """A schedule by elapsed time."""

    def __init__(self, seconds: float) -> None:
        self._step = timedelta(seconds=seconds)
        self.in_words = f"Every {_spelled(seconds)}"

    def after(self, moment: datetime, _zone: zoneinfo.ZoneInfo) -> datetime:
        return _EPOCH + ((moment - _EPOCH) // self._step + 1) * self._step


class _Cron:
    """A schedule by the clock."""

    def __init__(self, fields: str) -> None:
        self._walker = CronSim(fields, datetime(2024, 1, 1))
        self.in_words = self._walker.explain()
        self._takes_every_hour = len(self._walker.hours) == 24

    def after(self, moment: datetime, zone: zoneinfo.ZoneInfo) -> datetime | None:
        found = self._as_time_passes(moment, zone) if self._takes_every_hour else self._by_the_clock(moment, zone)
        return next(found, None)

    def _walls(self, wall: datetime) -> Iterator[datetime]:
        """Yield the times of the fields after `wall`, on a clock without summer time."""
        walker = copy.copy(self._walker)
        walker.dt = wall
        return walker

    def _by_the_clock(self, moment: datetime, zone: zoneinfo.ZoneInfo) -> Iterator[datetime]:
        # The first instant of a time on the clock grows with that time, and is not later than the instant at which the clock
        # is read: an instant after `moment` is later on the clock, too.
        for wall in self._walls(_clock(moment, zone)):
            if (instant := _first_instant(wall, zone)) > moment:
                yield instant

    def _as_time_passes(self, moment: datetime, zone: zoneinfo.ZoneInfo) -> Iterator[datetime]:
        offset = _offset(moment, zone)
        if _offset(moment + _LONGEST_REPEAT, zone) < offset:
            # The clock is set back soon: first the times until then, and then those that it shows again.
            turn = _change(moment, moment + _LONGEST_REPEAT, zone)
            until_then = _instant(next(self._walls(_clock(moment, zone))), offset)
            if until_then < turn:
                yield until_then
            again = _offset(turn, zone)
            yield _instant(next(self._walls((turn - _SECOND + again).replace(tzinfo=None))), again)
        for wall in self._walls(_clock(moment, zone)):
            for fold in (0, 1):
                instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
                if instant > moment and _clock(instant, zone) == wall:
                    yield instant
                    break


@lru_cache(maxsize=1_000)
def _read(text: str) -> _Every | _Cron:
    words = " ".join(text.split())
    if words.lower().startswith("every"):
        return _read_every(words)
    if words.startswith("@"):
        return _Cron(_alias(words.lower()))
    return _read_cron(words)


def _alias(name: str) -> str:
    if name == "@reboot":
        raise InvalidSchedule("is not supported: enqueue such a job where your program starts, or give cron fields")
    if name not in _ALIASES:
        raise InvalidSchedule(f"is no schedule: there are {', '.join(_ALIASES)}")
    return _ALIASES[name]


def _read_every(words: str) -> _Every | _Cron:
    found = _EVERY.fullmatch(words)
    count, unit = (None, "") if found is None else (found[1], found[2].lower())
    if unit in _EVERY_ONE and (count is None or float(count) == 1):
        fields = _EVERY_ONE[unit]
        return _Cron(_ALIASES.get(fields, fields))
    if words[5:].strip().replace(".", "", 1).isdecimal():
        raise InvalidSchedule(f'has no unit: write "{words} minutes", or seconds, hours, days, weeks')
    try:
        if count is not None and unit in _UNITS:
            return _Every(read_seconds(float(count) * _UNITS[unit], minimum=SHORTEST, maximum=LONGEST))
        return _Every(read_seconds(words[5:].strip(), minimum=SHORTEST, maximum=LONGEST))
    except ValueError:
        limits = f"from {spell(SHORTEST)} to {spell(LONGEST)}"
        raise InvalidSchedule(
            f'is no schedule: after "every" comes a time {limits}, such as "every 10 minutes", "every 90s" or "every day"; '
            'for a time of day give cron fields, such as "0 6 * * *"'
        ) from None


def _read_cron(words: str) -> _Cron:
    count = len(words.split())
    if count not in (5, 6):
        raise InvalidSchedule(f"has {count} fields, and cron has five, or six with the seconds first: {FORMS}")
    try:
        cron = _Cron(words)
        happens = cron.after(_EPOCH.replace(year=2024), zoneinfo.ZoneInfo("UTC")) is not None
    except (CronSimError, ValueError) as error:
        field = str(error).removeprefix("Bad ")
        if field == "day-of-month" and _each_is_a_day(words.split()[-3]):
            happens = False
        else:
            limits = f" ({_RANGES[field]})" if field in _RANGES else ""
            raise InvalidSchedule(f"is no schedule: its {field}{limits} cannot be read; {FORMS}") from None
    if not happens:
        raise InvalidSchedule("never happens: no such day is in any such month; change its day or its month")
    return cron


def _each_is_a_day(field: str) -> bool:
    numbers = re.findall("[0-9]+", field) if re.fullmatch("[0-9,*/-]+", field) else []
    return bool(numbers) and all(1 <= int(number) <= 31 for number in numbers)


def _spelled(seconds: float) -> str:
    for unit, size in _UNITS.items():
        count, rest = divmod(seconds, size)
        if count and not rest:
            return f"{count:g} {unit}s" if count > 1 else unit
    return spell(seconds)


# Clocks


def _clock(instant: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return the time on a zone's clock, to the second."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0, microsecond=0)


def _offset(instant: datetime, zone: zoneinfo.ZoneInfo) -> timedelta:
    found = instant.astimezone(zone).utcoffset()
    assert found is not None
    return found


def _instant(wall: datetime, offset: timedelta) -> datetime:
    return (wall - offset).replace(tzinfo=UTC)


def _first_instant(wall: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return the first instant of a time on a zone's clock; for a skipped time, the instant after the gap."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if _clock(instant, zone) == wall:
        return instant
    # In a gap, fold=1 uses the offset after it and so comes before it, and fold=0 the other way round.
    return _change(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant, zone)


def _change(before: datetime, after: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return the first instant, to the second, with another offset than at `before`; `after` has another one."""
    offset = _offset(before, zone)
    low, high = before.replace(microsecond=0), after
    while high - low > _SECOND:
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if _offset(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high
