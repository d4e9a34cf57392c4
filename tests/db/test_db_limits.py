"""A place under a limit that a job's end frees, and who gets it in the same transaction."""

import json

import asyncpg
import pytest
from db_rows import claim, make_worker, new_job, succeeded

from asyncjobs.db import inserts, jobs, limiting
from asyncjobs.db.rows import RatePause


def limit(key="one", most=1):
    return {"key": key, "name": key, "most": most, "spacing": None, "burst": None}


def rate(key="paced"):
    return {"key": key, "name": key, "most": None, "spacing": 0.000_001, "burst": 1_000}


async def put(connection, count=1, *, limits=(), **given):
    """Enqueue so many jobs under limits; their ids, in order."""
    made = [new_job(order=json.dumps({"limits": limits or [limit()]}), **given) for _ in range(count)]
    return [row.id for row in await inserts.enqueue_ordered(connection, made)]


async def admitted(connection):
    """The jobs that have passed their limits and wait to be claimed."""
    rows = await connection.fetch("select id from asyncjobs.job where state = 1 and admitted = seq order by seq")
    return [row["id"] for row in rows]


async def noted(connection):
    return await connection.fetchval("select array_agg(distinct key order by key) from asyncjobs.limit_note") or []


class Held:
    """Jobs that hold the places of a limit, and a worker whose they are."""

    def __init__(self, connection):
        self.connection = connection
        self.claimed = []

    async def look(self):
        """Let jobs pass."""
        while (await limiting.admit(self.connection)).again:
            pass

    async def take(self):
        """Let jobs pass, and claim what did."""
        await self.look()
        worker = await make_worker(self.connection)
        self.claimed += await claim(self.connection, worker)
        return self.claimed

    async def end(self, count=1):
        """Finish the first of them."""
        ended, self.claimed = self.claimed[:count], self.claimed[count:]
        assert await jobs.finish(self.connection, sorted(map(succeeded, ended))) == count


@pytest.fixture
def held(worker_session):
    return Held(worker_session)


async def test_the_next_one_has_it_before_anybody_looks(worker_session: asyncpg.Connection, held: Held) -> None:
    _, second, third = await put(worker_session, 3)
    await held.take()
    await held.end()
    assert await admitted(worker_session) == [second]
    assert await noted(worker_session) == []
    [claimed] = await held.take()
    assert claimed.id == second
    await held.end()
    assert await admitted(worker_session) == [third]


async def test_the_urgent_come_first_and_each_key_is_served(worker_session: asyncpg.Connection, held: Held) -> None:
    await put(worker_session, 2, limits=[limit("a", 2)])
    await put(worker_session, limits=[limit("b")])
    await held.take()
    late = await put(worker_session, 2, limits=[limit("a", 2)])
    [of_b] = await put(worker_session, limits=[limit("b")])
    [urgent] = await put(worker_session, limits=[limit("a", 2)], priority=-5)
    await held.end(3)
    assert set(await admitted(worker_session)) == {urgent, late[0], of_b}


async def test_where_nobody_waits_it_is_noted_since_one_may_be_about_to_come(
    worker_session: asyncpg.Connection, held: Held
) -> None:
    await put(worker_session)
    await held.take()
    await held.end()
    assert await noted(worker_session) == ["one"]


async def test_of_two_places_the_one_that_nobody_takes_is_noted(worker_session: asyncpg.Connection, held: Held) -> None:
    *_, third = await put(worker_session, 3, limits=[limit(most=2)])
    await held.take()
    await held.end(2)
    assert await admitted(worker_session) == [third]
    assert await noted(worker_session) == ["one"]


async def test_a_limit_that_was_lowered_gives_its_places_to_nobody(
    worker_session: asyncpg.Connection, held: Held
) -> None:
    await put(worker_session, 6, limits=[limit(most=3)])
    await held.take()
    await limiting.set_limit(worker_session, "one", 1)
    await held.end(2)
    assert await admitted(worker_session) == []
    await held.end()
    assert len(await admitted(worker_session)) == 1


