"""How much is recorded of one job's steps. All of it leaves the live table as one value, which must not be too large."""

from __future__ import annotations

from collections.abc import Iterable

from asyncjobs.exceptions import InvalidStep
from asyncjobs.records.step_records import Record, Write

MIB = 1 << 20


class RecordedSize:
    """The bytes of what is recorded of one job's steps, as far as this attempt knows.

    Args:
        kind: For messages.
        most: Bytes that there may be.
    """

    def __init__(self, kind: str, most: int) -> None:
        self._kind = kind
        self._most = most
        self._sizes: dict[str, int] = {}
        """Of each step."""
        self._sum = 0

    def found(self, records: Iterable[Record]) -> None:
        """Count what earlier attempts have recorded."""
        self._sizes = {record.name: _size(record.result, record.cursor, record.children) for record in records}
        self._sum = sum(self._sizes.values())

    def add(self, write: Write) -> None:
        """Count what is to be recorded, in the place of what was recorded of that step before.

        Raises:
            InvalidStep: It would be too much; it is not counted, and must not be recorded.
        """
        if write.name is None:
            return
        size = _size(write.result, write.cursor, write.error, write.children)
        before = self._sizes.get(write.name, 0)
        if size == before:
            return
        now = self._sum + size - before
        if now > self._most:
            raise InvalidStep(
                f"{self._kind}: with step {write.name!r}, {now / MIB:.1f} MiB would be recorded of this job's steps; "
                f"max_recorded is {self._most / MIB:g} MiB: store such values elsewhere and return their keys, or raise the "
                "setting"
            )
        self._sizes[write.name], self._sum = size, now


def _size(*texts: str | None) -> int:
    size = 0
    for text in texts:
        if text:
            size += len(text) if text.isascii() else len(text.encode())
    return size
