"""asyncjobs and what it imports, for pytest runs that are to rewrite none of it: else they warn that it is too late for that."""

import importlib
import sys

importlib.import_module("asyncjobs.testing.jobs")

for name in ("anyio", "asyncjobs", "platformdirs"):
    if name in sys.modules:
        sys.modules[name].__doc__ = "PYTEST_DONT_REWRITE"
