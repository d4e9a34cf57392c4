"""When something recurs: what can be said, what is refused, and what becomes of times that a clock leaves out or repeats."""

from __future__ import annotations

import random
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjobs import InvalidOption, InvalidSchedule
from asyncjobs.jobs.recurring import MOST_CAUGHT_UP, due, lateness
from asyncjobs.schedules import Schedule

NOW = datetime(2026, 3, 27, 12, 0, 30, tzinfo=UTC)
SOME_ZONES = 60
"""Of those that differ, in the ordinary run."""


def next_of(text: str, timezone: str = "UTC", after: datetime = NOW) -> str:
    found = Schedule(text, timezone).after(after)
    assert found is not None and found.tzinfo is UTC
    return found.astimezone(zoneinfo.ZoneInfo(timezone)).isoformat(sep=" ")


@pytest.mark.parametrize(
    ("text", "comes"),
    [
        ("0 6 * * *", "2026-03-28 06:00:00+00:00"),
        ("*/15 * * * *", "2026-03-27 12:15:00+00:00"),
        ("*/10 * * * * *", "2026-03-27 12:00:40+00:00"),
        ("30 0 12 * * *", "2026-03-28 12:00:30+00:00"),
        ("  0  9-17  *  *  mon-fri ", "2026-03-27 13:00:00+00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00+00:00"),
        ("0 0 LW * *", "2026-03-31 00:00:00+00:00"),
        ("0 0 * * 5#1", "2026-04-03 00:00:00+00:00"),
        ("@yearly", "2027-01-01 00:00:00+00:00"),
        ("@annually", "2027-01-01 00:00:00+00:00"),
        ("@monthly", "2026-04-01 00:00:00+00:00"),
        ("@weekly", "2026-03-29 00:00:00+00:00"),
        ("@Daily", "2026-03-28 00:00:00+00:00"),
        ("@midnight", "2026-03-28 00:00:00+00:00"),
        ("@hourly", "2026-03-27 13:00:00+00:00"),
        ("every 10 minutes", "2026-03-27 12:10:00+00:00"),
        ("Every minute", "2026-03-27 12:01:00+00:00"),
        ("every second", "2026-03-27 12:00:31+00:00"),
        ("every 61 minutes", "2026-03-27 12:07:00+00:00"),
        ("every 90s", "2026-03-27 12:01:30+00:00"),
        ("every 1h30m", "2026-03-27 13:30:00+00:00"),
        ("every 1.5 hours", "2026-03-27 13:30:00+00:00"),
        ("every 1 day", "2026-03-28 00:00:00+00:00"),
        ("every week", "2026-03-29 00:00:00+00:00"),
    ],
)
def test_what_can_be_said(text: str, comes: str) -> None:
    assert next_of(text) == comes
    assert Schedule(text).in_words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("", "has 0 fields"),
        ("daily", "has 1 fields"),
        ("61 * * * *", r"minute \(0 to 59\)"),
        ("61 * * * * *", r"second \(0 to 59\)"),
        ("0 24 * * *", r"hour \(0 to 23\)"),
        ("0 0 0 * *", r"day-of-month \(1 to 31"),
        ("0 0 32 * *", r"day-of-month \(1 to 31"),
        ("0 0 * 13 *", r"month \(1 to 12"),
        ("0 0 * * 8", r"day-of-week \(0 to 7"),
        ("*/0 * * * *", "minute"),
        ("\u0663 * * * *", "minute"),
        ("0 0 30 2 *", "never happens"),
        ("0 0 31 2,4,6,9,11 *", "never happens"),
        ("@reboot", "where your program starts"),
        ("@fortnightly", "there are @yearly"),
        ("every", "a time from 1s to 366d"),
        ("every 0 minutes", "a time from 1s to 366d"),
        ("every -5 minutes", "a time from 1s to 366d"),
        ("every 0.5 seconds", "a time from 1s to 366d"),
        ("every 1000 days", "a time from 1s to 366d"),
        ("every 10", 'write "every 10 minutes"'),
        ("every day at 9", "for a time of day give cron fields"),
        ("every 5 fortnights", "every 10 minutes"),
        ("1" * 201 + " * * * *", "use at most 200"),
        (None, "is no text"),
        (5, "is no text"),
        (timedelta(minutes=5), "is no text"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(text: Any, why: str) -> None:
    with pytest.raises(InvalidSchedule, match=f"schedule.*{why}") as raised:
        Schedule(text)
    assert isinstance(raised.value, InvalidOption)


@pytest.mark.parametrize(
    ("zone", "remedy"),
    [
        ("Mars/Olympus", 'such as "Europe/Paris" or "UTC"'),
        ("europe/paris", "did you mean 'Europe/Paris'"),
        ("Paris", "did you mean 'Europe/Paris'"),
        ("new york", "did you mean 'America/New_York'"),
        ("", "give a name"),
        ("localtime", "give a name"),
        ("../etc/passwd", "give a name"),
        ("/etc/localtime", "give a name"),
        ("Europe", "give a name"),
        ("CEST", "give a name"),
        (None, "give a name"),
        (UTC, "give a name"),
    ],
)
def test_an_unknown_zone_is_refused_with_what_may_be_meant(zone: Any, remedy: str) -> None:
    with pytest.raises(InvalidSchedule, match=f"timezone=.*{remedy}"):
        Schedule("@daily", zone)


@given(st.text(alphabet="0123456789*/-,#LWMONJAN @every", max_size=40))
def test_whatever_is_given_is_taken_or_refused_and_nothing_else(text: str) -> None:
    try:
        found = Schedule(text)
    except InvalidSchedule:
        return
    assert found.after(NOW) is None or found.after(NOW) > NOW


# What a clock leaves out, and what it shows twice

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
AROUND = timedelta(minutes=130)
BERLIN_GAP = datetime(2026, 3, 29, 1, tzinfo=UTC)
BERLIN_REPEAT = datetime(2026, 10, 25, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "in_gap", "in_repeat"),
    [
        ("30 2 * * *", "03:00+0200", "02:30+0200"),
        ("0 30 2 * * *", "03:00+0200", "02:30+0200"),
        ("0 2 * * *", "03:00+0200", "02:00+0200"),
        ("0,30 2,3 * * *", "03:00+0200 03:30+0200", "02:00+0200 02:30+0200 03:00+0100 03:30+0100"),
        ("30 * * * *", "00:30+0100 01:30+0100 03:30+0200 04:30+0200", "01:30+0200 02:30+0200 02:30+0100 03:30+0100"),
        ("every 90 minutes", "01:00+0100 03:30+0200 05:00+0200", "02:00+0200 02:30+0100 04:00+0100"),
    ],
)  # fmt: skip
def test_a_time_left_out_comes_at_the_first_instant_after_and_a_repeated_one_once(
    text: str, in_gap: str, in_repeat: str
) -> None:
    for around, expected in ((BERLIN_GAP, in_gap), (BERLIN_REPEAT, in_repeat)):
        found = Schedule(text, "Europe/Berlin").last_of(around - AROUND, around + AROUND, 100).times
        assert [each.astimezone(BERLIN).strftime("%H:%M%z") for each in found] == expected.split()


