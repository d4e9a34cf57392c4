"""Statements of SQL, one a file, each runnable in psql as it stands; `read` returns a text by its name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def read(name: str) -> str:
    """Return the text of a statement, without its head comment, which PostgreSQL would parse at each prepare."""
    lines = (_HERE / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).strip()


def name_of(text: str) -> str | None:
    """Return the name of the statement with this text; None: there is none. The first call reads all files."""
    return _names().get(text)


@cache
def _names() -> dict[str, str]:
    return {read(path.stem): path.stem for path in _HERE.glob("*.sql")}
