"""Cursors: progress inside a step."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import InvalidStep
from asyncjobs.steps.items_by_key import by_key, items_of, lies_beyond

T = TypeVar("T")
Item = TypeVar("Item")

EVERY = 0.1
"""Seconds within which the move of a cursor is recorded."""
MOST_UNWRITTEN = 1_000
"""Moves after which a cursor is recorded in any case: in a loop that never waits, no timer gets a turn."""


class Stoppable(Protocol):
    """An attempt that may be told to stop."""

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""


class Place(Protocol):
    """The record of a cursor."""

    @property
    def attempt(self) -> Stoppable:
        """The attempt that runs the step."""

    snapshot: Callable[[], str | None] | None
    """Returns the job's attributes as JSON; None: it has no attributes."""

    is_exact: Callable[[Any], bool]
    """Whether `kept` is known to return the value itself: asked first, as a call is a twentieth of an item's cost."""

    def kept(self, value: Any) -> Any:
        """Return a value as a resumed step gets it; raises UnstorableResult if it cannot be stored."""

    def record_cursor(self, value: Any, attributes: str | None) -> Awaitable[None]:
        """Record a value; done when it is durable, and written whether or not somebody waits."""

    def check(self) -> None:
        """Raise if the run should end: the worker stops, the job is cancelled, or the lease is lost."""

    def refuse(self, error: InvalidStep) -> InvalidStep:
        """Have the run end by an error, even if the step's code catches it, and return the error, to be raised."""


