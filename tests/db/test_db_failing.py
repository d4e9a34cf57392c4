"""Attempts that are given back, jobs that are cancelled, and suspects: what the statements do to the rows."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from db_rows import claim, make_worker, new_job, pinned, put, states, succeeded

from asyncjobs.db import claims, inserts, jobs, workers
from asyncjobs.db.rows import Reschedule
from asyncjobs.records.claimed import Claimed, Refused
from tests.support.asking import until_blocked


@pytest.fixture
def session(worker_session: asyncpg.Connection) -> asyncpg.Connection:
    return worker_session


@pytest.fixture
def worker(connection: asyncpg.Connection, complete: Callable[[Any], Any]) -> UUID:
    return complete(make_worker(connection))


async def running(
    session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID, n: int = 1
) -> list[Claimed]:
    await put(connection, n)
    return sorted(await claim(session, worker, n), key=lambda job: job.id)


async def suspects(session: asyncpg.Connection, worker: UUID, **given: Any) -> list[Claimed]:
    wanted = {"queues": ["q"], "limit": 10, "kinds": {"k": 3}, "apart": True, **given}
    return await claims.claim_suspects(session, worker=worker, **wanted)


async def row_of(connection: asyncpg.Connection, job_id: UUID) -> dict[str, Any]:
    return dict(await connection.fetchrow("select * from asyncjobs.job where id = $1", job_id))


class TestReschedule:
    async def test_each_of_a_batch_keeps_what_is_its_own(self, session, connection, worker) -> None:
        retried, snoozed, released, moved = await running(session, connection, worker, 4)
        batch = [
            Reschedule(retried.id, retried.fence, 60.0, "error 1", '{"E":1}', spent=True),
            Reschedule(snoozed.id, snoozed.fence, 60.0),
            Reschedule(released.id, released.fence),
            Reschedule(moved.id, moved.fence, 0.0, "error 2", spent=True, queue="low", priority=9),
        ]
        assert await jobs.reschedule(session, batch) == 4
        rows = [await row_of(connection, job.id) for job in batch]
        assert [row["state"] for row in rows] == [0, 0, 1, 1]
        assert [row["attempt"] for row in rows] == [1, 0, 0, 1]
        assert [row["errors"] for row in rows] == ["error 1", None, None, "error 2"]
        assert [row["counts"] for row in rows] == ['{"E":1}', None, None, None]
        assert [(row["queue"], row["priority"]) for row in rows] == [("q", 0), ("q", 0), ("q", 0), ("low", 9)]
        assert {(row["worker"], row["crashes"]) for row in rows} == {(None, 0)}
        later = await connection.fetchval(
            "select min(run_at) > clock_timestamp() + interval '50 s' from asyncjobs.job where state = 0"
        )
        assert later

    async def test_a_lost_answer_is_told_from_a_lost_lease(self, session, connection, worker) -> None:
        [job] = await running(session, connection, worker)
        batch = [Reschedule(job.id, job.fence, 60.0, "error", spent=True)]
        assert await jobs.reschedule(session, batch) == 1
        assert await jobs.reschedule(session, batch) == 0
        assert (await row_of(connection, job.id))["errors"] == "error"
        assert await jobs.rescheduled_with_fence(session, batch) == {job.id}
        other = [Reschedule(job.id, job.fence + 1)]
        assert await jobs.rescheduled_with_fence(session, other) == set()

    async def test_one_that_was_asked_to_be_cancelled_is_ready_at_once_and_refused_by_the_next_claim(
        self, session, connection, worker
    ) -> None:
        [job] = await running(session, connection, worker)
        assert await jobs.cancel(connection, job.id, "enough", 7) == "cancelling"
        await jobs.reschedule(session, [Reschedule(job.id, job.fence, 3600.0, "error", spent=True)])
        [again] = await claim(session, worker)
        assert (again.id, again.refused, again.attempt) == (job.id, Refused.cancelled, 1)

    async def test_the_oldest_of_a_megabyte_of_errors_go(self, session, connection, worker) -> None:
        [job] = await running(session, connection, worker)
        lines = "\n".join(f"{n:06} {'x' * 1000}" for n in range(1200))
        await connection.execute("update asyncjobs.job set errors = $1", lines)
        await jobs.reschedule(session, [Reschedule(job.id, job.fence, error="the newest", spent=True)])
        kept = (await row_of(connection, job.id))["errors"].split("\n")
        assert kept[-1] == "the newest" and kept[-2].startswith("001199 ")
        assert 500 < len(kept) < 530 and len(kept[0]) == 1007

    async def test_news_of_it_names_the_queue_or_that_something_is_due_soon(self, session, connection, worker) -> None:
        now, soon = await running(session, connection, worker, 2)
        heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        for channel in ("asyncjobs_ready", "asyncjobs_due"):
            await connection.add_listener(channel, lambda *notice: heard.put_nowait((notice[2], notice[3])))
        await jobs.reschedule(session, [Reschedule(now.id, now.fence), Reschedule(soon.id, soon.fence, 1.0)])
        told = dict([await heard.get(), await heard.get()])
        assert told == {"asyncjobs_ready": f"{(await row_of(connection, now.id))['seq']} q", "asyncjobs_due": ""}


class TestExpiry:
    async def test_a_job_that_was_not_started_in_time_is_claimed_only_to_be_refused(
        self, session, connection, worker
    ) -> None:
        await inserts.enqueue_many(connection, [new_job(expires_in=0.001), new_job(expires_in=60.0), new_job()])
        await connection.execute("select pg_sleep(0.01)")
        claimed = await claim(session, worker)
        assert sorted((job.attempt, job.refused) for job in claimed if job.refused) == [(0, Refused.expired)]
        assert [job.attempt for job in claimed if not job.refused] == [1, 1]

    @pytest.mark.parametrize("delay", [0.0, 60.0])
    @pytest.mark.parametrize("started", [False, True])
    async def test_one_that_was_snoozed_or_interrupted_has_been_started_in_time(
        self, session, connection, worker, delay: float, started: bool
    ) -> None:
        await inserts.enqueue_many(connection, [new_job(expires_in=60.0)])
        [claimed] = await claim(session, worker)
        assert await jobs.reschedule(session, [Reschedule(claimed.id, claimed.fence, delay, started=started)]) == 1
        expires_at = await connection.fetchval("select expires_at from asyncjobs.job where attempt = 0")
        assert (expires_at is None) is started

    async def test_one_that_has_been_started_never_expires(self, session, connection, worker) -> None:
        await inserts.enqueue_many(connection, [new_job(expires_in=60.0)])
        [job] = await claim(session, worker)
        await connection.execute("update asyncjobs.job set expires_at = '2000-01-01'")
        await jobs.reschedule(session, [Reschedule(job.id, job.fence, spent=True)])
        [again] = await claim(session, worker)
        assert (again.refused, again.attempt) == (None, 2)

    async def test_it_counts_from_when_the_job_is_due(self, connection) -> None:
        await inserts.enqueue_again(connection, new_job(delay=100.0, expires_in=10.0))
        await inserts.enqueue_many(connection, [new_job(delay=100.0, expires_in=10.0)])
        rows = await connection.fetch(
            "select extract(epoch from expires_at - run_at)::int as seconds from asyncjobs.job"
        )
        assert [row["seconds"] for row in rows] == [10, 10]


class TestCancel:
    @pytest.mark.parametrize("delay", [None, 60.0])
    async def test_what_has_not_begun_is_cancelled_at_once(self, connection, delay) -> None:
        [job_id] = await put(connection, delay=delay)
        assert await jobs.cancel(connection, job_id, "why", 7) == "cancelled"
        row = await connection.fetchrow("select state, reason, attempt, kind from asyncjobs.finished")
        assert tuple(row) == (7, "why", 0, "k")
        assert await jobs.cancel(connection, job_id, "again", 7) == "final"

    async def test_what_runs_is_marked_and_its_worker_told(self, session, connection, worker) -> None:
        [job] = await running(session, connection, worker)
        heard: asyncio.Queue[str] = asyncio.Queue()
        await session.add_listener("asyncjobs_cancel", lambda *notice: heard.put_nowait(notice[3]))
        assert await jobs.cancel(connection, job.id, "why", 7) == "cancelling"
        assert await heard.get() == str(worker)
        assert await jobs.read_cancels(session, worker) == [job.id]
        assert await jobs.cancel(connection, job.id, "another reason", 7) == "cancelling"
        await jobs.finish(session, [succeeded(job, state=7)])
        assert await connection.fetchval("select reason from asyncjobs.finished") == "why"

    @pytest.mark.parametrize("call", ["cancel($1, '', 300)", "discard(array[$1::uuid], days => 300)"])
    async def test_while_room_is_made_in_the_history_nobody_waits_for_the_job(
        self, session, connection, url, call
    ) -> None:
        await connection.execute("alter function asyncjobs.make_partitions set lock_timeout = '1min'")
        [job_id] = await put(connection)
        moving = await pinned(url)
        async with connection.transaction():
            await connection.execute("lock table asyncjobs.migration in share row exclusive mode")
            moved = asyncio.ensure_future(moving.fetch(f"select * from asyncjobs.{call}", job_id))
            await until_blocked(session)
            await session.fetch("select from asyncjobs.job where id = $1 for update nowait", job_id)
        await moved
        assert (await states(connection))[job_id] in (6, 7)
        moving.terminate()

    async def test_what_ended_stays_as_it_is_and_what_is_nowhere_is_nothing(self, session, connection, worker) -> None:
        [job] = await running(session, connection, worker)
        await jobs.finish(session, [succeeded(job)])
        assert await jobs.cancel(connection, job.id, "too late", 7) == "final"
        assert await jobs.cancel(connection, uuid4(), "", 7) is None
        assert await states(connection) == {job.id: 4}

    async def test_who_waits_for_it_is_told(self, session, connection) -> None:
        [job_id] = await put(connection)
        await jobs.await_jobs(connection, [job_id])
        heard: asyncio.Queue[str] = asyncio.Queue()
        await session.add_listener("asyncjobs_done", lambda *notice: heard.put_nowait(notice[3]))
        await jobs.cancel(connection, job_id, "", 7)
        assert await heard.get() == str(job_id)[:18]

    async def test_a_day_without_a_partition_gets_one(self, connection) -> None:
        [job_id] = await put(connection)
        assert await jobs.cancel(connection, job_id, "", 400) == "cancelled"

    async def test_against_a_claim_that_comes_at_the_same_time_one_of_the_two_has_the_job(
        self, session, connection, worker, url
    ) -> None:
        ids = await put(connection, 200)
        others = [await pinned(url) for _ in range(3)]
        order = random.sample(ids, len(ids))
        cancelled, claimed = await asyncio.gather(
            asyncio.gather(*(cancel_each(other, order[n::3]) for n, other in enumerate(others))),
            claim_all(session, worker, len(ids)),
        )
        came_to = {job_id: how for each in cancelled for job_id, how in each.items()}
        for job in claimed:
            assert came_to[job.id] == "cancelling"
        assert sum(how == "cancelled" for how in came_to.values()) == len(ids) - len(claimed)
        for other in others:
            other.terminate()


async def cancel_each(connection: asyncpg.Connection, ids: list[UUID]) -> dict[UUID, str | None]:
    return {job_id: await jobs.cancel(connection, job_id, "", 7) for job_id in ids}


async def claim_all(session: asyncpg.Connection, worker: UUID, most: int) -> list[Claimed]:
    found: list[Claimed] = []
    while batch := await claim(session, worker, 5):
        found += batch
    return found


class TestACrash:
    @pytest.fixture
    def lost(self, session, connection, worker, complete) -> Claimed:
        """A job of a worker that has died."""
        [job] = complete(running(session, connection, worker))
        complete(workers.end(connection, worker, "SIGKILL"))
        return job

    async def test_a_rescue_charges_the_crash_and_keeps_what_is_known_of_it(self, session, connection, lost) -> None:
        await connection.execute("update asyncjobs.worker set host = 'web-1'")
        assert await jobs.rescue(session, 10) == 1
        row = await row_of(connection, lost.id)
        error = json.loads(row["errors"])
        assert (row["state"], row["crashes"], row["attempt"]) == (1, 1, 1)
        assert error["type"] == "asyncjobs.exceptions.JobCrashed" and error["attempt"] == 1
        assert error["message"].endswith(" on web-1 died (SIGKILL) while it ran")

    async def test_the_first_leaves_it_among_the_ordinary_jobs(self, session, connection, lost) -> None:
        await jobs.rescue(session, 10)
        heir = await make_worker(connection)
        assert await suspects(session, heir) == []
        [job] = await claim(session, heir)
        assert (job.id, job.attempt, job.crashes, job.refused, job.apart) == (lost.id, 2, 1, None, None)

    async def test_the_first_of_a_kind_that_may_crash_once_is_its_last_and_no_attempt_is_spent(
        self, session, connection, lost
    ) -> None:
        await jobs.rescue(session, 10)
        [other] = await put(connection, 1)
        claimed = await claim(session, await make_worker(connection), once=["k"])
        assert {(job.id, job.refused, job.attempt) for job in claimed} == {
            (lost.id, Refused.crashed, 1),
            (other, None, 1),
        }

    async def test_one_that_was_asked_to_be_cancelled_is_refused(self, session, connection, lost) -> None:
        await jobs.cancel(connection, lost.id, "enough", 7)
        await jobs.rescue(session, 10)
        [job] = await claim(session, await make_worker(connection))
        assert job.refused == Refused.cancelled

    async def test_that_was_seen_is_charged_with_the_reschedule(self, session, connection, worker) -> None:
        [job] = await running(session, connection, worker)
        await jobs.reschedule(session, [Reschedule(job.id, job.fence, error="seen", spent=True, crashed=True)])
        row = await row_of(connection, job.id)
        assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (1, 1, 1, "seen")


class TestWhichDeathIsCharged:
    async def rescued(self, session, connection, job, *, spared=False) -> dict[str, Any]:
        row = await row_of(connection, job.id)
        await workers.end(connection, row["worker"], "SIGKILL")
        await connection.execute("update asyncjobs.worker set spared = $2 where id = $1", row["worker"], spared)
        assert await jobs.rescue(session, 10) == 1
        return await row_of(connection, job.id)

    async def test_not_that_of_a_worker_whose_job_ran_in_a_process_of_its_own(
        self, session, connection, worker
    ) -> None:
        await put(connection, 1)
        [job] = await claim(session, worker, apart=["k"])
        row = await self.rescued(session, connection, job)
        assert (row["state"], row["crashes"], row["attempt"]) == (1, 0, 1)
        assert "while it ran; not charged to it: it ran in a process of its own" in row["errors"]

    async def test_not_that_of_a_worker_that_was_told_to_stop_and_no_attempt_is_spent(
        self, session, connection, worker
    ) -> None:
        [job] = await running(session, connection, worker)
        row = await self.rescued(session, connection, job, spared=True)
        assert (row["state"], row["crashes"], row["attempt"]) == (1, 0, 0)
        assert "died (SIGKILL) while it ran; not charged to it: the worker was told to stop" in row["errors"]

    async def test_not_that_of_one_whose_row_somebody_held_while_it_was_given_back(
        self, session, connection, worker, url
    ) -> None:
        held, free = await running(session, connection, worker, 2)
        holder = await pinned(url)
        async with holder.transaction():
            await holder.execute("select from asyncjobs.job where id = $1 for update", held.id)
            assert await workers.release(connection, worker, "SIGKILL") == 1
        await jobs.rescue(session, 10)
        holder.terminate()
        for job in (held, free):
            row = await row_of(connection, job.id)
            assert (row["state"], row["crashes"], row["attempt"]) == (1, 0, 0)

    async def test_one_that_had_begun_in_time_and_whose_attempt_was_not_spent_does_not_expire(
        self, session, connection, worker
    ) -> None:
        await put(connection, 1, expires_in=3600.0)
        [job] = await claim(session, worker)
        await connection.execute("update asyncjobs.job set expires_at = clock_timestamp()")
        await self.rescued(session, connection, job, spared=True)
        [again] = await claim(session, await make_worker(connection))
        assert (again.refused, again.attempt) == (None, 1)

    async def test_the_next_one_after_ten_in_a_row_that_were_not(self, session, connection) -> None:
        """Else a job that ends its whole machine each time would do so for ever."""
        await put(connection, 1)
        crashes = []
        for _ in range(12):
            [job] = await claim(session, await make_worker(connection), apart=["k"])
            row = await self.rescued(session, connection, job)
            crashes.append(row["crashes"])
            await connection.execute("update asyncjobs.job set crashes = 0")
        assert crashes == [0] * 10 + [1] * 2
        assert "while it ran; charged to it after 10 in a row that were not" in row["errors"]

    async def test_a_run_that_ended_in_order_begins_that_row_anew(self, session, connection, worker) -> None:
        await put(connection, 1)
        [job] = await claim(session, worker, apart=["k"])
        assert (await self.rescued(session, connection, job))["spared"] == 1
        [job] = await claim(session, await make_worker(connection), apart=["k"])
        await jobs.reschedule(session, [Reschedule(job.id, job.fence, spent=True)])
        assert (await row_of(connection, job.id))["spared"] == 0

    async def test_that_of_the_worker_in_which_a_later_run_was(self, session, connection, worker) -> None:
        await put(connection, 1)
        [job] = await claim(session, worker, apart=["k"])
        await self.rescued(session, connection, job)
        [job] = await claim(session, await make_worker(connection))
        assert (await self.rescued(session, connection, job))["crashes"] == 1


class TestSuspects:
    @pytest.fixture
    def suspect(self, session, connection, complete) -> UUID:
        [made] = complete(put(connection, 1))
        complete(connection.execute("update asyncjobs.job set crashes = 2, attempt = 2"))
        return made

    @pytest.fixture
    def heir(self, connection, complete) -> UUID:
        return complete(make_worker(connection))

    async def test_are_no_part_of_an_ordinary_claim(self, session, suspect, heir) -> None:
        assert await claim(session, heir) == []
        [job] = await suspects(session, heir)
        assert (job.id, job.attempt, job.crashes, job.refused, job.apart, job.together) == (
            suspect,
            3,
            2,
            None,
            True,
            None,
        )

    async def test_one_that_crashed_as_often_as_its_kind_allows_is_refused_and_no_attempt_spent(
        self, session, suspect, heir
    ) -> None:
        [job] = await suspects(session, heir, kinds={"k": 2})
        assert (job.refused, job.attempt) == (Refused.crashed, 2)

    async def test_only_of_the_kinds_asked_for(self, session, suspect, heir) -> None:
        assert await suspects(session, heir, kinds={"other": 3}) == []

    async def test_a_dead_worker_claims_none(self, session, connection, suspect, heir) -> None:
        await workers.end(connection, heir)
        assert await suspects(session, heir) == []

    @pytest.mark.parametrize(("apart", "crashes"), [(True, 2), (False, 3)])
    async def test_the_death_of_their_worker_is_charged_to_those_that_ran_in_it(
        self, session, connection, suspect, heir, apart, crashes
    ) -> None:
        await suspects(session, heir, apart=apart)
        await workers.end(connection, heir, "SIGKILL")
        await jobs.rescue(session, 10)
        assert (await row_of(connection, suspect))["crashes"] == crashes

    async def test_what_died_among_others_is_not_charged_and_is_with_fewer_from_then_on(
        self, session, connection, suspect, heir
    ) -> None:
        [job] = await suspects(session, heir)
        await jobs.reschedule(session, [Reschedule(job.id, job.fence, error="seen", spent=True, together=3)])
        row = await row_of(connection, suspect)
        assert (row["state"], row["crashes"], row["attempt"], row["errors"]) == (1, 2, 3, "seen")
        [job] = await suspects(session, heir)
        assert job.together == 3
        await jobs.reschedule(session, [Reschedule(job.id, job.fence, spent=True, crashed=True)])
        [job] = await suspects(session, heir, kinds={"k": 9})
        assert (job.crashes, job.together) == (3, 3)


class TestRescueAmongMany:
    async def test_ten_jobs_of_a_dead_worker_are_found_behind_five_thousand_of_a_live_one(
        self, session, connection, worker
    ) -> None:
        await put(connection, 5_000)
        await claim(session, worker, 5_000)
        dying = await make_worker(connection)
        await put(connection, 10)
        await claim(session, dying, 10)
        await workers.end(connection, dying)
        assert await jobs.rescue(session, 500) == 10

    async def test_a_rescue_and_a_finish_at_the_same_time_never_both_have_a_job(
        self, session, connection, worker, url
    ) -> None:
        rescuer = await pinned(url)
        await workers.end(connection, worker)
        for _ in range(30):
            await connection.execute("update asyncjobs.worker set dead_at = null")
            batch = await running(session, connection, worker, 20)
            await workers.end(connection, worker)
            moved, rescued = await asyncio.gather(
                jobs.finish(session, [succeeded(job) for job in batch]), jobs.rescue(rescuer, 500)
            )
            assert moved + rescued == len(batch)
            await connection.execute("truncate asyncjobs.job")
        rescuer.terminate()

    async def test_nothing_deadlocks_while_everything_happens_to_the_same_rows(self, connection, url) -> None:
        sessions = [await pinned(url) for _ in range(8)]
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        me = await make_worker(connection)

        async def do(session: asyncpg.Connection) -> None:
            for _ in range(40):
                rows = await session.fetch("select id, fence from asyncjobs.job order by random() limit 20")
                ids = sorted((row["id"], row["fence"]) for row in rows)
                match chance.randrange(7):
                    case 0:
                        await inserts.enqueue_many(session, [new_job() for _ in range(30)])
                    case 1:
                        await claim(session, me, 20)
                    case 2 if ids:
                        ends = [Reschedule(*held, spent=True) for held in ids]
                        await jobs.reschedule(session, ends)
                    case 3 if ids:
                        ends = [succeeded(Claimed(0, 0, 0, 0, held[0], held[1], 1, "k", "q", "{}")) for held in ids]
                        await jobs.finish(session, ends)
                    case 4 if ids:
                        await jobs.cancel(session, ids[0][0], "", 7)
                    case 5:
                        await jobs.rescue(session, 50)
                        await suspects(session, me)
                    case 6 if ids:
                        await jobs.await_jobs(session, [held[0] for held in ids])

        await asyncio.gather(*map(do, sessions))
        for session in sessions:
            session.terminate()
