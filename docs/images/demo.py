"""Draws demo.svg: the picture that `asyncjobs demo` shows when most of its texts are drawn, from a run of it."""

import contextlib
import io
import re
import tempfile
from pathlib import Path

import typer
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from asyncjobs.demo import command, screen
from asyncjobs.demo.board import Board, State


class Recorded(screen.Screen):
    """Keeps what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[tuple[bool, int], Console]] = []

    def show(self, board: Board) -> None:
        """Draw how things are now, and keep it."""
        super().show(board)
        if board.enqueued is not None:
            console = Console(
                record=True,
                force_terminal=True,
                width=92,
                color_system="truecolor",
                file=io.StringIO(),
                highlight=False,
            )
            console.print(self._picture(board, screen.visible(board, 20)))
            under_way = bool(board.having(State.running))
            self.frames.append(((under_way and board.over < len(board.lines) * 2 / 3 + 1, board.over), console))


def main() -> None:
    """Run the demo and write the picture beside this file."""
    recorded = Recorded()
    command._view = lambda *, as_json: recorded  # noqa: ARG005
    with tempfile.TemporaryDirectory() as cards, contextlib.suppress(typer.Exit):
        command.demo(files=None, out=Path(cards), as_json=False)
    _, best = max(recorded.frames, key=lambda frame: frame[0])
    without_fonts = re.sub(r"    @font-face.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # they are other sites'
    own = without_fonts.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace").replace(
        "arial", "sans-serif"
    )
    picture = best.export_svg(title="asyncjobs demo", code_format=own, unique_id="demo")
    Path(__file__).with_name("demo.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
