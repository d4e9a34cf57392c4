"""Procrastinate at work, for an interpreter that has it: `on_procrastinate.py store|work URL FEATURE JOBS KEYS`."""

from __future__ import annotations

import asyncio
import sys

import procrastinate

from benchmarks.clock import count_run

CONCURRENCY = 30


def _app(url: str) -> procrastinate.App:
    """An app with as many connections as jobs at once, and one more."""
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=CONCURRENCY + 1, max_size=CONCURRENCY + 1)
    app = procrastinate.App(connector=connector)

    @app.task(name="noop")
    async def noop(n: int) -> None:
        count_run()

    return app


async def store(url: str, feature: str, jobs: int, keys: int) -> None:
    """Make the schema, and all jobs in one call: that of tasks takes one lock for all its jobs."""
    app = _app(url)
    job = app.configure_task("noop").job
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await app.job_manager.batch_defer_jobs_async(
            [
                job.evolve(
                    task_kwargs={"n": n},
                    queueing_lock=f"unique-{n}" if feature == "unique" else None,
                    lock=f"limited-{n % keys}" if feature == "limited" else None,
                )
                for n in range(jobs)
            ]
        )


async def work(url: str, _feature: str, _jobs: int, _keys: int) -> None:
    """One worker."""
    app = _app(url)
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY)


if __name__ == "__main__":
    url, feature, *numbers = sys.argv[2:]
    asyncio.run({"store": store, "work": work}[sys.argv[1]](url, feature, *map(int, numbers)))
