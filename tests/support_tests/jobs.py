"""A stand-in for a worker: says that it is ready, runs one job as its arguments ask, notes it in the oracle."""

import os
import signal
import sys
import time
from types import SimpleNamespace

from tests.support import oracle


def main() -> None:
    what = sys.argv[1]
    job = SimpleNamespace(id="job-1", attempt=int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    print("ready", flush=True)
    with oracle.interval(job):
        if what == "sleep":
            time.sleep(60)
        elif what == "fail":
            raise ValueError
        elif what == "children" and os.fork() == 0:
            time.sleep(60)


if __name__ == "__main__":
    main()
