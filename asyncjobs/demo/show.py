"""The demo itself: a PostgreSQL, a worker process, and this process as their client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from asyncjobs import AsyncJobs, DatabaseError, DatabaseUnavailable, Job, JobDiscarded, JobError, JobFailed, enqueue_all
from asyncjobs.db import migrating, workers
from asyncjobs.db.connecting import Connection, connect
from asyncjobs.db.errors import translating
from asyncjobs.demo.board import Board, Line, State
from asyncjobs.demo.gallery import write_gallery
from asyncjobs.demo.jobs import ProcessCloud, cloud_ready, part_name
from asyncjobs.demo.journal import Journal
from asyncjobs.demo.place import POSTGRES, clear_abandoned, temporary_place
from asyncjobs.demo.scopes import beside, whole
from asyncjobs.demo.worker_process import WorkerProcess
from asyncjobs.embedded import EmbeddedPostgres

T = TypeVar("T")

FRAME = 0.08
"""Seconds between two looks at the journal, and two pictures."""
PULSE = 0.5
"""Seconds between two looks whether the database is alive; `LOST` in a row that fail are its end."""
LOST = 4
LEASE = 3
SHUTDOWN_TIMEOUT = 1  # second

CONFIG = f"""\
[default]
lease = {LEASE}
shutdown_timeout = {SHUTDOWN_TIMEOUT}
database_connections = 4
log_format = "text"

[[default.pools]]
queues = ["critical"]
concurrency = 3

[[default.pools]]
queues = ["default", "low"]
concurrency = 5
"""


class View(Protocol):
    """Shows a board as it changes."""

    def __enter__(self) -> object:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave what it showed in its last form."""

    def show(self, board: Board) -> None:
        """Show how things are now."""

    def say_end(self, board: Board, directory: Path) -> None:
        """Sum up."""

    def say_interruption(self, board: Board, directory: Path) -> None:
        """Say how far it came."""


async def run(board: Board, directory: Path, view: View) -> None:
    """Draw a card for each line of the board; leaves nothing behind but the cards, also when it is cancelled.

    Args:
        board: With its lines; filled in.
        directory: Exists; for the cards and their page.
        view: Shown the board.

    Raises:
        WorkerGone: No worker can be kept alive.
        AsyncJobsError: The database cannot be had, or is gone.
    """
    with view:
        drawing = asyncio.create_task(_draw(board, directory))
        try:
            await _watch_along(drawing, board, view)
        finally:
            if not drawing.done():
                drawing.cancel()
                board.phase = "stopping the worker and PostgreSQL"
                with suppress(OSError):  # the terminal may be gone
                    await _watch_along(drawing, board, view)
                await asyncio.wait([drawing])
    drawing.result()


async def _watch_along(drawing: asyncio.Task[None], board: Board, view: View) -> None:
    while not drawing.done():
        view.show(board)
        await asyncio.wait([drawing], timeout=FRAME)
    board.phase = ""
    view.show(board)


async def _draw(board: Board, directory: Path) -> None:
    async with AsyncExitStack() as stack:
        place = stack.enter_context(temporary_place())
        # After the worker's end: what it was writing when it was killed.
        stack.callback(_sweep, directory, board)
        url = await stack.enter_async_context(_database(board, place))
        config, journal = place / "config.toml", Journal(place / "journal")
        config.write_text(CONFIG, encoding="utf-8")
        worker = _worker(board, place, config, url)
        jobs = await stack.enter_async_context(AsyncJobs(config=config, database_url=url))
        await beside(
            _use(jobs, board, directory, journal, worker), worker.run(), _read_along(journal, board), _take_pulse(url)
        )


@asynccontextmanager
async def _database(board: Board, place: Path) -> AsyncIterator[str]:
    """A PostgreSQL with our schema, until the block ends; its URL."""
    board.phase = "starting a PostgreSQL of its own"
    began = time.monotonic()
    server = EmbeddedPostgres(place / POSTGRES, fsync=False, temporary=True)
    try:
        # Broken off in the middle, a start would leave to nobody what it has made so far.
        await whole(clear_abandoned())
        await whole(server.start())
        await _with_connection(server.url(), migrating.migrate)
        board.server = server.version
        board.started.append((f"PostgreSQL {server.version} of its own", time.monotonic() - began))
        yield server.url()
    finally:
        await server.stop()


