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


def name_of(text: str) -> str | None:
    """Return the name of the statement that has this text; None: it is none of them. Reads them all at its first call."""
    return _names().get(text)


@cache
def _names() -> dict[str, str]:
    return {read(path.stem): path.stem for path in _HERE.glob("*.sql")}
