"""Depths of queues with a `max_depth`: whether there is room for another ready job, counted as seldom as possible.

To count 10,000 rows takes some milliseconds, and no other process can add 10,000 rows in that time. So after a count, places
are given out of the room that was found, until other processes could have filled it, were PostgreSQL to do nothing else.
When little room is left, each call counts: then the limit is exact, except for statements under way in other processes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from asyncjobs.client.connections import depth_on, placeless_on
from asyncjobs.db import inserts
from asyncjobs.db.rows import NewJob
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import QueueFull
from asyncjobs.values import codec

MOST_A_SECOND = 500_000
"""Rows that all clients together can enqueue in a second: one client's COPY reaches 200,000 on two cores."""
COUNTED_BEYOND = 1_000
"""Jobs beyond the limit that are counted, for the message."""


class _Queue:
    """The state of one queue with a `max_depth`.

    Attributes:
        limit: Its `max_depth`.
        room: Places that were free at the last count, less the ones given out here since.
        holds_until: The loop's time until which other processes cannot have filled that room.
        pending: Places given out here for rows that may not be stored yet.
        given_back: Places of rows that are stored, or will not be, ever.
        ended: Set when a place is given back.
        looking: Held during a count.
        full: The loop's time and the result of the last count, if it found no room.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.room = 0
        self.holds_until = float("-inf")
        self.pending = 0
        self.given_back = 0
        self.ended = asyncio.Event()
        self.looking = asyncio.Lock()
        self.full: tuple[float, int] | None = None

    def take(self, wanted: int) -> int:
        taken = min(wanted, self.room)
        self.room -= taken
        self.pending += taken
        return taken


class Asks(Protocol):
    """Statements on the depth of queues."""

    async def depth(self, queue: str, most: int) -> int:
        """Return the number of ready jobs in a queue; at most `most` are counted."""

    async def placeless(self, given: str) -> str:
        """Return the jobs with unique keys that would add no row; see `inserts.read_placeless`."""


class OnConnection:
    """Statements in the transaction that a caller's connection is in."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def depth(self, queue: str, most: int) -> int:
        """See `Asks.depth`."""
        return await depth_on(self._connection, queue, most)

    async def placeless(self, given: str) -> str:
        """See `Asks.placeless`."""
        return await placeless_on(self._connection, given)


