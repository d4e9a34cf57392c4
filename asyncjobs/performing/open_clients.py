"""Open clients: how a job reaches its client, without an import upwards.

A process-wide stack, not a context variable alone: one set in a web server's lifespan task is empty in every request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from asyncjobs.performing.calls import ANY, Call
from asyncjobs.records.batch_status import BatchStatus

if TYPE_CHECKING:
    from asyncjobs.records.live import Progress, StreamItem
    from asyncjobs.records.status import Status
    from asyncjobs.records.step_records import Record

T = TypeVar("T")


class OpenClient(Protocol):
    """The part of an open client that jobs use."""

    middleware: Sequence[Any]
    """Around everything that is enqueued or performed through it, the outermost first."""
    loop: asyncio.AbstractEventLoop
    """The event loop on which it was opened."""

    def enqueue(self, job: Any, *, connection: Any = None) -> Coroutine[Any, Any, bool]:
        """Insert the job's row; return whether this call made it."""

    async def enqueue_all(self, jobs: Iterable[Any] | AsyncIterable[Any]) -> int:
        """Insert many rows."""

    async def get(self, job_id: UUID) -> Any:
        """Return a stored job, as the running code reads it."""

    async def cancel(self, job_id: UUID, reason: str) -> bool:
        """Cancel a job; False when it is final already."""

    async def cancel_all(self, ids: Sequence[UUID], reason: str) -> None:
        """Cancel jobs that are not final; `ids` ascending."""

    async def retry(self, ids: Sequence[UUID]) -> None:
        """Make jobs ready again that ended without success; `ids` ascending."""

    async def states(self, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
        """Read the states of jobs that have a row, and why they were discarded or cancelled."""

    async def emit(self, name: str, key: str, payload: str | None, *, connection: Any = None) -> int:
        """Emit an event."""

    async def take_token(self, name: str, spacing: float, burst: int) -> float:
        """Take the next token of a rate; return in how many seconds it is due, 0: at once."""

    async def adopt(self, job: Any, attributes: str | None, records: Sequence[Record]) -> None:
        """Enqueue a job that has begun in this process, with its records."""

    async def transact(self, body: Callable[[Any], Awaitable[T]], *, through_sqlalchemy: bool = False) -> T:
        """Run `body` in a transaction of its own."""

    async def result(self, job: Any, *, timeout: float | None) -> Any:
        """Wait for the job's end and return its result."""

    async def ended(self, job: Any) -> str | None:
        """Wait for the job's end and return the JSON of its result, or raise the error of another end."""

    async def enqueue_batch(self, batch: Any, *, connection: Any = None) -> None:
        """Store a batch, its parts and all their jobs."""

    async def enqueue_within(
        self, running: Any, batch_id: UUID, jobs: Sequence[Any], *, connection: Any = None
    ) -> None:
        """Enqueue jobs of the batch of the running job."""

    async def enqueue_all_within(self, running: Any, batch_id: UUID, jobs: Iterable[Any] | AsyncIterable[Any]) -> int:
        """Enqueue many jobs of the batch of the running job; return how many rows were made."""

    async def batch_status(self, batch_id: UUID) -> BatchStatus:
        """Read how far a batch is."""

    async def batch_result(self, batch_id: UUID, *, timeout: float | None) -> BatchStatus:
        """Wait until a batch is over."""

    async def enqueue_chain(self, chain: Any, *, connection: Any = None) -> None:
        """Store all jobs of a chain."""

    async def chain_result(self, jobs: Sequence[Any], *, timeout: float | None) -> Any:
        """Wait for the end of the last job of a chain."""

    async def prepared(self, following: Sequence[Any]) -> str:
        """Return jobs and chains in the form in which they are enqueued with a success, after their hooks."""

    async def enqueue_prepared(self, text: str) -> None:
        """Enqueue the jobs and chains that `prepared` has returned."""

    def follow(self, job_id: UUID, after: int) -> AsyncIterator[Progress | StreamItem]:
        """Yield what the job shows while it runs."""

    async def status(self, job_id: UUID) -> Status:
        """Read everything about the job."""

    def run_from_thread(self, make: Callable[[], Coroutine[Any, Any, T]], call: Call) -> T:
        """Run what `make` returns on the client's loop while the calling thread waits; refuse the loop's own thread."""


_open: list[OpenClient] = []
_own: ContextVar[OpenClient | None] = ContextVar("asyncjobs_client", default=None)
"""In the jobs of a worker: its client, or one that the job has opened itself."""


def push(client: OpenClient) -> Callable[[], None]:
    """Make `client` the one that jobs use; return what takes it out: the one opened before it is used again.

    One that a job opens is used by that job alone, since the worker's other jobs would enqueue into its database.
    """
    token = None if _own.get() is None else _own.set(client)
    _open.append(client)

    def undo() -> None:
        remove(client)
        if token is not None:
            with contextlib.suppress(ValueError):  # closed by another task than it was opened by
                _own.reset(token)

    return undo


def remove(client: OpenClient) -> None:
    """Take `client` out."""
    if client in _open:
        _open.remove(client)


def own(client: OpenClient) -> None:
    """Have all code that starts from this context, as the jobs of a worker do, use `client`."""
    _own.set(client)


def middleware() -> Sequence[Any]:
    """Return the middleware of the client that `current` returns; none without one."""
    return current().middleware if _open else ()


def current(call: Call = ANY, bound: OpenClient | None = None) -> OpenClient:
    """Return the client to use on this event loop.

    That is `bound`, by which a job was enqueued or read, then the client of the worker that runs this code, then the one
    opened last, as far as they are open on this loop. Without one, the client opened last, which refuses other loops.

    Raises:
        NotOpen: No client is open; the message says how to make `call` elsewhere.
    """
    if not _open:
        raise call.nowhere_open()
    if len(_open) == 1:
        return _open[0]
    loop = asyncio.get_running_loop()
    return next((client for client in _by_rank(bound) if client.loop is loop), _open[-1])


def last(call: Call = ANY, bound: OpenClient | None = None) -> OpenClient:
    """Return the client to use from a thread, on whatever loop it is; see `current`.

    Raises:
        NotOpen: No client is open.
    """
    if not _open:
        raise call.nowhere_open()
    return next(_by_rank(bound))


def _by_rank(bound: OpenClient | None) -> Iterator[OpenClient]:
    yield from (client for client in (bound, _own.get()) if client in _open)
    yield from reversed(_open)
