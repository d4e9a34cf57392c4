"""`select asyncjobs.enqueue(...)`: the way in from any language."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from client_jobs import double, live, rows

from asyncjobs import AsyncJobs, JobFailed, job
from asyncjobs.worker import timekeeper


@dataclasses.dataclass
class Place:
    city: str
    since: datetime


@job(kind="sql.typed")
async def typed(place: Place, span: timedelta, ids: set[UUID]) -> list[str]:
    return [type(value).__name__ for value in (place, place.since, span, ids, *ids)]


async def enqueue(connection: asyncpg.Connection, arguments: str) -> asyncpg.Record:
    """Call it as a script would, in literal SQL; the row that it made."""
    made = await connection.fetchval(f"select asyncjobs.enqueue({arguments})")
    return await connection.fetchrow("select * from asyncjobs.job where id = $1", made)


class TestWhatIsStored:
    async def test_the_kind_is_enough(self, connection: asyncpg.Connection) -> None:
        found = await enqueue(connection, "'app.jobs.nightly'")
        assert (found["kind"], found["args"], found["queue"], found["priority"]) == (
            "app.jobs.nightly",
            "{}",
            "default",
            0,
        )
        assert (found["state"], found["attempt"], found["fence"]) == (1, 0, 0)

    async def test_the_id_is_a_uuid7_of_now(self, connection: asyncpg.Connection) -> None:
        made = (await enqueue(connection, "'k'"))["id"]
        now = await connection.fetchval("select extract(epoch from clock_timestamp()) * 1000")
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert abs((made.int >> 80) - float(now)) < 5_000

    async def test_everything_may_be_said_by_name(self, connection: asyncpg.Connection) -> None:
        given = uuid4()
        found = await enqueue(
            connection,
            f"""kind => 'app.jobs.send', args => '{{"user_id": 42}}', queue => 'low', priority => -3,
                run_at => '2031-05-01 12:00+02', id => '{given}'""",
        )
        assert (found["id"], found["queue"], found["priority"], found["state"]) == (given, "low", -3, 0)
        assert found["run_at"] == datetime(2031, 5, 1, 10, tzinfo=UTC)
        assert json.loads(found["args"]) == {"user_id": 42}

    async def test_a_time_that_is_past_means_now(self, connection: asyncpg.Connection) -> None:
        assert (await enqueue(connection, "'k', run_at => '2001-01-01 00:00+00'"))["state"] == 1

    async def test_it_is_part_of_the_callers_transaction(self, connection: asyncpg.Connection) -> None:
        transaction = connection.transaction()
        await transaction.start()
        await enqueue(connection, "'k'")
        await transaction.rollback()
        assert await live(connection) == 0

    async def test_a_trigger_may_call_it(self, connection: asyncpg.Connection) -> None:
        await connection.execute(
            """create table account (id int);
               create function welcome() returns trigger language plpgsql as $$
               begin
                 perform asyncjobs.enqueue('client.double', json_build_object('number', new.id), queue => 'numbers');
                 return new;
               end $$;
               create trigger welcome after insert on account for each row execute function welcome();
               insert into account select generate_series(1, 3)"""
        )
        assert await live(connection) == 3


class TestAnIdThatWasGiven:
    async def test_the_same_once_more_makes_no_second_row_and_returns_it(self, connection: asyncpg.Connection) -> None:
        given = uuid4()
        for _ in range(2):
            found = await enqueue(connection, f"'k', id => '{given}'")
            assert found["id"] == given
        assert await live(connection) == 1

    async def test_the_same_after_the_job_has_run_makes_none_either(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(3).enqueue()
        assert await made == 6
        again = await connection.fetchval("select asyncjobs.enqueue('client.double', id => $1)", made.id)
        assert again == made.id
        assert (await live(connection), await rows(connection)) == (0, 1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("null", "kind must have 1 to 200"),
            ("''", "kind must have 1 to 200"),
            ("repeat('x', 201)", "kind must have 1 to 200"),
            ("'k', '[1, 2]'", "args must be a JSON object.*not array"),
            ("""'k', '"text"'""", "args must be a JSON object.*not string"),
            ("'k', '5'", "args must be a JSON object.*not number"),
            ("'k', 'null'", "args must be a JSON object.*not null"),
            ("'k', null", "args must be a JSON object.*not null"),
            ("'k', 'not json'", "invalid input syntax for type json"),
            ("'k', queue => ''", "queue must be"),
            ("'k', queue => null", "queue must be"),
            ("'k', queue => 'a b'", "queue must be"),
            ("'k', queue => '-low'", "queue must be"),
            ("'k', queue => 'mail✉'", "queue must be"),
            ("'k', queue => E'a\\n'", "queue must be"),
            ("'k', queue => repeat('x', 65)", "queue must be"),
            ("""'k', queue => '"; drop table asyncjobs.job; --'""", "queue must be"),
            ("'k', priority => 40000", "smallint out of range"),
            ("'k', priority => -40000", "smallint out of range"),
            ("'k', run_at => 'infinity'", "run_at must lie between"),
            ("'k', run_at => '-infinity'", "run_at must lie between"),
            ("'k', run_at => '20000-01-01'", "run_at must lie between"),
            ("'k', run_at => '0044-03-15 BC'", "run_at must lie between"),
            ("""'k', ('{"a": "' || repeat('x', 16777216) || '"}')::json""", "job_is_sane"),
        ],
    )
    async def test_what_cannot_be_a_job_is_refused_and_nothing_stored(
        self, shared: asyncpg.Connection, arguments: str, message: str
    ) -> None:
        with pytest.raises(asyncpg.PostgresError, match=message) as raised:
            await enqueue(shared, arguments)
        assert raised.value.sqlstate[:2] in ("22", "23")
        assert await live(shared) == 0


class TestTheWorker:
    async def test_it_runs_with_typed_arguments(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        given = {
            "place": {"city": "Ulm", "since": "2020-01-01T00:00:00Z"},
            "span": "PT5M",
            "ids": [str(uuid4())],
        }
        made = await connection.fetchval("select asyncjobs.enqueue('sql.typed', $1::text::json)", json.dumps(given))
        result = await (await jobs.get(made, typed)).result(timeout=10)
        assert result == ["Place", "datetime", "timedelta", "set", "UUID"]

    async def test_a_delayed_one_is_woken_for_in_time(
        self, make_jobs: Any, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(timekeeper, "LOOK_AHEAD", 60.0)
        async with make_jobs().running() as jobs:
            assert await (await double(1).enqueue()).result(timeout=10) == 2  # the first look is over
            made = await connection.fetchval(
                """select asyncjobs.enqueue('client.double', '{"number": 1}', run_at => clock_timestamp() + '200 ms')"""
            )
            assert await (await jobs.get(made, double)).result(timeout=10) == 2

    async def test_arguments_that_do_not_fit_fail_that_job_alone(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        wrong = await connection.fetchval("""select asyncjobs.enqueue('client.double', '{"number": "one"}')""")
        assert await (await double(1).enqueue()).result(timeout=10) == 2
        with pytest.raises(JobFailed, match="number") as raised:
            await (await jobs.get(wrong)).result(timeout=10)
        assert raised.value.error_type == "asyncjobs.exceptions.InvalidArguments"


class TestAHostileSchema:
    """S7: what somebody else put into `public` or `pg_temp` changes nothing."""

    HOSTILE = """
        create table public.job (id uuid); create table public.finished (id uuid);
        create temp table job (id uuid); create temp table finished (id uuid); create temp table worker (id uuid);
        create function public.now() returns timestamptz language plpgsql as $$ begin raise 'public.now()'; end $$;
        create function public.clock_timestamp() returns timestamptz language plpgsql
          as $$ begin raise 'public.clock_timestamp()'; end $$;
        create function public.pg_notify(text, text) returns void language plpgsql
          as $$ begin raise 'public.pg_notify()'; end $$;
        create function public.new_id() returns uuid language plpgsql as $$ begin raise 'public.new_id()'; end $$;
        create function public.json_typeof(json) returns text language plpgsql
          as $$ begin raise 'public.json_typeof()'; end $$;
        create function public.same(uuid, uuid) returns boolean language plpgsql as $$ begin raise 'public.='; end $$;
        create operator public.= (leftarg = uuid, rightarg = uuid, function = public.same);
    """

    @pytest.mark.parametrize("path", ["public, pg_catalog", "pg_temp, public, pg_catalog", "", "public"])
    async def test_the_sql_functions_do_as_before(self, connection: asyncpg.Connection, path: str) -> None:
        await connection.execute(self.HOSTILE)
        await connection.execute("select pg_catalog.set_config('search_path', $1, false)", path)
        made = await connection.fetchval("select asyncjobs.enqueue('k', '{}', id => asyncjobs.new_id())")
        await connection.execute("select asyncjobs.enqueue('k', '{}', id => $1)", made)
        # By the owner's rights, whoever calls it.
        once = "select asyncjobs.enqueue_once($1::pg_catalog.uuid, 'k', 'q', 0, null, null, '{}')"
        assert await connection.fetchval(once, made) is False
        await connection.execute("select asyncjobs.make_partitions(current_date + 2), asyncjobs.drop_expired()")
        await connection.execute("set search_path = pg_catalog")
        assert await live(connection) == 1
        for table in ("public.job", "pg_temp.job", "public.finished", "pg_temp.finished"):
            assert await connection.fetchval(f"select count(*) from {table}") == 0

    async def test_client_and_worker_do_as_before(
        self, connection: asyncpg.Connection, make_jobs: Any, database_url: str
    ) -> None:
        await connection.execute(self.HOSTILE)
        async with make_jobs().running() as jobs:
            made = await double(4).enqueue()
            assert await made.result(timeout=10) == 8
            assert (await jobs.status(made.id)).state == "succeeded"
            later = await double(5).set(wait=0.05).enqueue()
            assert await later.result(timeout=10) == 10
