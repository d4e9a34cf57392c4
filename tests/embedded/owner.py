"""A process that uses an embedded PostgreSQL: says where it is, then waits for `stop`, `exit` or the end of its input.

Arguments: directory, uid to become (-1: none), event loop (asyncio or uvloop), and optionally `temporary`, `groups` to be in
some, or `contained` to have no more rights than root in a container of Docker's.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401
import ctypes
import encodings.idna  # noqa: F401
import json
import os
import stringprep  # noqa: F401
import struct
import sys
import warnings
from pathlib import Path

# Everything is imported before the user is changed: another user may not be able to read this Python.
import anyio._backends._asyncio  # noqa: F401
import anyio.to_thread  # noqa: F401
import uvloop

from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.exceptions import AsyncJobsError

PR_CAPBSET_DROP, CAPABILITIES_3 = 24, 0x20080522


async def main() -> None:
    server = EmbeddedPostgres(Path(sys.argv[1]), temporary="temporary" in sys.argv, fsync=False)
    try:
        await server.start()
    except AsyncJobsError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), flush=True)
        return
    print(json.dumps({"url": server.url(), "version": server.version}), flush=True)
    while (command := (await asyncio.to_thread(sys.stdin.readline)).strip()) == "stop":
        await server.stop()
        print("stopped", flush=True)
    if command != "leak":
        await server.stop()


def contain() -> None:
    """Give up for good what Docker does not let root do."""
    libc, kept = ctypes.CDLL(None, use_errno=True), [0, 1, 3, 4, 5, 6, 7, 8]
    for number in {*range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1)} - {*kept}:
        libc.prctl(PR_CAPBSET_DROP, number)
    mask = sum(1 << number for number in kept)
    if libc.capset(struct.pack("Ii", CAPABILITIES_3, 0), struct.pack("6I", mask, mask, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "the rights stay as they are")


warnings.simplefilter("error")
if "contained" in sys.argv:
    contain()
uid = int(sys.argv[2])
if "groups" in sys.argv:
    os.setgroups([1, 2])
if uid >= 0:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = "/"
with asyncio.Runner(debug=True, loop_factory=uvloop.new_event_loop if sys.argv[3] == "uvloop" else None) as runner:
    # In debug mode asyncio prints what takes 0.1 s: the machine may be slow.
    runner.get_loop().slow_callback_duration = 60.0
    runner.run(main())