class Cursor(Generic[T]):
    """The progress of a step: `value` is None at first, and the last recorded value when the step runs again.

    It moves by `set` and `advance`. A move is recorded within a tenth of a second, or after 1,000 moves, one write at a
    time, and at once when the step is interrupted or fails. After a kill -9, work since the last record is done again.
    """

    __asyncjobs_not_stored__ = (
        "it is given to a step, `async def export(self, cursor: Cursor[int])`, and to nothing else"
    )

    def __init__(self, place: Place, value: T | None) -> None:
        self._place = place
        self._value = value
        self._resumed = value is not None
        self._moves = 0
        self._attributes: str | None = None
        """As of the last move: recorded together with it, so that nothing is counted twice when the step runs again."""
        self._written_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._is_over = False
        self._going_through: list[AsyncGenerator[Any, None]] = []
        """The iterators that `each` has returned: one left by a `break` is closed with its step."""

    @property
    def value(self) -> T | None:
        """The value that it was last moved to, as a resumed step would get it."""
        return self._value

    @property
    def resumed(self) -> bool:
        """Whether an earlier attempt has moved it."""
        return self._resumed

    async def set(self, value: T) -> None:
        """Move to any `value` that can be stored as `T`; end the run here if it should be interrupted.

        Raises:
            UnstorableResult: `value` cannot be stored; the job fails.
            DatabaseError: The cursor could not be recorded.
        """
        self._move(value)
        await self._moved()

    async def advance(self, value: T) -> None:
        """Move forward to `value`; otherwise as `set`.

        Raises:
            InvalidStep: `value` lies before the cursor, or cannot be compared with it.
        """
        self._check_forward(self._place.kept(value))
        self._move(value)
        await self._moved()

    async def checkpoint(self) -> None:
        """Record the cursor and the job's attributes now; done when they are durable."""
        self._move(self._value)
        await self.flush()
        self._place.check()

    def each(
        self, source: AsyncIterable[Item] | Iterable[Item], *, key: Callable[[Item], T] | None = None
    ) -> AsyncIterator[Item]:
        """Go through `source` in the order of its keys, advancing after each item; items up to the cursor are passed over.

        ::

            async for row in cursor.each(rows(after=cursor.value), key=lambda row: row.id):
                await send(row)

        Args:
            source: In ascending order of its keys, from the beginning or from the cursor on.
            key: Returns the key of an item, which no other item has: the second of two would be passed over when the step
                runs again. None: the item itself.

        Raises:
            InvalidStep: The key of an item does not lie beyond the key before it, or cannot be compared with it.
        """
        going_through = self._each(source, key)
        self._going_through.append(going_through)
        return going_through

    async def _each(
        self, source: AsyncIterable[Item] | Iterable[Item], key: Callable[[Item], T] | None
    ) -> AsyncGenerator[Item, None]:
        place, here, begun = self._place, self._value, False
        attempt, snapshot, is_exact, kept = place.attempt, place.snapshot, place.is_exact, place.kept
        # All in one loop: one more generator and call would cost 0.5 µs an item; a loop over a server-side cursor takes 1.5.
        async with items_of(source) as items:
            async for item in items:
                value: Any = item if key is None else key(item)
                if not is_exact(value):
                    value = kept(value)
                try:
                    if not lies_beyond(value, here, begun=begun):
                        continue
                except InvalidStep as error:
                    place.refuse(error)
                    raise
                here, begun = value, True
                yield item
                self._value = value
                self._moves += 1
                if snapshot is not None:
                    self._attributes = snapshot()
                if self._timer is None or self._moves >= MOST_UNWRITTEN:
                    await self._moved(wait=False)
                if attempt.stopping:
                    place.check()

    async def map(
        self,
        function: Callable[[Item], Awaitable[Any]],
        source: AsyncIterable[Item] | Iterable[Item],
        *,
        key: Callable[[Item], T] | None = None,
        concurrency: int = 20,
    ) -> None:
        """Call `function` for each item of `source`, `concurrency` of them at once, advancing over finished items.

        A resumed step begins with the lowest item that was not finished: at most `concurrency` items are repeated. The first
        error cancels the other calls and is raised; so is a `CancelledError` of an item's own. An interrupted step takes no
        more items and waits for the running calls.

        Args:
            function: `async def`, of one item.
            source: As for `each`.
            key: As for `each`.
            concurrency: Calls at once, from 1 to 1,000.

        Raises:
            InvalidStep: As `each`; or `concurrency` is out of range, or `function` is no `async def`.
        """
        if type(concurrency) is not int or not 1 <= concurrency <= 1_000:
            raise self._place.refuse(
                InvalidStep(f"concurrency={shown(concurrency)} is not allowed: use a whole number from 1 to 1000")
            )
        window: deque[tuple[T, asyncio.Task[None]]] = deque()
        passed = asyncio.Event()

        async def call(item: Item) -> None:
            try:
                going = function(item)
                if not inspect.isawaitable(going):
                    raise InvalidStep(f"map: {shown(function)} returned {type(going).__name__}: give it an `async def`")
                await going
            except (SystemExit, KeyboardInterrupt) as exiting:
                raise _Carried from exiting  # raised in a task, it would end the loop
            except asyncio.CancelledError as cancelled:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # Of something that the item awaited, not of this task: a task group would take the item for finished.
                raise _Carried from cancelled

        def pass_done(_task: asyncio.Task[None]) -> None:
            """Advance over finished items from the lowest on, also while the source is slow."""
            while window and window[0][1].done() and not window[0][1].cancelled() and not window[0][1].exception():
                self._move(window.popleft()[0])
            if self._moves:
                self._moved_soon()
            passed.set()

        error: BaseException | None = None
        interruption: BaseException | None = None
        try:
            async with (
                aclosing(by_key(source, key, self._value, self._place.kept)) as items,
                asyncio.TaskGroup() as group,
            ):
                async for item, value in items:
                    task = group.create_task(call(item))
                    window.append((value, task))
                    task.add_done_callback(pass_done)
                    while len(window) >= concurrency:
                        passed.clear()
                        await passed.wait()
                    self._check_written()
                    if (interruption := self._interruption()) is not None:
                        break
        except BaseExceptionGroup as errors:
            error = errors.exceptions[0]
        if isinstance(error, _Carried) and error.__cause__ is not None:
            error = error.__cause__
        if isinstance(error, InvalidStep):
            self._place.refuse(error)
        if error is not None:
            raise error
        self._check_written()
        if interruption is not None:
            raise interruption
        self._place.check()

    def _check_forward(self, value: T) -> None:
        here: Any = self._value
        try:
            back = here is not None and value < here
        except TypeError as error:
            raise self._place.refuse(
                InvalidStep(f"the cursor stands at {shown(here)} and cannot be advanced to {shown(value)}: {error}")
            ) from error
        if back:
            raise self._place.refuse(
                InvalidStep(
                    f"the cursor stands at {shown(here)} and cannot be advanced to {shown(value)}, which lies before it: go "
                    "through the items in ascending order, or use set()"
                )
            )

    def _interruption(self) -> BaseException | None:
        try:
            self._place.check()
        except BaseException as interruption:
            return interruption
        return None

    # Recording

    def _move(self, value: T | None) -> None:
        if self._is_over:
            raise self._place.refuse(
                InvalidStep(
                    "the step of this cursor has ended, so a move would not be recorded: move it inside the step"
                )
            )
        self._value = self._place.kept(value)
        self._moves += 1
        if self._place.snapshot is not None:
            self._attributes = self._place.snapshot()

    async def _moved(self, *, wait: bool = True) -> None:
        """Record the cursor if it is time; wait for the record if it moves seldom, or if too many moves are unwritten."""
        self._check_written()
        if self._moved_soon():
            if wait:
                await self._wait()
        elif self._moves >= 10 * MOST_UNWRITTEN:
            await self._wait()
        if wait:
            self._place.check()

    def _moved_soon(self) -> bool:
        """Record the cursor now, or later by a timer; return whether it was now."""
        if self._writing is None and (self._moves >= MOST_UNWRITTEN or time.monotonic() - self._written_at >= EVERY):
            self._write()
            return True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY, self._time_is_up)
        return False

    def _time_is_up(self) -> None:
        self._timer = None
        if self._writing is not None and not self._writing.done():
            self._timer = asyncio.get_running_loop().call_later(EVERY, self._time_is_up)  # one write at a time
        elif self._moves and (self._writing is None or self._writing.exception() is None):
            self._write()  # else the error of the last write is raised at the cursor's next use

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._moves = 0
        self._written_at = time.monotonic()
        try:
            self._writing = asyncio.ensure_future(self._place.record_cursor(self._value, self._attributes))
        except Exception as error:  # it cannot be stored; an error in a timer would reach nobody
            self._writing = asyncio.get_running_loop().create_future()
            self._writing.set_exception(error)
            self._writing.exception()

    def _check_written(self) -> None:
        """Raise the error of the last write, here where the step's code can see it."""
        if self._writing is not None and self._writing.done():
            writing, self._writing = self._writing, None
            writing.result()

    async def _wait(self) -> None:
        if self._writing is not None:
            if not self._writing.done():
                await asyncio.wait([self._writing])
            self._check_written()

    async def flush(self) -> None:
        """Record the last move, and wait until it is durable."""
        await self._wait()
        if self._moves:
            self._write()
            await self._wait()

    async def close_sources(self) -> None:
        """Close iterators of `each` that were left in the middle, in the calling task, which is the step's own."""
        for going_through in self._going_through:
            await going_through.aclose()
        self._going_through.clear()

    def leave(self) -> None:
        """Record the last move without waiting, since the step is cut off; the recorder makes sure that it is written."""
        moved = self._moves > 0
        self.close()
        if moved:
            self._write()

    def close(self) -> None:
        """Stop recording: the last value is recorded with the step."""
        self._is_over = True
        self._moves = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Carried(Exception):
    """Carries its cause out of a task that cannot end in it."""
