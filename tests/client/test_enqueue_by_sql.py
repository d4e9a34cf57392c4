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
from asyncjobs.worker.duties import timekeeper
from tests.support.processes import PATIENCE


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
            ("'k', 'not json'", "args is no JSON"),
            ("'k', queue => ''", "queue must be"),
            ("'k', queue => null", "queue must be"),
            ("'k', queue => 'a b'", "queue must be"),
            ("'k', queue => '-low'", "queue must be"),
            ("'k', queue => 'mail✉'", "queue must be"),
            ("'k', queue => E'a\\n'", "queue must be"),
            ("'k', queue => repeat('x', 65)", "queue must be"),
            ("""'k', queue => '"; drop table asyncjobs.job; --'""", "queue must be"),
            ("'k', priority => 40000", "priority must be .* not 40000"),
            ("'k', priority => -40000", "priority must be .* not -40000"),
            ("'k', run_at => 'infinity'", "run_at must lie between"),
            ("'k', run_at => '-infinity'", "run_at must lie between"),
            ("'k', run_at => '20000-01-01'", "run_at must lie between"),
            ("'k', run_at => '0044-03-15 BC'", "run_at must lie between"),
            ("""'k', ('{"a": "' || repeat('x', 1048576) || '"}')::json""", "args must have at most 1048576 bytes"),
        ],
    )
    async def test_what_cannot_be_a_job_is_refused_and_nothing_stored(
        self, connection: asyncpg.Connection, arguments: str, message: str
    ) -> None:
        with pytest.raises(asyncpg.PostgresError, match=message) as raised:
            await enqueue(connection, arguments)
        assert raised.value.sqlstate[:2] in ("22", "23")
        assert await live(connection) == 0


