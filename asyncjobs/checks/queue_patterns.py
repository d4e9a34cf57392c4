"""Entries of a pool's queues: names, patterns (`*`, `mail*`) and exclusions (`-bulk`)."""

from __future__ import annotations

from collections.abc import Sequence


def matches(entry: str, queue: str) -> bool:
    """Whether a name or a pattern includes `queue`."""
    return queue.startswith(entry[:-1]) if entry.endswith("*") else queue == entry


def split(entries: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the included entries, and the excluded ones without their sign; exclusions alone include all others."""
    taken = [entry for entry in entries if not entry.startswith("-")] or ["*"]
    return taken, [entry[1:] for entry in entries if entry.startswith("-")]


def serves(entries: Sequence[str], queue: str) -> bool:
    """Whether a pool with these entries serves `queue`."""
    taken, left_out = split(entries)
    return any(matches(entry, queue) for entry in taken) and not any(matches(entry, queue) for entry in left_out)
