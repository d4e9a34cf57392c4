"""Exit codes of processes, in words."""

from __future__ import annotations

import signal


def spell(code: int) -> str:
    """Return an exit code, which is negative for a signal, as "SIGKILL" or "exit code 1"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
