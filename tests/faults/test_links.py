"""Sessions that are ended, links that freeze or go deaf, answers that get lost, notices that are junk."""

import asyncio
from functools import partial

import pytest

from asyncjobs.db.listening import DONE, DUE, READY
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseUnavailable
from tests.faults import jobs as work
from tests.faults.scene import LEASE, LEASE_LOST, LET_GO
from tests.support.processes import PATIENCE, until, until_so
from tests.support.proxy import STARTING_UP, named
from tests.support.sweeps import slowly

SESSIONS = ("listener", "worker", "keeper")
OF_ONE_NAME = "from pg_stat_activity where application_name = $1 and datname = current_database()"
DEAF = "no notices are heard, polling meanwhile"


@pytest.mark.parametrize(
    "ended", [SESSIONS, *(pytest.param((name,) * 20, id=name, marks=pytest.mark.slow) for name in SESSIONS)]
)
async def test_sessions_that_are_ended_again_and_again_cost_no_job_and_no_busy_loop(scene, proxy, proxied_url, ended):
    # A worker without a session is judged after a sixth of its lease; a new one takes a busy machine a while.
    await scene.start(name="tormented", url=proxied_url, concurrency=5, lease=4 * LEASE)
    other = await scene.start(name="other", queues=["nothing"], lease=4 * LEASE)  # would bury it, were it silent
    held, first = await scene.enqueue(work.hold(scene.gate()), work.tiny())
    await scene.running(held)
    await scene.finished(first)
    began, jobs = proxy.counts["connections"], []
    for session in ended * 2:
        jobs += await scene.enqueue(*(work.nap(0.01) for _ in range(10)))
        gone = await scene.fetch(f"select pid, pg_terminate_backend(pid) {OF_ONE_NAME}", f"asyncjobs {session}")
        assert gone
        jobs += await scene.enqueue(work.tiny())  # without work there is no reason for a new one
        # A session that was told to end is listed until it has: only another one is new.
        await scene.eventually(partial(another, scene, session, {row["pid"] for row in gone}), f"new {session}")
    await scene.finished(*jobs)
    scene.open(scene.gate())
    await scene.finished(held)
    # Each end costs a new connection for each session of that name, and perhaps one that is refused.
    assert proxy.counts["connections"] - began <= 2 * len(ended) * 4
    assert other.running and scene.buried() == []
    verdict = await scene.clean(max_attempts=1)
    assert not verdict.repeated


async def another(scene, session, gone):
    return {row["pid"] for row in await scene.fetch(f"select pid {OF_ONE_NAME}", f"asyncjobs {session}")} - gone


async def test_jobs_whose_claim_was_committed_and_its_answer_lost_are_run_and_charged_once(scene, proxy, proxied_url):
    worker = await scene.start(url=proxied_url)
    lost = proxy.hold_replies_after("set state = 2", where=named("worker"))
    jobs = await scene.enqueue(*(work.tiny(n) for n in range(5)))
    async with asyncio.timeout(PATIENCE):
        await lost.fired.wait()
    rows = await scene.finished(*jobs)
    assert {(row["attempt"], row["crashes"]) for row in rows} == {(1, 0)}
    assert worker.running and LEASE_LOST not in worker.log
    verdict = await scene.clean(max_attempts=1)
    assert not verdict.repeated


@pytest.mark.parametrize("statement", ["delete from asyncjobs.job using given", "asyncjobs.worker"])
async def test_a_finish_or_a_beat_whose_answer_was_lost_counts_once(scene, proxy, proxied_url, statement):
    worker = await scene.start(url=proxied_url)
    lost = proxy.hold_replies_after(statement, times=3, where=named("worker" if "given" in statement else "keeper"))
    jobs = []
    for n in range(6):
        jobs += await scene.enqueue(work.tiny(n))
        await scene.finished(*jobs)
    async with asyncio.timeout(PATIENCE):
        await lost.fired.wait()
    assert "lease was lost" not in worker.log and LEASE_LOST not in worker.log
    verdict = await scene.clean(max_attempts=1)
    assert not verdict.repeated


@pytest.mark.parametrize("direction", ["to_server", *slowly("to_client")])
@pytest.mark.parametrize("every", [11, *slowly(1)])
async def test_a_client_and_a_worker_whose_connections_are_cut_after_a_message_lose_and_double_nothing(
    scene, proxy, proxied_url, make_jobs, monkeypatch, direction, every
):
    for name, value in scene.oracle.environment.items():
        monkeypatch.setenv(name, value)  # the worker is in this process
    # One after the other through everything that either says and hears while a few jobs go their way.
    async with make_jobs(database_url=proxied_url).running() as jobs:
        scene.jobs = jobs  # which enqueues again what it does not know to be stored
        for k in range(1, 120, every):
            proxy.cut_after(k, direction)
            made = [work.tiny(n) for n in range(4)]
            for job in made:
                await until_so(partial(enqueued, scene, job))
            await scene.finished(*made)
            await proxy.heal()
    await scene.clean(max_attempts=1)


