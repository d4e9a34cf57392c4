"""Oban at work, for an interpreter that has it: `on_oban.py store|work URL FEATURE JOBS KEYS`."""

from __future__ import annotations

import asyncio
import sys

import orjson
import uvloop
from oban import Oban, worker
from oban.schema import install
from psycopg.types.json import set_json_dumps, set_json_loads

from benchmarks.clock import count_run

LIMIT = 500


@worker(queue="default")
class Noop:
    """Does nothing."""

    async def process(self, _job: object) -> None:
        """Be counted."""
        count_run()


async def store(url: str, _feature: str, jobs: int, _keys: int) -> None:
    """Make the schema, and all jobs in one call."""
    pool = await Oban.create_pool(url)
    await install(pool)
    await Oban(pool=pool).enqueue_many(Noop.new({"n": n}) for n in range(jobs))
    await pool.close()


async def work(url: str, _feature: str, _jobs: int, _keys: int) -> None:
    """One queue, embedded."""
    async with Oban(pool=await Oban.create_pool(url), queues={"default": LIMIT}):
        await asyncio.Event().wait()


if __name__ == "__main__":
    set_json_dumps(orjson.dumps)  # as `oban start` does, with uvloop
    set_json_loads(orjson.loads)
    url, feature, *numbers = sys.argv[2:]
    uvloop.run({"store": store, "work": work}[sys.argv[1]](url, feature, *map(int, numbers)))
