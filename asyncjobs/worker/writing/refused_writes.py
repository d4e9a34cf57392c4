"""Rows held back: rows that the database has not taken are tried again, beside new ones and in ever smaller parts.

One row can have a whole statement refused: by a trigger of the owner's, a right, a limit, a full disk, a day without a
partition, a lock. There is no list of such errors: refused rows are halved until each stands alone, and is then tried again
with a growing pause. Locked rows are passed over, all together, until they are free.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from asyncjobs.db.errors import LOCK_NOT_AVAILABLE, is_locked, sqlstate_of
from asyncjobs.exceptions import DatabaseError

logger = logging.getLogger("asyncjobs.worker")

T = TypeVar("T")

BUDGET = 0.1
"""Seconds for refused rows between two batches of new rows."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two tries of a row that was refused alone, or of locked rows."""
ONE_BY_ONE = 10
"""Rows refused for the same reason that are tried in turn within one pause; when there are more, the pause counts for
some."""
MOST_LOCKED = 500
"""Locked rows in one statement."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    """Rows that were refused for the same reason.

    Attributes:
        rows: The rows; the first is tried next.
        pause: Seconds from one try of a row to the next.
        due: The loop's time of the next try.
    """

    rows: list[T] = field(default_factory=list)
    pause: float = FIRST_PAUSE
    due: float = 0.0

    def wait(self, *, longer: bool) -> None:
        self.pause = min(self.pause * 2, LONGEST_PAUSE) if longer else FIRST_PAUSE
        self.due = asyncio.get_running_loop().time() + self.pause / min(max(len(self.rows), 1), ONE_BY_ONE)

    def wait_no_more(self) -> None:
        self.pause, self.due = FIRST_PAUSE / 2, 0.0


class RefusedWrites(Generic[T]):
    """Writes rows, and keeps those that the database has not taken.

    Args:
        write: Writes rows, given in their order. Its second argument: whether to pass over locked rows, which it then
            returns; else a locked row makes the statement wait, and be refused.
        alone: Called with a row that was refused alone, and the error. Returns whether the row is dealt with.
        key: Returns the sort key of a row.
        what: The work, for log lines, as in "writing how jobs ended".
        name: Returns the name of a row for log lines.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T], bool], Awaitable[Sequence[T]]],
        alone: Callable[[T, DatabaseError], Awaitable[bool]],
        *,
        key: Callable[[T], Any],
        what: str,
        name: Callable[[T], str],
    ) -> None:
        self._write = write
        self._alone = alone
        self._key = key
        self._what = what
        self._name = name
        self._under_way: Sequence[T] = ()
        self._parts: list[Sequence[T]] = []
        """Rows to try at once, the last part first."""
        self._locked = _Waiting[T]()
        self._refused: dict[str, _Waiting[T]] = {}
        """Refused rows by SQLSTATE; by an empty one the rows whose statement had no answer."""
        self._told: set[str] = set()
        self.refusal: DatabaseError | None = None
        """The last error of a row that was refused alone."""

    def __bool__(self) -> bool:
        # Asked for each step and each batch of ends, and nearly always nothing is held back: the sum alone takes 6 µs.
        return bool(self._parts or self._locked.rows or self._refused) and len(self) > 0

    def __len__(self) -> int:
        return sum(map(len, self._parts)) + len(self._locked.rows) + sum(len(w.rows) for w in self._refused.values())

    def rows(self) -> Iterator[T]:
        """Yield all rows that are not known to be written, those of the statement under way among them."""
        yield from self._under_way
        for part in self._parts:
            yield from part
        yield from self._locked.rows
        for waiting in self._refused.values():
            yield from waiting.rows

    @property
    def due(self) -> float:
        """The loop's time of the next try; infinite when nothing is held back."""
        if not self:
            return math.inf
        if self._parts:
            return 0.0
        return min((w.due for w in (self._locked, *self._refused.values()) if w.rows), default=math.inf)

    def at_once(self) -> None:
        """Have all rows tried again now: the reason of their refusal may be gone."""
        for waiting in (self._locked, *self._refused.values()):
            waiting.wait_no_more()  # rows stay where they are: a statement under way may hold some of them

    async def write(self, rows: Sequence[T], *, passing: bool | None = None) -> None:
        """Write rows; keep those that the database does not take.

        Args:
            rows: The rows, in their order.
            passing: Whether to pass over locked rows; None: if others are held back as locked, since the same lock may be
                in the way of these.

        Raises:
            DatabaseError: The database has not answered.
        """
        if passing is None:
            passing = bool(self._locked.rows) or LOCK_NOT_AVAILABLE in self._refused
        self._under_way = rows
        try:
            locked = await self._write(rows, passing)
        except DatabaseError as error:
            self._under_way = ()
            if is_locked(error) and not passing:
                self._parts.append(rows)
            else:
                await self._not_taken(rows, error)
        except BaseException:
            self._parts.append(rows)
            raise
        else:
            if locked:
                if not self._locked.rows:
                    self._locked.wait(longer=False)
                self._locked.rows += locked
        finally:
            self._under_way = ()

    async def write_again(self) -> None:
        """Try some rows again that are due.

        Raises:
            DatabaseError: The database has not answered. The rows are kept.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + BUDGET
        if self._locked.rows and self._locked.due <= loop.time():
            await self._try_locked()
        while self._parts:
            await self.write(self._parts.pop(), passing=True)
            if loop.time() >= end:
                return
        for waiting in list(self._refused.values()):
            if waiting.rows and waiting.due <= loop.time():
                await self._try_refused(waiting)
        for why in [why for why, waiting in self._refused.items() if not waiting.rows]:
            del self._refused[why]
        if not self._parts:
            self._note_over()

    async def _try_locked(self) -> None:
        rows, self._locked.rows = self._locked.rows[:MOST_LOCKED], self._locked.rows[MOST_LOCKED:]
        before = len(self)
        await self.write(sorted(rows, key=self._key), passing=True)
        self._locked.wait(longer=len(self) == before + len(rows))

    async def _try_refused(self, waiting: _Waiting[T]) -> None:
        """Try the first of these rows alone; if it is taken, the others may be, too, and are tried together."""
        row = waiting.rows.pop(0)
        before = len(self)
        await self.write([row], passing=True)
        waiting.wait(longer=True)
        if len(self) == before and waiting.rows:
            self._parts.append(sorted(waiting.rows, key=self._key))
            waiting.rows = []

    async def _not_taken(self, rows: Sequence[T], error: DatabaseError) -> None:
        begun = error.refused or getattr(error, "begun", False)
        if not begun:
            self._parts.append(rows)
        elif len(rows) > 1:
            # Halved also without an answer: one of the rows may end the session, or take longer than the deadline.
            middle = len(rows) // 2
            self._parts += [rows[middle:], rows[:middle]]
        elif await self._dealt_with(rows[0], error):
            return
        # If another row alone had no answer before, it is rows that end the session, and not the link.
        known = begun and len(rows) == 1 and "" in self._refused
        if begun and len(rows) == 1:
            self._keep(rows[0], error)
        if not error.refused and not known:
            raise error

    async def _dealt_with(self, row: T, error: DatabaseError) -> bool:
        self._under_way = [row]
        try:
            return error.refused and await self._alone(row, error)
        except BaseException:
            self._parts.append([row])
            raise

    def _keep(self, row: T, error: DatabaseError) -> None:
        """Keep a row that was refused alone, to try it again after a pause; log that if the reason is new."""
        self.refusal = error
        why = sqlstate_of(error) if error.refused else ""
        is_new = why not in self._refused
        if is_new:
            self._refused[why] = _Waiting()
            self._refused[why].wait(longer=False)
        self._refused[why].rows.append(row)
        if why not in self._told and (error.refused or not is_new):
            self._told.add(why)
            logger.warning(
                "%s: %s for %s; trying again until it works, other jobs go on", self._what, error, self._name(row)
            )

    def _note_over(self) -> None:
        for why in [why for why in self._told if why not in self._refused]:
            self._told.discard(why)
            with_what = f" with SQLSTATE {why}" if why else ""
            logger.info("%s: the database takes everything again that it had refused%s", self._what, with_what)
