"""Who is measured beside us, and the virtual environment that each has of its own.

They are made once in the directory that PEERS names, and used from there; without it in the benchmark's own, which is thrown
away. PEERS_PYTHON names an interpreter for those that need a later Python than the one that runs the benchmark.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.question import Unavailable
from tests.support.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLS_WITHIN = 300.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One of the others.

    Attributes:
        name: Its name and release, as in the report.
        program: Its file in this directory, which stores jobs and runs them.
        requirements: What is installed for it.
        python: The least Python that it runs on.
        features: Which of the questions it can answer.
        progress: Asks its tables how many jobs are finished, and how many seconds ago the first was claimed.
    """

    name: str
    program: str
    requirements: tuple[str, ...]
    python: tuple[int, int]
    features: tuple[str, ...]
    progress: str

    async def interpreter(self, otherwise: Path) -> str:
        """The Python of its environment, which is made in *otherwise* when PEERS is not set.

        Raises:
            Unavailable: There is no Python for it, or its packages cannot be installed.
        """
        place = Path(os.environ.get("PEERS") or otherwise / "peers").resolve() / self.name.replace(" ", "-").lower()
        interpreter = place / "bin" / "python"
        if not interpreter.exists():
            base = await self._base()
            try:
                await run([base, "-m", "venv", str(place)])
                pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                await run([*pip, *self.requirements], timeout=INSTALLS_WITHIN)
            except BaseException as error:
                shutil.rmtree(place, ignore_errors=True)  # half of one would be taken for a whole one
                if isinstance(error, RuntimeError | subprocess.TimeoutExpired):
                    raise Unavailable(f"it cannot be installed: {str(error).strip().splitlines()[-1]}") from error
                raise
        return str(interpreter)

    async def _base(self) -> str:
        asked = f"import sys; sys.exit(sys.version_info < {self.python})"
        for candidate in _pythons(self.python[1]):
            try:
                await run([candidate, "-c", asked])
            except (RuntimeError, OSError):  # pyenv puts names on PATH that answer for the chosen version only
                continue
            return candidate
        raise Unavailable(f"it needs Python {'.'.join(map(str, self.python))} or later: PEERS_PYTHON can name one")


def _pythons(minor: int) -> Iterator[str]:
    yield sys.executable
    if named := os.environ.get("PEERS_PYTHON"):
        yield named
    yield from (found for n in range(minor, minor + 3) if (found := shutil.which(f"python3.{n}")))
    yield from map(str, sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3")))


PGQUEUER = Peer(
    "PGQueuer 1.6.0",
    "on_pgqueuer.py",
    ("pgqueuer[asyncpg]==1.6.0",),
    (3, 11),
    ("plain", "unique", "limited"),
    """
    select count(*) filter (where status = 'successful'),
           extract(epoch from clock_timestamp() - min(created) filter (where status = 'picked'))::float8
    from pgqueuer_log""",
)
PROCRASTINATE = Peer(
    "Procrastinate 3.10.0",
    "on_procrastinate.py",
    ("procrastinate==3.10.0", "psycopg[binary]"),
    (3, 11),
    ("plain", "unique", "limited"),
    """
    select count(*) filter (where type = 'succeeded'),
           extract(epoch from clock_timestamp() - min(at) filter (where type = 'started'))::float8
    from procrastinate_events""",
)
OBAN = Peer(
    "Oban 0.7.0",
    "on_oban.py",
    ("oban==0.7.0",),
    (3, 12),
    ("plain",),
    """
    select count(*) filter (where state = 'completed'),
           extract(epoch from clock_timestamp() - min(attempted_at) at time zone 'UTC')::float8
    from oban_jobs""",
)
PEERS = (PGQUEUER, PROCRASTINATE, OBAN)
