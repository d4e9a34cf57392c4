"""The size of one job's step records. When the job ends, they are moved as one value, which must not be too large."""

from __future__ import annotations

from collections.abc import Iterable

from asyncjobs.exceptions import InvalidStep
from asyncjobs.records.step_records import Record, Write

MIB = 1 << 20


class RecordedSize:
    """The bytes of one job's step records, as far as this attempt knows.

    Args:
        kind: The job's kind, for messages.
        most: Bytes of all records, at most.
    """

    def __init__(self, kind: str, most: int) -> None:
        self._kind = kind
        self._most = most
        self._sizes: dict[str, int] = {}
        """Bytes of each step."""
        self._sum = 0

    def found(self, records: Iterable[Record]) -> None:
        """Count the records of earlier attempts."""
        self._sizes = {record.name: _size(record.result, record.cursor, record.children) for record in records}
        self._sum = sum(self._sizes.values())

    def add(self, write: Write) -> None:
        """Count a record that replaces the earlier record of its step.

        Raises:
            InvalidStep: All records together would be too large; this one is not counted and must not be written.
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
