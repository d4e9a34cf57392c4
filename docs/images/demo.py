"""Draws demo.svg: the picture that `asyncjobs demo` shows when most of its texts are drawn, from a run of it."""

import contextlib
import tempfile
from pathlib import Path

import typer
from rich.console import Console

from asyncjobs.demo import command, views
from asyncjobs.demo.board import Board, State
from docs.images import pictures


class Recorded(views.Screen):
    """Keeps what it shows."""

    best: tuple[tuple[bool, int], Console] | None = None

    def __init__(self, board: Board, directory: Path) -> None:
        super().__init__(board, directory)
        self.console = pictures.recorder()

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

    def show(self) -> None:
        """Keep how things are, if more is drawn than in what was kept, and some are under way."""
        board = self._board
        fits = bool(board.having(State.running)) and board.over < len(board.lines) * 2 / 3 + 1
        if board.enqueued is None or (Recorded.best is not None and Recorded.best[0] >= (fits, board.over)):
            return
        self.console.print(self.picture())
        Recorded.best = ((fits, board.over), self.console)
        self.console = pictures.recorder()


def main() -> None:
    """Run the demo and write the picture beside this file."""
    views.Lines = Recorded  # what is shown where no terminal looks on
    with tempfile.TemporaryDirectory() as cards, contextlib.suppress(typer.Exit):
        command.demo(files=None, out=Path(cards), as_json=False)
    assert Recorded.best is not None
    _, best = Recorded.best
    pictures.write(best, Path(__file__).with_name("demo.svg"), title="asyncjobs demo")


if __name__ == "__main__":
    main()
