"""`Batch`: jobs that are followed as one, and what is enqueued when they have ended."""

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
from asyncjobs.performing.awaiting import giving_slot_back
from asyncjobs.performing.calls import AWAIT_BATCH, BATCH_STATUS, ENQUEUE_BATCH
from asyncjobs.records.batch_status import BatchStatus

if TYPE_CHECKING:
    from asyncjobs.jobs.job import Job

MOST_DESCRIPTION: Final = 1_000
CALLBACKS: Final = ("on_discard", "on_finish", "on_success")


class _Callback:
    """A job that is enqueued when something has become of those of a batch; given or taken back until that is enqueued."""

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
    """What a batch is made of, until it is stored.

    Args:
        batch_id: The batch's.

    Attributes:
        id: The batch's.
        parent: Of which batch it is a part.
        jobs: Those that were given one by one, in their order.
        parts: Batches that are parts of it.
        sources: Iterables of further jobs.
        callbacks: Jobs that are enqueued later, by the name of what they wait for.
        is_sent: Whether its row may exist.
        is_stored: Whether it does.
        is_used_up: Whether something that can be iterated only once was, for nothing.
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
        """Refuse to change what is enqueued.

        Raises:
            AlreadyEnqueued: It is.
        """
        if self.is_sent:
            raise AlreadyEnqueued(
                f"batch {self.id} is enqueued already: add before that, or inside one of its jobs by "
                "`await current_attempt().batch.enqueue(job)`"
            )

    def check_part(self, part: Draft) -> None:
        """Refuse a part that cannot be one.

        Raises:
            AlreadyEnqueued: It is stored, or may be.
            InvalidOption: It has a place already, or contains this batch.
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
        """Return it and its parts at any depth, each before its own parts."""
        found = [self]
        for draft in found:
            found += draft.parts
        return found

    def known_jobs(self) -> list[Job[Any]]:
        """Return its jobs and callbacks, as far as they can be told without going through what can be gone through once."""
        listed = (job for source in self.sources if isinstance(source, list | tuple) for job in source)
        return [*self.jobs, *self.callbacks.values(), *listed]

    def take_back(self) -> None:
        """Note that nothing of it was stored, here and in those of its jobs that can be found."""
        self.is_sent = False
        for job in self.known_jobs():
            if is_job(job) and (job._batch == self.id or job in self.callbacks.values()):
                job._sent, job._batch, job._disposition, job._state = False, None, None, None
                job._made_at = None  # the error tells that it is not enqueued

    def end(self) -> None:
        """Note that it is stored; what it was made of is not needed any more."""
        self.is_stored = True
        self.jobs.clear()
        self.sources.clear()
        self.callbacks.clear()


class Batch:
    """Jobs that are followed as one, and jobs that are enqueued when these have ended, each of them once.

    For example::

        batch = Batch("import 7", on_success=report(7), on_finish=cleanup(7), on_discard=alarm(7))
        batch.add(thumb(1), thumb(2))
        await batch.enqueue()

    It is stored whole, with its jobs, in one transaction. As a context manager it is enqueued at the end of the block, and
    not at all when that raises. Awaiting it gives a `BatchStatus` when all of its jobs are final.

    The callbacks can be given later, too, and then know whose they are: ``batch.on_discard = alarm(batch.id)``.

    Args:
        description: Shown where batches are; at most 1,000 characters.
        on_success: Enqueued when all have succeeded, also after a retry by hand.
        on_finish: Enqueued when all are final, the first time.
        on_discard: Enqueued when the first ends other than well: failed, discarded or cancelled.

    Raises:
        InvalidOption: No job where one is to be, or a description that cannot be stored.
        AlreadyEnqueued: One of the callbacks is.
    """

    on_discard, on_finish, on_success = _Callback(), _Callback(), _Callback()

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
        """Return the handle of a batch that is stored."""
        batch = cls(status.description)
        draft = batch._draft
        draft.id, draft.is_sent, draft.is_stored = status.id, True, True
        return batch

    @property
    def id(self) -> UUID:
        """Its id, a UUIDv7, known before it is enqueued."""
        return self._draft.id

    @property
    def description(self) -> str:
        """Shown where batches are."""
        return self._draft.description

    # What it is made of

    def add(self, *jobs: Job[Any] | Batch) -> Self:
        """Add jobs, and batches that become parts of this one; return the batch. Nothing is stored before `enqueue`.

        Raises:
            InvalidOption: One is neither, or contains this batch.
            AlreadyEnqueued: This batch is, or one of these; inside one of its jobs, `current_attempt().batch` adds.
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
        """Add jobs of an iterable or async iterable, which `enqueue` goes through, in bounded memory; return the batch.

        What it gives is stored as it comes, in the one transaction that stores the batch: where that takes minutes, tables
        are vacuumed no further meanwhile.

        Raises:
            InvalidOption: It is none.
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

    # What can be done with it

    async def enqueue(self, *, connection: Any = None) -> Self:
        """Store the batch, its parts and all their jobs; return it. Durable once this returns, or not there at all.

        A batch without jobs is over at once. Enqueueing the same object again stores nothing.

        Args:
            connection: Take part in the caller's transaction; see `Job.enqueue`.

        Raises:
            NotOpen: No AsyncJobs is open in this process, or it belongs to another event loop.
            InvalidOption: It is a part of another, which is to be enqueued; or an iterable gave what is no job.
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
        """Read how far it is.

        Raises:
            NotEnqueued: It is not stored yet.
            BatchNotFound: It cannot be seen.
        """
        self._require_row()
        return await open_clients.current(BATCH_STATUS).batch_status(self.id)

    async def result(self, *, timeout: float | timedelta | None = None) -> BatchStatus:
        """Wait until all of its jobs are final, those included that they have added; return how they ended.

        Inside a job the slot is given back for as long as this waits.

        Args:
            timeout: Seconds or a timedelta; None waits as long as it takes. Running out leaves the batch alone.

        Raises:
            NotEnqueued: It is not stored yet.
            BatchNotFound: It cannot be seen.
            AwaitCycle: The job that waits here is one of it.
            TimeoutError: It was not over in time.
        """
        self._require_row()
        seconds = None if timeout is None else limits.duration(timeout, "timeout")
        client = open_clients.current(AWAIT_BATCH)
        async with giving_slot_back():
            return await client.batch_result(self.id, timeout=seconds)

    def __await__(self) -> Generator[Any, None, BatchStatus]:
        """Wait until all of its jobs are final; see `result`."""
        return self.result().__await__()

    def _require_row(self) -> None:
        if not self._draft.is_sent:
            raise NotEnqueued(
                f"batch {self.id} has not been enqueued, and awaiting does not enqueue: call `await batch.enqueue()` first"
            )

    def __repr__(self) -> str:
        return f"<Batch {self.id}{f' {shown(self.description)}' if self.description else ''}>"
