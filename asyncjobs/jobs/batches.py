"""`Batch`: jobs that are followed as one, and the callbacks that are enqueued when they end."""

from __future__ import annotations

from collections.abc import AsyncIterable, Generator, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.definitions.given_jobs import check_new, is_job
from asyncjobs.definitions.ids import new_id
from asyncjobs.exceptions import AlreadyEnqueued, InvalidOption, NotEnqueued
from asyncjobs.performing import open_clients
from asyncjobs.performing.awaited_results import giving_slot_back
from asyncjobs.performing.calls import AWAIT_BATCH, BATCH_STATUS, ENQUEUE_BATCH
from asyncjobs.records.batch_status import BatchStatus

if TYPE_CHECKING:
    from asyncjobs.jobs.job import Job

MOST_DESCRIPTION: Final = 1_000


class _Callback:
    """A callback of a batch: a job that can be given or taken back until the batch is enqueued."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, batch: Batch, _owner: type | None = None) -> Job[Any] | None:
        return batch._draft.callbacks.get(self._name)

    def __set__(self, batch: Batch, job: Job[Any] | None) -> None:
        draft = batch._draft
        draft.check_open()
        others = {name: each for name, each in draft.callbacks.items() if name != self._name}
        if job is not None:
            check_new(job, f"Batch: {self._name}=")
            if job in others.values():
                raise InvalidOption(f"Batch: {self._name}= is the job of another callback: make one for each")
            others[self._name] = job
        draft.callbacks = others


class Draft:
    """The content of a batch, until it is stored.

    Attributes:
        parent: The batch of which this one is a part.
        jobs: Jobs that were given one by one, in their order.
        parts: Batches that are parts of this one.
        sources: Iterables of further jobs.
        callbacks: Jobs that are enqueued later, by the name of the callback.
        is_sent: Whether the batch may have a row.
        is_stored: Whether it has one.
        is_used_up: Whether an iterable that can be read only once was read, and nothing was stored.
    """

    def __init__(self, batch_id: UUID) -> None:
        self.id = batch_id
        self.parent: Draft | None = None
        self.jobs: dict[Job[Any], None] = {}
        self.parts: dict[Draft, None] = {}
        self.sources: list[Iterable[Job[Any]] | AsyncIterable[Job[Any]]] = []
        self.callbacks: dict[str, Job[Any]] = {}
        self.is_sent = self.is_stored = self.is_used_up = False
        self.description = ""

    def check_open(self) -> None:
        """Refuse to change a batch that is enqueued.

        Raises:
            AlreadyEnqueued: The batch is enqueued.
        """
        if self.is_sent:
            raise AlreadyEnqueued(
                f"batch {self.id} is enqueued already: add before that, or inside one of its jobs by "
                "`await current_attempt().batch.enqueue(job)`"
            )

    def check_part(self, part: Draft) -> None:
        """Refuse a batch that cannot be a part of this one.

        Raises:
            AlreadyEnqueued: The part is stored, or may be.
            InvalidOption: It is a part of another batch, or contains this one.
        """
        if part.is_sent:
            raise AlreadyEnqueued(f"Batch.add() got batch {part.id}, which is enqueued already: add it before that")
        if part.parent not in (None, self):
            raise InvalidOption(f"Batch.add() got batch {part.id}, which is a part of another: a batch has one place")
        above: Draft | None = self
        while above is not None:
            if above is part:
                raise InvalidOption("Batch.add() got a batch that contains this one: it would wait for itself for ever")
            above = above.parent

    def tree(self) -> list[Draft]:
        """Return the batch and its parts at any depth, each before its own parts."""
        found = [self]
        for draft in found:
            found += draft.parts
        return found

    def known_jobs(self) -> list[Job[Any]]:
        """Return the jobs and callbacks that can be listed without using up an iterable."""
        listed = (job for source in self.sources if isinstance(source, list | tuple) for job in source)
        return [*self.jobs, *self.callbacks.values(), *listed]

    def take_back(self) -> None:
        """Note that nothing was stored, in the batch and in those of its jobs that can be found."""
        self.is_sent = False
        for job in self.known_jobs():
            if is_job(job) and (job._batch == self.id or job in self.callbacks.values()):
                job._sent, job._batch, job._disposition, job._state = False, None, None, None
                job._made_at = None  # the error tells that it is not enqueued

    def end(self) -> None:
        """Note that the batch is stored, and drop its content."""
        self.is_stored = True
        self.jobs.clear()
        self.sources.clear()
        self.callbacks.clear()


class Batch:
    """Jobs that are followed as one, and callbacks that are enqueued when these have ended, each of them once.

    For example::

        batch = Batch("import 7", on_success=report(7), on_finish=cleanup(7), on_discard=alarm(7))
        batch.add(thumb(1), thumb(2))
        await batch.enqueue()

    A batch is stored whole, with its jobs, in one transaction. As a context manager it is enqueued at the end of the block,
    and not at all when the block raises. Awaiting it gives a `BatchStatus` when all of its jobs are final.

    Callbacks can also be given later, and then know the batch: ``batch.on_discard = alarm(batch.id)``.

    Args:
        description: Shown wherever batches are listed; at most 1,000 characters.
        on_success: Enqueued when all jobs have succeeded, also after a retry by hand.
        on_finish: Enqueued the first time that all jobs are final.
        on_discard: Enqueued when the first job ends without success: failed, discarded or cancelled.

    Raises:
        InvalidOption: A callback that is no job, or a description that cannot be stored.
        AlreadyEnqueued: A callback that is enqueued already.
    """

    on_discard, on_finish, on_success = _Callback(), _Callback(), _Callback()
    _client: open_clients.OpenClient | None = None
    """The client by which it was enqueued or read; None: it was neither."""

    @answered(remedy='the description comes first, the callbacks go by name: `Batch("import 7", on_success=report(7))`')
    def __init__(
        self,
        description: str = "",
        *,
        on_success: Job[Any] | None = None,
        on_finish: Job[Any] | None = None,
        on_discard: Job[Any] | None = None,
    ) -> None:
        if not isinstance(description, str) or len(description) > MOST_DESCRIPTION or not is_storable(description):
            raise InvalidOption(
                f"Batch: description must be text of at most {MOST_DESCRIPTION:,} characters, not {shown(description)}"
            )
        self._draft = Draft(new_id())
        self._draft.description = description
        self.on_discard, self.on_finish, self.on_success = on_discard, on_finish, on_success

    @classmethod
    def _of_row(cls, status: BatchStatus) -> Self:
        """Return the handle of a stored batch."""
        batch = cls(status.description)
        draft = batch._draft
        draft.id, draft.is_sent, draft.is_stored = status.id, True, True
        return batch

    @property
    def id(self) -> UUID:
        """The batch's id, a UUIDv7, known before it is enqueued."""
        return self._draft.id

    @property
    def description(self) -> str:
        """The text shown wherever batches are listed."""
        return self._draft.description

    # Content

    def add(self, *jobs: Job[Any] | Batch) -> Self:
        """Add jobs, and batches that become parts of this one; return the batch. Nothing is stored before `enqueue`.

        Raises:
            InvalidOption: An argument is neither a job nor a batch, or a batch that contains this one.
            AlreadyEnqueued: This batch or an argument is enqueued; inside a job of the batch, `current_attempt().batch`
                adds.
        """
        draft = self._draft
        draft.check_open()
        for each in jobs:
            if isinstance(each, Batch):
                draft.check_part(each._draft)
            else:
                check_new(each, "Batch.add()")
        for each in jobs:
            if isinstance(each, Batch):
                each._draft.parent = draft
                draft.parts[each._draft] = None
            else:
                draft.jobs[each] = None
        return self

    def add_all(self, jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> Self:
        """Add the jobs of an iterable or async iterable, which `enqueue` reads in bounded memory; return the batch.

        They are stored as they are read, in the one transaction that stores the batch: where that takes minutes, vacuum
        cannot clean up rows that died meanwhile.

        Raises:
            InvalidOption: `jobs` is no iterable.
            AlreadyEnqueued: This batch is enqueued.
        """
        self._draft.check_open()
        if not isinstance(jobs, Iterable | AsyncIterable) or is_job(jobs):
            raise InvalidOption(
                f"Batch.add_all() takes an iterable or async iterable of jobs, not {type(jobs).__name__}: give "
                "one job to add()"
            )
        self._draft.sources.append(jobs)
        return self

    # Actions

    @answered(remedy="give the connection by name: `enqueue(connection=…)`")
    async def enqueue(self, *, connection: Any = None) -> Self:
        """Store the batch, its parts and all their jobs; return it. Durable once this returns, or not there at all.

        A batch without jobs is over at once. Enqueueing the same object again stores nothing.

        Args:
            connection: Take part in the caller's transaction; see `Job.enqueue`.

        Raises:
            NotOpen: No AsyncJobs is open in this process, or it belongs to another event loop.
            InvalidOption: The batch is a part of another, which is to be enqueued instead; or an iterable gave something
                else than a job.
            AlreadyEnqueued: An iterable gave a job that is enqueued.
            EnqueueOutcomeUnknown: The database's answer was lost; call `enqueue` again.
            InvalidConnection: `connection` cannot carry it; nothing was written.
            DatabaseError: The database refused or cannot be reached; nothing was written.
        """
        await open_clients.current(ENQUEUE_BATCH).enqueue_batch(self, connection=connection)
        return self

    async def __aenter__(self) -> Self:
        self._draft.check_open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.enqueue()
            return
        for draft in self._draft.tree():
            for job in (*draft.jobs, *draft.callbacks.values()):
                job._made_at = None  # the error tells that it is not enqueued

    async def status(self) -> BatchStatus:
        """Read how far the batch is.

        Raises:
            NotEnqueued: The batch is not stored yet.
            BatchNotFound: No row can be seen.
        """
        self._require_row()
        return await open_clients.current(BATCH_STATUS, self._client).batch_status(self.id)

    async def result(self, *, timeout: float | timedelta | None = None) -> BatchStatus:
        """Wait until all jobs are final, also those added later; return how they ended.

        Inside a job, its slot is given back while this waits.

        Args:
            timeout: Seconds or a timedelta; None waits as long as it takes. Running out leaves the batch alone.

        Raises:
            NotEnqueued: The batch is not stored yet.
            BatchNotFound: No row can be seen.
            AwaitCycle: The job that waits is a job of the batch.
            TimeoutError: Some job was not final in time.
        """
        self._require_row()
        seconds = None if timeout is None else limits.duration(timeout, "timeout")
        client = open_clients.current(AWAIT_BATCH, self._client)
        async with giving_slot_back():
            return await client.batch_result(self.id, timeout=seconds)

    def __await__(self) -> Generator[Any, None, BatchStatus]:
        """Wait until all jobs are final; see `result`."""
        return self.result().__await__()

    def _require_row(self) -> None:
        if not self._draft.is_sent:
            raise NotEnqueued(
                f"batch {self.id} has not been enqueued, and nothing but `await batch.enqueue()` does that: call it first"
            )

    def __repr__(self) -> str:
        return f"<Batch {self.id}{f' {shown(self.description)}' if self.description else ''}>"
