"""Stored arguments that another version of the code may take: whose job it is, and for how long it waits for that one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from asyncjobs.checks.durations import spell
from asyncjobs.exceptions import InvalidArguments, OtherVersion
from asyncjobs.failing.deciding import What
from asyncjobs.failing.stored_errors import storable
from asyncjobs.performing.outcomes import Outcome

VERSION_GRACE = 600.0
"""Seconds for which such a job is given back: the length of a deploy, unless the setting says otherwise."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds until it is ready again: soon, since a worker that takes it may be there; then less and less often, since the one
that cannot may win it again, and many such jobs must not keep it from its others."""
_MARK = "given back, ms, for its arguments: "
"""Begins a key among the counts of a job's declarations, which are called by their errors' names. Its count is for how long
it has waited, by the database's clock, which ends each wait; when no worker is alive nothing is added."""
_LONGEST = 300


class Waited(NamedTuple):
    """How a job has waited for a worker of another version."""

    seconds: float
    facts: str
    """What did not fit, as the last worker has said it."""


def waited(counts: Mapping[str, int]) -> Waited | None:
    """Return how a job has waited, from its counts; None: it has not."""
    marks = [key for key in counts if key.startswith(_MARK)]
    return Waited(sum(counts[key] for key in marks) / 1000, marks[-1].removeprefix(_MARK)) if marks else None


def without_wait(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of a job that a worker has taken at last."""
    return {key: count for key, count in counts.items() if not key.startswith(_MARK)}


def given_back(error: OtherVersion, counts: Mapping[str, int], grace: float) -> Outcome | None:
    """Return how the attempt ends: unspent, and ready again after a wait; None when it has waited for `grace` seconds."""
    before = waited(counts)
    so_far = before.seconds if before else 0.0
    left = grace - so_far
    if left < 0.001:
        return None
    wait = min(max(FIRST_WAIT, so_far), LONGEST_WAIT, left)
    mark = {f"{_MARK}{storable(error.facts)[:_LONGEST]}": round((so_far + wait) * 1000)}
    return Outcome(What.release, wait=wait, counts={**without_wait(counts), **mark})


def nobody_came(error: OtherVersion, grace: float) -> InvalidArguments:
    """Return the error of a job that has waited for as long as it may."""
    kind, problems, what = error.args
    field, fact = problems[-1]
    late = f"{fact}; no worker that takes them came within {spell(grace)} (version_grace)"
    return InvalidArguments(kind, [*problems[:-1], (field, late)], what)
