"""A database, workers on it, and what is known about both: the oracle, the rows, the logs."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from asyncjobs import AsyncJobs, EnqueueOutcomeUnknown, Job
from asyncjobs.db.connecting import connect
from tests.support.checker import Verdict, check, read_rows
from tests.support.commands import run_here
from tests.support.oracle import Event, Oracle
from tests.support.processes import PATIENCE, before_next_look
from tests.support.workers import Worker, Workers

J = TypeVar("J", bound=Job[Any])

LEASE = 3.0
SHUTDOWN_TIMEOUT = 2.0
SELDOM = 2.0
"""For `loop_warning`: an idle worker spends half of its time on looking for what blocks its loop every 50 ms."""
READY = "ready: worker"
BURIED = "is dead: it"
LEASE_LOST = "this worker was declared dead"
LET_GO = "the database has not answered for"

# What a connection says that was ended while nothing was asked over it: the question is asked once more.
LINK_LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)

TOLD = "select array_agg(report order by id) as told from asyncjobs.worker"
"""What workers have told of themselves."""

CONFIG = """\
[default]
database_url = "{url}"
lease = {lease}
shutdown_timeout = {shutdown_timeout}
cleanup_timeout = 1
log_format = "text"
loop_warning = {loop_warning}
[default.dispatcher]
polling_interval = {polling_interval}
[[default.pools]]
queues = {queues}
concurrency = {concurrency}
"""


class Scene:
    """One test's.

    Args:
        url: A migrated database.
        directory: For logs, configurations, gates and the oracle.
    """

    def __init__(self, url: str, directory: Path, workers: Workers, oracle: Oracle) -> None:
        self.url = url
        self.directory = directory
        self.workers = workers
        self.oracle = oracle
        self.jobs = AsyncJobs(database_url=url, lease=LEASE)
        self._asking: asyncpg.Connection | None = None

    # Gates

    def gate(self, name: str = "gate") -> str:
        """A file that is not there; jobs that were given it wait for it."""
        return str(self.directory / name)

    def open(self, gate: str) -> None:
        Path(gate).touch()

    # Workers

    async def start(self, *modules: str, **options: Any) -> Worker:
        """Start a worker as `begin` does, and wait until it claims jobs."""
        worker = self.begin(*modules, **options)
        await self.all_ready(worker)
        return worker

    def begin(
        self,
        *modules: str,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        ignoring: signal.Signals | None = None,
        **settings: Any,
    ) -> Worker:
        """Start a worker."""
        name = name or f"worker{len(self.workers.started) + 1}"
        return self.workers.start(
            *(modules or ["tests.faults.jobs"]),
            config=self.config(name, **settings),
            name=name,
            environment=environment,
            command=command,
            ignoring=ignoring,
        )

    def config(
        self,
        name: str,
        *,
        url: str | None = None,
        lease: float = LEASE,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        polling_interval: float = 1,
        queues: Sequence[str] = ("*",),
        concurrency: int = 10,
        loop_warning: float = SELDOM,
    ) -> Path:
        path = self.directory / f"{name}.toml"
        path.write_text(
            CONFIG.format(
                url=url or self.url,
                lease=lease,
                shutdown_timeout=shutdown_timeout,
                polling_interval=polling_interval,
                queues=json.dumps(list(queues)),
                concurrency=concurrency,
                loop_warning=loop_warning,
            )
        )
        return path

    async def asked(self, *words: str) -> Any:
        """What a command prints as JSON."""
        asked = [*words, "--json", "--config", str(self.config("asking"))]
        return json.loads((await asyncio.to_thread(run_here, asked)).stdout)

    async def reported(self, worker: Worker, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until what `asyncjobs status` shows of a worker is so; it."""

        before = None

        async def shown() -> dict[str, Any] | None:
            nonlocal before
            [told] = await self.fetch(TOLD)
            if told == before:
                return None  # to ask takes ten times as long as this look
            before = told
            status = await self.asked("status")
            found = [shown for shown in status["workers"] if shown["pid"] == worker.pid]
            return found[0] if found and condition(found[0]) else None

        return await self.eventually(shown, f"such report of {worker.name}")

    async def all_ready(self, *workers: Worker) -> None:
        await asyncio.gather(*(worker.wait_for_log(READY) for worker in workers))

    # Jobs

    async def enqueue(self, *jobs: J) -> list[J]:
        """Enqueue each and note it, again where the answer was lost."""
        for job in jobs:
            self.oracle.write("try", job_id=job.id)
            while True:
                try:
                    await self.jobs.enqueue(job)
                except EnqueueOutcomeUnknown:
                    self.oracle.write("unknown", job_id=job.id)
                    await asyncio.sleep(0.05)
                else:
                    break
            self.oracle.write("ok", job_id=job.id)
        return list(jobs)

    async def running(self, *jobs: Job[Any], attempt: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until each has begun its `attempt`."""
        for job in jobs:
            await self.oracle.wait_for(event="start", job_id=job.id, attempt=attempt, timeout=timeout)

    async def awaited(self, kind: str) -> None:
        """Wait until somebody awaits a job of a kind."""

        async def rows() -> list[asyncpg.Record]:
            return await self.fetch("select from asyncjobs.job where kind = $1 and awaited", kind)

        await self.eventually(rows, f"awaited {kind}")

    async def finished(self, *jobs: Job[Any], timeout: float = PATIENCE) -> list[dict[str, Any]]:
        """Wait until each is in the history; their rows. Looks at the table: no LISTEN of ours is among the sessions."""
        ids = [job.id for job in jobs]

        async def rows() -> list[asyncpg.Record] | None:
            found = await self.fetch("select * from asyncjobs.finished where id = any($1)", ids)
            return found if len(found) >= len(ids) else None

        found = await self.eventually(rows, f"{len(ids)} finished jobs", timeout)
        by_id = {row["id"]: row for row in found}
        return [dict(by_id[job.id]) for job in jobs]

    def ends(self, job: Job[Any]) -> list[tuple[str, int | None, str]]:
        """Worker, attempt and end of each run of a job."""
        return [(run.worker, run.attempt, run.how) for run in self.oracle.runs(job.id)]

    # Rows

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database, on a connection that is kept for the next question; a new one where the server has ended it."""
        while True:
            kept, self._asking = self._asking, None
            connection = kept or await connect(self.url, name="asyncjobs tests", is_lent=True)
            try:
                found = await connection.fetch(sql, *arguments)
            except BaseException as error:
                connection.terminate()
                if kept is None or not isinstance(error, LINK_LOST):
                    raise
            else:
                self.close()
                self._asking = connection
                return found

    def close(self) -> None:
        """End the connection that is kept."""
        if self._asking is not None:
            self._asking.terminate()
            self._asking = None

    async def row(self, job: Job[Any]) -> dict[str, Any]:
        """The live row of a job."""
        (found,) = await self.fetch("select * from asyncjobs.job where id = $1", job.id)
        return dict(found)

    async def eventually(self, look: Callable[[], Awaitable[Any]], what: str, timeout: float = PATIENCE) -> Any:
        """Look until the answer is true; it.

        Raises:
            TimeoutError: It never was; with the ends of the logs.
        """
        began = time.monotonic()
        while not (found := await look()):
            if time.monotonic() > began + timeout:
                logs = "\n".join(f"{worker.name}:\n{worker.log[-1500:]}" for worker in self.workers.started)
                raise TimeoutError(f"no {what} within {timeout} s\n{logs}")
            await before_next_look(began)
        return found

    async def verdict(self, *, max_attempts: int | None = None, zombies: Iterable[int] = ()) -> Verdict:
        """What the checker finds; everything is expected to be finished."""
        connection = await connect(self.url, name="asyncjobs tests", is_lent=True)
        try:
            rows = await read_rows(connection)
        finally:
            connection.terminate()
        return check(self.oracle.events(), rows, max_attempts=max_attempts, zombies=list(zombies))

    async def clean(self, *, max_attempts: int | None = None) -> Verdict:
        """AssertionError unless the checker finds nothing."""
        verdict = await self.verdict(max_attempts=max_attempts)
        verdict.assert_clean()
        return verdict

    def buried(self) -> list[str]:
        """The log lines that declare a worker dead."""
        return [line for worker in self.workers.started for line in worker.log.splitlines() if BURIED in line]

    def events(self, **wanted: Any) -> list[Event]:
        return self.oracle.events(**wanted)