async def enqueued(scene, job):
    try:
        return await scene.enqueue(job)
    except DatabaseUnavailable:
        return None


async def test_every_use_of_a_session_ends_by_its_deadline_when_the_link_freezes(proxy, proxied_url):
    sessions = Sessions(proxied_url, size=1, name="frozen", deadline=0.4)

    async def transaction(connection):
        async with connection.transaction():
            await connection.fetch("select 1")
            proxy.freeze()
            await connection.fetch("select 2")

    uses = [
        lambda connection: connection.fetch("select 1"),
        lambda connection: connection.execute("select 1; select 2"),
        transaction,
    ]
    for use in uses:
        await sessions.run(lambda connection: connection.fetch("select 1"), deadline=5)  # a link that works
        if use is not transaction:
            proxy.freeze()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(DatabaseUnavailable):
                await sessions.run(use)
            with pytest.raises(DatabaseUnavailable):  # now one that has to connect first
                await sessions.run(uses[0])
        proxy.thaw()
    sessions.close()


async def test_a_cancelled_use_of_a_frozen_link_ends_at_once(proxy, proxied_url):
    sessions = Sessions(proxied_url, size=1, name="frozen", deadline=3600)
    await sessions.run(lambda connection: connection.fetch("select 1"))
    proxy.freeze()
    using = asyncio.ensure_future(sessions.run(lambda connection: connection.fetch("select 1")))
    await asyncio.sleep(0)
    using.cancel()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([using])
    assert using.cancelled() and sessions.pool.statistics == (0, 0)
    sessions.close()


async def test_a_worker_alone_behind_a_frozen_link_goes_on_with_its_jobs_when_it_thaws(scene, proxy, proxied_url):
    worker = await scene.start(url=proxied_url)
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(3)))
    await scene.running(*held)
    proxy.freeze()
    scene.open(scene.gate())
    for what in ("renewing the lease", "writing how jobs ended", "claiming", "making due jobs ready"):
        await worker.wait_for_log(f"{what}: ")
    proxy.thaw()
    later = await scene.enqueue(*(work.tiny(n) for n in range(5)))
    await scene.finished(*held, *later)
    verdict = await scene.clean(max_attempts=1)
    assert not verdict.repeated


async def test_a_worker_cut_off_for_its_lease_loses_its_job_and_cancels_it_when_it_is_back(scene, proxy, proxied_url):
    cut_off = await scene.start(name="cut_off", url=proxied_url)
    [job] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(job)
    await scene.start(name="other")
    proxy.freeze()
    await scene.running(job, attempt=2)
    proxy.thaw()
    await cut_off.wait_for_log(LEASE_LOST)
    await scene.oracle.wait_for(event="end", job_id=job.id, pid=cut_off.pid, how="CancelledError")
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert (row["result"], row["attempt"]) == ('"other"', 2)


async def test_a_worker_that_hears_nothing_for_its_lease_stops_what_it_runs_and_gives_it_back_unspent(
    scene, proxy, proxied_url
):
    worker = await scene.start(name="cut_off", url=proxied_url, concurrency=1)
    held, behind = await scene.enqueue(work.hold(scene.gate()), work.hold(scene.gate()))
    await scene.running(held)
    proxy.freeze()
    [end] = await scene.oracle.wait_for(event="end", job_id=held.id, how="CancelledError")
    assert not scene.events(event="start", job_id=behind.id)  # though a slot is free
    [row] = await scene.fetch(
        "select extract(epoch from clock_timestamp() - beat_at)::float8 as silent from asyncjobs.worker"
    )
    assert row["silent"] > 0.9 * LEASE
    await worker.wait_for_log(LET_GO)
    proxy.thaw()
    scene.open(scene.gate())
    rows = await scene.finished(held, behind)
    assert {(row["attempt"], row["crashes"], row["errors"]) for row in rows} == {(1, 0, None)}
    assert [how for _, _, how in scene.ends(held)] == ["CancelledError", "ok"]
    assert scene.buried() == [] and LEASE_LOST not in worker.log