class OnSessions:
    """Statements on connections of our own."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def depth(self, queue: str, most: int) -> int:
        """See `Asks.depth`."""
        return await self._sessions.run(partial(inserts.read_depth, queue=queue, most=most))

    async def placeless(self, given: str) -> str:
        """See `Asks.placeless`."""
        return await self._sessions.run(partial(inserts.read_placeless, given=given))


class Depths:
    """The queues of one client that have a `max_depth`.

    Args:
        sessions: The connections for statements.
        limits: `max_depth` by queue.
    """

    def __init__(self, sessions: Sessions, limits: Mapping[str, int]) -> None:
        self._ask = OnSessions(sessions)
        self._queues = {queue: _Queue(limit) for queue, limit in limits.items()}

    def counts(self, row: NewJob) -> bool:
        """Whether a row takes a place; a scheduled job takes none, and is not counted."""
        return row.queue in self._queues and row.run_at is None and row.delay is None

    async def take(self, queue: str, wanted: int = 1, *, held: int = 0) -> int:
        """Take places for rows that are to be stored, at most `wanted`; return how many. `give_back` them afterwards.

        Args:
            queue: The queue.
            wanted: The number of rows.
            held: Places that the caller has taken already. With some, it does not wait for others to give back theirs, since
                they may be waiting for these.

        Raises:
            QueueFull: There is no place.
        """
        known = self._queues[queue]
        loop = asyncio.get_running_loop()
        if known.room and loop.time() < known.holds_until:
            return known.take(wanted)
        came = loop.time()
        while True:
            async with known.looking:
                if known.room and loop.time() < known.holds_until:
                    return known.take(wanted)
                if known.full is None or known.full[0] < came:
                    depth = await self._look(queue, known)
                else:
                    depth = known.full[1]
                if depth >= known.limit:
                    raise QueueFull(queue, depth, known.limit)
                if known.room > 0:
                    return known.take(wanted)
                if held:
                    raise QueueFull(queue, depth + known.pending, known.limit)
                known.ended.clear()
            # Rows under way in this process have the last places, or were counted already: wait until that is known.
            await known.ended.wait()

    async def _look(self, queue: str, known: _Queue) -> int:
        while True:
            began = asyncio.get_running_loop().time()
            before = known.given_back
            depth = await self._ask.depth(queue, known.limit + COUNTED_BEYOND)
            # Rows stored during the count may be neither in it nor in `pending`.
            meanwhile = known.given_back - before
            known.full = (began, depth) if depth >= known.limit else None
            known.room = max(known.limit - depth - known.pending - meanwhile, 0)
            known.holds_until = began + known.room / MOST_A_SECOND
            if known.room or known.full or not meanwhile:
                return depth

    def give_back(self, queue: str, taken: int = 1) -> None:
        """Note that rows for which places were taken are stored, or will not be."""
        known = self._queues[queue]
        known.pending -= taken
        known.given_back += taken
        known.ended.set()

    async def check(self, rows: Sequence[NewJob], ask: Asks, stored: Mapping[str, int] | None = None) -> None:
        """Check in a transaction whether there are places for all rows; rows that it has enqueued count.

        Args:
            rows: Rows to be stored.
            ask: Statements in the transaction.
            stored: Rows by queue that the transaction has stored of the same batch, for the message.

        Raises:
            QueueFull: There are not enough places.
            InvalidConnection, DatabaseError: The connection failed.
        """
        needy = self._needy(rows)
        for queue in dict.fromkeys(row.queue for row in needy):
            limit = self._queues[queue].limit
            its = [row for row in needy if row.queue == queue]
            depth = await ask.depth(queue, limit + COUNTED_BEYOND)
            if depth + len(its) <= limit:
                continue
            wanted = len(its) - len(await self._placeless(its, ask))
            if wanted and depth + wanted > limit:
                before = (stored or {}).get(queue, 0)
                raise QueueFull(queue, depth - before, limit, before + wanted)

    async def take_one(self, row: NewJob) -> int:
        """Take a place for a row that is to be stored; return 1, or 0 if the row needs none.

        Raises:
            QueueFull: There is no place.
        """
        try:
            return await self.take(row.queue)
        except QueueFull:
            if not await self._placeless([row], self._ask):
                raise
            return 0

    async def take_for(self, rows: Sequence[NewJob]) -> tuple[Counter[str], set[UUID], QueueFull | None]:
        """Take places for all of these rows, or as many as there are.

        Returns:
            The number of places by queue; the ids of rows without a place; and the error to raise for these.
        """
        needy = self._needy(rows)
        taken: Counter[str] = Counter()
        full: QueueFull | None = None
        try:
            for queue, wanted in Counter(row.queue for row in needy).items():
                try:
                    while taken[queue] < wanted:
                        taken[queue] += await self.take(queue, wanted - taken[queue], held=taken[queue])
                except QueueFull as error:
                    full = full or error
            if full is None:
                return taken, set(), None
            placeless = await self._placeless(needy, self._ask)
        except BaseException:
            self.give_back_all(taken)
            raise
        left, refused = Counter(taken), set[tuple[str, str]]()
        for row in needy:
            if row.id in placeless:
                continue
            if left[row.queue] > 0:
                left[row.queue] -= 1
            else:
                refused.add(_what_counts(row))
        ids = {row.id for row in rows if self.counts(row) and _what_counts(row) in refused}
        return taken, ids, full if refused else None

    def _needy(self, rows: Sequence[NewJob]) -> list[NewJob]:
        """Return the rows that need a place, as far as is known here: of rows with the same unique key only the first."""
        found: dict[tuple[str, str], NewJob] = {}
        for row in rows:
            if self.counts(row):
                found.setdefault(_what_counts(row), row)
        return list(found.values())

    async def _placeless(self, rows: Sequence[NewJob], ask: Asks) -> set[UUID]:
        """Return the ids of rows that need no place, since another job has their unique key."""
        unique = [(row, one) for row in rows if (one := _unique(row)) is not None]
        if not unique:
            return set()
        given = codec.dumps([{**one, "queue": row.queue} for row, one in unique])
        keys = set(codec.loads(await ask.placeless(given)))
        return {row.id for row, one in unique if one["key"] in keys}

    def give_back_all(self, taken: Counter[str]) -> None:
        """Give back the places that `take_for` took."""
        for queue, count in taken.items():
            self.give_back(queue, count)


@asynccontextmanager
async def places(depths: Depths | None, rows: Sequence[NewJob], connection: Any = None) -> AsyncIterator[None]:
    """Hold places for all of these rows while they are stored.

    Args:
        depths: The queues with a `max_depth`; None: there are none.
        rows: Rows to be stored.
        connection: The caller's connection, in whose transaction they are stored; None: one of our own.

    Raises:
        QueueFull: There are not enough places.
    """
    if depths is None:
        yield
    elif connection is not None:
        await depths.check(rows, OnConnection(connection))
        yield
    else:
        taken, refused, full = await depths.take_for(rows)
        try:
            if full is not None:
                had = taken[full.queue]
                wanted = had + sum(row.id in refused for row in rows if row.queue == full.queue)
                raise QueueFull(full.queue, full.depth - had, full.limit, wanted)
            yield
        finally:
            depths.give_back_all(taken)


def _unique(row: NewJob) -> dict[str, Any] | None:
    unique: dict[str, Any] | None = None if row.order is None else codec.loads(row.order).get("unique")
    return unique


def _what_counts(row: NewJob) -> tuple[str, str]:
    """Return a key that is the same for two rows if the second would add nothing to the queue."""
    unique = _unique(row)
    return row.queue, str(row.id) if unique is None else unique["key"]
