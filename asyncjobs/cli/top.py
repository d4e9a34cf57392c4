"""`asyncjobs top`: queues, running jobs, failures and workers, live in a terminal."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from asyncjobs import logs
from asyncjobs.cli import command_database, overview, pauses
from asyncjobs.cli.top_figures import Figures, Reader, as_values, rates
from asyncjobs.client.job_actions import Asked
from asyncjobs.client.job_filters import Action, filter_of
from asyncjobs.db import url_parts
from asyncjobs.exceptions import AsyncJobsError, DatabaseError
from asyncjobs.records.live import progress_line
from asyncjobs.settings import load
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import exit_codes

if TYPE_CHECKING:
    from pathlib import Path

    from asyncjobs.cli.top_screen import Picture
    from asyncjobs.settings import Settings

EVERY = 1.0
"""Seconds between two looks; more where a look takes long, so that these take a fifth of a session at most."""
SHARE = 4.0
"""The least pause between two looks, in times of the last one."""
RATES_OVER = 5
"""Looks over which rates are taken: jobs that are enqueued many at a time would make numbers that nobody can read."""
AT_END = 2.0
"""Seconds at most for what is being done when somebody quits."""
REASON = "cancelled in asyncjobs top"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def top(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Print it once, as where no terminal looks on, and end.")
    ] = False,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Show queues, running jobs, failures and workers, live; pause, retry and cancel by keys.

    Arrows select, p pauses a queue or lets it go on, r retries what failed of a kind, c cancels a job, q quits, ? shows the
    keys.
    """
    with exit_codes():
        settings = load(config, environment=env)

    async def look() -> Figures:
        async with command_database.database_url(settings) as url:
            reader = Reader(url)
            try:
                return await reader.read()
            finally:
                reader.close()

    async def watch() -> int:
        async with command_database.database_url(settings) as url:
            return await Watching(url, settings, config, env).run()

    if as_json:
        printing.as_json(as_values(command_database.finish(look)))
    elif once or not _is_watched():
        _print(command_database.finish(look))
    elif number := command_database.finish(watch):
        raise typer.Exit(128 + number)


