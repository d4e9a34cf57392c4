"""Retry, discard and cancel by hand: one job or all that match, and never two rows of one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from client_jobs import Gate, Note, double, rows, wait_at

from asyncjobs import AsyncJobs, InvalidOption, JobDiscarded, JobNotFound, job, retry_on
from asyncjobs.client import awaiting, job_actions
from asyncjobs.client.job_actions import Asked, may
from asyncjobs.client.job_filters import Action, filter_of
from asyncjobs.db import job_actions as statements
from asyncjobs.db.connecting import connect
from asyncjobs.db.inserts import enqueue_again
from asyncjobs.db.rows import NewJob, State
from asyncjobs.values import codec
from tests.support.asking import until
from tests.support.processes import PATIENCE

broken: set[str] = set()
"""The names that `fragile` fails for."""
attempts: dict[str, list[int]] = {}
BLOCKED = "select true from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() limit 1"
"""Somebody waits for a lock."""


@job(kind="job_actions.fragile", aliases=("job_actions.former",))
async def fragile(name: str, error: str = "ValueError", message: str = "broken") -> str:
    from asyncjobs import current_job

    attempts.setdefault(name, []).append(current_job().attempt)
    if name in broken:
        raise {"ValueError": ValueError, "ConnectionError": ConnectionError}[error](message)
    return name


@job(kind="job_actions.patient")
@retry_on(ConnectionError, wait=3600, attempts=3)
async def patient(name: str) -> str:
    attempts.setdefault(name, []).append(len(attempts.get(name, [])) + 1)
    if name in broken:
        raise ConnectionError("no answer")
    return name


@pytest.fixture(autouse=True)
def whole() -> None:
    broken.clear()
    attempts.clear()


async def state_of(connection: asyncpg.Connection, job_id: UUID) -> list[int]:
    """The state of every row with this id."""
    found = await connection.fetch(
        "select state from asyncjobs.job where id = $1 union all select state from asyncjobs.finished where id = $1",
        job_id,
    )
    return [row["state"] for row in found]


async def end(connection: asyncpg.Connection, state: State, count: int = 1, **columns: Any) -> list[UUID]:
    """Put jobs into the history that ended so, with one error each; their ids in order."""
    error = {
        "attempt": 2,
        "at": "2026-01-31T08:00:00+00:00",
        "type": columns.pop("type", "builtins.ValueError"),
        "message": columns.pop("message", "broken"),
        "traceback": "its traceback: DeepError: under it\n",
    }
    values = {"kind": "k", "queue": "q", "age": 0.0, "attempt": 2, **columns}
    found = await connection.fetch(
        """insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority,
                                           state, crashes, kind, queue, args, result, errors, reason)
           select asyncjobs.new_id(), 7, current_date + 1, now(), now(), now() - make_interval(secs => $3), $4, 3, $5, 2,
                  $1, $2, '{"name": "x"}', '1', $6, 'because' from generate_series(1, $7) returning id""",
        *(values["kind"], values["queue"], values["age"], values["attempt"], int(state), codec.dumps(error), count),
    )
    return sorted(row["id"] for row in found)


async def put(connection: asyncpg.Connection, state: State, **columns: Any) -> UUID:
    """Put a live job in by hand; its id."""
    values = {"kind": "k", "attempt": 0, "fence": 0, "age": 0.0, **columns}
    return await connection.fetchval(
        """insert into asyncjobs.job (id, kind, state, attempt, fence, enqueued_at, run_at, worker, queue)
           values (asyncjobs.new_id(), $1, $2::smallint, $3, $4, now() - make_interval(secs => $5),
                   now() + case when $2::smallint = 0 then interval '1 hour' else interval '0' end,
                   case when $2::smallint = 2 then gen_random_uuid() end, $6) returning id""",
        *(values["kind"], int(state), values["attempt"], values["fence"], values["age"], values.get("queue", "q")),
    )


class TestRetry:
    async def test_a_failed_job_runs_again_as_the_same_job(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        broken.add("a")
        made = await fragile("a").enqueue()
        await until(connection, "select true from asyncjobs.finished where id = $1 and state = 5", made.id)
        broken.clear()
        assert await jobs.retry(made.id)
        assert await made == "a"
        status = await made.status()
        assert (status.state, status.attempt, len(status.errors)) == ("succeeded", 2, 1)
        assert attempts["a"] == [1, 2]
        assert await rows(connection) == 1

    async def test_what_it_starts_afresh_with_and_what_it_keeps(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        for state in (State.failed, State.discarded, State.cancelled):
            [job_id] = await end(connection, state)
            before = await connection.fetchval("select nextval('asyncjobs.ready_seq')")
            assert await client.retry(job_id)
            row = await connection.fetchrow("select * from asyncjobs.job where id = $1", job_id)
            assert await state_of(connection, job_id) == [State.ready]
            assert (row["counts"], row["crashes"], row["cancel_reason"], row["expires_at"]) == (None, 0, None, None)
            assert (row["attempt"], row["priority"], row["kind"], row["queue"]) == (2, 3, "k", "q")
            assert (row["args"], row["fence"], row["worker"], row["awaited"]) == ('{"name": "x"}', 0, None, False)
            assert json.loads(row["errors"])["message"] == "broken"
            assert row["seq"] > before

    async def test_workers_are_told(self, client: AsyncJobs, connection: asyncpg.Connection, url: str) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        listener = await connect(url)
        await listener.add_listener("asyncjobs_ready", lambda *given: heard.put_nowait(given[-1]))
        ids = [*await end(connection, State.failed, 3), *await end(connection, State.failed, queue="other")]
        await client.retry_all()
        async with asyncio.timeout(PATIENCE):
            told = {await heard.get(), await heard.get()}
        listener.terminate()
        seqs = {
            row["queue"]: row["seq"]
            for row in await connection.fetch("select queue, min(seq) as seq from asyncjobs.job group by queue")
        }
        assert told == {f"{seq} {queue}" for queue, seq in seqs.items()}
        assert len(ids) == 4

    async def test_one_that_succeeded_only_when_it_is_forced(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        [job_id] = await end(connection, State.succeeded)
        assert not await client.retry(job_id)
        assert await state_of(connection, job_id) == [State.succeeded]
        assert await client.retry(job_id, force=True)
        assert await state_of(connection, job_id) == [State.ready]

    async def test_one_that_waits_for_its_retry_is_ready_now_and_its_counts_stay(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        broken.add("p")
        made = await patient("p").enqueue()
        await until(connection, "select true from asyncjobs.job where id = $1 and state = 0", made.id)
        counts = await connection.fetchval("select counts from asyncjobs.job")
        assert counts is not None
        assert await jobs.retry(made.id)
        await until(connection, "select true from asyncjobs.job where state = 0 and attempt = 2")
        assert await connection.fetchval("select counts from asyncjobs.job") == counts.replace("1", "2")
        broken.clear()
        assert await jobs.retry_all(state="scheduled", error="ConnectionError") == 1
        assert await made == "p"

    async def test_one_scheduled_for_its_first_run_only_when_it_is_forced(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(1).set(wait=3600).enqueue()
        assert not await client.retry(made.id)
        assert await client.retry_all(state="scheduled") == await client.retry_all(state="scheduled", dry_run=True) == 0
        assert await client.retry(made.id, force=True)
        assert await state_of(connection, made.id) == [State.ready]

    @pytest.mark.parametrize("state", [State.ready, State.running, State.waiting])
    async def test_one_that_is_live_stays_as_it_is(
        self, client: AsyncJobs, connection: asyncpg.Connection, state: State
    ) -> None:
        job_id = await put(connection, state, attempt=1)
        assert not await client.retry(job_id)
        assert not await client.retry(job_id, force=True)
        assert await state_of(connection, job_id) == [state]

    async def test_a_live_job_that_is_in_the_history_too_is_not_duplicated(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        [job_id] = await end(connection, State.failed)
        await connection.execute("insert into asyncjobs.job (id, kind, state) values ($1, 'k', 3)", job_id)
        assert not await client.retry(job_id)
        assert sorted(await state_of(connection, job_id)) == [State.waiting, State.failed]

    async def test_retried_by_many_at_once_it_is_one_row_and_one_of_them_did_it(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        ids = await end(connection, State.failed, 50)
        done = await asyncio.gather(
            *(client.retry(job_id) for job_id in ids for _ in range(4)), *(client.retry_all() for _ in range(4))
        )
        assert sum(done) == 50
        assert await rows(connection) == 50
        assert await connection.fetchval("select count(*) from asyncjobs.job where state = 1") == 50

    @pytest.mark.parametrize("state", [State.scheduled, State.failed])
    async def test_who_waited_for_another_retry_finds_it_done(
        self, connection: asyncpg.Connection, url: str, state: State
    ) -> None:
        job_id = (await end(connection, state))[0] if state.final else await put(connection, state, attempt=1)
        other = await connect(url)
        async with asyncio.TaskGroup() as group:
            transaction = connection.transaction()
            await transaction.start()
            assert [one[:3] for one in await statements.retry(connection, [job_id])] == [(job_id, True, State.ready)]
            late = group.create_task(statements.retry(other, [job_id]))
            await until(connection, BLOCKED)
            await transaction.commit()
        other.terminate()
        assert [one[:3] for one in late.result()] == [(job_id, False, State.ready)]
        assert await rows(connection) == 1

    async def test_a_resend_meets_a_retry_and_there_is_one_row(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        """The resend inserts before it looks into the history: whichever commits first, the job is there once."""
        [job_id] = await end(connection, State.failed)
        async with asyncio.TaskGroup() as group:
            transaction = connection.transaction()
            await transaction.start()
            assert not await enqueue_again(connection, NewJob(job_id, "k", "q", 0, "{}"))
            other = group.create_task(client.retry(job_id))
            await until(connection, BLOCKED)
            await transaction.commit()
        assert other.result() is True
        assert await state_of(connection, job_id) == [State.ready]

    async def test_a_job_that_was_claimed_since_it_was_found_is_left_alone(
        self, connection: asyncpg.Connection
    ) -> None:
        [job_id] = await end(connection, State.failed)
        assert [one.done for one in await statements.retry(connection, [job_id], [6])] == [False]
        assert await state_of(connection, job_id) == [State.failed]
        assert [one.done for one in await statements.retry(connection, [job_id], [7])] == [True]

    async def test_jobs_that_fail_again_at_once_are_retried_once(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job_actions, "BATCH", 2)
        monkeypatch.setattr(statements, "BATCH", 2)
        names = [f"n{number}" for number in range(9)]
        broken.update(names)
        for name in names:
            await fragile(name).enqueue()
        await until(connection, "select count(*) = 9 from asyncjobs.finished")

        async def slow(*args: Any, **given: Any) -> Any:
            done = await retry(*args, **given)
            await until(
                connection, "select count(*) = 9 from asyncjobs.finished"
            )  # what is retried fails before the next batch
            return done

        retry = statements.retry
        monkeypatch.setattr(statements, "retry", slow)
        assert await jobs.retry_all(kind=fragile) == 9
        assert all(seen == [1, 2] for seen in attempts.values())

    async def test_jobs_that_come_while_it_goes_on_are_left_alone(
        self, client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(statements, "BATCH", 2)
        discard, batches = statements.discard, 0

        async def beside_a_producer(*args: Any, **given: Any) -> Any:
            nonlocal batches
            batches += 1
            assert batches <= 10
            await client.enqueue_all([double(1), double(2)])
            return await discard(*args, **given)

        monkeypatch.setattr(statements, "discard", beside_a_producer)
        await client.enqueue_all([double(number) for number in range(6)])
        assert await client.discard_all() == 6
        assert await connection.fetchval("select count(*) from asyncjobs.job where state = 1") == 6

    async def test_what_is_not_there_is_not_found(self, client: AsyncJobs) -> None:
        unknown = uuid4()
        for ask in (client.retry(unknown), client.discard(unknown), client.cancel(unknown)):
            with pytest.raises(JobNotFound) as raised:
                await ask
            assert raised.value.job_id == unknown


class TestDiscard:
    @pytest.mark.parametrize("state", [State.scheduled, State.ready, State.waiting])
    async def test_a_live_job_that_does_not_run_is_discarded_with_the_reason(
        self, client: AsyncJobs, connection: asyncpg.Connection, state: State
    ) -> None:
        job_id = await put(connection, state, attempt=1)
        assert await client.discard(job_id, reason="nobody wants it")
        status = await client.status(job_id)
        assert (status.state, status.reason, status.attempt) == ("discarded", "nobody wants it", 1)
        assert await rows(connection) == 1

    async def test_a_failed_job_is_discarded_and_keeps_its_errors(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        [job_id] = await end(connection, State.failed)
        assert await client.discard(job_id, reason="known")
        status = await client.status(job_id)
        assert (status.state, status.reason, status.errors[0].message) == ("discarded", "known", "broken")
        assert not await client.discard(job_id, reason="again")
        assert (await client.status(job_id)).reason == "known"

    @pytest.mark.parametrize("state", [State.running, State.succeeded, State.cancelled])
    async def test_one_that_runs_or_ended_otherwise_stays_as_it_is(
        self, client: AsyncJobs, connection: asyncpg.Connection, state: State
    ) -> None:
        job_id = (await end(connection, state))[0] if state.final else await put(connection, state)
        assert not await client.discard(job_id)
        assert await state_of(connection, job_id) == [state]

    async def test_whoever_awaits_it_is_told_without_a_poll(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(awaiting, "SAFETY_POLL", 3600.0)
        async with make_jobs() as client:
            made = await double(1).enqueue()
            waiting = asyncio.ensure_future(made.result(timeout=PATIENCE))
            await until(connection, "select true from asyncjobs.job where awaited")
            assert await client.discard(made.id, reason="enough")
            with pytest.raises(JobDiscarded, match="enough"):
                await waiting

    @pytest.mark.parametrize("state", [State.ready, State.failed])
    async def test_who_waited_for_another_discard_finds_it_done(
        self, connection: asyncpg.Connection, url: str, state: State
    ) -> None:
        job_id = (await end(connection, state))[0] if state.final else await put(connection, state)
        other = await connect(url)
        async with asyncio.TaskGroup() as group:
            transaction = connection.transaction()
            await transaction.start()
            assert [one[:3] for one in await statements.discard(connection, [job_id], None, "", 7)] == [
                (job_id, True, State.discarded)
            ]
            late = group.create_task(statements.discard(other, [job_id], None, "", 7))
            await until(connection, BLOCKED)
            await transaction.commit()
        other.terminate()
        assert [one[:3] for one in late.result()] == [(job_id, False, State.discarded)]
        assert await rows(connection) == 1

    async def test_its_partition_is_made_when_it_is_missing(
        self, make_jobs: Any, connection: asyncpg.Connection
    ) -> None:
        async with make_jobs(retention=200 * 86_400) as client:
            made = await client.enqueue(double(1))
            assert await client.discard(made.id)
            assert await state_of(connection, made.id) == [State.discarded]


class TestCancel:
    async def test_running_ones_too_are_cancelled_by_filter(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        gate = Gate("cancel_all")
        running = await wait_at("cancel_all").enqueue()
        await gate.arrived.wait()
        later = await wait_at("cancel_all").set(wait=3600).enqueue()
        assert await jobs.cancel_all(kind=wait_at, reason="all of them") == 2
        await until(
            connection, "select count(*) = 2 from asyncjobs.finished where state = 7 and reason = 'all of them'"
        )
        assert not await jobs.cancel(running.id)
        assert not await jobs.cancel(later.id)

    async def test_one_that_was_asked_to_be_cancelled_is_not_asked_again(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        job_id = await put(connection, State.running)
        assert await client.cancel_all(reason="first") == 1
        assert await client.cancel_all(reason="second") == 0
        assert await connection.fetchval("select cancel_reason from asyncjobs.job where id = $1", job_id) == "first"


class TestFilters:
    async def test_each_part_narrows(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        await end(connection, State.failed, 3)
        await end(connection, State.failed, 2, kind="other", queue="low")
        await end(connection, State.failed, 1, type="app.errors.Deep", message='says "so" and é\n')
        await end(connection, State.failed, 1, age=7200)
        await end(connection, State.discarded, 4)
        await end(connection, State.succeeded, 4)
        for which, count in (
            ({}, 7),
            ({"kind": "other"}, 2),
            ({"kind": "othe"}, 0),
            ({"queue": "low"}, 2),
            ({"state": "discarded"}, 4),
            ({"state": ["discarded", "failed"]}, 11),
            ({"error": "ValueError"}, 6),
            ({"error": "builtins.ValueError"}, 6),
            ({"error": "Error"}, 0),
            ({"error": "Deep"}, 1),
            ({"error": "DeepError"}, 0),
            ({"error": "roke"}, 6),
            ({"error": 'says "so" and é\n'}, 1),
            ({"error": "traceback"}, 0),
            ({"older_than": 3600}, 1),
            ({"limit": 2}, 2),
            ({"kind": "other", "error": "roke", "limit": 1}, 1),
        ):
            assert await client.retry_all(**which, dry_run=True) == count, which
        assert await connection.fetchval("select count(*) from asyncjobs.job") == 0
        assert await client.retry_all(kind="other") == 2
        assert await client.discard_all(error="Deep") == 1

    async def test_a_definition_stands_for_its_aliases_too(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        for kind in (fragile, "job_actions.fragile"):
            await end(connection, State.failed, kind="job_actions.former")
            assert await client.retry_all(kind=kind) == 1
        assert await client.discard_all(kind=Note) == 0

    async def test_of_live_jobs_the_age_counts_from_their_enqueueing(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await put(connection, State.ready, age=7200)
        await put(connection, State.ready)
        assert await client.discard_all(older_than=3600) == 1

    async def test_whatever_the_size_of_a_batch_each_job_is_taken_once(
        self, client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await end(connection, State.failed, 23)
        await end(connection, State.failed, 9, kind="other")
        for batch, looked_at in ((1, 2), (3, 7), (4, 4), (7, 3), (23, 23), (50, 50)):
            monkeypatch.setattr(statements, "BATCH", batch)
            monkeypatch.setattr(job_actions, "BATCH", batch)
            monkeypatch.setattr(statements, "LOOKED_AT", looked_at)
            async with asyncio.timeout(PATIENCE):  # it would look at the same jobs for ever
                assert await client.retry_all(kind="k", dry_run=True) == 23, (batch, looked_at)
            assert await client.retry_all(kind="k", limit=10, dry_run=True) == 10, (batch, looked_at)
        monkeypatch.setattr(statements, "BATCH", 4)
        monkeypatch.setattr(job_actions, "BATCH", 4)
        monkeypatch.setattr(statements, "LOOKED_AT", 7)
        assert await client.retry_all(kind="k") == 23
        assert await client.discard_all(kind="k") == 23
        assert await client.discard_all() == 9

    async def test_the_oldest_are_taken_first(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        ids = await end(connection, State.failed, 5)
        assert await client.retry_all(limit=2) == 2
        assert [row["id"] for row in await connection.fetch("select id from asyncjobs.job order by seq")] == ids[:2]

    async def test_errors_written_by_hand_are_no_obstacle(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        [job_id] = await end(connection, State.failed)
        for errors in ("no JSON", "", '{"type": 1}', '{"type": "A"', None):
            await connection.execute("update asyncjobs.finished set errors = $1", errors)
            assert await client.retry_all(error="x", dry_run=True) == 0
        assert await client.retry(job_id)

    @pytest.mark.parametrize(
        ("which", "said"),
        [
            ({"kind": 7}, "kind=7 is no job definition"),
            ({"kind": "a\n"}, "is no kind"),
            ({"queue": "-x"}, "is no queue name"),
            ({"state": "succeeded"}, "use failed, discarded, cancelled, scheduled"),
            ({"state": []}, "names no state"),
            ({"state": 7}, "is nothing to retry"),
            ({"error": ""}, "error must be 1 to 1000 characters"),
            ({"error": "x" * 1001}, "error must be 1 to 1000 characters"),
            ({"error": "a\0"}, "cannot be stored"),
            ({"older_than": -1}, "older_than=-1 is not allowed"),
            ({"older_than": "2h"}, "older_than='2h' is not a time"),
            ({"limit": 0}, "limit=0 is not allowed: use a whole number from 1"),
            ({"limit": 1.5}, "limit=1.5 is not allowed"),
            ({"kinds": "k"}, "has no option 'kinds': write kind=…; there are"),
        ],
    )
    async def test_what_cannot_be_is_refused_by_name(self, client: AsyncJobs, which: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidOption, match=said):
            await client.retry_all(**which)

    async def test_reasons_and_ids_that_cannot_be_are_refused(self, client: AsyncJobs) -> None:
        for ask in (
            client.discard(uuid4(), reason="x" * 1001),
            client.discard_all(reason="a\0"),
            client.cancel_all(reason=7),
            client.retry("x"),
        ):
            with pytest.raises(InvalidOption):
                await ask


def test_what_may_be_done_with_a_job_in_each_state() -> None:
    for action, forced, expected in (
        (Action.retry, False, "failed discarded cancelled"),
        (Action.retry, True, "scheduled succeeded failed discarded cancelled"),
        (Action.discard, False, "scheduled ready waiting failed"),
        (Action.cancel, False, "scheduled ready running waiting"),
    ):
        asked = Asked(action, forced=forced)
        assert [state.name for state in State if may(asked, state, 0)] == expected.split(), action
    assert may(Asked(Action.retry), State.scheduled, 1)


def test_a_filter_without_anything_is_for_what_the_action_usually_means() -> None:
    assert [state.name for state in filter_of(Action.retry).states] == ["failed"]
    assert filter_of(Action.cancel).states == Action.cancel.states
