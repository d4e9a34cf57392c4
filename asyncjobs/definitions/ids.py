"""Ids of jobs: UUIDv7."""

from __future__ import annotations

import os
import struct
import time
from uuid import UUID, SafeUUID

_VERSION_AND_VARIANT = 0x7 << 76 | 0x2 << 62
_RANDOM = (1 << 62) - 1
_UNKNOWN = SafeUUID.unknown
_drawn: list[int] = []


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562 §5.7 and §6.2, method 3): milliseconds, 12 bits of their fraction, 62 random bits.

    The random bits come from the kernel, for 256 ids at once (a read for each would be a quarter of the cost); none is used
    on both sides of a fork or by two threads.
    """
    try:
        random = _drawn.pop()
    except IndexError:
        random, *drawn = struct.unpack("256Q", os.urandom(256 * 8))
        _drawn.extend(drawn)
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    # The same as UUID(int=…) without its checks: 0.3 µs instead of 1.0.
    made = object.__new__(UUID)
    fraction = (rest << 12) // 1_000_000
    object.__setattr__(made, "int", milliseconds << 80 | _VERSION_AND_VARIANT | fraction << 64 | random & _RANDOM)
    object.__setattr__(made, "is_safe", _UNKNOWN)
    return made


os.register_at_fork(after_in_child=_drawn.clear)