def _worker(board: Board, place: Path, config: Path, url: str) -> WorkerProcess:
    board.phase = "starting a worker process"
    began = time.monotonic()

    async def bury(worker: UUID) -> None:
        await _with_connection(url, lambda connection: workers.end(connection, worker))

    def note_death(text: str) -> None:
        board.deaths += 1
        board.incidents.append(text)

    def note_ready(pid: int) -> None:
        if not board.deaths:
            board.phase = ""
            board.started.append((f"a worker process, pid {pid}", time.monotonic() - began))

    return WorkerProcess(
        "asyncjobs.demo.jobs",
        environment={"ASYNCJOBS_CONFIG": str(config)},
        url=url,
        log=place / "worker.log",
        bury=bury,
        on_ready=note_ready,
        on_death=note_death,
    )


async def _use(jobs: AsyncJobs, board: Board, directory: Path, journal: Journal, worker: WorkerProcess) -> None:
    """What an application does: enqueue, and await."""
    await worker.ready.wait()
    made = [
        ProcessCloud(text=each.text, title=each.title, card=each.card, journal=journal.file)
        for each in (line.source for line in board.lines)
    ]
    board.by_job = {job.id: line for job, line in zip(made, board.lines, strict=True)}
    board.enqueued = time.time()
    await enqueue_all(made)
    await asyncio.gather(*(_follow(jobs, board, journal, *pair) for pair in zip(made, board.lines, strict=True)))
    board.ended = time.time()
    if board.having(State.drawn):
        write_gallery(directory)
    board.phase = "stopping the worker and PostgreSQL"


async def _follow(jobs: AsyncJobs, board: Board, journal: Journal, job: ProcessCloud, line: Line) -> None:
    try:
        try:
            drawn = await job
        finally:
            board.take(journal.news())  # one that was quick is read about before it is over
    except JobDiscarded as error:
        line.end(State.discarded, error.reason)
    except JobFailed as error:
        line.end(State.failed, f"{error.error_type.removeprefix('builtins.')}: {error.error_message}")
    else:
        line.words, line.size, line.attempt = drawn.words, drawn.size, drawn.attempt
        line.end(State.drawn)
        try:
            await (await _found(jobs, drawn.notice))
        except JobError as error:
            board.incidents.append(f"{line.source.card.name}: {error}")
        board.told += 1


async def _found(jobs: AsyncJobs, notice: UUID) -> Job[int]:
    """Look up the job that tells of a card; whether the database is gone for good is for the pulse to say."""
    while True:
        try:
            return await jobs.get(notice, cloud_ready)
        except DatabaseUnavailable:
            await asyncio.sleep(PULSE)


async def _read_along(journal: Journal, board: Board) -> None:
    while True:
        board.take(journal.news())
        await asyncio.sleep(FRAME)


async def _take_pulse(url: str) -> None:
    """End, with an error, when the database is gone; a restart of its own is no end."""
    failures = 0
    while failures < LOST:
        await asyncio.sleep(PULSE)
        try:
            await _with_connection(url, lambda connection: connection.execute("select 1"))
            failures = 0
        except DatabaseError as error:
            failures, last = failures + 1, error
    raise DatabaseUnavailable(f"the demo's PostgreSQL is gone: {last}") from last


async def _with_connection(url: str, operation: Callable[[Connection], Awaitable[T]]) -> T:
    connection = await connect(url, name="asyncjobs demo", timeout=5)
    try:
        with translating():
            return await operation(connection)
    finally:
        connection.terminate()


def _sweep(directory: Path, board: Board) -> None:
    ids = {str(job_id) for job_id in board.by_job}
    for part in directory.glob(part_name("*", "*")):
        if part.name.split(".")[1] in ids:
            part.unlink(missing_ok=True)
