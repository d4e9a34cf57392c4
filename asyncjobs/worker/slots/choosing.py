"""The choice of pools and queues that one process serves: `--pool` and `--queues`."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjobs.checks.queue_patterns import matches, split
from asyncjobs.exceptions import InvalidOption
from asyncjobs.settings.models import Pool
from asyncjobs.settings.values import queue_entry


def chosen(pools: Sequence[Pool], *, numbers: Sequence[int] = (), queues: Sequence[str] = ()) -> tuple[Pool, ...]:
    """Return the chosen pools in their order, each with the chosen ones of its queues.

    Args:
        pools: The pools of the settings.
        numbers: Places of pools in the settings, from 1; empty: all.
        queues: Names, patterns and exclusions, as in a pool; empty: all.

    Raises:
        InvalidOption: There is no pool of such a number, or none that serves such a queue.
    """
    for number in numbers:
        if not 1 <= number <= len(pools):
            raise InvalidOption(f"--pool {number}: there is no such pool; there are {_listed(pools)}")
    found = [pool for number, pool in enumerate(pools, 1) if not numbers or number in numbers]
    if not queues:
        return tuple(found)
    for entry in queues:
        try:
            queue_entry(entry)
        except ValueError as error:
            raise InvalidOption(f"--queues: {error}") from None
    for entry in split(queues)[0]:
        if not any(narrowed(pool, [entry]) for pool in found):
            raise InvalidOption(f"--queues {entry}: no pool serves such a queue; there are {_listed(found, pools)}")
    left = tuple(narrow for pool in found if (narrow := narrowed(pool, queues)) is not None)
    if not left:
        raise InvalidOption(f"--queues {','.join(queues)}: leaves nothing to serve; there are {_listed(found, pools)}")
    return left


def narrowed(pool: Pool, queues: Sequence[str]) -> Pool | None:
    """Return a pool with the queues that both its entries and `queues` stand for; None: there are none."""
    taken, left_out = split(pool.queues)
    wanted, unwanted = split(queues)
    excluded = list(dict.fromkeys([*left_out, *unwanted]))
    entries: dict[str, str] = {}  # with the pool's entry that each comes from
    for entry in taken:
        for other in wanted:
            both = _both(entry, other)
            if both is not None and not any(_covers(out, both) for out in excluded):
                entries.setdefault(both, entry)
    if not entries:
        return None
    still_out = [f"-{out}" for out in excluded if any(_both(out, entry) for entry in entries)]
    weights = {entry: pool.weights[origin] for entry, origin in entries.items() if origin in pool.weights}
    return pool.model_copy(update={"queues": (*entries, *still_out), "weights": weights})


def _both(one: str, other: str) -> str | None:
    """Return the name or pattern for the queues that two entries have in common; None: there are none."""
    if _covers(one, other):
        return other
    return one if _covers(other, one) else None


def _covers(entry: str, other: str) -> bool:
    """Whether `entry` stands for every queue that `other` stands for."""
    if other.endswith("*"):
        return entry.endswith("*") and other[:-1].startswith(entry[:-1])
    return matches(entry, other)


def _listed(found: Sequence[Pool], pools: Sequence[Pool] | None = None) -> str:
    numbers = {id(pool): number for number, pool in enumerate(pools or found, 1)}
    return ", ".join(f"pool {numbers[id(pool)]} ({'+'.join(pool.queues)})" for pool in found)
