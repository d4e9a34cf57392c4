"""Find a job again by its id, and read everything that is stored about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from client_jobs import Gate, Note, double, fail, wait_at

from asyncjobs import (
    AsyncJobs,
    InvalidArguments,
    InvalidOption,
    Job,
    JobFailed,
    JobNotFound,
    KindMismatch,
    NotEnqueued,
    job,
)

NIL = UUID(int=0)


@job(kind="get.renamed", aliases=("get.before",))
async def renamed(number: int) -> int:
    return number + 1


@job(kind="get.dated")
async def dated(at: datetime) -> datetime:
    return at


def asked_of(client: AsyncJobs) -> list[Callable[[Any], Awaitable[Any]]]:
    """Everything that takes one job."""
    return [client.get, client.status, client.result, client.cancel, client.retry, client.discard, client.why]


class TestGet:
    async def test_by_a_function(self, jobs: AsyncJobs) -> None:
        at = datetime(2020, 1, 1, tzinfo=UTC)
        made = await dated(at).enqueue()
        found = await jobs.get(made.id, dated)
        assert (found.id, found.kind, found.arguments) == (made.id, "get.dated", {"at": at})
        assert await found == at

    async def test_by_a_class(self, jobs: AsyncJobs) -> None:
        made = await Note(text="x").set(queue="low", priority=4).enqueue()
        found = await jobs.get(made.id, Note)
        assert isinstance(found, Note)
        assert (found.text, found.queue, found.priority) == ("x", "low", 4)
        assert await found == "x"

    async def test_by_the_kinds_name(self, jobs: AsyncJobs) -> None:
        made = await double(2).enqueue()
        assert await (await jobs.get(made.id, "client.double")) == 4

    async def test_without_a_kind_it_is_what_this_process_knows_it_as(self, jobs: AsyncJobs) -> None:
        at = datetime(2020, 1, 1, tzinfo=UTC)
        made = await dated(at).enqueue()
        assert await (await jobs.get(made.id)) == at

    async def test_an_id_may_be_text(self, jobs: AsyncJobs) -> None:
        made = await double(2).enqueue()
        for text in (str(made.id), str(made.id).upper(), made.id.hex):
            assert (await jobs.get(text, double)).id == made.id
            assert (await jobs.status(text)).id == made.id

    async def test_a_job_that_is_given_is_read_anew_as_one_of_its_own_kind(self, client: AsyncJobs) -> None:
        for made in (await double(2).enqueue(), await Note(text="x").enqueue()):
            found = await client.get(made)
            assert found is not made and type(found) is type(made)
            assert (found.id, found.arguments) == (made.id, made.arguments)
            with pytest.raises(KindMismatch):
                await client.get(made, dated)

    async def test_a_job_that_is_given_is_never_read_as_another_sort(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(2).enqueue()
        await connection.execute("""update asyncjobs.job set args = '{"number": "many"}'""")
        with pytest.raises(InvalidArguments):
            await client.get(made)

    async def test_a_job_of_an_unknown_kind_is_read_anew(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        found = await client.get(await connection.fetchval("""select asyncjobs.enqueue('elsewhere', '{"a": 1}')"""))
        assert (await client.get(found)).arguments == {"a": 1}

    @pytest.mark.parametrize("wrong", ["", "x", "not-a-uuid", str(NIL), NIL, 5, None, b"x" * 16, double, Note])
    async def test_what_is_no_id_is_refused_and_costs_no_connection(self, client: AsyncJobs, wrong: Any) -> None:
        await double(1).enqueue()
        before = client._client()._sessions.pool.statistics
        for ask in asked_of(client):
            with pytest.raises(InvalidOption, match="names no job: give a job that was enqueued, its id"):
                await ask(wrong)
        assert client._client()._sessions.pool.statistics == before

    async def test_a_job_without_a_row_is_refused_as_not_enqueued(self, client: AsyncJobs) -> None:
        for ask in asked_of(client):
            with pytest.raises(NotEnqueued):
                await ask(double(1))

    async def test_an_unknown_id_is_not_found(self, client: AsyncJobs) -> None:
        unknown = uuid4()
        for ask in (client.get(unknown), client.get(unknown, double), client.status(unknown)):
            with pytest.raises(JobNotFound) as raised:
                await ask
            assert raised.value.job_id == unknown

    async def test_a_job_of_another_kind_is_a_mismatch_that_names_both(self, client: AsyncJobs) -> None:
        made = await double(1).enqueue()
        with pytest.raises(KindMismatch, match=r"is a client\.double, not a client\.Note"):
            await client.get(made.id, Note)

    @pytest.mark.parametrize("wrong", [int, object(), "no.such.kind", Job, lambda: None])
    async def test_what_is_no_definition_is_refused(self, client: AsyncJobs, wrong: Any) -> None:
        made = await double(1).enqueue()
        with pytest.raises(InvalidOption, match="is no job definition"):
            await client.get(made.id, wrong)

    async def test_a_job_stored_under_a_former_kind_is_of_the_new_one(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await connection.fetchval("""select asyncjobs.enqueue('get.before', '{"number": 1}')""")
        assert await (await jobs.get(made, renamed)) == 2
        assert (await (await jobs.get(made)).status()).kind == "get.before"

    async def test_a_kind_that_nobody_here_knows_can_be_read(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await connection.fetchval("""select asyncjobs.enqueue('elsewhere.Job', '{"a": [1]}')""")
        found = await client.get(made)
        assert (found.kind, found.arguments, found.state) == ("elsewhere.Job", {"a": [1]}, "ready")
        assert (await found.status()).arguments == {"a": [1]}
        with pytest.raises(TimeoutError):
            await found.result(timeout=0.05)
        await connection.execute(
            """with gone as (delete from asyncjobs.job returning *)
               insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, attempt, priority, state, crashes, kind,
                                               queue, args, result)
               select id, 7, current_date + 1, enqueued_at, 1, 0, 4, 0, kind, queue, args, '{"b": 2}' from gone"""
        )
        assert await found == {"b": 2}

    @pytest.mark.parametrize("args", ["{nonsense", "[1]", '"text"', "null", '{"number": "many"}', ""])
    async def test_arguments_that_do_not_fit_are_no_obstacle_unless_their_kind_is_asked_for(
        self, client: AsyncJobs, connection: asyncpg.Connection, args: str
    ) -> None:
        for kind in ("client.double", "elsewhere.Job"):
            made = await connection.fetchval(
                "insert into asyncjobs.job (id, kind, args) values (gen_random_uuid(), $1, $2) returning id", kind, args
            )
            assert (await client.get(made)).kind == kind
            assert (await client.status(made)).kind == kind
        made = await connection.fetchval("select id from asyncjobs.job where kind = 'client.double'")
        with pytest.raises(InvalidArguments):
            await client.get(made, double)


class TestStatus:
    async def test_of_a_ready_job(self, client: AsyncJobs) -> None:
        made = await Note(text="x").set(queue="low", priority=4).enqueue()
        status = await made.status()
        assert (status.id, status.kind, status.state) == (made.id, "client.Note", "ready")
        assert (status.queue, status.priority, status.arguments) == ("low", 4, {"text": "x"})
        assert (status.attempt, status.crashes, status.errors, status.result) == (0, 0, [], None)
        assert (status.started_at, status.finished_at, status.worker, status.reason) == (None, None, None, None)
        assert status.enqueued_at.tzinfo is not None
        assert abs(status.run_at - status.enqueued_at) < timedelta(seconds=1)
        assert not status.final

    async def test_of_a_scheduled_job(self, client: AsyncJobs) -> None:
        at = datetime.now(UTC) + timedelta(days=1)
        status = await (await double(1).set(at=at).enqueue()).status()
        assert (status.state, status.run_at, status.final) == ("scheduled", at, False)

    async def test_of_a_running_job(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        gate = Gate("status")
        made = await wait_at("status").enqueue()
        await gate.arrived.wait()
        status = await made.status()
        assert (status.state, status.attempt) == ("running", 1)
        assert status.worker == await connection.fetchval("select id from asyncjobs.worker")
        assert status.started_at >= status.enqueued_at
        gate.open.set()
        await made

    async def test_of_one_that_succeeded(self, jobs: AsyncJobs) -> None:
        made = await double(4).enqueue()
        await made
        status = await made.status()
        assert (status.state, status.result, status.attempt, status.final) == ("succeeded", 8, 1, True)
        assert status.enqueued_at <= status.started_at <= status.finished_at
        assert (status.run_at, status.worker) == (None, None)

    async def test_of_one_that_failed(self, jobs: AsyncJobs) -> None:
        made = await fail("no luck").enqueue()
        with pytest.raises(JobFailed):
            await made
        status = await made.status()
        assert (status.state, status.final, status.result) == ("failed", True, None)
        [error] = status.errors
        assert (error.attempt, error.type, error.message) == (1, "builtins.ValueError", "no luck")
        assert "client_jobs.py" in error.traceback
        assert abs(error.at - status.finished_at) < timedelta(seconds=60)

    async def test_times_that_python_cannot_hold_are_shown_as_the_nearest(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        for time, year in (("20000-01-01", 9999), ("0044-03-15 BC", 1), ("-infinity", 1)):
            made = await connection.fetchval(
                """insert into asyncjobs.job (id, kind, state, run_at, enqueued_at)
                   values (gen_random_uuid(), 'k', 0, $1::text::timestamptz, $1::text::timestamptz) returning id""",
                time,
            )
            status = await client.status(made)
            assert (status.run_at.year, status.enqueued_at.year) == (year, year)

    async def test_another_client_reads_the_same(self, client: AsyncJobs, make_jobs: Callable[..., AsyncJobs]) -> None:
        made = await double(1).enqueue()
        async with make_jobs() as other:
            assert await other.status(made.id) == await client.status(made.id)
