"""`jobs.recurring`: schedules, changed at run time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from asyncjobs.checks.texts import shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.db import recurring
from asyncjobs.db.connecting import Connection
from asyncjobs.definitions import registry
from asyncjobs.definitions.ids import new_id
from asyncjobs.definitions.recurring_options import CatchUp, Overlap, checked_name
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.functions import JobFunction
from asyncjobs.jobs.job import Job
from asyncjobs.jobs.recurring import RecurringStatus, recurrence_of

if TYPE_CHECKING:
    from asyncjobs.client.client import Client

T = TypeVar("T")


class Recurring:
    """The schedules of a database: `jobs.recurring`.

    Schedules that are declared by `@job(schedule=…)` and in config.toml are listed here, too, and can be paused and run;
    they are changed and removed where they are declared.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def _run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        return await self._client.run(operation)

    @answered(
        remedy='the name and the job come first, the rest goes by name: `add("report", report(7), schedule="@daily")`'
    )
    async def add(
        self,
        name: str,
        job: Job[Any] | JobFunction[..., Any] | type[Job[Any]],
        *,
        schedule: str,
        timezone: str = "UTC",
        queue: str | None = None,
        priority: int | None = None,
        catch_up: CatchUp = "latest",
        overlap: Overlap = "allow",
        jitter: float | timedelta = 0.0,
        enabled: bool = True,
    ) -> RecurringStatus:
        """Have a job recur from now on; a schedule that was added under this name before is replaced.

        The job is stored as it is here, with its arguments, queue and keys, and each tick enqueues a job like it, on any
        worker: callbacks and middleware around enqueueing do not run.

        Args:
            name: A name of your choice.
            job: A job, or a definition whose arguments all have defaults.
            schedule: Cron with five fields, or six with the seconds first; ``@daily`` and the like; ``every 10 minutes``.
            timezone: The time zone of the schedule.
            queue: None: the job's.
            priority: None: the job's.
            catch_up: The ticks to make up for that no worker was alive at: none, the latest, or all, at most 1,000. A tick
                that came 10 s ago or less is not missed yet.
            overlap: ``"skip"``: a tick enqueues nothing while the job of the one before is not final.
            jitter: The longest delay of a tick, in seconds or as a timedelta; always the same for one tick of one name.
            enabled: False: the schedule is stored, and does not enqueue.

        Raises:
            InvalidSchedule: `schedule` or `timezone` is invalid.
            InvalidOption: Another option is invalid; or this name is declared in code or in config.toml.
            InvalidArguments: A definition has arguments without a default.
            PermissionDenied: The role may only enqueue, or only read.
        """
        stored = registry.with_prefix(checked_name(name))
        said = recurrence_of(
            stored,
            _as_job(job).set(queue=queue, priority=priority),
            schedule=schedule,
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            jitter=jitter,
            enabled=enabled,
        )
        await self._run(lambda connection: recurring.add(connection, said, scope=registry.prefix()))
        [status], _ = await self._run(lambda connection: recurring.read(connection, [stored]))
        return status

    @answered(remedy='give its name, as in `remove("report")`')
    async def remove(self, name: str) -> bool:
        """Remove a schedule that was added; return whether there was one. Its jobs stay.

        Raises:
            InvalidOption: It is declared in code or in config.toml: remove it there, or pause it.
            PermissionDenied: The role may only enqueue, or only read.
        """
        stored = registry.with_prefix(checked_name(name))
        return await self._run(lambda connection: recurring.remove(connection, stored))

    @answered(remedy='give its name, as in `pause("report")`')
    async def pause(self, name: str) -> None:
        """Pause a schedule until it is resumed, whatever is deployed meanwhile.

        Raises:
            InvalidOption: There is no schedule of this name.
            PermissionDenied: The role may only enqueue, or only read.
        """
        stored = registry.with_prefix(checked_name(name))
        if not await self._run(lambda connection: recurring.pause(connection, stored)):
            await self._refuse(name)

    @answered(remedy='give its name, as in `resume("report")`')
    async def resume(self, name: str) -> None:
        """Resume a paused schedule, from now on: ticks of the pause are not made up for.

        Raises:
            InvalidOption: There is no schedule of this name.
            PermissionDenied: The role may only enqueue, or only read.
        """
        stored = registry.with_prefix(checked_name(name))
        if not await self._run(lambda connection: recurring.resume(connection, stored)):
            await self._refuse(name)

    @answered(remedy='give its name, as in `run("report")`')
    async def run(self, name: str) -> Job[Any]:
        """Enqueue a job of a schedule now, also while the schedule is paused or its last job runs; return the job.

        Its `scheduled_for` is the time of this call. If another job has its unique key, that one is returned,
        and its `disposition` says so.

        Raises:
            InvalidOption: There is no schedule of this name.
            PermissionDenied: The role may only enqueue, or only read.
        """
        stored, job_id = registry.with_prefix(checked_name(name)), new_id()
        made = await self._run(lambda connection: recurring.run(connection, stored, job_id))
        if made is None:
            await self._refuse(name)
        found = await self._client.get(made.id)
        if made.disposition != "enqueued":
            found._disposition = "replaced" if made.disposition == "replaced" else "duplicate"
        return found

    async def all(self) -> list[RecurringStatus]:
        """Return all schedules, by name."""
        found, _ = await self._run(recurring.read)
        return found

    async def _refuse(self, name: str) -> NoReturn:
        known = [each.name for each in await self.all()]
        raise InvalidOption(no_such(name, known))


def no_such(name: str, known: list[str]) -> str:
    """Return a sentence that no schedule has a name, with the names there are."""
    there = (
        f"there are {', '.join(known[:20])}" + (" and more" if len(known) > 20 else "") if known else "nothing recurs"
    )
    return f"nothing recurs under the name {shown(name)}: {there}"


def _as_job(job: Any) -> Job[Any]:
    if isinstance(job, Job):
        return job
    if isinstance(job, JobFunction) or (isinstance(job, type) and issubclass(job, Job)):
        made: Job[Any] = job()
        return made
    raise InvalidOption(f"job={shown(job)} is no job: call a @job function or a Job class")
