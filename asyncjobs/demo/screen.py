"""The demo on a terminal: a picture that is drawn over itself, and at the end stays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from asyncjobs import logs
from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.demo.board import Board, Line, State
from asyncjobs.demo.gallery import INDEX
from asyncjobs.demo.journal import STEPS
from asyncjobs.demo.telling import NEXT, detail, figures, seconds, so_far, verdict

LONGEST_NAME = 34  # columns
MOST_LINES = 60
"""Texts listed at the end; of more only those that were not drawn."""

MOST_INCIDENTS = 5


class Signs(NamedTuple):
    """The characters the picture is made of."""

    good: str
    bad: str
    gone: str
    done: str
    open: str
    more: str
    spinner: str


FULL = Signs("✓", "✗", "–", "●", "○", "…", "dots")  # noqa: RUF001
PLAIN = Signs("+", "x", "-", "#", ".", "...", "line")
"""For a terminal that takes nothing but ASCII."""

COLOURS = {
    State.waiting: "dim",
    State.running: "cyan",
    State.drawn: "green",
    State.discarded: "yellow",
    State.failed: "red",
}


class Screen:
    """Draws the board over itself, as high as the terminal at most."""

    def __init__(self) -> None:
        self.console = Console(no_color=not logs.wants_colours(sys.stdout), highlight=False, emoji=False)
        self._signs = PLAIN if self.console.options.ascii_only else FULL
        self._spinner: RenderableType = Spinner(self._signs.spinner, style="cyan")
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._last: Board | None = None

    def __enter__(self) -> None:
        """Begin drawing."""
        self.console.print()
        self._live.start()

    def __exit__(self, *_: object) -> None:
        """Stop, and leave the last state in full."""
        self._live.stop()
        if self._last is not None:
            board, self._spinner = self._last, Text("")
            odd = board.having(State.discarded, State.failed)[:MOST_LINES]
            shown = board.lines if len(board.lines) <= MOST_LINES else odd
            self.console.print(self._picture(board, shown, is_last=True))

    def show(self, board: Board) -> None:
        """Draw how things are now."""
        self._last = board
        room = self.console.height - 7 - len(board.started) - min(len(board.incidents), MOST_INCIDENTS)
        self._live.update(self._picture(board, visible(board, max(room, 1))), refresh=True)

    def _picture(self, board: Board, shown: Sequence[Line], *, is_last: bool = False) -> RenderableType:
        parts: list[RenderableType] = [self._beginnings(board, is_last=is_last)]
        if board.enqueued is not None:
            parts += [Text(), self._table(shown, is_last=is_last)]
            if (hidden := len(board.lines) - len(shown)) and not is_last:
                parts.append(Text(f"   {self._signs.more} and {hidden:,} more", style="dim"))
        for incident in board.incidents[-MOST_INCIDENTS:]:
            # One line each while it moves: the picture is as high as was reckoned.
            parts.append(Text(f" ! {harmless(incident)}", "yellow", no_wrap=not is_last, overflow="ellipsis"))
        if board.enqueued is not None and not is_last:
            parts += [Text(), self._foot(board)]
        if not is_last:
            parts.append(Text())  # for the terminal's own ^C, which behind a full line would move the picture
        return Group(*parts)

    def _beginnings(self, board: Board, *, is_last: bool) -> Table:
        table = _grid()
        for what, span in board.started:
            table.add_row(Text(self._signs.good, "green"), Text(what), Text(seconds(span), "dim"))
        if board.phase and not is_last:
            table.add_row(self._spinner, Text(board.phase, "cyan"), "")
        return table

    def _table(self, shown: Sequence[Line], *, is_last: bool) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=2, justify="right")
        table.add_column(max_width=LONGEST_NAME, no_wrap=True, overflow="ellipsis")
        table.add_column(width=len(STEPS) + 2, no_wrap=True, justify="center")
        table.add_column(ratio=1, no_wrap=not is_last, overflow="fold" if is_last else "ellipsis")
        table.add_column(justify="right", no_wrap=True, style="dim")
        for line in shown:
            colour = COLOURS[line.state]
            name = Text(harmless(line.source.text.name), "" if line.state is not State.waiting else "dim")
            clock = seconds(line.seconds) if line.began else ""
            table.add_row(self._sign(line), name, self._steps(line), Text(detail(line), colour), clock)
        return table

    def _sign(self, line: Line) -> RenderableType:
        if line.state is State.running:
            return self._spinner
        signs = {State.drawn: self._signs.good, State.discarded: self._signs.gone, State.failed: self._signs.bad}
        return Text(signs.get(line.state, ""), COLOURS[line.state])

    def _steps(self, line: Line) -> Text:
        """The steps as dots: green when done, in the line's colour when it is there, empty when it is still to come."""
        over = line.steps if line.state is State.drawn else max(line.steps - 1, 0)
        here = line.steps - over
        return Text.assemble(
            (self._signs.done * over, "green"),
            (self._signs.done * here, COLOURS[line.state]),
            (self._signs.open * (len(STEPS) - line.steps), "dim"),
        )

    def _foot(self, board: Board) -> Padding:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True)
        bar = ProgressBar(total=len(board.lines), completed=board.over, complete_style="cyan", finished_style="green")
        table.add_row(bar, Text(f"{so_far(board)}, {board.rate:.1f} jobs/s, {board.seconds:.1f} s"))
        return Padding(table, (0, 1))

    # The end

    def say_end(self, board: Board, directory: Path) -> None:
        """Print the summary."""
        good = bool(board.having(State.drawn)) and not board.having(State.failed)
        self.console.print()
        self.console.print(Text(f" {verdict(board)}", "bold green" if good else "bold red"))
        for figure in figures(board):
            self.console.print(Text(f" {figure}", "dim"))
        if board.having(State.drawn):
            self.console.print()
            for what, path in (("cards", directory), ("page", directory / INDEX)):
                # Not wrapped by us: a path that is cut in two cannot be copied.
                self.console.print(Text.assemble(f" {what:<6}", _link(path)), soft_wrap=True)
        self.console.print()
        self.console.print(" Next, in a directory of yours:")
        for command, what in NEXT:
            self.console.print(Text.assemble("   ", (f"{command:<16}", "bold cyan"), (what, "dim")))
        self.console.print()

    def say_interruption(self, board: Board, directory: Path) -> None:
        """Print how far it came."""
        self.console.print()
        self.console.print(Text(f" Interrupted at {so_far(board)}; the worker and PostgreSQL are gone.", "bold yellow"))
        if board.having(State.drawn):
            self.console.print(Text.assemble(f" {verdict(board)}: ", _link(directory)), soft_wrap=True)
        self.console.print()


def visible(board: Board, room: int) -> Sequence[Line]:
    """Return the lines to show when there is room for so many: what runs, what ended last, and what comes next."""
    if len(board.lines) <= room:
        return board.lines
    running = board.having(State.running)[: max(room - 1, 1)]
    waiting = board.having(State.waiting)
    over = sorted((line for line in board.lines if line.is_over), key=lambda line: line.ended or 0)
    left = room - 1 - len(running)
    coming = min(len(waiting), max(left // 3, left - len(over)))
    chosen = {id(line) for line in (*running, *waiting[: max(coming, 0)], *_last(over, left - coming))}
    return [line for line in board.lines if id(line) in chosen]


def _last(lines: Sequence[Line], number: int) -> Sequence[Line]:
    return lines[-number:] if number > 0 else ()


def _grid() -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=2, justify="right")
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    return table


def _link(path: Path) -> Text:
    return Text(harmless(str(path)), style=f"link {path.as_uri()}")