def _is_watched() -> bool:
    """Whether somebody looks on and can press keys, at a terminal that a picture can be drawn on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _print(found: Figures) -> None:
    """Print the figures, one table after the other."""
    overview.print_queues(found.queues)
    pauses.table(found.pauses)
    print()
    printing.table(
        ["running", "kind", "queue", "for", "attempt", "worker", "progress"],
        [
            (
                job.id,
                job.kind,
                job.queue,
                printing.age(job.seconds),
                job.attempt,
                job.worker,
                "" if job.done is None else progress_line(job.done, job.total, job.note or ""),
            )
            for job in found.running
        ],
        empty="nothing runs",
    )
    print()
    printing.table(
        ["failed in the last hour", "jobs", "last"],
        [(kind.kind, kind.jobs, f"{printing.age(kind.ago)} ago") for kind in found.failed],
        empty="nothing failed in the last hour",
    )
    print()
    overview.print_workers(found.workers)


class Watching:
    """The live picture: what is read, pressed and done, until somebody quits.

    Args:
        url: Of the database.
        settings: The settings, which say whether it is a private one.
        config: The config file, for the client that does what is asked for.
        environment: Its table.
    """

    def __init__(self, url: str, settings: Settings, config: Path | None, environment: str | None) -> None:
        from asyncjobs.cli.top_screen import Picture

        self._reader = Reader(url)
        self._config, self._environment = config, environment
        where = f"{url_parts.database_of(url)} at {url_parts.server_of(url)}"
        self._picture: Picture = Picture(database=where if settings.database_url else "a private PostgreSQL")
        self._before: deque[Figures] = deque(maxlen=RATES_OVER)
        self._changed = asyncio.Event()
        self._look_now = asyncio.Event()
        self._answer: Callable[[], Awaitable[str]] | None = None
        """What is done if the question is answered with yes."""
        self._doing: set[asyncio.Task[None]] = set()
        self._jobs: command_database.CommandJobs | None = None
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._ended_by: int | None = None
        """0: a key; else the number of a signal."""

    async def run(self) -> int:
        """Show the picture until somebody quits; return 0, or the number of the signal that ended it.

        Raises:
            DatabaseError: The first look failed.
        """
        self._take(await self._reader.read())  # before anything is drawn: what is wrong is a line as always
        async with self._stack:
            reading = asyncio.create_task(self._keep_reading())
            reading.add_done_callback(lambda _: self._end(0))  # it ends by an error alone, which nobody has foreseen
            try:
                await self._show()
            finally:
                reading.cancel()
                await asyncio.wait([reading, *self._doing], timeout=AT_END)
                self._reader.close()
            if reading.done() and not reading.cancelled():
                reading.result()
        return self._ended_by or 0

    async def _show(self) -> None:
        from rich.console import Console
        from rich.live import Live

        from asyncjobs.terminal.keyboard import keys

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to end
        console = Console(no_color=not logs.wants_colours(sys.stdout), highlight=False, emoji=False)
        self._picture.is_plain = console.options.ascii_only
        while self._ended_by is None:
            suspended = False
            with keys(sys.stdin.fileno(), self._on_key), Live(console=console, screen=True, auto_refresh=False) as live:
                async with self._signals() as stop:
                    while self._ended_by is None and not stop.is_set():
                        live.update(self._picture.draw(console.size.height), refresh=True)
                        await self._changed.wait()
                        self._changed.clear()
                    suspended = stop.is_set()
            if suspended:
                os.kill(os.getpid(), signal.SIGSTOP)  # it goes on here at SIGCONT, and draws the picture anew

    @asynccontextmanager
    async def _signals(self) -> AsyncIterator[asyncio.Event]:
        """Have signals end the picture, or draw it anew; yield what says that the terminal is wanted back for a while."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def suspend() -> None:
            stop.set()
            self._changed.set()

        for number in _ENDING:
            loop.add_signal_handler(number, self._end, 0 if number is signal.SIGINT else int(number))
        loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
        loop.add_signal_handler(signal.SIGTSTP, suspend)
        try:
            yield stop
        finally:
            for number in (*_ENDING, signal.SIGWINCH, signal.SIGTSTP):
                loop.remove_signal_handler(number)

    def _end(self, number: int) -> None:
        self._ended_by = number if self._ended_by is None else self._ended_by
        self._changed.set()

    async def _keep_reading(self) -> None:
        while True:
            began = time.monotonic()
            try:
                self._take(await self._reader.read())
            except DatabaseError as error:
                self._picture.trouble = str(error)
                self._before.clear()
            self._changed.set()
            pause = max(EVERY, SHARE * (time.monotonic() - began))
            self._look_now.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._look_now.wait()
            except TimeoutError:
                continue

    def _take(self, found: Figures) -> None:
        picture = self._picture
        picture.trouble = ""
        picture.clock = time.strftime("%H:%M:%S")
        picture.show(found, rates(self._before[0], found) if self._before else None)
        self._before.append(found)

    # Keys

    def _on_key(self, key: str) -> None:
        from asyncjobs.cli.top_screen import MOVES

        picture = self._picture
        answer, self._answer = self._answer, None
        picture.message = picture.question = ""
        if answer is not None:
            if key == "y":
                self._do(answer)
            else:
                picture.message = "nothing was changed"
        elif key in ("q", "end"):
            self._end(0 if key == "q" else signal.SIGHUP)
        elif picture.shows_keys or key == "?":
            picture.shows_keys = not picture.shows_keys
        elif key in ("p", "r", "c"):
            {"p": self._pause, "r": self._retry, "c": self._cancel}[key]()
        elif key in MOVES:
            picture.move(key)
        self._changed.set()

    def _pause(self) -> None:
        place = self._picture.selected
        if place is None or place.sort != "queue":
            self._picture.message = "p is for queues: select one"
            return
        queue, is_paused = str(place.key), self._picture.pause is not None

        async def act() -> str:
            jobs = await self._opened()
            if is_paused:
                await jobs.resume(queue=queue)
                return f"queue {queue} goes on"
            return pauses.sentence(await jobs.pause(queue=queue))

        self._do(act)

    def _retry(self) -> None:
        place = self._picture.selected
        if place is None or place.sort != "failed":
            self._picture.message = "r is for failed jobs: select their kind"
            return
        kind = str(place.key)
        wanted = filter_of(Action.retry, kind=kind)

        async def act() -> str:
            done = await (await self._opened()).client.do_all(Asked(Action.retry), wanted, dry_run=False)
            return f"{done.total} jobs of {kind} retried"

        async def count() -> str:
            found = await (await self._opened()).client.do_all(Asked(Action.retry), wanted, dry_run=True)
            if not found.total:
                return f"no failed jobs of {kind} are left"
            self._ask(f"retry {found.total} failed jobs of {kind}?", act)
            return ""

        self._do(count)

    def _cancel(self) -> None:
        place = self._picture.selected
        if place is None or not isinstance(place.key, UUID) or place.sort != "job":
            self._picture.message = "c is for running jobs: select one"
            return
        job = place.key

        async def act() -> str:
            done = await (await self._opened()).cancel(job, reason=REASON)
            return f"job {job} is cancelled" if done else f"job {job} has ended already"

        self._ask(f"cancel job {job}?", act)

    def _ask(self, question: str, act: Callable[[], Awaitable[str]]) -> None:
        self._picture.question, self._answer = question, act

    def _do(self, act: Callable[[], Awaitable[str]]) -> None:
        """Do what was asked for, beside the picture, and say what came of it."""

        async def doing() -> None:
            try:
                self._picture.message = await act()
            except AsyncJobsError as error:
                self._picture.message = str(error)
            self._reader.look_at_failures()
            self._look_now.set()
            self._changed.set()

        task = asyncio.create_task(doing())
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def _opened(self) -> command_database.CommandJobs:
        """Return the client that changes things, opened by the first that is asked for."""
        async with self._opening:
            if self._jobs is None:
                jobs = command_database.CommandJobs(config=self._config, environment=self._environment)
                self._jobs = await self._stack.enter_async_context(jobs)
            return self._jobs
