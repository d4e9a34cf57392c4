"""Names that identify: a job's id, and the stable name of the code that defines it."""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path
from uuid import UUID, SafeUUID

_VERSION_AND_VARIANT = 0x7 << 76 | 0x2 << 62
_RANDOM = (1 << 62) - 1
_UNKNOWN = SafeUUID.unknown
_drawn: list[int] = []


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562 §5.7 and §6.2, method 3): milliseconds, 12 bits of their fraction, 62 random bits.

    The random bits come from the kernel, for 256 ids at once (a read for each is a quarter of its cost), and none is used
    on both sides of a fork or by two threads.
    """
    try:
        random = _drawn.pop()
    except IndexError:
        random, *drawn = struct.unpack("256Q", os.urandom(256 * 8))
        _drawn.extend(drawn)
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    # What UUID(int=…) comes to, without its checks: 0.3 µs instead of 1.0.
    made = object.__new__(UUID)
    fraction = (rest << 12) // 1_000_000
    object.__setattr__(made, "int", milliseconds << 80 | _VERSION_AND_VARIANT | fraction << 64 | random & _RANDOM)
    object.__setattr__(made, "is_safe", _UNKNOWN)
    return made


os.register_at_fork(after_in_child=_drawn.clear)


def importable_module(name: str) -> str:
    """Return the name under which a worker can import the module `name`.

    The program that was started is `__main__` here and something else in a worker: its `python -m` name if it has one,
    else its file's name below the first entry of `sys.path` that holds it.
    """
    if name != "__main__":
        return name
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)  # of `python -m package`: package.__main__, which a worker can import under this name
    file = getattr(main, "__file__", None)
    if file is None:
        return name
    path = Path(file).resolve()
    for entry in sys.path:
        root = Path(entry or ".").resolve()
        if root in path.parents:
            return ".".join(path.relative_to(root).with_suffix("").parts)
    return path.stem
