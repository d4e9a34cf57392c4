"""Says whether a run with faults kept the promises: the vocabulary of Jepsen's total-queue, and some of our own.

Three witnesses: what the enqueuers noted (`try`, then `ok`, `unknown` or `err`), what the jobs noted (`start`, `end`,
`step_start`, `step_committed`), and the rows at the end, when all faults are over and the queue is drained.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.support.oracle import Event
from tests.support.runs import Run, overlaps_of, runs_of


class Row(NamedTuple):
    """A job's row at the end."""

    job_id: str
    finished: bool
    """In the history; otherwise it is live."""
    attempt: int


@dataclass(slots=True)
class Verdict:
    """What was found. All of `VIOLATIONS` must be empty; the others are reported."""

    acknowledged: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """Acknowledged, and there is no row."""
    stuck: set[str] = field(default_factory=set)
    """Acknowledged, and the row is live still."""
    duplicated: set[str] = field(default_factory=set)
    """More than one row with the id."""
    unexpected: set[str] = field(default_factory=set)
    """Run, and nobody tried to enqueue it."""
    unrun: set[str] = field(default_factory=set)
    """Finished, and no run of it began."""
    rerun: set[str] = field(default_factory=set)
    """Run to a good end, then run once more by an attempt of the same or a lower number."""
    overlaps: list[tuple[Run, Run]] = field(default_factory=list)
    """Two runs of a job at the same time, neither of them a zombie."""
    attempts_exceeded: set[str] = field(default_factory=set)
    steps_rerun: list[tuple[str, str]] = field(default_factory=list)
    """(job, step) that began again after its checkpoint had committed."""
    recovered: set[str] = field(default_factory=set)
    """The enqueuer was told `unknown`, and it exists."""
    vanished: set[str] = field(default_factory=set)
    """The enqueuer was told `unknown`, and it does not."""
    repeated: set[str] = field(default_factory=set)
    """More than one run came to a good end: allowed (at least once), wherever a worker died in between."""
    zombie_overlaps: list[tuple[Run, Run]] = field(default_factory=list)

    VIOLATIONS = (
        *("lost", "stuck", "duplicated", "unexpected", "unrun", "rerun"),
        *("overlaps", "attempts_exceeded", "steps_rerun"),
    )

    def violations(self) -> dict[str, Any]:
        return {name: found for name in self.VIOLATIONS if (found := getattr(self, name))}

    def assert_clean(self, *, allow: Collection[str] = ()) -> None:
        """AssertionError that lists every violation, but for those named in *allow*."""
        found = {name: what for name, what in self.violations().items() if name not in allow}
        lines = [f"{name} ({len(what)}): {sorted(map(str, what))[:5]}" for name, what in found.items()]
        assert not found, f"of {len(self.acknowledged)} acknowledged jobs:\n" + "\n".join(lines)


def check(
    events: Iterable[Event], rows: Iterable[Row], *, max_attempts: int | None = None, zombies: Collection[int] = ()
) -> Verdict:
    """Compare the three witnesses.

    Args:
        events: The oracle's, those of the enqueuers included. Without any `try` nothing is unexpected.
        rows: All rows of the database, see `read_rows`.
        max_attempts: More than these are a violation.
        zombies: Pids whose runs may overlap others, beside those that the oracle knows were frozen.
    """
    events, rows = list(events), list(rows)
    told = {what: {str(e.job_id) for e in events if e.event == what} for what in ("try", "ok", "unknown")}
    runs = runs_of(events)
    ran = {run.job_id for run in runs}
    existing = Counter(row.job_id for row in rows)
    finished = {row.job_id for row in rows if row.finished}
    unsure = told["unknown"] - told["ok"]
    verdict = Verdict(
        acknowledged=told["ok"],
        lost=told["ok"] - set(existing),
        stuck=(told["ok"] & set(existing)) - finished,
        duplicated={job_id for job_id, count in existing.items() if count > 1},
        unexpected=ran - told["try"] if told["try"] else set(),
        unrun=finished - ran,
        recovered=unsure & (set(existing) | ran),
        vanished=unsure - set(existing) - ran,
        steps_rerun=_steps_rerun(events),
    )
    if max_attempts is not None:
        verdict.attempts_exceeded = {row.job_id for row in rows if row.attempt > max_attempts}
    _sort_out(runs, verdict, zombies)
    return verdict


async def read_rows(connection: Any) -> list[Row]:
    """Every job of the database: live and finished."""
    found = await connection.fetch(
        "select id::text, false as finished, attempt from asyncjobs.job"
        " union all select id::text, true, attempt from asyncjobs.finished"
    )
    return [Row(*row) for row in found]


async def idle_in_transaction(connection: Any) -> list[str]:
    """The application_name of every session that sits in a transaction, doing nothing: at rest there is none."""
    found = await connection.fetch(
        "select application_name from pg_stat_activity where state like 'idle in transaction%' and pid <> pg_backend_pid()"
    )
    return [row[0] for row in found]


def _sort_out(runs: list[Run], verdict: Verdict, zombies: Collection[int]) -> None:
    for pair in overlaps_of(runs):
        excused = any(run.frozen or run.pid in zombies for run in pair)
        (verdict.zombie_overlaps if excused else verdict.overlaps).append(pair)
    done: dict[str, Run] = {}
    for run in runs:
        before = done.get(run.job_id)
        if before is not None and run.start > (before.end or 0) and (run.attempt or 0) <= (before.attempt or 0):
            verdict.rerun.add(run.job_id)
        if run.how == "ok":
            if before is not None:
                verdict.repeated.add(run.job_id)
            done[run.job_id] = run


def _steps_rerun(events: list[Event]) -> list[tuple[str, str]]:
    committed: set[tuple[str, str]] = set()
    again: list[tuple[str, str]] = []
    for event in sorted(events, key=lambda event: event.ns):
        step = (str(event.job_id), str(event.fields.get("step")))
        if event.event == "step_committed":
            committed.add(step)
        elif event.event == "step_start" and step in committed:
            again.append(step)
    return again
