"""Draws demo.svg: the picture that `asyncjobs demo` shows when most of its texts are drawn, from a run of it."""

import contextlib
import io
import re
import tempfile
from pathlib import Path

import typer
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from asyncjobs.demo import command, views
from asyncjobs.demo.board import Board, State


def recorder() -> Console:
    """Return a terminal that keeps what is printed."""
    return Console(record=True, force_terminal=True, width=92, height=32, color_system="truecolor", file=io.StringIO())


class Recorded(views.Screen):
    """Keeps what it shows."""

    best: tuple[tuple[bool, int], Console] | None = None

    def __init__(self, board: Board, directory: Path) -> None:
        super().__init__(board, directory)
        self.console = recorder()

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
        self.console = recorder()


def main() -> None:
    """Run the demo and write the picture beside this file."""
    views.Lines = Recorded  # what is shown where no terminal looks on
    with tempfile.TemporaryDirectory() as cards, contextlib.suppress(typer.Exit):
        command.demo(files=None, out=Path(cards), as_json=False)
    assert Recorded.best is not None
    _, best = Recorded.best
    without_fonts = re.sub(r"    @font-face.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # they are other sites'
    own = without_fonts.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace").replace(
        "arial", "sans-serif"
    )
    picture = best.export_svg(title="asyncjobs demo", code_format=own, unique_id="demo")
    Path(__file__).with_name("demo.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
