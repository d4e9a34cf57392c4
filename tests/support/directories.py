"""Directories of a test run; those of a run that was killed are removed by the next."""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOM = 1 << 30
"""Bytes that a memory file system must have free; containers give it 64 MiB."""


def _place() -> Path:
    """Where directories are made: in memory where there is room, since copying a database costs eight times as much on a disk.

    Not in TMPDIR: the path of a socket has to be short.
    """
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free >= ROOM:
        return memory
    return Path("/tmp")


PLACE = _place()
RUNNABLE = Path("/tmp") if os.statvfs(PLACE).f_flag & os.ST_NOEXEC else PLACE
"""Where programs that are in it run, too: containers keep them from that in memory.

On a disk, to make some ten thousand files soon after as many were removed takes ext4 a tenth of all the time of the tests.
"""


@contextlib.contextmanager
def held_directory(
    prefix: str, end: Callable[[Path], None] = lambda _: None, *, place: Path | None = None
) -> Iterator[Path]:
    """A new directory `<prefix>…`, gone at the end; before that, those whose runs were killed are removed.

    Which these are is told by a lock on the directory: the kernel drops it with its process, and no program that the
    process started inherits it.

    Args:
        prefix: The beginning of the names.
        end: Ends what may still run in an abandoned one.
        place: Where; None: in `PLACE`.
    """
    place = place or PLACE
    for abandoned in place.glob(f"{prefix}*"):
        if (lock := _locked(abandoned)) is not None:
            try:
                end(abandoned)
                shutil.rmtree(abandoned, ignore_errors=True)
            finally:
                os.close(lock)
    while True:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        if (lock := _locked(directory)) is not None:  # otherwise another run came first, and took it for abandoned
            break
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


_OF_RUN = "TESTS_DIRECTORY_OF_RUN"


def of_run() -> Path:
    """The directory of this test run and of all processes that it starts from now on; gone with whoever asked first."""
    if _OF_RUN not in os.environ:
        held = contextlib.ExitStack()
        directory = held.enter_context(held_directory("asyncjobs-run-", place=RUNNABLE))
        directory.chmod(0o755)  # under root servers are another user's
        os.environ[_OF_RUN] = str(directory)
        owner = os.getpid()
        atexit.register(lambda: held.close() if os.getpid() == owner else None)
    return Path(os.environ[_OF_RUN])


def made_once(name: str, make: Callable[[Path, Path], None]) -> Path:
    """A directory that is made once for all processes of the run.

    Args:
        name: Within that of the run.
        make: Makes what is in it, given the directory as it is called meanwhile and for good.
    """
    made = of_run() / name
    with (of_run() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            half = made.with_name(f"{name}-half")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            make(half, made)
            half.rename(made)
    return made


def _locked(directory: Path) -> int | None:
    """Lock a directory: the descriptor that holds it. None: its run lives, or it is not ours, or gone by now."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), directory.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