async def test_while_anything_is_paused_it_is_left_to_who_looks(worker_session: asyncpg.Connection, held: Held) -> None:
    await put(worker_session, 2)
    await held.take()
    await worker_session.execute("select asyncjobs.pause('queue', '{other}', null, null, 'so', 'me')")
    await worker_session.execute("delete from asyncjobs.limit_note")
    await held.end()
    assert (await admitted(worker_session), await noted(worker_session)) == ([], ["one"])


async def test_a_lowered_limit_counts_those_that_have_passed_it_and_wait_at_another(
    worker_session: asyncpg.Connection, held: Held
) -> None:
    await put(worker_session, limits=[limit("b")])
    await put(worker_session, limits=[limit("a", 2)])
    await put(worker_session, limits=[limit("a", 2), limit("b")])
    await held.take()
    await put(worker_session, limits=[limit("a", 2)])
    await limiting.set_limit(worker_session, "a", 1)
    held.claimed = [one for one in held.claimed if one.limited][1:]
    await held.end()
    assert await admitted(worker_session) == []


BOTH = {**rate(), **limit(), "spacing": 0.000_001, "burst": 1_000}


@pytest.mark.parametrize(
    "limits", [[limit(), limit("two", 5)], [limit(), rate()], [BOTH]], ids=["two limits", "a rate too", "both as one"]
)
async def test_a_job_that_has_to_pass_more_is_left_to_who_looks(
    worker_session: asyncpg.Connection, held: Held, limits
) -> None:
    await put(worker_session, limits=limits[:1])
    await held.take()
    await put(worker_session, limits=limits)
    await worker_session.execute("delete from asyncjobs.limit_note")
    await held.end()
    assert (await admitted(worker_session), await noted(worker_session)) == ([], ["one"])


async def test_a_running_job_that_wants_its_place_back_comes_before_those_that_wait(
    worker_session: asyncpg.Connection, held: Held
) -> None:
    await put(worker_session)
    [away] = await held.take()
    await limiting.leave(worker_session, [(away.id, away.fence)])
    await put(worker_session, 2)
    [_, holder] = await held.take()
    await limiting.ask_again(worker_session, [(away.id, away.fence)])
    await worker_session.execute("delete from asyncjobs.limit_note")
    held.claimed = [holder]
    await held.end()
    assert (await admitted(worker_session), await noted(worker_session)) == ([], ["one"])


async def test_a_key_that_another_has_locked_is_noted(
    worker_session: asyncpg.Connection, held: Held, connection: asyncpg.Connection
) -> None:
    await put(worker_session, 2)
    await held.take()
    async with connection.transaction():
        await connection.execute("select from asyncjobs.limit_key for no key update")
        await held.end()
    assert (await admitted(worker_session), await noted(worker_session)) == ([], ["one"])


async def test_the_next_of_a_key_is_found_by_one_descent_of_its_index(worker_session: asyncpg.Connection) -> None:
    rows = await worker_session.fetch(
        "explain (costs off) select at from asyncjobs.limited where limit_key = 'one' and place between 1 and 2 "
        "order by place, priority, seq limit 1 for no key update skip locked"
    )
    plan = "\n".join(row[0] for row in rows)
    assert "Index Scan using job_for_limits on job" in plan
    assert "(limit_key = 'one'::text) AND (CASE WHEN (admitted = seq)" in plan.partition("Index Cond: ")[2]
    assert "Sort" not in plan


