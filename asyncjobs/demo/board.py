"""What there is to show: one line a text, what was started, and what happened. Holds values, prints nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from asyncjobs.demo.journal import STEPS, Entry
from asyncjobs.demo.sources import Source


class State(StrEnum):
    """How far a text is."""

    waiting = "waiting"
    running = "running"
    drawn = "drawn"
    discarded = "discarded"
    failed = "failed"


@dataclass(slots=True)
class Line:
    """One text on its way to a card."""

    source: Source
    state: State = State.waiting
    steps: int = 0
    """Begun in this attempt; all of them, once it is drawn."""
    attempt: int = 1
    began: float | None = None
    ended: float | None = None
    words: int = 0
    size: int = 0
    """Of the card, in bytes."""
    reason: str = ""
    """Why it was discarded or failed."""

    @property
    def step(self) -> str:
        """The step that is going on."""
        return STEPS[self.steps - 1] if self.steps else ""

    @property
    def seconds(self) -> float:
        """From its first step until its end, or until now."""
        if self.began is None:
            return 0.0
        return max((self.ended or time.time()) - self.began, 0.0)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state not in (State.waiting, State.running)

    def end(self, state: State, reason: str = "") -> None:
        """Note that and how it ended."""
        self.state, self.reason, self.ended = state, reason, time.time()
        if state is State.drawn:
            self.steps = len(STEPS)


@dataclass(slots=True)
class Board:
    """Everything there is to show.

    Attributes:
        phase: What is being waited for before and after the jobs; empty while they run.
        started: What was started, and in how many seconds.
        incidents: What went wrong and was put right.
        server: The version of PostgreSQL.
        begun: When the demo began, in seconds since the epoch.
        enqueued: When the jobs were enqueued; None: not yet.
        ended: When the last of them had ended.
        told: Jobs of `notify` that have ended.
        deaths: Worker processes that died.
    """

    lines: Sequence[Line]
    phase: str = ""
    started: list[tuple[str, float]] = field(default_factory=list)
    incidents: list[str] = field(default_factory=list)
    server: str = ""
    begun: float = field(default_factory=time.time)
    enqueued: float | None = None
    ended: float | None = None
    told: int = 0
    deaths: int = 0
    by_job: dict[UUID, Line] = field(default_factory=dict)

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in what the jobs noted."""
        for entry in entries:
            line = self.by_job.get(entry.job_id)
            if line is None or line.is_over or entry.step not in STEPS:
                continue
            line.state = State.running
            line.steps = STEPS.index(entry.step) + 1
            line.attempt = entry.attempt
            line.began = entry.at if line.began is None else line.began

    def having(self, *states: State) -> list[Line]:
        """Return the lines in one of these states."""
        return [line for line in self.lines if line.state in states]

    @property
    def over(self) -> int:
        """How many texts have come to their end."""
        return sum(line.is_over for line in self.lines)

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
