"""Processes of jobs: for suspects, and for kinds with `executor="process"`.

When the first one is needed, a forking process is started. It imports the modules that define jobs, once, and forks a child
for each attempt, or for each group of suspects (10 ms; a fresh interpreter takes 300 and more). The child runs the whole
attempt, policies and hooks included, and sends back the end to write; lease, slot and ledger stay in the worker. So a child
that dies harms no other job, and its exit code is known. It can be killed with all processes that it has started, since each
child leads a process group.
"""

from __future__ import annotations

import asyncio

from asyncjobs.performing.attempt import Attempt
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.worker.job_processes.attempt_process import AttemptProcess, ChildDied, log
from asyncjobs.worker.job_processes.channel import Channel
from asyncjobs.worker.job_processes.forking_process import ForkingProcess
from asyncjobs.worker.job_processes.sent_outcomes import End
from asyncjobs.worker.job_processes.shared_process import Line, Shared
from asyncjobs.worker.job_processes.suspect_groups import Group


class JobProcesses:
    """Runs attempts in processes of their own.

    Args:
        url: The database.
        settings: The settings of this process.
        services: The scope of the tasks that listen to the processes.

    Attributes:
        forking: The forking process.
        stopping: Set once the worker stops.
    """

    def __init__(self, url: str, settings: Settings, services: Services) -> None:
        self._services = services
        self.forking = ForkingProcess(url, settings, services)
        self.stopping = asyncio.Event()

    async def run(self, attempt: Attempt, group: Group | None, *, grace: float) -> End:
        """Run an attempt in a process of its own, or of its group; return the end to write.

        A cancellation is passed on to the process, which is killed after `grace` seconds.

        Raises:
            ChildDied: The process ended before the attempt did.
            CannotFork: No process could be made; while `available` is false, none will be.
            asyncio.CancelledError: The attempt was cancelled, and its process killed before the attempt had ended.
        """
        await self.forking.ready()
        if group is not None and group.most > 1:
            return await self._run_among(group, attempt, grace)
        channel, number, exit_code = self.forking.fork()
        try:
            await channel.send("run", attempt.claimed)
            return await self._child(channel, attempt, grace, number, exit_code).follow()
        finally:
            channel.close()

    async def _run_among(self, group: Group, attempt: Attempt, grace: float) -> End:
        """Run an attempt in the process of its group; the first one starts it."""
        if group.process is None or group.process.over:
            group.process = Shared(*self.forking.fork(), self._services, log)
        process = group.process
        line = process.join()
        try:
            await line.send("run", attempt.claimed)
            return await self._child(line, attempt, grace, process.number, process.exit_code).follow()
        except ChildDied as died:
            if process.joined == 1:
                raise
            raise ChildDied(
                f"{died} among {process.joined} suspects there; not charged to it: it runs again among fewer, or alone",
                together=process.joined,
            ) from None
        finally:
            process.leave(line)

    def _child(
        self,
        channel: Channel | Line,
        attempt: Attempt,
        grace: float,
        number: int,
        exit_code: asyncio.Future[int | None],
    ) -> AttemptProcess:
        return AttemptProcess(
            channel,
            attempt,
            exit_code,
            grace=grace,
            kill=lambda: self.forking.kill(number),
            tell_stop=lambda: self._services.start(channel.send("stop"), name="stop"),
            stopping=self.stopping,
        )
