"""`jobs.recurring`: what recurs, changed at run time."""

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
    """What recurs: `jobs.recurring`.

    What is declared by `@job(schedule=…)` and in config.toml is shown here, too, and can be paused and run; it is changed
    and removed where it is declared.
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
        """Have a job recur from now on; one that was added under this name before is replaced.

        It is stored as it is made here, arguments, queue and keys included, and each of its jobs is enqueued so, by any
        worker: callbacks and middleware around enqueueing are not asked.

        Args:
            name: Of your choice.
            job: A job, or a definition whose arguments all have defaults.
            schedule: Cron with five fields, or six with the seconds first; ``@daily`` and the like; ``every 10 minutes``.
            timezone: Whose clock that is read on.
            queue: None: the job's.
            priority: None: the job's.
            catch_up: Which times are made up for that nobody was there for: none, the latest, or all, at most 1,000. A
                time that is over for 10 s or less is not missed yet.
            overlap: ``"skip"``: nothing is enqueued while the job before is not final.
            jitter: Seconds or a timedelta by which it is later, at most; always the same for one time of one name.
            enabled: False: it is stored, and does not recur.

        Raises:
            InvalidSchedule: `schedule` or `timezone` cannot be.
            InvalidOption: Another of these cannot be; or this name is declared in code or in config.toml.
            InvalidArguments: A definition has arguments without a default.
            PermissionDenied: The role only enqueues, or only looks.
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
        """Have something recur no more that was added; return whether there was such. Its jobs stay.

        Raises:
            InvalidOption: It is declared in code or in config.toml: remove it there, or pause it.
            PermissionDenied: The role only enqueues, or only looks.
        """
        stored = registry.with_prefix(checked_name(name))
        return await self._run(lambda connection: recurring.remove(connection, stored))

    @answered(remedy='give its name, as in `pause("report")`')
    async def pause(self, name: str) -> None:
        """Have something not recur until it is resumed, whatever is deployed meanwhile.

        Raises:
            InvalidOption: There is no such.
            PermissionDenied: The role only enqueues, or only looks.
        """
        stored = registry.with_prefix(checked_name(name))
        if not await self._run(lambda connection: recurring.pause(connection, stored)):
            await self._refuse(name)

    @answered(remedy='give its name, as in `resume("report")`')
    async def resume(self, name: str) -> None:
        """Have something recur again that was paused, from now on: what it would have meanwhile is not made up for.

        Raises:
            InvalidOption: There is no such.
            PermissionDenied: The role only enqueues, or only looks.
        """
        stored = registry.with_prefix(checked_name(name))
        if not await self._run(lambda connection: recurring.resume(connection, stored)):
            await self._refuse(name)

    @answered(remedy='give its name, as in `run("report")`')
    async def run(self, name: str) -> Job[Any]:
        """Enqueue a job of it now, also while it is paused or the one before runs; return that job.

        Its `scheduled_for` is the time of this call. Where another job has its unique key, that one is returned.

        Raises:
            InvalidOption: There is no such.
            PermissionDenied: The role only enqueues, or only looks.
        """
        stored, job_id = registry.with_prefix(checked_name(name)), new_id()
        found = await self._run(lambda connection: recurring.run(connection, stored, job_id))
        if found is None:
            await self._refuse(name)
        return await self._client.get(found)

    async def all(self) -> list[RecurringStatus]:
        """Return everything that recurs, by name."""
        found, _ = await self._run(recurring.read)
        return found

    async def _refuse(self, name: str) -> NoReturn:
        known = [each.name for each in await self.all()]
        raise InvalidOption(no_such(name, known))


def no_such(name: str, known: list[str]) -> str:
    """Say that nothing recurs under a name, and what does."""
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
