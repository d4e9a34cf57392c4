"""What is read of rows that a hand has written: every time is one that Python has, and progress is a number or none."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from asyncjobs.client.stored_outcomes import progress_of
from asyncjobs.db import batches, live, reading, recurring
from asyncjobs.worker.duties.recurring import _firings

TIMES = ("infinity", "-infinity", "4000-01-01 BC", "200000-01-01")


@pytest.mark.parametrize("at", TIMES)
async def test_any_time_is_read(worker_session: asyncpg.Connection, at: str) -> None:
    row = uuid4()
    await worker_session.execute(
        f"""
        insert into asyncjobs.live_job (job, done, shown_at) values ('{row}', 1, '{at}');
        insert into asyncjobs.stream_item (job, n, sent_at, attempt, value) values ('{row}', 1, '{at}', 1, '1');
        insert into asyncjobs.batch (id, description, made_at, finished_at) values ('{row}', 'x', '{at}', '{at}');
        insert into asyncjobs.recurring (name, kind, schedule, next_at, paused_at) values ('r', 'k', '@daily', '{at}', '{at}');
        insert into asyncjobs.recurring_tick (name, tick, job, came_to) values ('r', '{at}', '{row}', 'enqueued');
        """
    )
    [progress] = await live.read_progress(worker_session, [row])
    [item] = await live.read_stream(worker_session, row, 0, 10)
    batch = await batches.read_status(worker_session, row)
    [schedule], _ = await recurring.read(worker_session)
    assert batch is not None
    assert (
        progress.shown_at == item.sent_at == batch.made_at == batch.finished_at == schedule.next_at == schedule.last_at
    )


@pytest.mark.parametrize("at", TIMES)
async def test_a_schedule_with_any_time_is_fired_or_waits_and_keeps_no_other_waiting(
    worker_session: asyncpg.Connection, at: str
) -> None:
    await worker_session.execute(
        f"""
        insert into asyncjobs.recurring (name, kind, schedule, next_at, seen_until, jitter)
        values ('never', 'k', '@daily', 'infinity', '{at}', 0), ('now', 'k', '@daily', '-infinity', '{at}', 1e300),
               ('nan', 'k', '@daily', '-infinity', '{at}', 'nan');
        """
    )
    look = await recurring.look(worker_session, ["k"])
    firings = _firings(look.due, look.now)
    assert {fired.name for fired in await recurring.fire(worker_session, firings)} == {"now", "nan"}
    assert (await recurring.look(worker_session, ["k"])).due == []


@pytest.mark.parametrize("number", ["nan", "infinity", "-infinity"])
async def test_progress_that_is_no_number_is_none(worker_session: asyncpg.Connection, number: str) -> None:
    row = uuid4()
    await worker_session.execute(
        f"""
        insert into asyncjobs.job (id, kind, state) values ('{row}', 'k', 2);
        insert into asyncjobs.live_job (job, done, total, shown_at) values ('{row}', '{number}', '{number}', now());
        """
    )
    [progress] = await live.read_progress(worker_session, [row])
    [running] = await reading.running(worker_session, 10)
    assert progress_of(progress) is None
    assert (running.done, running.total) == (None, None)
