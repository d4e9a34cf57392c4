"""Reports: facts that a worker writes with its beats, read by this version from workers of any version."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from asyncjobs.jobs.recurring import LeftOut
from asyncjobs.performing.attempt import Attempt
from asyncjobs.worker.watching.blocks import Blocks
from asyncjobs.worker.watching.waits import BOUNDS, Counts, percentiles

MOST = 50
"""Stuck jobs, and blocking kinds, in one report: the whole row is written again with each change."""
LONGEST = 300
"""Characters of a reason."""
_MOST_NUMBER = 1e15
FIGURES_FOR = 5.0
"""Seconds for which the lag and the waits of a report stay the same."""


class Stuck(NamedTuple):
    """A job that was cancelled and still runs."""

    id: str
    kind: str
    reason: str
    """The reason of its cancellation: `user`, `timeout`, `shutdown` or `lease_lost`."""
    since: str
    """The time of its cancellation, by the clock of its worker; UTC."""


class Report(NamedTuple):
    """The report of one worker."""

    draining: bool = False
    """Whether it has stopped claiming and lets running jobs finish."""
    stuck: tuple[Stuck, ...] = ()
    """Stuck jobs, the longest stuck first."""
    blocked: Mapping[str, Blocks] = {}
    """Blocks of the event loop by kind, since the worker started; the longest first."""
    claims_nothing: str = ""
    """Why it claims nothing though it is not draining; else empty."""
    left_out: tuple[LeftOut, ...] = ()
    """Schedules that this worker cannot read."""
    lag: float | None = None
    """By how many seconds the event loop was late at most, in the seconds before; None: it is not measured."""
    waits: Mapping[str, Counts] = {}
    """The waits of jobs that were started here lately, by queue."""


def write(
    *,
    draining: bool,
    stuck: Iterable[Attempt],
    blocked: Mapping[str, Blocks],
    claims_nothing: str = "",
    left_out: Iterable[LeftOut] = (),
    lag: float | None = None,
    waits: Mapping[str, Counts] | None = None,
) -> str:
    """Return a report as JSON text of plain ASCII, which no database refuses."""
    longest = sorted(stuck, key=lambda attempt: attempt.cancelled_at)[:MOST]
    report = Report(
        draining,
        tuple(map(_stuck, longest)),
        {kind: block._replace(place=block.place[-LONGEST:]) for kind, block in _worst_first(blocked)[:MOST]},
        claims_nothing[:LONGEST],
        tuple(each._replace(why=each.why[:LONGEST]) for each in sorted(left_out)[:MOST]),
        None if lag is None else round(lag, 4),
    )
    return json.dumps({**as_values(report), "waits": waits or {}})


def as_values(report: Report) -> dict[str, Any]:
    """Return a report as values of JSON."""
    return {
        "draining": report.draining,
        "stuck": [job._asdict() for job in report.stuck],
        "claims_nothing": report.claims_nothing,
        "left_out": [each._asdict() for each in report.left_out],
        "blocked": {
            kind: {"count": block.times, "longest": block.longest, "place": block.place}
            for kind, block in report.blocked.items()
        },
        "lag": report.lag,
        "waits": {queue: percentiles(counts)._asdict() for queue, counts in report.waits.items()},
    }


def read(values: Mapping[str, Any]) -> Report:
    """Read a report; parts in a form of another version are left out."""
    stuck, blocked = values.get("stuck"), values.get("blocked")
    return Report(
        values.get("draining") is True,
        tuple(Stuck(*(str(entry.get(name, "")) for name in Stuck._fields)) for entry in _mappings(stuck)),
        {
            str(kind): Blocks(found["count"], found["longest"], str(found.get("place", "")))
            for kind, found in (blocked.items() if isinstance(blocked, dict) else ())
            if isinstance(found, dict) and _are_numbers(found.get("count"), found.get("longest"))
        },
        why if isinstance(why := values.get("claims_nothing"), str) else "",
        tuple(
            LeftOut(*(str(entry.get(name, "")) for name in LeftOut._fields))
            for entry in _mappings(values.get("left_out"))
        ),
        lag if _are_numbers(lag := values.get("lag")) else None,
        dict(_waits(values.get("waits"))),
    )


def blocks_of_all(several: Iterable[Report]) -> dict[str, Blocks]:
    """Return the blocks of each kind in all workers, the longest first."""
    found: dict[str, Blocks] = {}
    for report in several:
        for kind, block in report.blocked.items():
            before = found.get(kind, Blocks(0, 0.0))
            longest = max(before, block, key=lambda one: one.longest)
            found[kind] = longest._replace(times=before.times + block.times)
    return dict(_worst_first(found))


def _worst_first(blocked: Mapping[str, Blocks]) -> list[tuple[str, Blocks]]:
    return sorted(blocked.items(), key=lambda item: -item[1].longest)


def _waits(values: object) -> Iterable[tuple[str, Counts]]:
    for queue, counts in values.items() if isinstance(values, dict) else ():
        if not isinstance(counts, dict) or not _are_numbers(*counts.values()):
            continue
        found = {bucket: int(counts[str(bucket)]) for bucket in range(len(BOUNDS)) if str(bucket) in counts}
        if sum(found.values()):
            yield str(queue), found


def _stuck(attempt: Attempt) -> Stuck:
    since = datetime.fromtimestamp(attempt.cancelled_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Stuck(str(attempt.claimed.id), attempt.claimed.kind, str(attempt.cancel_reason), since)


def _mappings(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _are_numbers(*values: object) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST_NUMBER for value in values
    )
