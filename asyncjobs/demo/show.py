"""The demo itself: a PostgreSQL, a worker process, and this process as their client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import asyncjobs
from asyncjobs import AsyncJobs, DatabaseUnavailable, InvalidOption, JobDiscarded, JobError, JobFailed, enqueue_all
from asyncjobs.demo import DATA
from asyncjobs.demo.board import Board, Line, State
from asyncjobs.demo.gallery import write_gallery
from asyncjobs.demo.jobs import ProcessCloud, logger, part_name
from asyncjobs.demo.views import View
from asyncjobs.embedded.temporary import temporary_postgres
from asyncjobs.operating_system.child_processes import command, spell
from asyncjobs.processes.supervisor import Child, ChildSpec, Next, Supervisor

FRAME = 0.08  # seconds between two looks into the worker's log
PULSE, LOST = 0.5, 4
"""Seconds between two looks whether the database is alive, and how many in a row that fail are its end."""
MOST_DEATHS, TAIL = 5, 15
"""Of workers, before the demo gives up, and lines of the worker's log that are shown then."""
PORT = 8080
"""Of the dashboard, unless somebody has it."""
CONFIG = DATA / "config.toml"


class WorkerGone(Exception):
    """No worker can be kept alive; `tail` is the end of its log."""

    def __init__(self, why: str, log: Path) -> None:
        self.tail = log.read_text(errors="replace").splitlines()[-TAIL:]
        super().__init__(why)


