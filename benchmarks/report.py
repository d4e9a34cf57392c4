"""Writes RESULTS.md: a section a question, replaced when that question is asked again."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.server import SETTINGS

if TYPE_CHECKING:
    from benchmarks.question import Answer, Sample, Target

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Written by `python -m benchmarks`. Each section is one question: medians of both sides, which were measured in turn in
the same run, and the ratio of ours to the other: of the medians, or, where both sides take turns within each run (steps,
imports), the median of the runs' ratios. Absolute figures say nothing on a shared machine; the ratio does.
"""
PACKAGES = ("asyncpg", "uvloop", "orjson", "pydantic-core", "anyio")


def surroundings(postgres: str) -> str:
    """The machine and the versions, in one line."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return (
        f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), {memory:.0f} GiB, {platform.system()} "
        f"{platform.release()}; PostgreSQL {postgres}, unix socket, {settings}; "
        f"Python {platform.python_version()}, {versions}"
    )


def write(answers: list[Answer], *, command: str, machine: str, path: Path = RESULTS) -> None:
    """Put the answers into the file; sections of other questions stay as they are."""
    sections = _sections(path.read_text()) if path.exists() else {}
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    for answer in answers:
        sections[answer.question.name] = section(answer, f"{now}, `{command}`. {machine}.")
    path.write_text(HEAD + "".join(f"\n{text.strip()}\n" for _, text in sorted(sections.items())))


def section(answer: Answer, when: str) -> str:
    """One question's part of the report."""
    question = answer.question
    lines = [f"## {question.name}", "", question.asks, "", when, ""]
    if answer.failure:
        lines += [f"**Not measured**: {answer.failure}", ""]
    heads = [*_columns(answer), "load"]
    lines += [f"| | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
    for n in range(max(len(answer.ours), len(answer.against))):
        run = question.cases[n][0] if question.cases else f"run {n + 1}"
        lines.append(f"| {run} | {' | '.join(_row(answer, n))} |")
    if not question.cases:
        medians = [_number(answer.median(side, figure)) for _, side, figure in _cells(answer)]
        lines.append(f"| **median** | {' | '.join(medians)} | |")
    if question.beside:
        ratios = [
            "" if side is answer.ours else f"{_number(answer.ratio_to(side, figure))} x"
            for _, side, figure in _cells(answer)
        ]
        lines.append(f"| **ours to it** | {' | '.join(ratios)} | |")
    lines.append("")
    lines += [f"{name} is left out: {why}\n" for name, why in answer.left_out.items()]
    if question.targets:
        lines += ["| figure | measured | target | reached |", "|---|--:|--:|---|"]
        lines += [_verdict(answer, target) for target in question.targets]
    lines.append(question.note.strip())
    return "\n".join(lines)


def summary(answer: Answer) -> list[str]:
    """A line a target, for the terminal."""
    if answer.failure:
        return [f"{answer.question.name}: not measured: {answer.failure}"]
    name, cells = answer.question.name, _cells(answer)
    return [f"{name}: {_verdict(answer, target).strip('| ')}" for target in answer.question.targets] or [
        f"{name}: "
        + ", ".join(f"{label} {figure} {_number(answer.median(side, figure))}" for label, side, figure in cells)
    ]


def _verdict(answer: Answer, target: Target) -> str:
    value = answer.value(target)
    reached = {True: "yes", False: "**no**", None: "not measured"}[answer.reached(target)]
    return f"| {target.figure} | {_number(value)}{'' if target.alone else ' x'} | {target} | {reached} |"


def _cells(answer: Answer) -> list[tuple[str, list[Sample], str]]:
    return [(label, side, figure) for label, _, side in answer.sides() if side for figure in side[0]]


def _columns(answer: Answer) -> list[str]:
    return [f"{label} {figure}" for label, _, figure in _cells(answer)]


def _row(answer: Answer, n: int) -> list[str]:
    figures = [_number(side[n].get(figure)) if n < len(side) else "" for _, side, figure in _cells(answer)]
    return [*figures, f"{answer.loads[n]:.1f}"]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].strip(): f"## {part}" for part in parts}
