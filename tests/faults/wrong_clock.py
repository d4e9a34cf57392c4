"""The clock of a worker as its Python code sees it, its monotonic one left alone, where there is no libfaketime."""

import os
import time

VARIABLE = "CLOCK_SHIFT"
_real = time.time

if VARIABLE in os.environ:
    time.time = lambda: _real() + float(os.environ[VARIABLE])
