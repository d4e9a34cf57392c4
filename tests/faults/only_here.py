"""A module that a worker can import and a forking process cannot, as one that starts a program at its import."""

import os
import sys

from asyncjobs import current_job, job
from tests.faults.jobs import opened, where
from tests.support import oracle

VARIABLE = "ASYNCJOBS_TEST_ONLY_HERE"
"""Set where it is to be so: whoever runs process jobs beside these tests imports this module, too."""

if VARIABLE in os.environ and getattr(sys.modules["__main__"].__spec__, "name", "") == "asyncjobs.processes.forking":
    raise RuntimeError("this module is for workers only")


@job(kind="faults.only_here")
async def only_here(gate: str) -> str:
    with oracle.interval(current_job()):
        await opened(gate)
        return where()


@job(kind="faults.apart_from_here", executor="process")
def apart_from_here() -> None: ...
