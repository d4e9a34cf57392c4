"""Pictures of a terminal, as SVG with fonts of the reader's own."""

import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console


def recorder(*, width: int = 92, height: int = 32) -> Console:
    """Return a terminal that keeps what is printed."""
    return Console(
        record=True, force_terminal=True, width=width, height=height, color_system="truecolor", file=io.StringIO()
    )


def write(console: Console, path: Path, *, title: str) -> None:
    """Write what a terminal has kept."""
    without_fonts = re.sub(r"    @font-face.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # they are other sites'
    own = without_fonts.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace").replace(
        "arial", "sans-serif"
    )
    path.write_text(console.export_svg(title=title, code_format=own, unique_id=path.stem), encoding="utf-8")
