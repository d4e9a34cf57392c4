"""Which queues the entries of a pool stand for: names, patterns (`*`, `mail*`) and exclusions (`-bulk`)."""

from __future__ import annotations

from collections.abc import Sequence


def matches(entry: str, queue: str) -> bool:
    """Whether a name or a pattern stands for `queue`."""
    return queue.startswith(entry[:-1]) if entry.endswith("*") else queue == entry


def split(entries: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what entries take in, and what they leave out without its sign; exclusions alone take in all others."""
    taken = [entry for entry in entries if not entry.startswith("-")] or ["*"]
    return taken, [entry[1:] for entry in entries if entry.startswith("-")]


def serves(entries: Sequence[str], queue: str) -> bool:
    """Whether a pool with these entries serves `queue`."""
    taken, left_out = split(entries)
    return any(matches(entry, queue) for entry in taken) and not any(matches(entry, queue) for entry in left_out)