class Show:
    """One run: a card for each line of the board, which is filled in and shown by the view meanwhile.

    With `web` the dashboard is served, and stays when all is over, until this is cancelled.
    """

    def __init__(self, board: Board, directory: Path, view: View, *, web: bool = False) -> None:
        self._board, self._directory, self._view, self._web = board, directory, view, web
        self._ready = asyncio.Event()  # once a worker claims jobs
        self._why = ""  # no worker can be kept alive
        self._log: TextIO  # of the worker
        self._lines: dict[str, Line] = {}  # by the ids of their jobs
        self._rest = ""  # of the log: the beginning of a line

    async def run(self) -> None:
        """Draw the cards; leaves nothing behind but these, also when it is cancelled.

        Raises:
            WorkerGone: No worker can be kept alive.
            AsyncJobsError: The database cannot be had, or is gone.
        """
        board = self._board
        with self._view:
            try:
                board.phase = "starting a PostgreSQL of its own"
                async with temporary_postgres("asyncjobs-demo-") as server:
                    await asyncjobs.migrate(server.url())
                    board.server = server.version
                    board.has_started(f"PostgreSQL {server.version} of its own", board.begun)
                    with (server.directory / "worker.log").open("a+", errors="replace") as self._log:
                        async with AsyncJobs(config=CONFIG, database_url=server.url()) as jobs:
                            guards = [self._work(jobs), self._read_along(), self._take_pulse(jobs)]
                            guards += [self._serve(jobs)] if self._web else []
                            await self._beside(self._use(jobs), *guards)
            finally:
                self._sweep()
                board.phase = ""
                self._view.show()

    async def _beside(self, work: Coroutine[Any, Any, None], *guards: Coroutine[Any, Any, None]) -> None:
        """Await `work`; a guard that fails ends it, with the guard's error. All have ended afterwards."""
        tasks = [asyncio.create_task(each) for each in (work, *guards)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._board.phase = "stopping the worker and PostgreSQL"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _use(self, jobs: AsyncJobs) -> None:
        """What an application does: enqueue, and await."""
        await self._ready.wait()
        self._board.enqueued = time.time()
        made = [(ProcessCloud(text=line.text, title=line.title, card=line.card), line) for line in self._board.lines]
        self._lines = {str(job.id): line for job, line in made}
        await enqueue_all(job for job, _ in made)
        await asyncio.gather(*(self._follow(jobs, *pair) for pair in made))
        self._board.ended = time.time()
        if self._board.having(State.drawn):
            write_gallery(self._directory)
        if self._web:
            self._board.stays = True
            self._board.phase = f"the dashboard stays at {self._board.dashboard} until Ctrl-C"
            await asyncio.Event().wait()

    async def _serve(self, jobs: AsyncJobs) -> None:
        """Serve the dashboard, at the usual port if that is free."""
        from asyncjobs.web.serving import serve

        begun = time.time()

        def started(url: str) -> None:
            self._board.dashboard = url
            self._board.has_started(f"the dashboard at {url}", begun)

        application = jobs.dashboard()
        try:
            await serve(application, host="127.0.0.1", port=PORT, on_start=started)
        except InvalidOption:
            await serve(application, host="127.0.0.1", port=0, on_start=started)

    async def _follow(self, jobs: AsyncJobs, job: ProcessCloud, line: Line) -> None:
        """Await a job, and the one that it has left the telling to."""
        notice, state, reason = None, State.drawn, ""
        try:
            line.words, notice = await job
        except JobDiscarded as error:
            state, reason = State.discarded, error.reason
        except JobFailed as error:
            state, reason = State.failed, f"{error.error_type.removeprefix('builtins.')}: {error.error_message}"
        self._read()  # one that was quick is read about before it is over
        line.end(state, reason)
        while notice is not None:
            try:
                await jobs.result(notice)
            except DatabaseUnavailable:  # whether it is gone for good is for the pulse to say
                await asyncio.sleep(PULSE)
                continue
            except JobError as error:
                self._board.incidents.append(f"{line.card.name}: {error}")
            self._board.told += 1
            break

    def _read(self) -> None:
        """Read in the worker's log which steps begin."""
        *whole, self._rest = (self._rest + self._log.read()).split("\n")
        for text in whole:
            with suppress(ValueError, KeyError):  # another line, or one that a killed worker has left half
                job_id, step, attempt, at = text.rpartition(f"{logger.name}: ")[2].split()
                self._lines[job_id].begin(step, int(attempt), float(at))

    async def _read_along(self) -> None:
        while True:
            self._read()
            self._view.show()
            await asyncio.sleep(FRAME)

    async def _take_pulse(self, jobs: AsyncJobs) -> None:
        """End, with an error, when the database is gone; a restart of its own is no end, nor is that this was stopped."""
        failures = 0
        while failures < LOST:
            await asyncio.sleep(PULSE)
            failures = 0 if jobs.healthy else failures + 1
        raise DatabaseUnavailable(f"the demo's PostgreSQL is gone: it has not answered for {jobs.settings.lease:g} s")

    async def _work(self, jobs: AsyncJobs) -> None:
        """Keep a worker process running until cancelled: when one dies, another follows at once, but not for ever."""
        spec = ChildSpec(
            command=command("asyncjobs", "run", "asyncjobs.demo.jobs", "--config", str(CONFIG)),
            url=jobs.database_url,
            shutdown_timeout=jobs.settings.shutdown_timeout,
            imports_here=False,
            own_session=True,  # at ^C this process decides what happens, and in which order
            log=Path(self._log.name),
        )
        self._board.phase, on_ready = "starting a worker process", partial(self._on_ready, time.time())
        await Supervisor(spec, self._on_death, on_ready=on_ready).run()
        raise WorkerGone(self._why, Path(self._log.name))

    def _on_ready(self, begun: float, child: Child) -> None:
        if not self._ready.is_set() and child.process is not None:
            self._ready.set()
            self._board.has_started(f"a worker process, pid {child.process.pid}", begun)

    def _on_death(self, _child: Child, code: int) -> Next:
        how = f"by {spell(code)}" if code < 0 else f"with {spell(code)}"
        self._board.deaths += 1
        if code >= 0 and not self._ready.is_set():
            self._why = f"the worker process ended {how} before it was ready"
        elif self._board.deaths >= MOST_DEATHS:
            self._why = f"the worker process died {self._board.deaths} times, now {how}"
        else:
            self._board.incidents.append(f"the worker process ended {how}: another one takes its jobs over")
            return Next(pause=0)
        return Next()

    def _sweep(self) -> None:
        """Remove what a worker was writing when it was killed."""
        for part in self._directory.glob(part_name("*", "*")):
            if part.name.split(".")[1] in self._lines:
                part.unlink(missing_ok=True)
