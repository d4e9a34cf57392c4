"""A module with which a worker runs as where uvloop is not installed."""

import sys

sys.modules["uvloop"] = None