async def test_a_worker_that_is_told_that_the_database_is_away_goes_on_beyond_its_lease(scene, proxy, proxied_url):
    worker = await scene.start(url=proxied_url)
    [held] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(held)
    proxy.refuse()
    proxy.cut()

    async def beyond_the_lease():
        return await scene.fetch("select from asyncjobs.worker where beat_at < clock_timestamp() - 1.5 * lease")

    await scene.eventually(beyond_the_lease, "silence for longer than the lease")
    await proxy.accept()
    scene.open(scene.gate())
    [row] = await scene.finished(held)
    assert row["attempt"] == 1 and [how for _, _, how in scene.ends(held)] == ["ok"]
    assert LET_GO not in worker.log


@pytest.mark.parametrize("fault", ["frozen", *slowly("swallowed notices")])
async def test_a_deaf_listener_is_noticed_and_jobs_are_found_by_polling(scene, proxy, proxied_url, make_jobs, fault):
    # Polling is twice a second here, so that a notice cannot be mistaken for it: those take milliseconds.
    async with make_jobs(database_url=proxied_url, dispatcher={"polling_interval": 0.5}).running() as jobs:
        assert await until(lambda: jobs.listening)
        if fault == "frozen":
            proxy.freeze(named("listener"))
        else:
            proxy.drop_messages("A", where=named("listener"))
        assert await until(lambda: not jobs.listening)
        for n in range(3):
            await scene.finished(*await scene.enqueue(work.tiny(n)))
        assert jobs.healthy and not jobs.listening
        await proxy.heal()
        assert await until(lambda: jobs.listening)
        await scene.finished(*await scene.enqueue(work.tiny(4)))


async def test_a_worker_process_says_in_its_log_that_it_is_deaf(scene, proxy, proxied_url):
    proxy.drop_messages("A", where=named("listener"))
    worker = await scene.start(url=proxied_url)
    await worker.wait_for_log(DEAF)
    await scene.finished(*await scene.enqueue(work.tiny()))


async def test_what_is_enqueued_while_the_listener_is_gone_is_found_as_soon_as_it_is_back(scene, proxy, proxied_url):
    # The poll is a minute away: only the look after LISTEN can find these.
    await scene.start(url=proxied_url, polling_interval=60)
    for n in range(3):
        await proxy.wait_until(lambda: "asyncjobs listener" in proxy.names())
        assert proxy.cut(named("listener")) == 1
        [job] = await scene.enqueue(work.tiny(n))
        await scene.finished(job, timeout=40)


JUNK = [
    *(
        "",
        " ",
        "x",
        "-1 default",
        "1.5 default",
        "١٢ default",
        "nan default",
        "99999999999999999999 default",
        "1",
        "1 ",
    ),
    *("0 " + "q" * 7_990, "0 no such queue; drop table", "9" * 7_999, "😀" * 1_999, ",,,", '{"a": 1}'),
    "00000000-0000-0000-0000-000000000000,not-an-id," * 100,
]


async def test_junk_on_our_channels_is_ignored_and_notices_are_heard_still(scene, make_jobs):
    worker = await scene.start(polling_interval=60)
    async with make_jobs() as client:
        [held] = await scene.enqueue(work.hold(scene.gate()))
        waiting = asyncio.ensure_future((await client.get(held.id)).result(timeout=30))
        assert await until(lambda: client.listening)
        for channel in (READY, DUE, DONE, "asyncjobs_test_0"):
            await scene.fetch("select pg_notify($1, junk) from unnest($2::text[]) as junk", channel, JUNK)
        jobs = await scene.enqueue(*(work.tiny(n) for n in range(5)))
        await scene.finished(*jobs, timeout=40)  # by a poll it would take a minute
        scene.open(scene.gate())
        assert await waiting == worker.name
        assert client.listening
    assert DEAF not in worker.log and "Traceback" not in worker.log
    await scene.clean(max_attempts=1)


async def test_a_silence_shorter_than_the_lease_costs_a_worker_nothing(scene, proxy, proxied_url):
    silent = await scene.start(name="silent", url=proxied_url)
    [job] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(job)
    await scene.start(name="other")
    # Ending the session in the meantime would be fatal: the server would know of it first, and take no other.
    proxy.freeze(named("keeper"))
    proxy.refuse(named("keeper"), STARTING_UP)

    async def for_half_the_lease():
        sql = "select 1 from asyncjobs.worker where dead_at is null and beat_at < clock_timestamp() - lease / 2"
        return await scene.fetch(sql)

    await scene.eventually(for_half_the_lease, "silence")
    proxy.thaw()
    [now] = await scene.fetch("select clock_timestamp() as now")

    async def both_beat():  # and the other has had its rounds
        sql = "select 1 from asyncjobs.worker where dead_at is null and beat_at > $1::timestamptz + lease / 4"
        return len(await scene.fetch(sql, now["now"])) == 2

    await scene.eventually(both_beat, "beats of both workers")
    assert scene.buried() == [] and LEASE_LOST not in silent.log
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert row["attempt"] == 1
