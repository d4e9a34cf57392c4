"""The overview: what waits, what fails, what ended lately, and what needs somebody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request

from asyncjobs.client.unserved_jobs import unserved
from asyncjobs.db import job_actions, looking, pausing, reading
from asyncjobs.db.looking import Throughput, Wanted
from asyncjobs.db.recurring import LATE
from asyncjobs.db.rows import State
from asyncjobs.jobs.pauses import Pause
from asyncjobs.terminal.printing import age
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.pages import failures, recurring, workers
from asyncjobs.web.pages.listed import counts
from asyncjobs.web.pages.queues import read_queues
from asyncjobs.web.queries import parameters
from asyncjobs.web.rendering import counted

SPANS = {"1h": looking.SPANS[1], "24h": looking.SPANS[0]}
"""Spans of the chart by the names that an address has for them."""
GROUPED = 100
"""Failed jobs, the newest, whose groups are shown."""
SHOWN_GROUPS = 5


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    span = parameters(request, "span").one_of("span", SPANS) or "1h"
    states = await dashboard.read(lambda connection: counts(connection, Wanted()))
    working = await workers.read_workers(dashboard)
    queues = await read_queues(dashboard, working)
    found = await dashboard.read(lambda connection: job_actions.read_failures(connection, GROUPED))
    schedules = await recurring.read_all(dashboard)
    pauses = await dashboard.read(pausing.read_pauses)
    ready = await dashboard.read(reading.ready_kinds)
    alive = [worker for worker in working if not worker["late"]]
    oldest = [queue["oldest_ready"] for queue in queues if queue["oldest_ready"] is not None and queue["pause"] is None]
    return {
        "states": states,
        "oldest_ready": max(oldest, default=None),
        "ready_in_paused": any(queue["ready"]["jobs"] for queue in queues if queue["pause"] is not None),
        "workers": {
            "alive": len(alive),
            "late": len(working) - len(alive),
            "slots": sum(worker["slots"] for worker in alive),
            "running": sum(worker["running"] for worker in alive),
        },
        "throughput": throughput_values(span, await dashboard.throughput(SPANS[span])),
        "failures": [failures.values_of(group) for group in found.groups[:SHOWN_GROUPS]],
        "attention": [
            *_attention(working, queues, schedules, list(unserved(ready, alive))),
            *_paused(pauses, queues, await dashboard.now()),
        ],
    }


def throughput_values(span: str, found: Throughput) -> dict[str, Any]:
    """Return how many jobs ended in each stretch of time, the earliest first."""
    width, stretches = found.span
    by_ago = [found.by_state.get(ago, {}) for ago in range(stretches)]
    succeeded = [states.get(State.succeeded, 0) for states in by_ago][::-1]
    others = [sum(jobs for state, jobs in states.items() if state is not State.succeeded) for states in by_ago][::-1]
    return {
        "span": span,
        "seconds": width * stretches,
        "seconds_each": width,
        "shortened": found.span != SPANS[span],
        "succeeded": succeeded,
        "others": others,
        "succeeded_in_all": sum(succeeded),
        "others_in_all": sum(others),
    }


def _attention(
    working: list[dict[str, Any]], queues: list[dict[str, Any]], schedules: list[dict[str, Any]], ready: list[str]
) -> Iterator[dict[str, str]]:
    """Yield what needs somebody, the most pressing first: a sentence, and the page about it."""
    alive = [worker for worker in working if not worker["late"]]
    if not alive and any(queue["ready"]["jobs"] for queue in queues):
        yield _note("bad", "Jobs are ready and no worker is alive: start `asyncjobs run`.", "/workers")
    for worker in working:
        name = f"{worker['host']}, pid {worker['pid']}"
        if worker["late"]:
            yield _note(
                "bad", f"The worker on {name} is silent for {age(worker['beat'])}: its lease is over.", "/workers"
            )
        elif worker["quiet"]:
            yield _note("warn", f"The worker on {name} is quiet: it was told to claim nothing.", "/workers")
        elif worker["claims_nothing"]:
            yield _note("bad", f"The worker on {name} claims nothing: {worker['claims_nothing']}", "/workers")
        for stuck in worker["stuck"]:
            yield _note("bad", f"{stuck['kind']} was cancelled and does not end, on {name}.", f"/jobs/{stuck['id']}")
    for sentence in ready if alive else ():
        yield _note("warn", sentence, "/queues")
    for schedule in schedules:
        if schedule["trouble"]:
            yield _note("bad", f"{schedule['name']} could not be enqueued: {schedule['trouble']}", "/recurring")
        elif schedule["overdue"] is not None and schedule["overdue"] > LATE.total_seconds():
            yield _note("bad", f"{schedule['name']} is overdue for {age(schedule['overdue'])}.", "/recurring")
    for block in workers.blocks(alive)[:3]:
        where = f", at {block['place']}" if block["place"] else ""
        text = f"{block['kind']} has blocked the event loop, for {age(block['longest'])} at the longest{where}."
        yield _note("warn", text, "/workers")


def _paused(pauses: Iterable[Pause], queues: Sequence[dict[str, Any]], now: datetime) -> Iterator[dict[str, str]]:
    """Yield a sentence about each pause: for how long, by whom, why, and how many jobs it holds."""
    ready = {queue["queue"]: queue["ready"] for queue in queues}
    for pause in pauses:
        until = f" for another {age((pause.until - now).total_seconds())}" if pause.until else ", until it is resumed"
        by = f", by {pause.by}" if pause.by else ""
        reason = f": {pause.reason}" if pause.reason else ""
        count = ready.get(pause.queue or "", {"jobs": 0, "more": False})
        holds = f"; {counted(count)} ready" if count["jobs"] else ""
        row = f"queue-{pause.queue}" if pause.queue else "paused-kinds"
        what = f"Queue {pause.queue}" if pause.queue else f"Kind {pause.kind}"
        yield _note("warn", f"{what} is paused{until}{by}{reason}{holds}", f"/queues#{row}")


def _note(level: str, text: str, path: str) -> dict[str, str]:
    return {"level": level, "text": text, "path": path}
