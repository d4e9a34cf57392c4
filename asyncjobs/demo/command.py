"""`asyncjobs demo`: real jobs on a real PostgreSQL, from nothing but the install."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.terminal import options
from asyncjobs.terminal.exits import FAILED, USAGE, exit_codes, fail

OUT = Path("asyncjobs-demo")
BY_SIGNAL = 128  # with a signal's number added, the exit code of whoever it ended


def demo(
    *,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Texts, or directories of *.txt and *.md; default: ten samples."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the cards go; made if missing.")] = OUT,
    web: Annotated[
        bool, typer.Option("--web", help="Show the dashboard, too; it stays until Ctrl-C. Needs the extra web.")
    ] = False,
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
    from asyncjobs.demo import show, sources, views
    from asyncjobs.demo.board import Board, State

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to end
    directory, is_watched = out.absolute(), sys.stdout.isatty() and os.environ.get("TERM") not in {None, "", "dumb"}
    with exit_codes():
        if web:
            from asyncjobs.web.missing import check_extra

            check_extra()
        board = Board(sources.find(files or (), directory))
        view = (views.View if as_json else views.Screen if is_watched else views.Lines)(board, directory)
        # Of this process and of the worker: whatever is set for a project of the user's, the demo is none of it.
        kept = without_settings(os.environ)
        os.environ.clear()
        os.environ.update(kept)
        logging.getLogger("asyncjobs").addHandler(logging.NullHandler())  # a line of it would tear the picture
        with _made(directory):
            try:
                number = asyncio.run(_interrupted(show.Show(board, directory, view, web=web).run()))
                if board.stays:
                    number = None  # all is over, and somebody has seen enough of the dashboard
                if number is None:
                    view.say_end()
                else:
                    with contextlib.suppress(OSError):
                        view.say_interruption()
            except show.WorkerGone as error:
                fail(FAILED, f"{error}; its log ends:", *error.tail)
            except BrokenPipeError:
                # Nobody reads any more; what Python flushes at its end must not fail as well.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(FAILED) from None
    if number is not None:
        raise typer.Exit(BY_SIGNAL + number)
    raise typer.Exit(FAILED if board.having(State.failed) or not board.having(State.drawn) else 0)


async def _interrupted(work: Coroutine[Any, Any, None]) -> int | None:
    """Run `work` to its end; return which of SIGINT, SIGTERM and SIGHUP has cancelled it; further ones do nothing."""
    task, received = asyncio.ensure_future(work), list[int]()

    def interrupt(number: int) -> None:
        if not received:
            task.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
    await asyncio.wait([task])
    has_ended = task.cancelled() or isinstance(task.exception(), OSError)  # at SIGHUP the terminal is gone
    return received[0] if received and has_ended else task.result()


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out every variable that would lead asyncjobs or its driver to another database, or to other settings."""
    ours, others = ("ASYNCJOBS_PG_BIN", "ASYNCJOBS_LOG_LEVEL"), ("ASYNCJOBS_", "PG")
    return {name: value for name, value in environment.items() if name in ours or not name.startswith(others)}


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
