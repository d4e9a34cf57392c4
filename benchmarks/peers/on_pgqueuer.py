"""PGQueuer at work, for an interpreter that has it: `on_pgqueuer.py store|work URL FEATURE JOBS KEYS`."""

from __future__ import annotations

import sys

import asyncpg
import uvloop
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries

from benchmarks.clock import count_run

BATCH = 500


async def store(url: str, feature: str, jobs: int, keys: int) -> None:
    """Make the schema, and all jobs in one call; the key of a limit is an entrypoint."""
    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    await queries.install()
    await queries.optimize_autovacuum()
    await queries.enqueue(
        [f"limited-{n % keys}" if feature == "limited" else "noop" for n in range(jobs)],
        [b"%d" % n for n in range(jobs)],
        [0] * jobs,
        dedupe_key=[f"unique-{n}" for n in range(jobs)] if feature == "unique" else None,
    )


async def work(url: str, feature: str, _jobs: int, keys: int) -> None:
    """One manager on one connection."""
    runner = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

    async def noop(_job: Job) -> None:
        count_run()

    names = [f"limited-{key}" for key in range(keys)] if feature == "limited" else ["noop"]
    for name in names:
        runner.entrypoint(name, concurrency_limit=1 if feature == "limited" else 0)(noop)
    await runner.run(batch_size=BATCH)


if __name__ == "__main__":
    url, feature, *numbers = sys.argv[2:]
    uvloop.run({"store": store, "work": work}[sys.argv[1]](url, feature, *map(int, numbers)))
