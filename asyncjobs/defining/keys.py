"""Going through items by their keys, from where a cursor stands."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from asyncjobs.exceptions import InvalidStep

Item = TypeVar("Item")


async def by_key(
    source: AsyncIterable[Item] | Iterable[Item], key: Callable[[Item], Any] | None, passed: Any
) -> AsyncIterator[tuple[Item, Any]]:
    """Go through items with their keys, beyond those up to `passed`.

    Raises:
        InvalidStep: A key does not lie beyond that of the item before it, or cannot be compared with it.
    """
    here, begun = passed, False
    async for item in source if isinstance(source, AsyncIterable) else asynchronous(source):
        value = item if key is None else key(item)
        try:
            is_beyond = here is None or value > here
        except TypeError as error:
            raise refusal(value, here, error) from error
        if is_beyond:
            here, begun = value, True
            yield item, value
        elif begun:
            raise refusal(value, here)


async def asynchronous(source: Iterable[Item]) -> AsyncIterator[Item]:
    """Go through a plain iterable."""
    for item in source:
        yield item


def refusal(value: Any, here: Any, error: TypeError | None = None) -> InvalidStep:
    """Return the error for a key that does not lie beyond the one before it; with `error`, that cannot be compared."""
    if error is not None:
        return InvalidStep(
            f"the key {value!r:.60} cannot be compared with {here!r:.60}, where the cursor stands: {error}"
        )
    return InvalidStep(
        f"the key {value!r:.60} does not lie beyond {here!r:.60}, that of the item before it: go through the items in "
        "ascending order, and give a key= that no two of them share"
    )
