"""What there is to show: one line a text, what was started, and what happened, with the words for it. Prints nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.demo.gallery import INDEX
from asyncjobs.demo.jobs import STEPS

State = StrEnum("State", ("waiting", "running", "drawn", "discarded", "failed"))
"""How far a text is."""
_ENDS = (State.drawn, State.discarded, State.failed)


@dataclass(slots=True)
class Line:
    """One text on its way to a card."""

    text: Path
    title: str
    card: Path
    state: State = State.waiting
    steps: int = 0  # begun in this attempt
    attempt: int = 1
    began: float | None = None
    ended: float | None = None
    words: int = 0
    reason: str = ""  # why it was discarded or failed

    def begin(self, step: str, attempt: int, at: float) -> None:
        """Note that a step began; what is read after the end comes late."""
        if not self.is_over:
            self.state, self.steps, self.attempt = State.running, STEPS.index(step) + 1, attempt
            self.began = self.began or at

    def end(self, state: State, reason: str = "") -> None:
        """Note that and how it ended."""
        self.state, self.reason, self.ended = state, reason, time.time()
        self.steps = len(STEPS) if state is State.drawn else self.steps

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in _ENDS

    @property
    def seconds(self) -> float:
        """From its first step until its end, or until now."""
        return 0.0 if self.began is None else max((self.ended or time.time()) - self.began, 0.0)

    @property
    def detail(self) -> str:
        """What there is to say of it, in one line."""
        if self.state in (State.discarded, State.failed):
            return harmless(" ".join(self.reason.split()) or "no reason given")
        said = count(self.words, "word") if self.is_over else STEPS[self.steps - 1] if self.steps else ""
        return said + (f", attempt {self.attempt}" if self.attempt > 1 and said else "")

    def fields(self) -> Iterator[tuple[str, Any]]:
        """Its part of the summary for JSON."""
        yield from (("text", str(self.text)), ("title", self.title), ("state", self.state.value))
        if self.state is State.drawn:
            yield from (("card", str(self.card)), ("bytes", self.card.stat().st_size), ("words", self.words))
        else:
            yield "reason", self.reason
        yield from (("attempts", self.attempt), ("seconds", round(self.seconds, 3)))


@dataclass(slots=True)
class Board:
    """Everything there is to show; times are in seconds since the epoch."""

    lines: Sequence[Line]
    phase: str = ""  # what is being waited for before and after the jobs; empty while they run
    started: list[tuple[str, float]] = field(default_factory=list)  # what, and in how many seconds
    incidents: list[str] = field(default_factory=list)  # what went wrong and was put right
    server: str = ""  # the version of PostgreSQL
    dashboard: str = ""  # where it is, if it was asked for
    stays: bool = False  # all is over, and the dashboard is looked at
    begun: float = field(default_factory=time.time)
    enqueued: float | None = None
    ended: float | None = None  # the last job
    told: int = 0  # jobs of `notify` that have ended
    deaths: int = 0  # of worker processes

    def has_started(self, what: str, since: float) -> None:
        """Note that something was started which was waited for."""
        self.started.append((what, time.time() - since))
        self.phase = ""

    def having(self, *states: State) -> list[Line]:
        """Return the lines in one of these states."""
        return [line for line in self.lines if line.state in states]

    @property
    def over(self) -> int:
        """How many texts have come to their end."""
        return len(self.having(*_ENDS))

    @property
    def jobs(self) -> int:
        """Jobs that have ended."""
        return self.over + self.told

    @property
    def seconds(self) -> float:
        """Since the jobs were enqueued, until the last one ended or until now."""
        return 0.0 if self.enqueued is None else max((self.ended or time.time()) - self.enqueued, 0.0)

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds if self.seconds else 0.0

    @property
    def so_far(self) -> str:
        """Where the work stands."""
        return f"{self.over} of {count(len(self.lines), 'text')}"

    @property
    def verdict(self) -> str:
        """How many cards were drawn, and how the others ended."""
        ends = [f"{number} {state}" for state in _ENDS[1:] if (number := len(self.having(state)))]
        return ", ".join([f"{count(len(self.having(State.drawn)), 'card')} drawn", *ends])

    @property
    def figures(self) -> str:
        """How many jobs ran in what time; two lines."""
        jobs = f"{count(self.jobs, 'job')} in {seconds(self.seconds)}, {self.rate:.1f} jobs/s"
        every = f"{seconds(time.time() - self.begun)} in all, PostgreSQL {self.server} and a worker process included"
        return f" {jobs}\n {every}\n"

    def as_values(self, directory: Path) -> dict[str, Any]:
        """Return the summary as values for JSON."""
        return {
            "directory": str(directory),
            "index": str(directory / INDEX) if self.having(State.drawn) else None,
            **{state.value: len(self.having(state)) for state in _ENDS},
            "jobs": self.jobs,
            "seconds": round(self.seconds, 3),
            "jobs_per_second": round(self.rate, 1),
            "total_seconds": round(time.time() - self.begun, 3),
            "postgresql": self.server,
            "worker_deaths": self.deaths,
            "incidents": self.incidents,
            "texts": [dict(line.fields()) for line in self.lines],
        }


def count(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds(span: float) -> str:
    """Write a time span as "0.21 s", from a minute on as "1 min 5 s"."""
    if span >= 60:
        return f"{span // 60:.0f} min {span % 60:.0f} s"
    return f"{span:.2f} s" if span < 9.995 else f"{span:.1f} s"
