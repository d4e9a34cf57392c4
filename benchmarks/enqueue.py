"""How fast are jobs enqueued: many in one call, one by one, and one by one from many tasks?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks import floor, ours
from benchmarks.jobs import noop
from benchmarks.question import Question, Sample, Target, spread

if TYPE_CHECKING:
    from benchmarks.server import Bench


async def bulk(bench: Bench) -> Sample:
    """enqueue_all of 20,000; making the job objects is part of it."""
    async with ours.client(bench) as jobs:
        await noop(0).enqueue()
        started = time.perf_counter()
        await jobs.enqueue_all(noop(n) for n in range(floor.JOBS))
        return {"jobs_per_s": floor.JOBS / (time.perf_counter() - started)}


async def alone(bench: Bench) -> Sample:
    """One caller, one job after the other."""
    took = []
    async with ours.client(bench):
        await noop(0).enqueue()
        for n in range(floor.ALONE):
            started = time.perf_counter_ns()
            await noop(n).enqueue()
            took.append(time.perf_counter_ns() - started)
    return {"jobs_per_s": floor.ALONE / sum(took) * 1e9, **spread(took)}


async def together(bench: Bench) -> Sample:
    """50 tasks, each one job after the other."""
    left = floor.TOGETHER

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await noop(left).enqueue()

    async with ours.client(bench):
        await asyncio.gather(*(noop(n).enqueue() for n in range(floor.TASKS)))
        started = time.perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(floor.TASKS):
                callers.create_task(caller())
        return {"jobs_per_s": floor.TOGETHER / (time.perf_counter() - started)}


QUESTIONS = (
    Question(
        "enqueue: many in one call",
        "`enqueue_all` of 20,000 jobs, made on the way; against COPY of 20,000 rows that are ready in memory.",
        bulk,
        floor.copy,
        targets=(Target("jobs_per_s", at_least=0.5),),
    ),
    Question(
        "enqueue: one at a time",
        "1,000 jobs from one caller; against single-row inserts, each with its commit (and without a notice).",
        alone,
        floor.insert_alone,
        targets=(Target("jobs_per_s", at_least=0.9),),
    ),
    Question(
        "enqueue: from 50 tasks at once",
        "5,000 jobs from 50 tasks; against single-row inserts from 50 tasks that share 20 connections.",
        together,
        floor.insert_together,
        targets=(Target("jobs_per_s", at_least=4),),
    ),
)