def test_asked_in_the_second_of_two_hours_a_time_of_the_first_is_over() -> None:
    in_second = BERLIN_REPEAT + timedelta(minutes=15)
    assert next_of("30 2 * * *", "Europe/Berlin", in_second) == "2026-10-26 02:30:00+01:00"


class Change(NamedTuple):
    """A zone's clock is set."""

    at: datetime
    by: timedelta


@cache
def changes_of(name: str, since: int = 2024, before: int = 2038) -> tuple[Change, ...]:
    """All of these years, told by looking at every hour of them."""
    zone = zoneinfo.ZoneInfo(name)
    found = []
    moment, end = datetime(since, 1, 1, tzinfo=UTC), datetime(before, 1, 1, tzinfo=UTC)
    step = timedelta(hours=12)
    offset = moment.astimezone(zone).utcoffset()
    while moment < end:
        later = moment + step
        if (new := later.astimezone(zone).utcoffset()) != offset:
            at = moment
            while at.astimezone(zone).utcoffset() == offset:
                at += timedelta(minutes=15)
            found.append(Change(at, new - offset))
            offset = new
        moment = later
    return tuple(found)


def zones() -> list[str]:
    """One of each set of zones whose clocks are set at the same moments."""
    alike: dict[Any, str] = {}
    for name in sorted(zoneinfo.available_timezones() - {"localtime"}):
        zone = zoneinfo.ZoneInfo(name)
        quarters = [
            datetime(year, month, 1, tzinfo=UTC) for year in (2024, 2029, 2033, 2037) for month in (1, 3, 4, 7, 10, 11)
        ]
        alike.setdefault(tuple(each.astimezone(zone).utcoffset() for each in quarters), name)
    return list(alike.values())


def instants_of(wall: datetime, zone: zoneinfo.ZoneInfo) -> list[datetime]:
    """When a zone's clock shows this, by what zoneinfo says of either fold."""
    both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(each for each in both if each.astimezone(zone).replace(tzinfo=None) == wall)


def check_daily(name: str, change: Change, rng: random.Random) -> None:
    """Every day has each time of day once: left out, at the change; repeated, the first time; else when it is."""
    zone = zoneinfo.ZoneInfo(name)
    local = change.at.astimezone(zone)
    for _ in range(3):
        wall_time = (
            datetime.combine(date(2024, 1, 1), time(local.hour, local.minute)) + timedelta(minutes=rng.randint(-90, 90))
        ).time()
        fields = rng.choice(
            (f"{wall_time.minute} {wall_time.hour} * * *", f"0 {wall_time.minute} {wall_time.hour} * * *")
        )
        begin, end = change.at - timedelta(days=2), change.at + timedelta(days=2)
        expected = set()
        for day in range(-3, 4):
            wall = datetime.combine(local.date() + timedelta(days=day), wall_time)
            shown = instants_of(wall, zone)
            assert shown or change.by > timedelta(0)
            expected.add(shown[0] if shown else change.at)
        found = Schedule(fields, name).last_of(begin, end, 100).times
        assert found == sorted(each for each in expected if begin < each <= end), (name, fields, change)


