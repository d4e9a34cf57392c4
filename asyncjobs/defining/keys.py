"""Going through items by their keys, from where a cursor stands."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from asyncjobs.exceptions import InvalidStep

Item = TypeVar("Item")


def lies_beyond(value: Any, here: Any, *, begun: bool) -> bool:
    """Whether an item's key lies beyond `here`; not, before any has (`begun`): it is done.

    Raises:
        InvalidStep: It does not though one has, or it cannot be compared.
    """
    try:
        if here is None or value > here:
            return True
    except TypeError as error:
        raise InvalidStep(
            f"the key {value!r:.60} cannot be compared with {here!r:.60}, where the cursor stands: {error}"
        ) from error
    if begun:
        raise InvalidStep(
            f"the key {value!r:.60} does not lie beyond {here!r:.60}, that of the item before it: go through the items "
            "in ascending order, and give a key= that no two of them share"
        )
    return False


async def by_key(
    source: AsyncIterable[Item] | Iterable[Item], key: Callable[[Item], Any] | None, passed: Any
) -> AsyncIterator[tuple[Item, Any]]:
    """Go through items with their keys, beyond those up to `passed`.

    Raises:
        InvalidStep: A key does not lie beyond that of the item before it, or cannot be compared with it.
    """
    here, begun = passed, False
    async for item in asynchronous(source):
        value = item if key is None else key(item)
        if lies_beyond(value, here, begun=begun):
            here, begun = value, True
            yield item, value


def asynchronous(source: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterable[Item]:
    """Return `source` as something to go through with `async for`."""
    return source if isinstance(source, AsyncIterable) else _each_of(source)


async def _each_of(source: Iterable[Item]) -> AsyncIterator[Item]:
    for item in source:
        yield item
