"""Stored arguments that may be another version's: their jobs are given back for a worker of that version, for a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from asyncjobs.checks.durations import spell
from asyncjobs.exceptions import InvalidArguments, OtherVersion
from asyncjobs.failing.deciding import What
from asyncjobs.failing.stored_errors import storable
from asyncjobs.performing.outcomes import Outcome

VERSION_GRACE = 600.0
"""Seconds for which a job is given back, unless the setting says otherwise: the length of a deploy."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds until a job that was given back is ready again: few at first, since a worker of the other version may be there;
then more, since this worker may claim it again, and many such jobs must not keep it from its others."""
_MARK = "given back, ms, for its arguments: "
"""Begins a key beside a job's counts of declarations, whose keys are names of errors. Its count is how long the job has
waited, by the database's clock, which ends each wait; while no worker is alive nothing is added."""
_LONGEST = 300


class Waited(NamedTuple):
    """The time for which a job has waited for a worker of another version."""

    seconds: float
    facts: str
    """The arguments that did not fit, as the last worker has reported them."""


def waited(counts: Mapping[str, int]) -> Waited | None:
    """Return the time that a job has waited, from its counts; None: it has not."""
    marks = [key for key in counts if key.startswith(_MARK)]
    return Waited(sum(counts[key] for key in marks) / 1000, marks[-1].removeprefix(_MARK)) if marks else None


def without_wait(counts: Mapping[str, int]) -> dict[str, int]:
    """Return a job's counts without the time that it has waited."""
    return {key: count for key, count in counts.items() if not key.startswith(_MARK)}


def given_back(error: OtherVersion, counts: Mapping[str, int], grace: float) -> Outcome | None:
    """Return the outcome of a job given back, ready again after a wait; None once it has waited for `grace` seconds."""
    before = waited(counts)
    so_far = before.seconds if before else 0.0
    left = grace - so_far
    if left < 0.001:
        return None
    wait = min(max(FIRST_WAIT, so_far), LONGEST_WAIT, left)
    mark = {f"{_MARK}{storable(error.facts)[:_LONGEST]}": round((so_far + wait) * 1000)}
    return Outcome(What.release, wait=wait, counts={**without_wait(counts), **mark})


def not_taken_in_time(error: OtherVersion, grace: float) -> InvalidArguments:
    """Return the error of a job that has waited for the whole grace."""
    kind, problems, what = error.args
    field, fact = problems[-1]
    late = f"{fact}; no worker that takes them came within {spell(grace)} (version_grace)"
    return InvalidArguments(kind, [*problems[:-1], (field, late)], what)
