"""What FastAPI makes of a job."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request, Response

from asyncjobs import AsyncJobs, InvalidOption, Job, NotOpen, enqueue_all, job
from asyncjobs.integrations.fastapi import event_stream


@job(kind="fastapi.pay")
async def pay(card: str) -> None: ...


class Pay(Job, kind="fastapi.Pay"):
    card: str

    async def perform(self) -> None: ...


outer, inner = FastAPI(), FastAPI()
outer.mount("/inner", inner)


@outer.post("/function")
async def by_function():
    return await pay("4711").enqueue()


@outer.post("/class")
async def by_class():
    return [await Pay(card="4711").enqueue()]


@outer.get("/shown/{job_id}")
async def shown(job_id: str, request: Request) -> Response:
    return event_stream(job_id, request)


@inner.post("/pay")
async def mounted() -> None:
    await pay("4711").enqueue()


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=outer), base_url="http://test") as client:
        yield client


async def test_a_job_that_an_endpoint_returns_is_its_id_kind_and_state(
    web: httpx.AsyncClient, client: AsyncJobs
) -> None:
    answer = (await web.post("/function")).json()
    assert answer == {"id": answer["id"], "kind": "fastapi.pay", "state": "ready"}
    assert (await client.get(answer["id"])).kind == "fastapi.pay"
    [answer] = (await web.post("/class")).json()
    assert answer == {"id": answer["id"], "kind": "fastapi.Pay", "state": "ready"}
    assert "4711" not in json.dumps(answer)


async def test_a_job_is_no_iterable_of_jobs_for_all_that(client: AsyncJobs) -> None:
    with pytest.raises(InvalidOption, match="call its enqueue"):
        await enqueue_all(pay("4711"))  # type: ignore[arg-type]


async def test_a_mounted_application_without_a_client_is_told_whose_lifespan_is_run(web: httpx.AsyncClient) -> None:
    with pytest.raises(NotOpen, match="a mounted one's is not run"):
        await web.post("/inner/pay")


class TestWhatAJobShows:
    async def test_of_one_that_cannot_be_seen_the_end_says_so(self, web: httpx.AsyncClient, client: AsyncJobs) -> None:
        answer = await web.get(f"/shown/{pay('4711').id}")
        assert "event: end" in answer.text
        assert "can be seen: its transaction" in answer.text

    async def test_an_error_of_the_database_is_for_the_log_and_a_browser_comes_back(
        self,
        web: httpx.AsyncClient,
        client: AsyncJobs,
        connection: asyncpg.Connection,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        made = await pay("4711").enqueue()
        await connection.execute("alter table asyncjobs.live_job rename to away")
        answer = await web.get(f"/shown/{made.id}")
        assert answer.status_code == 200
        assert "end" not in answer.text
        assert f"what job {made.id} shows was not sent to its end: " in caplog.text
