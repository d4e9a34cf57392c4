"""Items in the order of their keys, from a cursor on."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import InvalidStep

Item = TypeVar("Item")


def lies_beyond(value: Any, here: Any, *, begun: bool) -> bool:
    """Whether an item's key lies beyond `here`; until one has (`begun`), items up to `here` are done and passed over.

    Raises:
        InvalidStep: It does not although one before has, or it cannot be compared.
    """
    try:
        if here is None or value > here:
            return True
    except TypeError as error:
        raise InvalidStep(
            f"the key {shown(value)} cannot be compared with {shown(here)}, where the cursor stands: {error}"
        ) from error
    if begun:
        raise InvalidStep(
            f"the key {shown(value)} does not lie beyond {shown(here)}, that of the item before it: go through the items "
            "in ascending order, and give a key= that no two of them share"
        )
    return False


async def by_key(
    source: AsyncIterable[Item] | Iterable[Item],
    key: Callable[[Item], Any] | None,
    passed: Any,
    kept: Callable[[Any], Any],
) -> AsyncGenerator[tuple[Item, Any], None]:
    """Yield items beyond `passed` with their keys, in the form that `kept` returns.

    Raises:
        InvalidStep: A key does not lie beyond that of the item before it, or cannot be compared with it.
    """
    here, begun = passed, False
    async with items_of(source) as items:
        async for item in items:
            value = kept(item if key is None else key(item))
            if lies_beyond(value, here, begun=begun):
                here, begun = value, True
                yield item, value


@asynccontextmanager
async def items_of(source: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterator[AsyncIterator[Item]]:
    """Give an async iterator over `source`, and close it at the end, if it can be closed.

    Left open, it would hold its server-side cursor or connection until it is garbage, and its clean-up would run in another
    task.
    """
    items = aiter(source) if isinstance(source, AsyncIterable) else _each_of(source)
    try:
        yield items
    finally:
        if (close := getattr(items, "aclose", None)) is not None:
            await close()


async def _each_of(source: Iterable[Item]) -> AsyncIterator[Item]:
    items = iter(source)
    try:
        for item in items:
            yield item
    finally:
        if (close := getattr(items, "close", None)) is not None and inspect.isgenerator(items):
            close()