def check_passing(name: str, change: Change, rng: random.Random) -> None:
    """What takes every hour comes whenever a clock shows its minute, and at no other instant."""
    zone = zoneinfo.ZoneInfo(name)
    minutes = rng.choice(((0,), (30,), (7, 37), tuple(range(0, 60, 15))))
    fields = f"{','.join(map(str, minutes))} * * * *"
    begin, end = change.at - timedelta(hours=4), change.at + timedelta(hours=4)
    expected = [each for each in minutes_of(begin, end) if each.astimezone(zone).minute in minutes]
    assert Schedule(fields, name).last_of(begin, end, 1000).times == expected, (name, fields, change)


def minutes_of(begin: datetime, end: datetime) -> Iterator[datetime]:
    moment = begin
    while (moment := moment + timedelta(minutes=1)) <= end:
        yield moment


def check_zone(name: str) -> None:
    rng = random.Random(name)
    for change in changes_of(name):
        check_daily(name, change, rng)
        check_passing(name, change, rng)


def test_whenever_the_clock_of_some_zone_is_set_no_time_is_lost_and_none_doubled() -> None:
    differing = [name for name in zones() if changes_of_some_year(name)]
    for name in random.Random(7).sample(differing, min(SOME_ZONES, len(differing))):
        rng = random.Random(name)
        for change in changes_of_some_year(name):
            check_daily(name, change, rng)
            check_passing(name, change, rng)


def changes_of_some_year(name: str) -> tuple[Change, ...]:
    """Of 2026 alone: a look at all of them takes minutes."""
    zone = zoneinfo.ZoneInfo(name)
    year = [datetime(2026, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() for month in range(1, 13)]
    if len(set(year)) == 1:
        return ()
    return changes_of(name, 2026, 2027)


@pytest.mark.slow
def test_whenever_the_clock_of_any_zone_is_set_until_2037_no_time_is_lost_and_none_doubled() -> None:
    for name in sorted(zoneinfo.available_timezones() - {"localtime"}):
        check_zone(name)


# Catching up

MINUTELY = Schedule("* * * * *")


def ago(**how_long: float) -> datetime:
    return NOW - timedelta(**how_long)


@pytest.mark.parametrize(
    ("catch_up", "since", "count", "passed_over"),
    [
        ("none", ago(hours=1), 0, True),
        ("latest", ago(hours=1), 1, True),
        ("all", ago(hours=1), 60, False),
        ("all", ago(days=3), MOST_CAUGHT_UP, True),
        ("latest", ago(seconds=29), 0, False),
        ("all", ago(seconds=29), 0, False),
        ("latest", NOW + timedelta(hours=1), 0, False),  # its clock was set back
    ],
)
def test_of_missed_times_those_are_made_up_for_that_it_says(
    catch_up: str, since: datetime, count: int, passed_over: bool
) -> None:
    found = due(MINUTELY, since, NOW, catch_up)
    assert (len(found.times), found.passed_over) == (count, passed_over)
    if count:
        assert found.times[-1] == NOW.replace(second=0)
        assert found.times == sorted(found.times)


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_times_that_have_just_come_each_count_whatever_it_says(catch_up: str) -> None:
    found = due(Schedule("* * * * * *"), ago(seconds=4), NOW, catch_up)
    assert found == ([NOW - timedelta(seconds=n) for n in (3, 2, 1, 0)], False)


def test_a_stretch_of_years_costs_no_more_than_its_last_times() -> None:
    assert len(Schedule("* * * * * *").last_of(datetime(2000, 1, 1, tzinfo=UTC), NOW, 50).times) == 50
    assert Schedule("@yearly").last_of(datetime(2000, 1, 1, tzinfo=UTC), NOW, 1).times == [
        datetime(2026, 1, 1, tzinfo=UTC)
    ]


def test_jitter_is_the_same_for_one_time_of_one_name_and_spread_over_its_length() -> None:
    found = [lateness("report", NOW + timedelta(minutes=n), 60) for n in range(200)]
    assert found == [lateness("report", NOW + timedelta(minutes=n), 60) for n in range(200)]
    assert lateness("other", NOW, 60) != lateness("report", NOW, 60)
    assert timedelta(0) <= min(found) < timedelta(seconds=10) and timedelta(seconds=50) < max(found) < timedelta(
        seconds=60
    )
    assert lateness("report", NOW, 0) == timedelta(0)
