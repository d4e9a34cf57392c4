"""The demo where nobody looks on: a line for each thing that happens, and nothing that moves."""

from __future__ import annotations

from pathlib import Path

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.demo.board import Board, State
from asyncjobs.demo.gallery import INDEX
from asyncjobs.demo.telling import NEXT, as_values, detail, figures, seconds, so_far, verdict
from asyncjobs.terminal import printing
from asyncjobs.terminal.exits import complain


class Quiet:
    """Shows nothing, and at the end one JSON object."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, board: Board) -> None:
        """Do nothing."""

    def say_end(self, board: Board, directory: Path) -> None:
        """Print the summary."""
        printing.as_json(as_values(board, directory))

    def say_interruption(self, board: Board, directory: Path) -> None:
        """Print how far it came, where it is no JSON."""
        where = f"; {verdict(board)}: {directory}" if board.having(State.drawn) else ""
        complain(harmless(f"interrupted at {so_far(board)}; the worker and PostgreSQL are gone{where}"))


class Lines(Quiet):
    """Prints what is new on the board, each thing once."""

    def __init__(self) -> None:
        self._started = 0
        self._incidents = 0
        self._over: set[int] = set()

    def show(self, board: Board) -> None:
        """Print what is new."""
        for what, span in board.started[self._started :]:
            _say(f"started    {what} ({seconds(span)})")
        self._started = len(board.started)
        for incident in board.incidents[self._incidents :]:
            _say(f"incident   {harmless(incident)}")
        self._incidents = len(board.incidents)
        ended = [n for n, line in enumerate(board.lines) if line.is_over and n not in self._over]
        for number in sorted(ended, key=lambda n: board.lines[n].ended or 0):
            line = board.lines[number]
            drawn = f" -> {harmless(line.source.card.name)}" if line.state is State.drawn else ""
            _say(f"{line.state:<10} {harmless(line.source.text.name)}: {detail(line)}{drawn} ({seconds(line.seconds)})")
        self._over.update(ended)

    def say_end(self, board: Board, directory: Path) -> None:
        """Print the summary."""
        _say("", verdict(board), *figures(board))
        if board.having(State.drawn):
            _say(f"cards: {harmless(str(directory))}", f"page:  {harmless(str(directory / INDEX))}")
        _say("", "next, in a directory of yours:", *(f"  {command:<16}{what}" for command, what in NEXT))


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
