"""How a board is shown: as a picture on a terminal, as lines where nobody looks on, as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from asyncjobs import logs
from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.demo.board import Board, Line, State, seconds
from asyncjobs.demo.gallery import INDEX
from asyncjobs.demo.jobs import STEPS
from asyncjobs.terminal import printing
from asyncjobs.terminal.exits import complain

FRAMES = 12.5  # pictures a second
LONGEST_NAME = 34  # columns
MOST_LINES, MOST_INCIDENTS = 60, 5
"""That are listed at the end, of more texts only those that were not drawn."""
NEXT = {"asyncjobs init": "write config.toml and jobs.py to begin with", "asyncjobs run": "work, until Ctrl-C"}
EN_DASH = "\N{EN DASH}"
SIGNS = dict(zip(State, ("", "", "✓", EN_DASH, "✗"), strict=True))
DONE, OPEN, MORE = "●", "○", "…"
# For a terminal that takes nothing but ASCII.
PLAIN = str.maketrans({"✓": "+", "✗": "x", EN_DASH: "-", DONE: "#", OPEN: ".", MORE: "..."})
COLOURS = dict(zip(State, ("dim", "cyan", "green", "yellow", "red"), strict=True))


class View:
    """Shows nothing, and at the end one JSON object."""

    def __init__(self, board: Board, directory: Path) -> None:
        self._board, self._directory = board, directory

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave what it showed in its last form."""

    def show(self) -> None:
        """Show what is new."""

    def say_end(self) -> None:
        """Sum up."""
        printing.as_json(self._board.as_values(self._directory))

    def say_interruption(self) -> None:
        """Say how far it came, where it is no JSON."""
        where = f"; {self._board.verdict}: {self._directory}" if self._board.having(State.drawn) else ""
        complain(harmless(f"interrupted at {self._board.so_far}; the worker and PostgreSQL are gone{where}"))

    def _summary(self) -> Text:
        """The end in words; not to be wrapped: a path that is cut in two cannot be copied."""
        drawn, failed = self._board.having(State.drawn), self._board.having(State.failed)
        said = Text.assemble("\n ", (self._board.verdict, "bold green" if drawn and not failed else "bold red"), "\n")
        said.append(self._board.figures, "dim")
        if drawn:
            page = self._directory / INDEX
            said += Text.assemble("\n cards ", _link(self._directory), "\n page  ", _link(page), "\n")
        said.append("\n Next, in a directory of yours:\n")
        for command, what in NEXT.items():
            said += Text.assemble("   ", (f"{command:<16}", "bold cyan"), (what, "dim"), "\n")
        return said


class Lines(View):
    """Prints a line for each thing that happens, once, and nothing that moves."""

    def __init__(self, board: Board, directory: Path) -> None:
        super().__init__(board, directory)
        self._started = self._incidents = 0
        self._stays = False
        self._over: set[int] = set()

    def show(self) -> None:
        """Print what is new."""
        board = self._board
        for what, span in board.started[self._started :]:
            print(f"started    {what} ({seconds(span)})")
        for incident in board.incidents[self._incidents :]:
            print(f"incident   {harmless(incident)}")
        self._started, self._incidents = len(board.started), len(board.incidents)
        ended = [n for n, line in enumerate(board.lines) if line.is_over and n not in self._over]
        for line in sorted((board.lines[n] for n in ended), key=lambda line: line.ended or 0):
            drawn = f" -> {harmless(line.card.name)}" if line.state is State.drawn else ""
            print(f"{line.state:<10} {harmless(line.text.name)}: {line.detail}{drawn} ({seconds(line.seconds)})")
        self._over.update(ended)
        if board.stays and not self._stays:
            self._stays = True
            print(f"ready      the dashboard stays at {board.dashboard} until Ctrl-C")
        sys.stdout.flush()

    def say_end(self) -> None:
        """Sum up."""
        print(dedent(self._summary().plain), flush=True)