class TestAnUrgentJob:
    """One that comes when the places are given, to jobs that have not started."""

    async def test_takes_the_place_of_a_less_urgent_one(self, worker_session: asyncpg.Connection, held: Held) -> None:
        [late] = await put(worker_session)
        await held.look()
        [urgent] = await put(worker_session, priority=-5)
        await held.look()
        assert await admitted(worker_session) == [urgent]
        await held.take()
        await held.end()
        assert await admitted(worker_session) == [late]

    async def test_several_take_as_many_places(self, worker_session: asyncpg.Connection, held: Held) -> None:
        first, *_ = await put(worker_session, 3, limits=[limit(most=3)], priority=1)
        await held.look()
        urgent = await put(worker_session, 2, limits=[limit(most=3)], priority=0)
        await held.look()
        assert set(await admitted(worker_session)) == {first, *urgent}

    async def test_takes_none_from_one_as_urgent_or_that_runs(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        [first] = await put(worker_session, priority=-5)
        await held.look()
        await put(worker_session, priority=-5)
        await held.look()
        assert await admitted(worker_session) == [first]
        await held.take()
        await put(worker_session, priority=-9)
        await held.look()
        assert await admitted(worker_session) == []

    async def test_finds_the_one_that_has_not_started_beside_one_that_runs(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        await put(worker_session, limits=[limit(most=2)], priority=9)
        await held.take()
        await put(worker_session, limits=[limit(most=2)], priority=5)
        await held.look()
        [urgent] = await put(worker_session, limits=[limit(most=2)])
        await held.look()
        assert await admitted(worker_session) == [urgent]

    async def test_that_is_paused_takes_none(self, worker_session: asyncpg.Connection, held: Held) -> None:
        [late] = await put(worker_session)
        await worker_session.execute("select asyncjobs.pause('kind', '{urgent}', null, null, 'so', 'me')")
        await held.look()
        await put(worker_session, priority=-5, kind="urgent")
        await held.look()
        assert await admitted(worker_session) == [late]

    async def test_takes_all_places_of_one_under_two_limits(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        both = [limit("a"), limit("b")]
        await put(worker_session, limits=both)
        await held.look()
        [urgent] = await put(worker_session, limits=both[1:], priority=-5)
        await held.look()
        assert await admitted(worker_session) == [urgent]
        assert await worker_session.fetchval("select count(*) from asyncjobs.limit_pass") == 1


class TestUnderTwoLimits:
    one, two = limit("a"), limit("b", 5)

    async def test_both_hold_from_when_it_is_let_pass_until_it_ends(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        await put(worker_session, limits=[self.one, self.two])
        [next_one] = await put(worker_session, limits=[self.one, self.two])
        await held.look()
        assert next_one not in await admitted(worker_session)
        assert len(await held.take()) == 1
        await put(worker_session, limits=[self.one])
        await held.look()
        assert await admitted(worker_session) == []
        await held.end()
        await held.look()
        assert await admitted(worker_session) == [next_one]

    async def test_one_that_gave_its_place_at_the_last_back_holds_none_at_those_before(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        await put(worker_session, limits=[limit("a", 5), limit("b"), limit("c", 5)])
        await held.look()
        await worker_session.execute("select asyncjobs.pause('queue', '{q}', null, null, 'so', 'me')")
        await held.look()
        [other] = await put(worker_session, limits=[limit("b")], queue="elsewhere")
        await held.look()
        assert await admitted(worker_session) == [other]

    async def test_one_that_lost_its_place_at_the_first_waits_there_again(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        [holder] = await put(worker_session, limits=[limit("b")])
        await held.look()
        [waits] = await put(worker_session, limits=[self.one, limit("b")])
        await held.look()
        # As whatever gives it another place in its queue does.
        await worker_session.execute(
            "update asyncjobs.job set seq = nextval('asyncjobs.ready_seq') where id = $1", waits
        )
        [claimed] = await held.take()
        assert claimed.id == holder
        [other] = await put(worker_session, limits=[self.one])
        await held.look()
        await held.end()
        await held.look()
        assert set(await admitted(worker_session)) <= {waits, other}
        assert len(await admitted(worker_session)) == 1


class TestThoseThatWantTheirPlacesBack:
    async def away(self, connection, held, count):
        """So many running jobs that want their places back, which others hold."""
        await put(connection, count, limits=[limit(most=count)])
        left = sorted((one.id, one.fence) for one in await held.take())
        await limiting.leave(connection, left)
        held.claimed = []
        await put(connection, count, limits=[limit(most=count)])
        await held.take()
        await limiting.ask_again(connection, left)
        return left

    async def test_get_as_many_as_there_are(self, worker_session: asyncpg.Connection, held: Held) -> None:
        left = await self.away(worker_session, held, 2)
        await held.end()
        await held.look()
        assert len(await limiting.read_returned(worker_session, left)) == 1
        await held.end()
        await held.look()
        assert len(await limiting.read_returned(worker_session, left)) == 2

    async def test_come_before_those_that_have_not_started(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        left = await self.away(worker_session, held, 1)
        await put(worker_session)
        await held.end()
        await held.look()
        assert len(await limiting.read_returned(worker_session, left)) == 1
        assert await admitted(worker_session) == []


async def test_a_rate_that_was_told_off_has_one_start_when_that_is_over_and_no_more_at_once(
    worker_session: asyncpg.Connection, held: Held
) -> None:
    await put(worker_session, 3, limits=[{**rate(), "spacing": 60.0, "burst": 3}])
    await limiting.pause_rates(worker_session, [RatePause("paced", 30.0)])
    await held.look()
    assert await admitted(worker_session) == []
    await worker_session.execute(
        "update asyncjobs.limit_key set next_start = next_start - interval '30 s', look_at = now()"
    )
    await held.look()
    assert len(await admitted(worker_session)) == 1


class TestWhenARateIsLookedAt:
    slow = {**rate(), "spacing": 60.0, "burst": 2}

    async def waiting(self, connection, held, tokens):
        """Three that a rate has let one pass of, when there were so many tokens."""
        await put(connection, limits=[self.slow])
        await held.look()
        await connection.execute(
            "update asyncjobs.limit_key set next_start = clock_timestamp() + make_interval(secs => 60 * $1::float8)",
            2 - tokens,
        )
        await put(connection, 2, limits=[self.slow])
        await held.look()
        return await connection.fetchrow("select look_at, next_start from asyncjobs.limit_key")

    async def test_it_is_when_the_next_token_is_due(self, worker_session: asyncpg.Connection, held: Held) -> None:
        key = await self.waiting(worker_session, held, tokens=1.5)
        assert len(await admitted(worker_session)) == 1
        assert key["look_at"] == key["next_start"]

    async def test_it_is_at_no_time_while_all_tokens_are_meant_for_jobs_that_have_not_started(
        self, worker_session: asyncpg.Connection, held: Held
    ) -> None:
        key = await self.waiting(worker_session, held, tokens=2)
        assert len(await admitted(worker_session)) == 2
        assert key["look_at"] is None
        assert (await limiting.admit(worker_session)).next_look is None


async def test_a_key_or_a_job_that_another_has_locked_is_looked_at_again(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    [waits] = await put(worker_session)
    async with connection.transaction():
        await connection.execute("select from asyncjobs.job for update")
        await limiting.admit(worker_session)
        assert await noted(worker_session) == ["one"]
    async with connection.transaction():
        await connection.execute("select from asyncjobs.limit_key for update")
        assert (await limiting.admit(worker_session)).again
    await limiting.admit(worker_session)
    assert await admitted(worker_session) == [waits]


@pytest.mark.parametrize(
    ("table", "columns", "values"),
    [
        ("limits", "name, spacing, burst", "'x', 0, 1"),
        ("limits", "name, spacing, burst", "'x', 'NaN', 1"),
        ("limits", "name, spacing, burst", "'x', 1, null"),
        ("limits", "name, spacing, burst", "'x', 1000000, 1000000"),
        ("limits", "name, most", "'x', -1"),
        ("limits", "name, most, most_by_config", "'x', 1, -1"),
        ("limits", "name, most, most_by_hand", "'x', 1, 2147483647"),
        ("limit_key", "key, name, most", "'x', 'x', -2147483648"),
        ("limit_key", "key, name, next_start", "'x', 'x', 'infinity'"),
        ("limit_key", "key, name, look_at", "'x', 'x', '-infinity'"),
    ],
)
async def test_what_would_fail_the_look_at_all_limits_is_no_row(connection, table, columns, values):
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(f"insert into asyncjobs.{table} ({columns}) values ({values})")


async def test_notes_of_an_endless_time_are_used_up_and_hold_up_no_look(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    [job] = await put(worker_session, limits=[rate()])
    for column in ("started_at", "not_before"):
        for time in ("infinity", "-infinity"):
            await connection.execute(f"insert into asyncjobs.limit_note (key, {column}) values ('paced', '{time}')")
    await limiting.admit(worker_session)
    assert await admitted(worker_session) == [job]
    assert await noted(worker_session) == []
