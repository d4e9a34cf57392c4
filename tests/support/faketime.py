"""libfaketime, for processes that see another time; tests that need it are skipped where it is not installed."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_SHARED = Path("/dev/shm")
_ITS_FILE = re.compile(r"(?:sem\.)?faketime_(?:shm|sem)_(\d+)")


def find(name: str) -> Path | None:
    """Return where a library of it is installed."""
    return next(iter(sorted(Path("/usr/lib").glob(f"*/faketime/{name}"))), None)


def library() -> Path:
    """Return where it is installed, or skip the test."""
    found = find("libfaketime.so.1")
    if found is None:
        pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
    return found


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Remove at the end what it has left of processes that were killed meanwhile."""
    before = set(_SHARED.glob("*faketime_*"))
    try:
        yield
    finally:
        for path in {*_SHARED.glob("*faketime_*")} - before:
            its = _ITS_FILE.fullmatch(path.name)
            if its is not None and not Path(f"/proc/{its[1]}").exists():
                path.unlink(missing_ok=True)
