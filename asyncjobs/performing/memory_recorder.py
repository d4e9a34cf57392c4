"""The recorder of `perform_now`: steps kept in memory, for the attempts of one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from asyncjobs.performing import open_clients
from asyncjobs.records.step_records import Record, Write

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt


class MemoryRecorder:
    """A recorder in memory; isolated steps need an open client, for their transaction."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self.attributes: str | None = None
        """JSON of the job's attributes as of the last checkpoint."""

    def of(self, _attempt: Attempt) -> MemoryRecorder:
        """Return this recorder, which all attempts share."""
        return self

    @property
    def progress(self) -> str | None:
        """The progress for the next attempt; see `Claimed.progress`."""
        return "{}" if self.attributes is None and self._records else self.attributes

    @property
    def records(self) -> list[Record]:
        """The records, in their order."""
        return list(self._records.values())

    def write(self, write: Write) -> Awaitable[None]:
        """Record; see `Recorder.write`."""
        if write.name is not None:
            self._records[write.name] = Record(
                write.n,
                write.name,
                write.state,
                write.result,
                write.cursor,
                children=write.children,
                form="code" if write.children is None else "jobs",
            )
        if write.attributes is not None:
            self.attributes = write.attributes
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def load(self) -> list[Record]:
        """Return the records of earlier attempts."""
        return self.records

    async def settled(self) -> None:
        """Return at once: every write is recorded already."""

    async def transact(
        self, body: Callable[[Any], Awaitable[Write]], *, through_sqlalchemy: bool = False, **_how: Any
    ) -> None:
        """Run an isolated step in a transaction of the open client."""
        await self.write(await open_clients.current().transact(body, through_sqlalchemy=through_sqlalchemy))

    async def begin_wait(self, record: Record, *, attributes: str | None, **_how: Any) -> Record:
        """Return the wait as begun: the job is then enqueued with its records, and waits in a worker."""
        if attributes is not None:
            self.attributes = attributes
        return record
