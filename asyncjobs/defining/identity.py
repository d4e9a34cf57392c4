"""Names that identify: a job's id, and the stable name of the code that defines it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT = 0x8 << 60
_CLEAR = ~((0xF << 76) | (0xC << 60))


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, the rest random.

    The random bits come from the kernel: a generator in the process gives the same numbers on both sides of a fork.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & _CLEAR | _VERSION_7 | _VARIANT)


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
