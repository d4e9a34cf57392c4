"""`asyncjobs demo`: real jobs on a real PostgreSQL, from nothing but the install."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.terminal import options
from asyncjobs.terminal.exits import FAILED, USAGE, exit_codes, fail

if TYPE_CHECKING:
    from asyncjobs.demo.board import Board
    from asyncjobs.demo.show import View

BY_SIGNAL = 128
"""Added to a signal's number, it is the exit code of whoever it ended."""


def demo(
    *,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Texts, or directories of *.txt and *.md; default: ten samples."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the cards go; made if missing.")] = Path(
        "asyncjobs-demo"
    ),
    as_json: options.Json = False,
) -> None:
    """See it work: draw texts as word clouds, each by a background job.

    Starts a PostgreSQL of its own and a worker process, enqueues a job for
    each text, shows their progress, and removes everything but the cards.
    No database, settings or files of yours are touched.

    A text that no card can be made of is discarded. Exit code 1: a job
    failed, or nothing could be drawn.
    """
    # Late: all this takes 0.2 s to import, and this module is imported for every command.
    from asyncjobs.demo import sources
    from asyncjobs.demo.board import Board, Line, State

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to end
    directory = out.absolute()
    try:
        board = Board([Line(source) for source in sources.find(files or (), directory)])
    except sources.Unusable as error:
        fail(USAGE, *map(harmless, error.problems))
    with exit_codes(), _made(directory):
        _run(board, directory, _view(as_json=as_json))
    raise typer.Exit(FAILED if board.having(State.failed) or not board.having(State.drawn) else 0)


def _run(board: Board, directory: Path, view: View) -> None:
    from asyncjobs.demo import scopes, show, worker_process

    # Of this process too: whatever is set for a project of the user's, the demo is none of it.
    kept = worker_process.without_settings(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    logging.getLogger("asyncjobs").addHandler(logging.NullHandler())  # a line of it would tear the picture
    try:
        asyncio.run(scopes.interruptible(show.run(board, directory, view)))
        view.say_end(board, directory)
    except scopes.Interrupted as interrupted:
        with contextlib.suppress(OSError):  # at SIGHUP the terminal is gone
            view.say_interruption(board, directory)
        raise typer.Exit(BY_SIGNAL + interrupted.number) from None
    except worker_process.WorkerGone as error:
        fail(FAILED, f"{error}; its log ends:", *error.tail.splitlines())
    except BrokenPipeError:
        # Nobody reads any more; what Python flushes at its end must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None


def _view(*, as_json: bool) -> View:
    """Return what suits where the output goes."""
    from asyncjobs.demo.lines import Lines, Quiet

    if as_json:
        return Quiet()
    if not sys.stdout.isatty() or os.environ.get("TERM") in {None, "", "dumb"}:
        return Lines()
    from asyncjobs.demo.screen import Screen

    return Screen()


@contextlib.contextmanager
def _made(directory: Path) -> Iterator[None]:
    """Make a directory with what is missing above it; what is still empty at the end is removed."""
    missing = [step for step in (directory, *directory.parents) if not step.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(0, "nothing may be written there", str(directory))
    except OSError as error:
        fail(USAGE, harmless(f"{directory}: the cards cannot be put there: {error.strerror}; give another with --out"))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty: as it should be
            for step in missing:
                step.rmdir()
