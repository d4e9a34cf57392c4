"""What a job waits for, in a sentence: every case from plain values, and against a real database."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from client_jobs import Gate, double, fail, wait_at

from asyncjobs import AsyncJobs, JobFailed, JobNotFound, job, retry_on
from asyncjobs.client.why import Facts, look, say
from asyncjobs.db import why as reading
from asyncjobs.db.awaits import Awaited
from asyncjobs.db.rows import State
from asyncjobs.db.why import Serving, Waiting
from tests.support.asking import until
from tests.support.processes import PATIENCE

ID, WORKER = UUID(int=1), UUID(int=2)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def waiting(state: State, **given: Any) -> Waiting:
    values: dict[str, Any] = {
        "id": ID, "state": int(state), "kind": "k", "queue": "low", "attempt": 0, "crashes": 0, "error": None,
        "reason": None, "cancel_reason": None, "run_at": NOON, "due_in": -1.0, "expired": False, "started_at": None,
        "finished_at": None, "since": None, "worker": None, "ahead": 0,
    }  # fmt: skip
    return Waiting(**{**values, **given})


def error(attempt: int = 2, kind: str = "builtins.ConnectionError", message: str = "no\nanswer") -> str:
    return json.dumps({"attempt": attempt, "at": NOON.isoformat(), "type": kind, "message": message, "traceback": ""})


def worker(*pools: tuple[list[str], int], **given: Any) -> Serving:
    values: dict[str, Any] = {
        "id": WORKER, "host": "box", "pid": 7, "silent": 0.5, "missed": False, "late": False, "pools": list(pools),
        "kinds": frozenset({"k"}), "aliases": {}, "held": {},
    }  # fmt: skip
    return Serving(**{**values, **given})


HERE = worker((["*"], 2))
ANOTHER = worker(id=UUID(int=3))
CASES = [
    # scheduled
    (waiting(State.scheduled, due_in=252.4), [HERE], "waits for its time, at 2026-01-31T12:00:00Z, in 4m12s"),
    (
        waiting(State.scheduled, due_in=252.4, step="cool-down"),
        [HERE],
        "waits for the end of its sleep 'cool-down', at 2026-01-31T12:00:00Z, in 4m12s",
    ),
    (
        waiting(State.waiting, step="ok", event="approved", key="7", due_in=60.0),
        [HERE],
        "is parked: it waits for the event 'approved' of key '7', until 2026-01-31T12:00:00Z, for 1m more, and holds no slot",
    ),
    (waiting(State.scheduled, due_in=200_000.0), [], "waits for its time, at 2026-01-31T12:00:00Z, in 2d8h"),
    (
        waiting(State.scheduled, due_in=3.04, attempt=2, error=error()),
        [HERE],
        "waits for its retry, at 2026-01-31T12:00:00Z, in 3s: attempt 2 failed with ConnectionError: no answer",
    ),
    (
        waiting(State.scheduled, due_in=60.0, attempt=3, error=error(2)),  # snoozed since: the third has not failed
        [HERE],
        "waits for its time, at 2026-01-31T12:00:00Z, in 1m",
    ),
    (waiting(State.scheduled, due_in=-0.3), [HERE], "waits for its time, which came 300ms ago, and a worker makes it ready next"),
    (
        waiting(State.scheduled, due_in=-75.0, attempt=2, error=error(kind="app.Odd", message="")),
        [worker((["*"], 1), late=True)],
        "waits for its retry, which came 1m15s ago, and no worker is alive to make it ready: attempt 2 failed with app.Odd",
    ),
    # ready
    (
        waiting(State.ready, cancel_reason="not wanted"),
        [],
        "was asked to be cancelled (not wanted): the next worker that claims it ends it",
    ),
    (waiting(State.ready), [], "waits for a worker: none is alive; start one with `asyncjobs run`"),
    (
        waiting(State.ready, crashes=1, expired=True),
        [worker((["*"], 1), late=True)],
        ("waits for a worker: none is alive; start one with `asyncjobs run`; its process died once while it ran, and it runs "
        "again like any other"),
    ),
    (
        waiting(State.ready, ahead=5),
        [worker((["high", "mail*"], 9)), worker((["*", "-low"], 9)), worker((["-low"], 9))],
        "waits for a worker that serves queue low (alive: 3, serving it: none): add it to a pool's queues",
    ),
    (
        waiting(State.ready, crashes=3),
        [worker((["lo*"], 9), kinds=frozenset({"other"})), worker((["high"], 9))],
        "waits for a worker that knows kind k (serving queue low: 1, knowing it: none): import its module there",
    ),
    (
        waiting(State.ready, queue="low"),
        [worker((["*"], 2), claims_nothing="4 of 5 connections: too many"), worker(id=UUID(int=4))],
        "waits: the worker that would run it claims nothing (4 of 5 connections: too many)",
    ),
    (
        waiting(State.ready, queue="low"),
        [worker((["*"], 2), claims_nothing="4 of 5 connections: too many"), worker((["*"], 2), id=UUID(int=4))],
        "is ready, and is claimed next",
    ),
    (waiting(State.ready, expired=True), [HERE], "was not started in time: the next worker that claims it discards it"),
    (
        waiting(State.ready, crashes=1, ahead=3),
        [HERE],
        "waits for its turn: 3 jobs are ahead of it in queue low; its process died once while it ran, and it runs again like any other",
    ),
    (
        waiting(State.ready, crashes=2),
        [HERE],
        ("is a suspect, because its process died 2 times while it ran: it runs apart, alone or with other suspects in a "
        "process, and waits for its turn"),
    ),
    (
        waiting(State.ready, crashes=2, together=3),
        [HERE],
        ("is a suspect, because its process died 2 times while it ran: it runs apart, alone or with at most 2 other "
        "suspects in a process, and waits for its turn"),
    ),
    (
        waiting(State.ready, crashes=3, together=1),
        [HERE],
        ("is a suspect, because its process died 3 times while it ran: it runs apart, alone in a process, and waits for "
        "its turn"),
    ),
    (
        waiting(State.ready, ahead=37),
        [
            worker((["high"], 5), (["low", "mail"], 3), held={"low": 2, "mail": 1, "high": 1}),
            worker((["*"], 2), held={"low": 1, "any": 4}),
        ],
        "waits for a free slot: all 5 of the pools that serve queue low are taken, and 37 jobs are ahead of it",
    ),
    (
        waiting(State.ready),
        [worker((["low"], 1), held={"low": 1})],
        "waits for a free slot: all 1 of the pools that serve queue low are taken",
    ),
    (
        waiting(State.ready, ahead=1),
        [worker((["low"], 2), held={"low": 1, "high": 9})],  # those of other pools take no slot here
        "waits for its turn: 1 job is ahead of it in queue low",
    ),
    (waiting(State.ready, ahead=1000), [HERE], "waits for its turn: at least 1000 jobs are ahead of it in queue low"),
    (waiting(State.ready), [HERE], "is ready, and is claimed next"),
    # running
    (
        waiting(State.running, started_at=NOON, since=60.0, worker=WORKER, attempt=3, crashes=2, apart=True),
        [HERE],
        (f"is a suspect, because its process died 2 times while it ran; it runs since 2026-01-31T12:00:00Z, for 1m, in attempt 3 "
        f"on worker {WORKER} (box, pid 7), apart, alone or with other suspects in a process"),
    ),
    (
        waiting(State.running, started_at=NOON, since=7260.0, worker=WORKER, attempt=2),
        [HERE],
        f"runs since 2026-01-31T12:00:00Z, for 2h1m, in attempt 2 on worker {WORKER} (box, pid 7)",
    ),
    (
        waiting(State.running, started_at=NOON, since=1.0, worker=WORKER, attempt=1, cancel_reason=""),
        [worker(host="", pid=None)],
        ("was asked to be cancelled (no reason given) and has not ended yet: it runs since 2026-01-31T12:00:00Z, for 1s, in "
        f"attempt 1 on worker {WORKER}"),
    ),
    (
        waiting(State.running, started_at=NOON, since=40.0, worker=WORKER, attempt=1),
        [worker(missed=True, late=True, silent=31.0), ANOTHER],
        (f"runs since 2026-01-31T12:00:00Z, for 40s, in attempt 1 on worker {WORKER} (box, pid 7), which is silent for 31s and "
        "has lost its lease: any other makes it ready again"),
    ),
    (
        waiting(State.running, started_at=NOON, since=40.0, worker=WORKER, attempt=1),
        [worker(missed=True, silent=6.0), ANOTHER],
        (f"runs since 2026-01-31T12:00:00Z, for 40s, in attempt 1 on worker {WORKER} (box, pid 7), which is silent for 6s: if "
        "it is dead, any other makes it ready again"),
    ),
    (
        waiting(State.running, started_at=NOON, since=40.0, worker=WORKER, attempt=1),
        [worker(missed=True, silent=6.0), worker(id=ANOTHER.id, missed=True)],
        (f"runs since 2026-01-31T12:00:00Z, for 40s, in attempt 1 on worker {WORKER} (box, pid 7), which is silent for 6s: if "
        "it is dead, no other is alive to make it ready again; start one with `asyncjobs run`"),
    ),
    (
        waiting(State.running, started_at=NOON, since=1.0, worker=WORKER, attempt=1),
        [ANOTHER],
        f"ran in attempt 1 on worker {WORKER}, which is dead: any other makes it ready again",
    ),
    (
        waiting(State.running, started_at=NOON, since=1.0, worker=WORKER, attempt=1),
        [],
        (f"ran in attempt 1 on worker {WORKER}, which is dead: no other is alive to make it ready again; start one with "
        "`asyncjobs run`"),
    ),
    # parked, and ended
    (waiting(State.waiting), [HERE], "is parked: it waits for an event or for other jobs, and holds no slot"),
    (
        waiting(State.succeeded, finished_at=NOON, since=5.0, attempt=2, error=error()),
        [],
        "succeeded at 2026-01-31T12:00:00Z, 5s ago, in attempt 2",
    ),
    (
        waiting(State.failed, finished_at=NOON, since=5.0, attempt=2, error=error(message="m" * 400)),
        [],
        f"failed at 2026-01-31T12:00:00Z, 5s ago, in attempt 2, with ConnectionError: {'m' * 282}…",
    ),
    (
        waiting(
            State.failed, finished_at=NOON, since=5.0, attempt=3, error=error(3), reason="max_crashes is 3"
        ),
        [],
        "failed at 2026-01-31T12:00:00Z, 5s ago, in attempt 3, with ConnectionError: no answer; max_crashes is 3",
    ),
    (
        waiting(State.failed, finished_at=NOON, since=5.0, attempt=1, reason="by SQL"),
        [],
        "failed at 2026-01-31T12:00:00Z, 5s ago, in attempt 1, with no error kept (by SQL)",
    ),
    (
        waiting(State.discarded, finished_at=NOON, since=90.0, reason="not\nwanted"),
        [],
        "was discarded at 2026-01-31T12:00:00Z, 1m30s ago: not wanted",
    ),
    (
        waiting(State.cancelled, finished_at=NOON, since=0.0),
        [],
        "was cancelled at 2026-01-31T12:00:00Z, 0s ago: no reason given",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("one", "workers", "sentence"), CASES)
def test_the_sentence_of_every_case(one: Waiting, workers: list[Serving], sentence: str) -> None:
    assert say(one, look(one, workers), workers) == sentence


AWAITED = [
    (
        [Awaited(UUID(int=1), "shop.mail", State.ready, "all", 7, 9), Awaited(UUID(int=2), "shop.mail", State.running, "all", 7, 9)],
        (f"waits for 7 of 9 jobs that its step 'all' runs, shop.mail {UUID(int=1)} (ready), shop.mail {UUID(int=2)} (running) "
         "and 5 more; it runs since "),
    ),
    (
        [Awaited(UUID(int=1), "shop.mail", State.scheduled, None, 1, 1)],
        f"waits for 1 job that it awaits, shop.mail {UUID(int=1)} (scheduled); it runs since ",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("awaited", "sentence"), AWAITED)
def test_what_a_running_job_waits_for_comes_first(awaited: list[Awaited], sentence: str) -> None:
    one = waiting(State.running, started_at=NOON, since=40.0, worker=WORKER, attempt=1)
    assert say(one, look(one, [worker()]), [worker()], awaited).startswith(sentence)
    dead = say(one, look(one, []), [], awaited)
    assert dead.startswith("ran in attempt 1 on worker"), "and waits for nothing"


def test_every_state_has_a_sentence() -> None:
    assert {case[0].state for case in CASES} == set(State)


def test_the_facts_count_workers_that_are_alive_slots_that_serve_and_what_takes_them() -> None:
    found = look(
        waiting(State.ready, ahead=4),
        [
            worker((["low"], 3), (["high"], 9), held={"low": 2, "high": 7}),
            worker((["*"], 10), kinds=frozenset()),
            worker((["high"], 10)),
            worker((["low"], 10), late=True),
        ],
    )
    assert found == Facts(workers=3, serving=2, knowing=1, slots=3, taken=2, ahead=4)


@job(kind="why.patient")
@retry_on(ConnectionError, wait=3600)
async def patient() -> None:
    raise ConnectionError("no answer")


async def make_worker(connection: asyncpg.Connection, about: Any, *, age: float = 0.0) -> UUID:
    return await connection.fetchval(
        """insert into asyncjobs.worker (id, backend_pid, lease, host, about, beat_at)
           values (gen_random_uuid(), 1, '30 s', 'box', $1, clock_timestamp() - make_interval(secs => $2)) returning id""",
        about if isinstance(about, str) else json.dumps(about),
        age,
    )


class TestInADatabase:
    async def test_a_ready_job_from_no_worker_to_its_turn(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(1).enqueue()
        assert "none is alive" in await client.why(made.id)
        await make_worker(
            connection, {"pools": [{"queues": ["*"], "concurrency": 1}], "kinds": ["client.double"]}, age=60
        )
        assert "none is alive" in await client.why(str(made.id))
        await make_worker(connection, {"pools": [{"queues": ["low"], "concurrency": 1}], "kinds": ["client.double"]})
        assert "serves queue numbers" in await client.why(made.id)
        await make_worker(connection, {"pools": [{"queues": ["num*"], "concurrency": 1}], "kinds": ["x"]})
        assert "knows kind client.double" in await client.why(made.id)
        able = await make_worker(
            connection, {"pools": [{"queues": ["numbers"], "concurrency": 2}], "kinds": ["x", "client.double"]}
        )
        assert await client.why(made.id) == "is ready, and is claimed next"
        await connection.execute(
            """insert into asyncjobs.job (id, kind, queue, priority)
               select gen_random_uuid(), kind, 'numbers', priority
               from (values ('client.double', -1), ('client.double', -1), ('x', -1), ('nobody.knows', -1), ('x', 1)) as v(kind, priority)"""
        )
        await double(2).enqueue()
        assert "3 jobs are ahead of it in queue numbers" in await client.why(made.id)
        await connection.execute(
            "insert into asyncjobs.job (id, kind, queue, state, worker) "
            "select gen_random_uuid(), 'x', 'numbers', 2, $1 from generate_series(1, 2)",
            able,
        )
        assert "all 2 of the pools that serve queue numbers are taken, and 3 jobs" in await client.why(made.id)

    async def test_what_a_worker_says_about_itself_may_be_anything(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(1).enqueue()
        for about in ("no JSON", "[]", {"pools": 3, "kinds": "x"}, {"pools": [7, {"queues": 1}, {"concurrency": "x"}]}):
            await make_worker(connection, about)
            assert "serves queue numbers" in await client.why(made.id)

    async def test_counting_is_bounded(
        self, client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await make_worker(connection, {"pools": [{"queues": ["*"], "concurrency": 1}], "kinds": ["client.double"]})
        await connection.execute(
            "insert into asyncjobs.job (id, kind, queue) select gen_random_uuid(), 'client.double', 'numbers' from generate_series(1, 20)"
        )
        made = await double(1).enqueue()
        monkeypatch.setattr(reading, "COUNTED", 7)
        assert "at least 7 jobs are ahead" in await client.why(made.id)
        monkeypatch.setattr(reading, "LOOKED_AT", 3)
        assert "3 jobs are ahead" in await client.why(made.id)

    async def test_a_running_job_and_where_it_runs(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        gate = Gate("why")
        made = await wait_at("why").enqueue()
        await gate.arrived.wait()
        worker = await connection.fetchval("select id from asyncjobs.worker")
        sentence = await jobs.why(made.id)
        assert sentence.startswith("runs since 2")
        assert f"in attempt 1 on worker {worker} (" in sentence
        assert "pid " in sentence
        gate.open.set()
        await made
        assert (await jobs.why(made.id)).startswith("succeeded at 2")

    async def test_a_job_that_failed_and_one_to_be_retried(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await fail("no luck").enqueue()
        with pytest.raises(JobFailed):
            await made
        assert (await jobs.why(made.id)).endswith("ago, in attempt 1, with ValueError: no luck")
        later = await patient().enqueue()
        await until(connection, "select true from asyncjobs.job where id = $1 and state = 0", later.id)
        sentence = await jobs.why(later.id)
        assert sentence.startswith("waits for its retry, at 2")
        assert sentence.endswith(": attempt 1 failed with ConnectionError: no answer")

    async def test_times_that_python_cannot_hold(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        for time in ("infinity", "-infinity", "20000-01-01"):
            made = await connection.fetchval(
                "insert into asyncjobs.job (id, kind, state, run_at) values (gen_random_uuid(), 'k', 0, $1::text::timestamptz) "
                "returning id",
                time,
            )
            assert (await client.why(made)).startswith("waits for its time")

    async def test_what_is_not_there_is_not_found(self, client: AsyncJobs) -> None:
        with pytest.raises(JobNotFound):
            await asyncio.wait_for(client.why(uuid4()), PATIENCE)
