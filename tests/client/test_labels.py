"""Tags, meta and searchable arguments: kept with a job wherever it goes, and what it is found by."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from asyncjobs import AsyncJobs, Batch, Job, chain, current_attempt, current_job, enqueue_all, job
from tests.support.asking import until

SEEN: list[tuple[str, dict[str, str], tuple[str, ...]]] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


@job(kind="labels.note", searchable=("user_id",))
async def note(text: str, user_id: int = 0) -> str:
    me = current_attempt()
    SEEN.append((text, me.meta, me.tags))
    if text == "broken":
        raise ValueError("broken")
    return text


@job(kind="labels.thread", executor="thread")
def in_thread() -> tuple[dict[str, str], list[str]]:
    me = current_attempt()
    return me.meta, list(me.tags)


async def test_a_job_has_its_meta_and_tags_while_it_runs_and_when_it_has_ended(jobs: AsyncJobs) -> None:
    made = note("a").set(meta={"source": "api", "empty": ""}, tags=("import", "customer-7", "import"))
    await made.enqueue()
    assert await made == "a"
    assert SEEN == [("a", {"source": "api", "empty": ""}, ("import", "customer-7"))]
    status = await made.status()
    assert (status.meta, status.tags) == ({"source": "api", "empty": ""}, ("import", "customer-7"))
