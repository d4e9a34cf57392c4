"""Statements of SQL, one a file, each runnable in psql as it stands; `read` returns a text by its name.

Here and in ../functions, rows are looked up by their ids in forms that leave the planner no choice. A quick queue is empty
whenever PostgreSQL analyses its tables, and plans made then are kept. To read a table without pages costs nothing, so a join
by `=` may read all of it, and with a backlog still does: the end of each job of a chain read all that were scheduled, and to
discard one of 5,000 jobs read 2,500,000 rows. So

- a look-up is a subquery with `offset 0`, which the planner neither turns round nor joins,
- an update or a delete joins by `>=` and `<=` in place of `=`,
- `state + 0 = 2` is a condition that no partial index on that state answers.

The test is tests/db/test_db_rows_read.py.
"""

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
