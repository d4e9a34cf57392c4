"""What is said of a board in words: the same on a terminal, in plain lines and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.demo.board import Board, Line, State
from asyncjobs.demo.gallery import INDEX

NEXT = (
    ("asyncjobs init", "write config.toml and jobs.py to begin with"),
    ("asyncjobs run", "work, until Ctrl-C"),
)
"""Commands to try next, and what they do."""


def detail(line: Line) -> str:
    """Say what there is to say of a text, in one line."""
    again = f", attempt {line.attempt}" if line.attempt > 1 else ""
    match line.state:
        case State.waiting:
            return ""
        case State.running:
            return line.step + again
        case State.drawn:
            return f"{count(line.words, 'word')}{again}"
        case _:
            return harmless(" ".join(line.reason.split()) or "no reason given")


def seconds(span: float) -> str:
    """Write a time span as "0.21 s", from a minute on as "1 min 5 s"."""
    return (
        f"{span:.2f} s" if span < 9.995 else f"{span:.1f} s" if span < 60 else f"{span // 60:.0f} min {span % 60:.0f} s"
    )


def count(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def verdict(board: Board) -> str:
    """Say how many cards were drawn, and how the others ended."""
    drawn = len(board.having(State.drawn))
    others = [f"{len(board.having(state))} {state}" for state in (State.discarded, State.failed) if board.having(state)]
    return ", ".join([f"{count(drawn, 'card')} drawn", *others])


def figures(board: Board) -> list[str]:
    """Say how many jobs ran in what time; two lines."""
    every = seconds(time.time() - board.begun)
    return [
        f"{count(board.jobs, 'job')} in {seconds(board.seconds)}, {board.rate:.1f} jobs/s",
        f"{every} in all, PostgreSQL {board.server} and a worker process included",
    ]


def so_far(board: Board) -> str:
    """Say where the work stands."""
    return f"{board.over} of {count(len(board.lines), 'text')}"


def as_values(board: Board, directory: Path) -> dict[str, Any]:
    """Return the summary as values for JSON."""
    states = (State.drawn, State.discarded, State.failed)
    return {
        "directory": str(directory),
        "index": str(directory / INDEX) if board.having(State.drawn) else None,
        **{state.value: len(board.having(state)) for state in states},
        "jobs": board.jobs,
        "seconds": round(board.seconds, 3),
        "jobs_per_second": round(board.rate, 1),
        "total_seconds": round(time.time() - board.begun, 3),
        "postgresql": board.server,
        "worker_deaths": board.deaths,
        "incidents": board.incidents,
        "texts": [dict(_fields(line)) for line in board.lines],
    }


def _fields(line: Line) -> Iterator[tuple[str, Any]]:
    yield "text", str(line.source.text)
    yield "title", line.source.title
    yield "state", line.state.value
    if line.state is State.drawn:
        yield "card", str(line.source.card)
        yield "bytes", line.size
        yield "words", line.words
    else:
        yield "reason", line.reason
    yield "attempts", line.attempt
    yield "seconds", round(line.seconds, 3)