class TestTheWorker:
    async def test_it_runs_with_typed_arguments(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        given = {
            "place": {"city": "Ulm", "since": "2020-01-01T00:00:00Z"},
            "span": "PT5M",
            "ids": [str(uuid4())],
        }
        made = await connection.fetchval("select asyncjobs.enqueue('sql.typed', $1::text::json)", json.dumps(given))
        result = await (await jobs.get(made, typed)).result(timeout=PATIENCE)
        assert result == ["Place", "datetime", "timedelta", "set", "UUID"]

    async def test_a_delayed_one_is_woken_for_in_time(
        self, make_jobs: Any, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(timekeeper, "LOOK_AHEAD", 60.0)
        async with make_jobs().running() as jobs:
            assert await (await double(1).enqueue()).result(timeout=PATIENCE) == 2  # the first look is over
            made = await connection.fetchval(
                """select asyncjobs.enqueue('client.double', '{"number": 1}', run_at => clock_timestamp() + '200 ms')"""
            )
            assert await (await jobs.get(made, double)).result(timeout=PATIENCE) == 2

    async def test_arguments_that_do_not_fit_fail_that_job_alone(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        wrong = await connection.fetchval("""select asyncjobs.enqueue('client.double', '{"number": "one"}')""")
        assert await (await double(1).enqueue()).result(timeout=PATIENCE) == 2
        with pytest.raises(JobFailed, match="number") as raised:
            await (await jobs.get(wrong)).result(timeout=PATIENCE)
        assert raised.value.error_type == "asyncjobs.exceptions.InvalidArguments"


JSON = {
    "a literal": """'{"n": 1}'""",
    "text": """'{"n": 1}'::text""",
    "varchar": """'{"n": 1}'::varchar""",
    "json": "json_build_object('n', 1)",
    "jsonb": "jsonb_build_object('n', 1)",
}
KEYS = {
    "'k'": "k",
    "'k'::varchar": "k",
    "7": "7",
    "7::bigint": "7",
    "'5b6c0a3e-0000-7000-8000-000000000000'::uuid": None,
}


class TestTypes:
    """What callers have: json, jsonb and text, and keys that are no text."""

    @pytest.mark.parametrize("args", JSON.values(), ids=JSON)
    @pytest.mark.parametrize("call", ["'k', {}", "kind => 'k', args => {}", "kind => 'k', args => {}, queue => 'low'"])
    async def test_arguments_are_taken_as_json_jsonb_and_text(
        self, connection: asyncpg.Connection, args: str, call: str
    ) -> None:
        transaction = connection.transaction()
        await transaction.start()
        assert json.loads((await enqueue(connection, call.format(args)))["args"]) == {"n": 1}
        await transaction.rollback()

    @pytest.mark.parametrize("payload", JSON.values(), ids=JSON)
    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize(
        "call", ["'e', {key}, {payload}", "'e', key => {key}, payload => {payload}", "'e', {key}, payload => {payload}"]
    )
    async def test_events_are_taken_with_keys_and_payloads_of_any_type(
        self, connection: asyncpg.Connection, key: str, payload: str, call: str
    ) -> None:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"select asyncjobs.emit({call.format(key=key, payload=payload)})")
        found = await connection.fetchrow("select name, key, payload from asyncjobs.event")
        assert (found["name"], json.loads(found["payload"])) == ("e", {"n": 1})
        assert found["key"] == (KEYS[key] or await connection.fetchval(f"select ({key})::text"))
        await transaction.rollback()

    @pytest.mark.parametrize(
        "call",
        [
            "'e'",
            "'e', 'k'",
            "'e', 7",
            "'e', key => 7",
            "'e', payload => '{}'",
            "'e', payload => json '{}'",
            "'e', 'k', null",
        ],
    )
    async def test_what_is_left_out_has_its_default(self, connection: asyncpg.Connection, call: str) -> None:
        transaction = connection.transaction()
        await transaction.start()
        assert await connection.fetchval(f"select asyncjobs.emit({call})") == 0
        await transaction.rollback()


UNREADABLE = {
    "1e400": "no float holds",
    "-1e400": "no float holds",
    "1e-400": "no float holds",
    "123456789012345678901234567890": "past 64 bits",
    "18446744073709551616": "past 64 bits",
    "-9223372036854775809": "past 64 bits",
    '"\\u0000"': "a NUL",
    '"\\ud800"': "surrogate",
    "[" * 200 + "1" + "]" * 200: "nested deeper than 200",
    "[" * 100_000 + "]" * 100_000: "nested deeper than 200",
}
READABLE = {
    "1e30": 1e30,
    "18446744073709551615": 2**64 - 1,
    "-9223372036854775808": -(2**63),
    '"1e400 18446744073709551616 \\\\u0000"': "1e400 18446744073709551616 \\u0000",
    '"a \\" 1e400"': 'a " 1e400',
    '"\\ud83d\\ude00"': "😀",
    "0.12345678901234567": 0.12345678901234567,
    "[" * 199 + "1" + "]" * 199: None,
}


class TestWhatAJobCouldNotRead:
    @pytest.mark.parametrize(("value", "said"), UNREADABLE.items(), ids=[value[:20] for value in UNREADABLE])
    async def test_is_refused_by_name(self, connection: asyncpg.Connection, value: str, said: str) -> None:
        for call, what in (("enqueue('k', $1::text)", "args"), ("emit('e', 'k', $1::text)", "payload")):
            with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{what} .*{said}"):
                await connection.execute(f"select asyncjobs.{call}".replace("$1", f"""'{{"n": {value}}}'"""))
        assert await live(connection) == 0

    @pytest.mark.parametrize("value", READABLE, ids=[value[:20] for value in READABLE])
    async def test_is_no_more_than_that(self, jobs: AsyncJobs, connection: asyncpg.Connection, value: str) -> None:
        @job(kind="sql.gives_back")
        async def gives_back(n: Any) -> Any:
            return n

        made = await connection.fetchval(f"""select asyncjobs.enqueue('sql.gives_back', '{{"n": {value}}}')""")
        found = await (await jobs.get(made)).result(timeout=PATIENCE)
        assert found == (json.loads(value) if READABLE[value] is None else READABLE[value])
        assert gives_back.kind

    @pytest.mark.parametrize("priority", ["99999", "-32769", "null"])
    async def test_a_priority_out_of_range_is_named_with_its_range(
        self, connection: asyncpg.Connection, priority: str
    ) -> None:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="^priority must be .* from -32768 to 32767"):
            await enqueue(connection, f"kind => 'k', priority => {priority}")

    @pytest.mark.parametrize("call", ["enqueue('k', '{')", "enqueue('k', args => '')", "emit('e', 'k', 'nonsense')"])
    async def test_what_is_no_json_is_refused_by_name(self, connection: asyncpg.Connection, call: str) -> None:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="^(args|payload) is no JSON"):
            await connection.execute(f"select asyncjobs.{call}")


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
            assert await made.result(timeout=PATIENCE) == 8
            assert (await jobs.status(made.id)).state == "succeeded"
            later = await double(5).set(wait=0.05).enqueue()
            assert await later.result(timeout=PATIENCE) == 10