class Screen(View):
    """Draws the board over itself, as high as the terminal at most; at the end it stays."""

    def __init__(self, board: Board, directory: Path) -> None:
        super().__init__(board, directory)
        self.console = Console(no_color=not logs.wants_colours(sys.stdout), highlight=False, emoji=False)
        self._is_plain = self.console.options.ascii_only
        self._spinner = Spinner("line" if self._is_plain else "dots", style="cyan")
        self._live = Live(console=self.console, get_renderable=self.picture, refresh_per_second=FRAMES, transient=True)

    def __enter__(self) -> None:
        self.console.print()
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self.console.print(self.picture(is_last=True))

    def say_end(self) -> None:
        """Sum up."""
        self.console.print(self._summary(), soft_wrap=True)

    def say_interruption(self) -> None:
        """Say how far it came."""
        how_far = f"\n Interrupted at {self._board.so_far}; the worker and PostgreSQL are gone.\n"
        drawn = (f" {self._board.verdict}: ", _link(self._directory), "\n") if self._board.having(State.drawn) else ()
        self.console.print(Text.assemble((how_far, "bold yellow"), *drawn), soft_wrap=True)

    def picture(self, *, is_last: bool = False) -> RenderableType:
        """Return how things are now."""
        board, incidents = self._board, self._board.incidents[-MOST_INCIDENTS:]
        if not is_last:
            shown = visible(board, max(self.console.height - 7 - len(board.started) - len(incidents), 1))
        elif len(shown := board.lines) > MOST_LINES:
            shown = board.having(State.discarded, State.failed)[:MOST_LINES]
        parts: list[RenderableType] = [self._beginnings(is_last=is_last)]
        if board.enqueued is not None:
            parts += [Text(), self._table(shown, is_last=is_last)]
            if (hidden := len(board.lines) - len(shown)) and not is_last:
                parts.append(self._text(f"   {MORE} and {hidden:,} more", "dim"))
        for incident in incidents:
            # One line each while it moves: the picture is as high as was reckoned.
            parts.append(Text(f" ! {harmless(incident)}", "yellow", no_wrap=not is_last, overflow="ellipsis"))
        if board.enqueued is not None and not is_last:
            parts += [Text(), self._foot()]
        if not is_last:
            parts.append(Text())  # for the terminal's own ^C, which behind a full line would move the picture
        return Group(*parts)

    def _text(self, signs: str, style: str) -> Text:
        return Text(signs.translate(PLAIN) if self._is_plain else signs, style)

    def _beginnings(self, *, is_last: bool) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=2, justify="right")
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for what, span in self._board.started:
            table.add_row(self._text(SIGNS[State.drawn], "green"), Text(what), Text(seconds(span), "dim"))
        if self._board.phase and not is_last:
            table.add_row(self._spinner, Text(self._board.phase, "cyan"), "")
        return table

    def _table(self, shown: Sequence[Line], *, is_last: bool) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=2, justify="right")
        table.add_column(max_width=LONGEST_NAME, no_wrap=True, overflow="ellipsis")
        table.add_column(width=len(STEPS) + 2, no_wrap=True, justify="center")
        table.add_column(ratio=1, no_wrap=not is_last, overflow="fold" if is_last else "ellipsis")
        table.add_column(justify="right", no_wrap=True, style="dim")
        for line in shown:
            colour, is_running = COLOURS[line.state], line.state is State.running
            sign = self._spinner if is_running and not is_last else self._text(SIGNS[line.state], colour)
            name = Text(harmless(line.text.name), "" if line.state is not State.waiting else "dim")
            clock = seconds(line.seconds) if line.began else ""
            table.add_row(sign, name, self._steps(line), Text(line.detail, colour), clock)
        return table

    def _steps(self, line: Line) -> Text:
        """The steps as dots: green when done, in the line's colour when it is there, empty when it is still to come."""
        over = line.steps if line.state is State.drawn else max(line.steps - 1, 0)
        dots = ((DONE * over, "green"), (DONE * (line.steps - over), COLOURS[line.state]))
        return Text.assemble(*(self._text(*each) for each in (*dots, (OPEN * (len(STEPS) - line.steps), "dim"))))

    def _foot(self) -> Padding:
        board, table = self._board, Table.grid(padding=(0, 2), expand=True)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True)
        bar = ProgressBar(total=len(board.lines), completed=board.over, complete_style="cyan", finished_style="green")
        table.add_row(bar, Text(f"{board.so_far}, {board.rate:.1f} jobs/s, {board.seconds:.1f} s"))
        return Padding(table, (0, 1))


def visible(board: Board, room: int) -> Sequence[Line]:
    """Return the lines to show when there is room for so many: what runs, what ended last, and what comes next."""
    if len(board.lines) <= room:
        return board.lines
    running, waiting = board.having(State.running)[: max(room - 1, 1)], board.having(State.waiting)
    over = sorted((line for line in board.lines if line.is_over), key=lambda line: line.ended or 0)
    left = room - 1 - len(running)
    coming = max(min(len(waiting), max(left // 3, left - len(over))), 0)
    chosen = {id(line) for line in (*running, *waiting[:coming], *over[max(len(over) - left + coming, 0) :])}
    return [line for line in board.lines if id(line) in chosen]


def _link(path: Path) -> Text:
    return Text(harmless(str(path)), style=f"link {path.as_uri()}")
