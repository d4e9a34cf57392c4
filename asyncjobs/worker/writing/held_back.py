"""What the database has not taken is tried again, apart from what is new and in ever smaller parts.

One row can have a statement refused: a trigger of the owner's, a right, a limit, a full disk, a day without a partition, a
lock. Which answers that may be is not listed: whatever is refused is halved, until what is refused stands alone. That is
tried again with a growing pause. Rows that somebody holds locked are passed over, all together, until they are free.
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
"""Seconds that what was refused may take between two batches of what is new."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between trying again what was refused by itself, or is locked."""
ONE_BY_ONE = 10
"""Rows refused for the same reason that are tried in turn within one pause; of more, one is tried for the others, too."""
MOST_LOCKED = 500
"""Rows of those that were locked in one statement."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    """Rows that wait for the same reason.

    Attributes:
        rows: Those tried next come first.
        pause: Seconds from one try to the next.
        due: When they are tried next, by the loop's clock.
    """

    rows: list[T] = field(default_factory=list)
    pause: float = FIRST_PAUSE
    due: float = 0.0

    def wait(self, *, longer: bool) -> None:
        self.pause = min(self.pause * 2, LONGEST_PAUSE) if longer else FIRST_PAUSE
        self.due = asyncio.get_running_loop().time() + self.pause / min(max(len(self.rows), 1), ONE_BY_ONE)

    def wait_no_more(self) -> None:
        self.pause, self.due = FIRST_PAUSE / 2, 0.0


class HeldBack(Generic[T]):
    """Writes rows, and keeps those that the database has not taken.

    Args:
        write: Given rows in their order, and whether those that somebody holds locked are to be passed over, which it
            returns then; else they make it wait and be refused.
        alone: Given a row that was refused by itself, and why. Returns whether it has dealt with it otherwise.
        key: Of their order.
        what: For the log, as in "writing how jobs ended".
        name: Of a row, for the log.
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
        """To be tried at once, the last first."""
        self._locked = _Waiting[T]()
        self._refused: dict[str, _Waiting[T]] = {}
        """By SQLSTATE; by an empty one those whose statements had no answer."""
        self._told: set[str] = set()
        self.refusal: DatabaseError | None = None
        """Why the last row was refused that stood alone."""

    def __bool__(self) -> bool:
        # Nearly always nothing is held back, and each step and each batch of ends asks: the sum takes 6 µs.
        return bool(self._parts or self._locked.rows or self._refused) and len(self) > 0

    def __len__(self) -> int:
        return sum(map(len, self._parts)) + len(self._locked.rows) + sum(len(w.rows) for w in self._refused.values())

    def rows(self) -> Iterator[T]:
        """Yield all that is not known to be written, also what is being tried."""
        yield from self._under_way
        for part in self._parts:
            yield from part
        yield from self._locked.rows
        for waiting in self._refused.values():
            yield from waiting.rows

    @property
    def due(self) -> float:
        """When there is something to be tried again, by the loop's clock; infinite: nothing is held back."""
        if not self:
            return math.inf
        if self._parts:
            return 0.0
        return min((w.due for w in (self._locked, *self._refused.values()) if w.rows), default=math.inf)

    def at_once(self) -> None:
        """Have everything tried again now: what was in the way may be gone."""
        for waiting in (self._locked, *self._refused.values()):
            waiting.wait_no_more()  # and are left where they are: one of them may be what is being tried

    async def write(self, rows: Sequence[T], *, passing: bool | None = None) -> None:
        """Write rows; keep those that are not taken.

        Args:
            rows: In their order.
            passing: Whether those that are locked are passed over; None: where others are by now. What is locked then is
                likely to be so for these, too, which would wait for it in vain.

        Raises:
            DatabaseError: There is no answer.
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
        """Try some of what is due again.

        Raises:
            DatabaseError: There is no answer. What was to be written is kept.
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
        """Try the next of these alone; if it is taken, the others may be, and are tried together."""
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
            # Without an answer, too: it may be one of them that ends the session, or takes longer than there is.
            middle = len(rows) // 2
            self._parts += [rows[middle:], rows[:middle]]
        elif await self._dealt_with(rows[0], error):
            return
        # What has had no answer before, alone, is what ended the session then and now.
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
        """Keep a row that was refused alone, to be tried again in a while; say so where it is for a new reason."""
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
                "%s: %s of %s; trying again until it works, the others go on", self._what, error, self._name(row)
            )

    def _note_over(self) -> None:
        for why in [why for why in self._told if why not in self._refused]:
            self._told.discard(why)
            logger.info("%s: the database takes what it refused%s", self._what, f" with SQLSTATE {why}" if why else "")
