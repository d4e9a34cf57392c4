"""Cursors, by hand: how they move, and when what they moved to is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from asyncjobs import Cursor, InvalidStep
from asyncjobs.failing.control_exceptions import Interrupted
from asyncjobs.steps import cursors
from tests.support.processes import PATIENCE, until_so


class Place:
    """Where a cursor is recorded, in memory; writes are durable when the test lets them be."""

    def __init__(self) -> None:
        self.recorded: list[Any] = []
        self.attributes: list[str | None] = []
        self.stopping = False
        self.open = asyncio.Event()
        self.open.set()
        self.at_once = self.most_at_once = 0
        self.refusal: Exception | None = None
        self.snapshot: Callable[[], str | None] | None = None
        self.attempt = self

    def is_exact(self, value: Any) -> bool:
        return False

    def kept(self, value: Any) -> Any:
        return value

    def record_cursor(self, value: Any, attributes: str | None) -> Awaitable[None]:
        if isinstance(value, complex):
            raise ValueError("unstorable")
        self.recorded.append(value)
        self.attributes.append(attributes)
        return asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.open.wait()
        self.at_once -= 1
        if self.refusal is not None:
            raise self.refusal

    def check(self) -> None:
        if self.stopping:
            raise Interrupted("stopping")

    def refuse(self, error: InvalidStep) -> InvalidStep:
        self.refused = error
        return error


@pytest.fixture
async def place() -> Place:
    return Place()


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer never fires."""
    monkeypatch.setattr(cursors, "EVERY", 1e6)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer fires at once."""
    monkeypatch.setattr(cursors, "EVERY", 0.0)


async def later(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


SOURCES = pytest.mark.parametrize("source", [list, later], ids=["sync", "async"])


class TestByHand:
    async def test_it_stands_nowhere_at_first_and_where_it_was_when_it_is_resumed(self, place: Place) -> None:
        assert (Cursor(place, None).value, Cursor(place, None).resumed) == (None, False)
        assert (Cursor(place, 7).value, Cursor(place, 7).resumed) == (7, True)

    async def test_set_moves_anywhere(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, 7)
        for value in (9, 3, -1):
            await cursor.set(value)
            assert cursor.value == value

    async def test_advance_moves_forward_only(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, 7)
        await cursor.advance(7)
        await cursor.advance(8)
        with pytest.raises(InvalidStep, match="stands at 8 and cannot be advanced to 6, which lies before it"):
            await cursor.advance(6)
        assert cursor.value == 8

    async def test_what_cannot_be_compared_is_no_advance(self, place: Place) -> None:
        cursor: Cursor[Any] = Cursor(place, 7)
        with pytest.raises(InvalidStep, match="cannot be advanced to 'x'"):
            await cursor.advance("x")

    @pytest.mark.parametrize("move", ["set", "advance"])
    async def test_a_move_is_where_the_run_ends_when_it_is_to_end(self, place: Place, move: str) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        place.stopping = True
        with pytest.raises(Interrupted):
            await getattr(cursor, move)(1)
        assert place.recorded == [1]

    async def test_a_checkpoint_records_now_whatever_the_time(self, place: Place, never: None) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        cursor._written_at = 1e12
        await cursor.set(1)
        assert place.recorded == []
        await cursor.checkpoint()
        assert place.recorded == [1]


class TestEach:
    @SOURCES
    async def test_it_goes_through_all_and_advances_after_each(self, place: Place, source: Any) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        seen = [(item, cursor.value) async for item in cursor.each(source(range(5)))]
        assert seen == [(0, None), (1, 0), (2, 1), (3, 2), (4, 3)]
        assert cursor.value == 4

    @SOURCES
    async def test_it_passes_what_is_done(self, place: Place, source: Any) -> None:
        cursor: Cursor[int] = Cursor(place, 20)
        keyed = [item async for item in cursor.each(source([1, 2, 3, 4]), key=lambda item: item * 10)]
        assert keyed == [3, 4] and cursor.value == 40

    @SOURCES
    @pytest.mark.parametrize("items", [[1, 3, 2], [1, 2, 2, 3]], ids=["back", "one key twice"])
    async def test_keys_that_do_not_ascend_are_refused_since_an_item_would_be_passed(
        self, place: Place, source: Any, items: list[int]
    ) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        with pytest.raises(InvalidStep, match="key 2 does not lie beyond"):
            async for _ in cursor.each(source(items)):
                pass

    async def test_keys_of_another_type_than_the_cursor_are_refused(self, place: Place) -> None:
        cursor: Cursor[Any] = Cursor(place, "b")
        with pytest.raises(InvalidStep, match="key 1 cannot be compared with 'b'"):
            async for _ in cursor.each([1]):
                pass

    async def test_an_item_whose_turn_failed_is_not_passed(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        with pytest.raises(ZeroDivisionError):
            async for item in cursor.each(range(5)):
                if item == 3:
                    raise ZeroDivisionError
        assert cursor.value == 2

    async def test_interrupted_it_ends_after_the_item_that_it_is_at(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        with pytest.raises(Interrupted):
            async for item in cursor.each(range(5)):
                place.stopping = item == 2
        assert cursor.value == 2


async def test_a_cursor_whose_step_has_ended_is_not_moved_in_silence(place: Place) -> None:
    cursor: Cursor[int] = Cursor(place, None)
    await cursor.advance(1)
    cursor.close()
    with pytest.raises(InvalidStep, match="the step of this cursor has ended"):
        await cursor.advance(2)


class TestMap:
    @SOURCES
    async def test_items_run_at_once_and_the_cursor_is_at_the_lowest_that_is_not_done(
        self, place: Place, source: Any
    ) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        gates = {n: asyncio.Event() for n in range(6)}
        begun: list[int] = []

        async def work(n: int) -> None:
            begun.append(n)
            await gates[n].wait()

        mapping = asyncio.ensure_future(cursor.map(work, source(range(6)), concurrency=3))
        await until_so(lambda: begun == [0, 1, 2])
        gates[1].set()
        gates[2].set()
        await turns()
        assert (begun, cursor.value) == ([0, 1, 2], None)  # no more than three beyond the lowest
        gates[0].set()
        await until_so(lambda: begun == [0, 1, 2, 3, 4, 5])
        assert cursor.value == 2
        for gate in gates.values():
            gate.set()
        await mapping
        assert cursor.value == 5

    @pytest.mark.parametrize(("at", "concurrency"), [(4, 1), (4, 3), (4, 40), (28, 3), (29, 3)])
    async def test_a_cancellation_that_is_an_items_own_is_its_error_and_loses_no_item(
        self, place: Place, at: int, concurrency: int
    ) -> None:
        cursor: Cursor[int] = Cursor(place, None)

        async def work(n: int) -> None:
            await asyncio.sleep(0)
            if n == at:
                leaking = asyncio.get_running_loop().create_future()
                leaking.cancel()
                await leaking

        async with asyncio.timeout(PATIENCE):
            with pytest.raises(asyncio.CancelledError):
                await cursor.map(work, range(30), concurrency=concurrency)
        assert cursor.value is not None and cursor.value < at

    async def test_it_says_so_when_what_it_calls_is_no_async_def(self, place: Place) -> None:
        with pytest.raises(InvalidStep, match="returned int: give it an `async def`"):
            await Cursor[int](place, None).map(lambda n: n, range(3))  # as one writes it who is tired

    async def test_it_does_not_end_as_done_when_it_was_asked_to_stop_and_is_not_any_more(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        asked, begun = asyncio.Event(), asyncio.Event()

        def check() -> None:
            if cursor.value == 3:
                asked.set()
                raise Interrupted("stopping")

        async def work(n: int) -> None:
            if n == 3:
                await begun.wait()
            if n == 4:
                begun.set()
                await asked.wait()

        monkeypatch.setattr(place, "check", check)
        with pytest.raises(Interrupted):
            await cursor.map(work, range(30), concurrency=2)
        assert cursor.value == 4

    async def test_it_advances_while_the_source_is_slow(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        more = asyncio.Event()

        async def slow() -> AsyncIterator[int]:
            yield 1
            await more.wait()
            yield 2

        async def work(_item: int) -> None: ...

        mapping = asyncio.ensure_future(cursor.map(work, slow()))
        await until_so(lambda: cursor.value == 1 and place.recorded == [1])
        more.set()
        await mapping
        assert cursor.value == 2

    async def test_resumed_it_begins_with_the_lowest_that_was_not_done(self, place: Place) -> None:
        begun: list[int] = []

        async def work(n: int) -> None:
            begun.append(n)

        await Cursor(place, 3).map(work, range(6), concurrency=2)
        assert begun == [4, 5]

    async def test_the_first_error_cancels_the_others_and_is_raised_itself(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        ended: list[str] = []

        async def work(n: int) -> None:
            if n == 1:
                raise KeyError("first") from ValueError("its cause")
            try:
                await asyncio.sleep(60 if n else 0)
            except asyncio.CancelledError:
                ended.append(f"{n} cancelled")
                raise

        with pytest.raises(KeyError, match="first") as raised:
            await cursor.map(work, range(4), concurrency=4)
        assert isinstance(raised.value.__cause__, ValueError)
        assert sorted(ended) == ["2 cancelled", "3 cancelled"]  # a task group cancels in no order
        assert cursor.value in (None, 0)

    async def test_an_error_is_raised_though_the_source_gives_nothing_more(self, place: Place) -> None:
        async def endless() -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

        async def work(_item: int) -> None:
            raise KeyError

        async with asyncio.timeout(PATIENCE):
            with pytest.raises(KeyError):
                await Cursor(place, None).map(work, endless())

    async def test_an_exit_is_raised_where_map_was_called_and_does_not_end_the_loop(self, place: Place) -> None:
        async def work(_item: int) -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            await Cursor(place, None).map(work, [1])

    async def test_interrupted_it_waits_for_those_under_way_and_takes_no_more(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        done: list[int] = []

        async def work(n: int) -> None:
            if n == 1:
                place.stopping = True
            await turns()
            done.append(n)

        with pytest.raises(Interrupted):
            await cursor.map(work, range(100), concurrency=3)
        assert done == list(range(len(done))) and len(done) <= 4
        assert cursor.value == done[-1]

    async def test_cancelled_it_repeats_at_most_the_items_in_flight(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        begun: list[int] = []

        async def work(n: int) -> None:
            begun.append(n)
            if n >= 5:
                await asyncio.Event().wait()

        mapping = asyncio.ensure_future(cursor.map(work, range(100), concurrency=4))
        await until_so(lambda: len(begun) == 9)
        mapping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mapping
        assert cursor.value == 4 and begun == list(range(9))

    @pytest.mark.parametrize("concurrency", [0, -1, 1_001, 2.0, True, None])
    async def test_a_concurrency_out_of_range_is_refused(self, place: Place, concurrency: Any) -> None:
        with pytest.raises(InvalidStep, match="use a whole number from 1 to 1000"):
            await Cursor(place, None).map(asyncio.sleep, [0], concurrency=concurrency)

    async def test_keys_that_do_not_ascend_are_refused(self, place: Place) -> None:
        with pytest.raises(InvalidStep, match="key 1 does not lie beyond 2"):
            await Cursor(place, None).map(asyncio.sleep, [0, 2, 1])


class TestRecording:
    async def test_one_write_is_under_way_at_a_time_and_the_next_has_the_last_value(
        self, place: Place, soon: None
    ) -> None:
        heard: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))
        cursor: Cursor[int] = Cursor(place, None)
        place.open.clear()
        async for _ in cursor.each(range(50)):
            await asyncio.sleep(0)
        assert place.recorded == [0] and heard == []
        flushing = asyncio.ensure_future(cursor.flush())
        place.open.set()
        await flushing
        assert place.recorded == [0, 49]
        assert place.most_at_once == 1

    async def test_a_move_made_during_a_write_is_recorded_by_the_timer(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        place.open.clear()
        setting = asyncio.ensure_future(cursor.set(1))
        await until_so(lambda: place.recorded == [1])
        await cursor.set(2)
        place.open.set()
        await setting
        await until_so(lambda: place.recorded == [1, 2])

    async def test_a_last_move_is_recorded_though_no_other_follows(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        await cursor.set(1)
        await cursor.set(2)
        assert place.recorded == [1]
        await until_so(lambda: place.recorded == [1, 2])

    async def test_a_loop_that_waits_for_nothing_is_recorded_by_the_count(self, place: Place, never: None) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        async for _ in cursor.each(range(30_000)):
            pass
        assert (
            place.recorded and max(b - a for a, b in zip([-1, *place.recorded], place.recorded, strict=False)) <= 11_000
        )

    async def test_leaving_records_what_is_not_and_nothing_twice(self, place: Place, never: None) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        await cursor.set(1)
        await cursor.set(2)
        cursor.leave()
        cursor.leave()
        assert place.recorded[-1:] == [2] and place.recorded.count(2) == 1

    async def test_what_a_write_by_the_timer_raised_is_raised_by_the_next_move(self, place: Place) -> None:
        cursor: Cursor[int] = Cursor(place, None)
        await cursor.set(1)
        place.refusal = RuntimeError("refused")
        await cursor.set(2)
        await until_so(lambda: cursor._writing is not None and cursor._writing.done())
        with pytest.raises(RuntimeError, match="refused"):
            await cursor.set(3)

    @pytest.mark.parametrize("way", ["set", "flush", "checkpoint"])
    async def test_a_value_that_cannot_be_stored_is_an_error_of_the_step_and_not_of_a_timer(
        self, place: Place, way: str
    ) -> None:
        heard: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))
        cursor: Cursor[Any] = Cursor(place, None)
        await cursor.set(1)
        await cursor.set(1j)
        await until_so(lambda: cursor._writing is not None and cursor._writing.done())
        with pytest.raises(ValueError, match="unstorable"):
            await (cursor.set(2) if way == "set" else getattr(cursor, way)())
        cursor.leave()
        assert heard == []

    async def test_attributes_are_recorded_as_they_were_at_the_last_move(self, place: Place) -> None:
        """Else what the item under way has added would be added again when it is repeated."""
        total = 0
        place.snapshot = lambda: str(total)
        cursor: Cursor[int] = Cursor(place, None)
        with pytest.raises(ZeroDivisionError):
            async for item in cursor.each([1, 2, 3]):
                total += item
                if item == 3:
                    await until_so(lambda: place.recorded == [1, 2])
                    raise ZeroDivisionError
        await cursor.flush()
        assert list(zip(place.recorded, place.attributes, strict=True)) == [(1, "1"), (2, "3")]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
