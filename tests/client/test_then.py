"""What a job leaves to be enqueued with its success is there with that, and only then."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from client_jobs import Gate, rows
from order_jobs import BROKEN, RAN, begin, final, glue, note, then

from asyncjobs import (
    AlreadyEnqueued,
    AsyncJobs,
    Batch,
    Discard,
    InvalidOption,
    Job,
    JobFailed,
    NotRunning,
    Retry,
    Snooze,
    Unique,
    chain,
    current_job,
    job,
    rescue_from,
    step,
)
from asyncjobs.db.connecting import connect
from tests.support.asking import until, until_blocked
from tests.support.processes import until_so

HAS_FOLLOWER = "select exists (select from asyncjobs.job_status where kind = 'order.note')"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    begin()


def after(how: str) -> None:
    current_job().then(note("follows"))
    match how:
        case "fails":
            raise ValueError
        case "is retried" if current_job().attempt == 1:
            raise Retry(3600)
        case "is snoozed" if len(RAN) < 1:
            raise Snooze(3600)
        case "is discarded":
            raise Discard("why")


@job(kind="then.ends")
async def ends(how: str) -> None:
    after(how)


@job(kind="then.in_thread")
def in_thread(how: str) -> None:
    after(how)


@job(kind="then.apart", executor="process")
def apart(how: str) -> None:
    after(how)


class Rescued(Job, kind="then.Rescued"):
    async def perform(self) -> None:
        self.then(note("follows"))
        raise ValueError

    @rescue_from(ValueError)
    def rescued(self, _error: ValueError) -> None: ...


class Stepped(Job, kind="then.Stepped"):
    inside: bool = False

    @step
    async def one(self) -> None:
        if self.inside:
            self.then(note("follows"))

    async def perform(self) -> None:
        await self.run_steps()
        self.then(note("follows"))


@pytest.mark.parametrize("kind", [ends, in_thread, apart], ids=lambda kind: kind.kind)
async def test_with_its_success_it_is_enqueued(jobs: AsyncJobs, connection: asyncpg.Connection, kind: Any) -> None:
    await (await kind("succeeds").enqueue())
    assert await connection.fetchval(HAS_FOLLOWER)


@pytest.mark.parametrize("how", ["fails", "is retried", "is snoozed", "is discarded"])
@pytest.mark.parametrize("kind", [ends, in_thread], ids=lambda kind: kind.kind)
async def test_without_it_nothing_is(jobs: AsyncJobs, connection: asyncpg.Connection, kind: Any, how: str) -> None:
    await kind(how).enqueue()
    await until(connection, "select not exists (select from asyncjobs.job where state in (1, 2))")
    assert not await connection.fetchval(HAS_FOLLOWER)


async def test_a_job_that_is_asked_to_be_cancelled_before_its_end_is_written_is_followed_by_nothing(
    jobs: AsyncJobs, connection: asyncpg.Connection, url: str
) -> None:
    holder = await connect(url, is_lent=True)
    gate = Gate("cancelled")

    @job(kind="then.cancelled")
    async def cancelled() -> None:
        current_job().then(note("follows"))
        gate.arrived.set()
        await gate.open.wait()

    one = await cancelled().enqueue()
    await gate.arrived.wait()
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("update asyncjobs.job set cancel_reason = 'late' where id = $1", one.id)
    gate.open.set()
    await until_blocked(connection)  # its end waits for the row
    await transaction.commit()
    await final(connection, one)
    assert await connection.fetchval("select state from asyncjobs.finished where id = $1", one.id) == 7
    assert not await connection.fetchval(HAS_FOLLOWER)
    holder.terminate()


async def test_a_lost_lease_enqueues_nothing(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    gate = Gate("lost lease")

    @job(kind="then.lost")
    async def lost() -> None:
        current_job().then(note("follows"))
        gate.arrived.set()
        await gate.open.wait()

    worker = jobs._worker
    assert worker is not None
    before = worker.parts.ledger.lost
    await lost().enqueue()
    await gate.arrived.wait()
    await connection.execute("update asyncjobs.job set fence = fence + 1000")
    gate.open.set()
    await until_so(lambda: worker.parts.ledger.lost > before)
    assert await rows(connection) == 1


async def test_a_rescued_error_is_a_success(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    await (await Rescued().enqueue())
    assert await connection.fetchval(HAS_FOLLOWER)


async def test_chains_follow_whole(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    follows = chain(note("a"), glue(chain.previous, "b"))

    @job(kind="then.chained")
    async def chained() -> None:
        current_job().then(follows, note("c"))

    await (await chained().enqueue())
    await final(connection, *follows.jobs)
    await until(connection, "select count(*) = 4 from asyncjobs.finished")
    assert sorted(RAN) == ["a", "ab", "c"]


async def test_its_result_is_kept_and_the_next_attempt_says_anew(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    BROKEN.add("x")
    one = await then("x").enqueue()
    with pytest.raises(JobFailed):
        await one
    assert RAN == ["x"]
    BROKEN.clear()
    await jobs.retry(one)
    assert await one == "x"
    await until(connection, "select count(*) = 2 from asyncjobs.finished")
    assert RAN == ["x", "x", "after x"]


async def test_performed_here_it_is_enqueued_when_that_has_succeeded(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    BROKEN.add("x")
    with pytest.raises(ValueError, match="x is broken"):
        await then("x").perform_now()
    assert await rows(connection) == 0
    assert await then("y").perform_now() == "y"
    assert [row["args"] for row in await connection.fetch("select args from asyncjobs.job")] == ['{"text":"after y"}']


async def test_hooks_of_what_follows_have_their_say(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    @job(kind="then.refuses")
    async def refuses(text: str) -> None: ...

    @refuses.before_enqueue
    async def before(each: Any) -> None:
        if each.arguments["text"] == "no":
            raise LookupError("refused by its hook")

    @job(kind="then.hooked")
    async def hooked(text: str) -> None:
        current_job().then(refuses(text))

    await (await hooked("yes").enqueue())
    with pytest.raises(JobFailed, match="refused by its hook"):
        await (await hooked("no").enqueue())
    assert await connection.fetchval("select count(*) from asyncjobs.job_status where kind = 'then.refuses'") == 1


async def test_what_the_database_refuses_fails_the_job(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    @job(kind="then.refused")
    async def refused() -> None:
        current_job().then(note("follows"))

    await connection.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one' "
        "using errcode = '22000'; end $$; create trigger refuse before insert on asyncjobs.job for each row "
        "when (new.kind = 'order.note') execute function refuse()"
    )
    others = [glue(str(n)) for n in range(20)]
    one = await refused().enqueue()
    await jobs.enqueue_all(others)
    with pytest.raises(JobFailed, match="not this one"):
        await one
    await final(connection, *others)


async def test_one_with_its_own_unique_key_takes_it_over(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    @job(kind="then.again", unique=Unique())
    async def again(left: int) -> None:
        RAN.append(str(left))
        if left:
            current_job().then(again(left - 1))

    await again(3).enqueue()
    await until(connection, "select count(*) = 4 from asyncjobs.finished")
    assert RAN == ["3", "2", "1", "0"]


async def test_a_step_must_not_say_what_follows(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    await (await Stepped().enqueue())
    assert await connection.fetchval(HAS_FOLLOWER)
    with pytest.raises(JobFailed, match=r"then\(\) is called in step 'one', which is not run again"):
        await (await Stepped(inside=True).enqueue())


@pytest.mark.filterwarnings("ignore::asyncjobs.JobNeverEnqueued")
async def test_wrong_uses_are_refused_with_the_remedy(jobs: AsyncJobs) -> None:
    with pytest.raises(NotRunning, match="is not running here"):
        note("a").then(note("b"))
    there = await note("there").enqueue()
    wrong: list[tuple[type[Exception], Any]] = [
        (InvalidOption, ()),
        (InvalidOption, (7,)),
        (InvalidOption, (note,)),
        (InvalidOption, (Batch(),)),
        (AlreadyEnqueued, (there,)),
        (InvalidOption, tuple(note(str(n)) for n in range(1_001))),
    ]

    @job(kind="then.wrong")
    async def calls() -> int:
        count = 0
        for error, given in wrong:
            with pytest.raises(error):
                current_job().then(*given)
            count += 1
        with pytest.raises(AlreadyEnqueued, match="is the running job"):
            current_job().then(current_job())
        return count

    assert await (await calls().enqueue()) == len(wrong)
