"""A module whose import takes a forking process as long as the test wants, as a large application's does."""

import os
import sys
import time
from pathlib import Path

VARIABLE = "ASYNCJOBS_TESTS_LATE_GATE"

if getattr(sys.modules["__main__"].__spec__, "name", "") == "asyncjobs.processes.forking":
    while not Path(os.environ[VARIABLE]).exists():
        time.sleep(0.01)
