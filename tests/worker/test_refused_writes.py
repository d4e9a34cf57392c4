"""What was refused and is kept, while something else happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from asyncjobs.exceptions import DatabaseError
from asyncjobs.worker.writing.refused_writes import RefusedWrites


class Refused(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Table:
    """Refuses the rows that it is told to, each for its reason, and may have everything tried again meanwhile."""

    def __init__(self, refusals: dict[int, str]) -> None:
        self.refusals = refusals
        self.written: list[int] = []
        self.is_tried_at_once = False
        """Whether the next refusal has everything tried again at once."""
        self.kept = RefusedWrites[int](self.write, self.alone, key=lambda row: row, what="writing", name=str)

    async def write(self, rows: Sequence[int], _passing: bool) -> Sequence[int]:
        for row in rows:
            if row in self.refusals:
                error = DatabaseError(f"{row} is refused")
                error.refused = True
                raise error from Refused(self.refusals[row])
        self.written += rows
        return ()

    async def alone(self, _row: int, _error: DatabaseError) -> bool:
        if self.is_tried_at_once:
            self.is_tried_at_once = False
            self.kept.at_once()
        return False

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not so():
                await self.kept.write_again()
                await asyncio.sleep(0)


@pytest.fixture
def refusing() -> Callable[[dict[int, str]], Awaitable[Table]]:
    async def table(refusals: dict[int, str]) -> Table:
        found = Table(refusals)
        await found.kept.write([*range(5)])
        await found.until(lambda: len(found.written) == 5 - len(refusals))
        assert len(found.kept) == len(refusals)
        return found

    return table


@pytest.mark.parametrize("refusals", [{2: "23514"}, {2: "23514", 3: "23514"}, {2: "23514", 3: "55P03", 4: "P0001"}])
async def test_nothing_is_lost_or_doubled_when_everything_is_tried_again_at_once_while_one_row_is_tried(
    refusing: Callable[[dict[int, str]], Awaitable[Table]], refusals: dict[int, str]
) -> None:
    table = await refusing(refusals)
    table.is_tried_at_once = True
    await table.until(lambda: not table.is_tried_at_once)
    assert sorted(table.kept.rows()) == sorted(refusals)
    table.refusals = {}
    await table.until(lambda: not table.kept)
    assert sorted(table.written) == [*range(5)]


async def test_a_row_whose_reason_changes_while_it_is_tried_is_kept_for_the_new_one(
    refusing: Callable[[dict[int, str]], Awaitable[Table]],
) -> None:
    table = await refusing({2: "55P03"})
    table.refusals = {2: "23514"}
    table.is_tried_at_once = True
    await table.until(lambda: not table.is_tried_at_once)
    assert [*table.kept.rows()] == [2]
    table.refusals = {}
    await table.until(lambda: not table.kept)
    assert sorted(table.written) == [*range(5)]
