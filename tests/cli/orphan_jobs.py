"""A job whose program leaves another behind."""

import os
import subprocess
import time

from asyncjobs import job


@job
def orphan() -> bool:
    """Whether what a program of this job has left is reaped when it has ended."""
    left = "sleep 0.1 </dev/null >/dev/null 2>&1 & echo $!"
    pid = int(subprocess.run(["sh", "-c", left], stdout=subprocess.PIPE, check=True).stdout)
    for _ in range(3000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False
