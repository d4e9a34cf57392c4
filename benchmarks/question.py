"""A question, its target, and how its two sides are measured: in turn, and by their medians."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from benchmarks.server import Bench

T = TypeVar("T")
Sample = dict[str, float]
"""The figures of one run of one side, by name; the name ends with the unit."""
Side = Callable[["Bench"], Awaitable[Sample]]
BothSides = Callable[["Bench"], Awaitable[tuple[Sample, Sample]]]
"""Ours, and the other."""
LONGEST_RUN = 600.0
"""Seconds until one run of one side is given up."""


class Unavailable(Exception):
    """A side that cannot be measured here, and why; the others are."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must reach: as a ratio to the other side's, or by itself."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    alone: bool = False
    """The figure itself is bounded, not its ratio."""

    def reached(self, value: float) -> bool:
        """Whether *value*, a ratio or the figure itself, is within the bounds."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        return bound if self.alone else f"{bound} x"


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        name: Its name in the report.
        asks: One sentence.
        ours: Our side; None for a measurement of the floor alone, or of both sides at once.
        against: The side that it is held against; None where only our figure counts.
        against_is: What that side is, in a word or two.
        targets: What must be reached.
        most_runs: A cap on the runs, for questions that take minutes each.
        both: Measures both sides, in turn by pieces of a run: for what takes so little that the machine's mood of the second
            decides.
        beside: Others, each with its name, that take turns with ours; what cannot be measured is left out, and said so.
        note: What is to be read under the figures, in Markdown.
        cases: What is measured one after the other in place of runs, each with its name; the worst must reach the targets.
    """

    name: str
    asks: str
    ours: Side | None = None
    against: Side | None = None
    against_is: str = "floor"
    targets: tuple[Target, ...] = ()
    most_runs: int = 5
    both: BothSides | None = None
    beside: tuple[tuple[str, Side], ...] = ()
    note: str = ""
    cases: tuple[tuple[str, Side], ...] = ()


@dataclass(slots=True)
class Answer:
    """The samples of both sides, one a run."""

    question: Question
    against: list[Sample] = field(default_factory=list)
    ours: list[Sample] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    """The machine's load average (1 min) before each run: what else goes on."""
    failure: str = ""
    beside: dict[str, list[Sample]] = field(init=False)
    """The samples of each of the others, by name."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Which of the others could not be measured, and why."""

    def __post_init__(self) -> None:
        self.beside = {name: [] for name, _ in self.question.beside}

    def sides(self) -> list[tuple[str, Side | None, list[Sample]]]:
        """Each side's name, how it is measured and its samples, in the order of the turns."""
        others = [(name, measure, self.beside[name]) for name, measure in self.question.beside]
        against = (self.question.against_is, self.question.against, self.against)
        return [against, *others, ("ours", self.question.ours, self.ours)]

    def median(self, side: list[Sample], figure: str) -> float | None:
        """The median of a figure over the runs; None when there is none."""
        values = [sample[figure] for sample in side if figure in sample]
        return statistics.median(values) if values else None

    def ratio(self, figure: str) -> float | None:
        """Our median over the other side's; None when one of them is missing.

        Where both were measured in the same runs: the median of their ratios, since the machine's mood changes between runs.
        """
        if self.question.both is not None:
            pairs = zip(self.ours, self.against, strict=True)
            ratios = [ours[figure] / against[figure] for ours, against in pairs]
            return statistics.median(ratios) if ratios else None
        return self.ratio_to(self.against, figure)

    def ratio_to(self, side: list[Sample], figure: str) -> float | None:
        """Our median over that side's; None when one of them is missing."""
        ours, other = self.median(self.ours, figure), self.median(side, figure)
        return ours / other if ours is not None and other else None

    def value(self, target: Target) -> float | None:
        """What is held against a target: a ratio or the figure itself, of several cases the worst; None: not measured."""
        if self.question.cases and self.ours:
            worst = max if target.at_most is not None else min
            return worst(sample[target.figure] for sample in self.ours)
        return self.median(self.ours, target.figure) if target.alone else self.ratio(target.figure)

    def reached(self, target: Target) -> bool | None:
        """None: not measured."""
        value = self.value(target)
        return None if value is None else target.reached(value)


async def ask(question: Question, bench: Bench, runs: int, tell: Callable[[str], None]) -> Answer:
    """Measure both sides, in turn, so that what else the machine does hits both alike."""
    answer = Answer(question)
    sides = answer.sides()
    try:
        for n in range(len(question.cases) or min(runs, question.most_runs)):
            answer.loads.append(os.getloadavg()[0])
            if question.cases:
                answer.ours.append(await _measured(question.cases[n][1], bench))
            if question.both is not None:
                ours, against = await _measured(question.both, bench)
                answer.ours.append(ours)
                answer.against.append(against)
            for label, measure, samples in sides:
                if measure is None or label in answer.left_out:
                    continue
                try:
                    samples.append(await _measured(measure, bench))
                except Unavailable as why:
                    answer.left_out[label] = str(why)
                    tell(f"  {question.name}: {label} is left out: {why}")
            for label, _, samples in sides:
                if samples and label not in answer.left_out:
                    figures = ", ".join(f"{name} {value:,.4g}" for name, value in samples[-1].items())
                    run = question.cases[n][0] if question.cases else f"run {n + 1}"
                    tell(f"  {question.name} {run}, {label}: {figures}")
    except Exception as error:  # one question that cannot be measured must not take the others with it
        answer.failure = f"{type(error).__name__}: {error}"
        tell(f"  {question.name} failed: {answer.failure}")
    return answer


async def _measured(measure: Callable[[Bench], Awaitable[T]], bench: Bench) -> T:
    await bench.settle()
    async with asyncio.timeout(LONGEST_RUN):
        return await measure(bench)


def spread(nanoseconds: list[int]) -> Sample:
    """The median and the 99th percentile of some durations, in milliseconds."""
    ordered = sorted(nanoseconds)
    return {
        "p50_ms": statistics.median(ordered) / 1e6,
        "p99_ms": ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))] / 1e6,
    }
