"""The runs of jobs, put together from the oracle's events."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.oracle import Event

ENDS_OF_A_PROCESS = {"killed", "exited", "dying"}
"""Events that end every open run of a process: `of` names its pid, without it the writer's own."""


@dataclass(slots=True)
class Run:
    """One run of one job's code."""

    job_id: str
    attempt: int | None
    pid: int
    worker: str
    start: int
    end: int | None = None
    """None: it goes on still, for all that anybody told the oracle."""
    how: str = ""
    """`ok`, the name of the error, or how its process ended."""
    frozen: bool = False
    """Its process was stopped (SIGSTOP) during the run: it may well be a zombie, which the fence must stop."""

    def overlaps(self, other: "Run") -> bool:
        first, second = sorted((self, other), key=lambda run: run.start)
        return first.end is None or first.end > second.start


def runs_of(events: "Iterable[Event]") -> list[Run]:
    """Pair starts and ends. A run whose process ended is over then, whatever it was doing."""
    runs: list[Run] = []
    for event in sorted(events, key=lambda event: event.ns):
        of = event.fields.get("of", event.pid)
        still_open = [run for run in runs if run.pid == of and run.end is None]
        if event.event in ENDS_OF_A_PROCESS:
            for run in still_open:
                run.end, run.how = event.ns, event.event
        elif event.event == "frozen":
            for run in still_open:
                run.frozen = True
        elif event.job_id is not None and event.event == "start":
            runs.append(Run(event.job_id, event.attempt, event.pid, event.worker, event.ns))
        elif event.job_id is not None and event.event == "end":
            own = [run for run in still_open if (run.job_id, run.attempt) == (event.job_id, event.attempt)]
            if own:
                own[-1].end, own[-1].how = event.ns, event.fields.get("how", "")
    return runs


def overlaps_of(runs: Iterable[Run]) -> list[tuple[Run, Run]]:
    """The pairs of runs of one job that were under way at the same time."""
    by_job: dict[str, list[Run]] = {}
    for run in runs:
        by_job.setdefault(run.job_id, []).append(run)
    return [pair for those in by_job.values() for pair in combinations(those, 2) if pair[0].overlaps(pair[1])]
