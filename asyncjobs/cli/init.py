"""`asyncjobs init`: the first files of a project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from asyncjobs.terminal.exits import USAGE, fail

TEMPLATES = Path(__file__).parent / "templates"


def init(
    *,
    directory: Annotated[Path, typer.Argument(help="Where; made if missing.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write a config.toml and jobs.py to begin with; nothing is overwritten without --force."""
    # A Python template has the ending .txt, so that no tool takes it for a module of asyncjobs.
    files = {directory / path.name.removesuffix(".txt"): path for path in sorted(TEMPLATES.glob("*.*"))}
    if not force and (there := [str(file) for file in files if os.path.lexists(file)]):
        exist = "exists" if len(there) == 1 else "exist"
        fail(USAGE, f"{' and '.join(there)} {exist} already: nothing was written; --force overwrites")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, template in files.items():
            # "x": also not through a link that leads nowhere.
            with file.open("w" if force else "x", encoding="utf-8") as made:
                made.write(template.read_text(encoding="utf-8"))
            print(f"wrote {file}")
    except OSError as error:
        fail(USAGE, f"{error.filename}: cannot be written: {error.strerror}")
    print("next, in two terminals:" if directory == Path() else f"next, in two terminals in {directory}:")
    print("  asyncjobs run")
    print("  asyncjobs enqueue jobs.welcome name=Ada --wait")
