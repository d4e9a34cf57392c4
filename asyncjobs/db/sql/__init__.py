"""One statement a file, each runnable in psql as it stands; `read` gives its text by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def read(name: str) -> str:
    """Return the text of the statement `name`, without its head comment (PostgreSQL would parse it at each prepare)."""
    lines = (_HERE / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).strip()
