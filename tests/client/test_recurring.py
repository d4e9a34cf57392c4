"""What recurs, enqueued by workers at its times: declared, added at run time, changed, paused, run by hand."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from asyncjobs import (
    AsyncJobs,
    InvalidArguments,
    InvalidDefinition,
    InvalidOption,
    InvalidSchedule,
    InvalidSettings,
    Job,
    Limit,
    NotRunning,
    RecurringStatus,
    Unique,
    current_attempt,
    job,
)
from asyncjobs.db import recurring as statements
from asyncjobs.definitions.ids import new_id
from asyncjobs.jobs.recurring import lateness
from asyncjobs.schedules import Schedule, schedule
from asyncjobs.worker.duties import recurring as worker_recurring
from asyncjobs.worker.duties.recurring import MOST_AT_ONCE
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so

SECONDLY = "* * * * * *"
TICKED = "select count(*) >= $2 from asyncjobs.recurring_tick where name = $1"
ran: list[tuple[Any, datetime | None]] = []


@job(kind="recurs.note")
async def note(word: str = "tick") -> None:
    ran.append((word, current_attempt().scheduled_for))


@job(kind="recurs.threaded")
def threaded() -> None:
    ran.append((threading.current_thread().name, current_attempt().scheduled_for))


@job(kind="recurs.apart", executor="process")
def apart() -> str | None:
    time = current_attempt().scheduled_for
    return None if time is None else time.isoformat()


class Noted(Job, kind="recurs.Noted"):
    word: str = "class"

    async def perform(self) -> None:
        ran.append((self.word, current_attempt().scheduled_for))


@job(kind="recurs.held", queue="nobody")
async def held() -> None: ...


@job(kind="recurs.unique", queue="nobody", unique=Unique(), concurrency=Limit(1))
async def unique() -> None: ...


@job(kind="recurs.needs")
async def needs(word: str) -> None: ...


@pytest.fixture(autouse=True)
def forget() -> None:
    ran.clear()


@pytest.fixture
def make(make_jobs: Callable[..., AsyncJobs]) -> Callable[..., AsyncJobs]:
    return partial(make_jobs, pools=[{"queues": ["*", "-nobody"], "concurrency": 5}])


async def back(connection: asyncpg.Connection, name: str, **how_long: float) -> None:
    """Have a schedule be decided about as if nobody had been there for so long."""
    await connection.execute(
        "update asyncjobs.recurring set seen_until = seen_until - $2::interval, next_at = next_at - $2::interval,"
        " revision = revision + 1 where name = $1",
        name,
        timedelta(**how_long),
    )
    await connection.execute("notify asyncjobs_recurring")


async def ticks(connection: asyncpg.Connection, name: str) -> list[tuple[datetime, str]]:
    rows = await connection.fetch(
        "select tick, came_to from asyncjobs.recurring_tick where name = $1 order by tick", name
    )
    return [(row["tick"], row["came_to"]) for row in rows]


async def all_of(jobs: AsyncJobs) -> dict[str, RecurringStatus]:
    """What these tests have recur; the modules of others in this process may have, too."""
    return {each.name: each for each in await jobs.recurring.all() if "recurs." in each.kind}


class TestTheJob:
    async def test_functions_classes_threads_and_processes_see_the_time_that_they_were_enqueued_for(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        given = {"function": note(), "class": Noted, "thread": threaded, "process": apart}
        for name, each in given.items():
            await jobs.recurring.add(name, each, schedule=SECONDLY, timezone="Asia/Kolkata")
        for name in given:
            await until(connection, TICKED, name, 1)
            await jobs.recurring.pause(name)
        await until(connection, "select count(*) = 0 from asyncjobs.job")
        rows = await connection.fetch(
            "select t.name, t.tick, f.result, f.tick = t.tick as is_same from asyncjobs.recurring_tick as t"
            " join asyncjobs.finished as f on f.id = t.job"
        )
        assert {row["name"] for row in rows} == given.keys()
        assert all(row["is_same"] for row in rows)
        seen = {when for _, when in ran}
        assert seen == {row["tick"] for row in rows if row["name"] != "process"}
        assert all(when is not None and when.tzinfo is UTC and when.microsecond == 0 for when in seen)
        [first, *_] = [row for row in rows if row["name"] == "process"]
        assert first["result"] == f'"{first["tick"].isoformat()}"'

    async def test_the_run_that_is_going_on_tells_what_it_is_of(self, jobs: AsyncJobs) -> None:
        told: list[Any] = []

        @job(kind="recurs.tells")
        async def tells() -> None:
            me = current_attempt()
            told.append((me.job, me.number, me.scheduled_for, me.stopping, me.cancel_reason, repr(me)))

        with pytest.raises(NotRunning, match="current_attempt"):
            current_attempt()
        made = tells()
        await made.perform_now()
        await (await made.enqueue()).result(timeout=PATIENCE)
        assert [each[1:5] for each in told] == [(1, None, False, None)] * 2
        assert told[1][0].id == made.id
        assert told[1][5] == f"<attempt 1 of recurs.tells {made.id}>"

    async def test_a_time_is_enqueued_for_within_a_tenth_of_a_second(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await jobs.recurring.add("quick", note(), schedule=SECONDLY)
        await until(connection, TICKED, "quick", 4)
        rows = await connection.fetch(
            "select extract(epoch from fired_at - tick)::float8 as late from asyncjobs.recurring_tick"
        )
        assert 0 <= min(row["late"] for row in rows) < 0.1


class TestRunTime:
    async def test_what_is_added_again_is_replaced_and_recurs_from_then_on(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        first = await client.recurring.add("one", note("a"), schedule="0 6 * * *", timezone="Europe/Paris", jitter=5)
        assert (first.in_words, first.kind, first.declared, first.paused) == (
            "At 06:00 every day (Europe/Paris)", "recurs.note", None, False
        )  # fmt: skip
        second = await client.recurring.add("one", note("b").set(queue="low"), schedule="@hourly", priority=3)
        assert (second.queue, second.priority, second.schedule, second.jitter) == ("low", 3, "@hourly", 0)
        assert [each.name for each in await client.recurring.all()] == ["one"]
        assert await connection.fetchval("select args from asyncjobs.recurring") == '{"word":"b"}'
        assert await client.recurring.remove("one") is True
        assert await client.recurring.remove("one") is False
        assert await client.recurring.all() == []
        assert await connection.fetchval("select count(*) from asyncjobs.recurring") == 0

    async def test_what_is_changed_makes_up_for_none_of_the_times_that_it_has_not_had(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await client.recurring.add("one", note(), schedule="@yearly")
        await back(connection, "one", hours=1)
        await client.recurring.add("one", note(), schedule="@yearly", catch_up="all")
        assert await connection.fetchval(
            "select seen_until < clock_timestamp() - interval '59 m' from asyncjobs.recurring"
        )
        await client.recurring.add("one", note(), schedule="* * * * *", catch_up="all")
        assert await connection.fetchval("select next_at > clock_timestamp() from asyncjobs.recurring")

    @pytest.mark.parametrize(
        ("options", "error", "says"),
        [
            ({"schedule": "61 * * * *"}, InvalidSchedule, "minute"),
            ({"schedule": "0 0 30 2 *"}, InvalidSchedule, "never happens"),
            ({"timezone": "Mars/Olympus"}, InvalidSchedule, "no known time zone"),
            ({"catch_up": "some"}, InvalidOption, "catch_up='some' is not known: use 'none', 'latest', 'all'"),
            ({"overlap": None}, InvalidOption, "overlap=None is not known: use 'allow', 'skip'"),
            ({"jitter": -1}, InvalidOption, "jitter=-1 is not allowed"),
            ({"jitter": timedelta(days=2)}, InvalidOption, "from 0s to 1d"),
            ({"enabled": "yes"}, InvalidOption, "enabled='yes' is not True or False"),
            ({"queue": "no good"}, InvalidOption, "no queue name"),
            ({"priority": 1.5}, InvalidOption, "priority=1.5"),
            ({"name": ""}, InvalidOption, "is no name"),
            ({"name": "x" * 201}, InvalidOption, "is no name"),
            ({"name": None}, InvalidOption, "is no name"),
            ({"job": needs}, InvalidArguments, "word"),
            ({"job": "recurs.note"}, InvalidOption, "call a @job function or a Job class"),
            ({"job": note().set(wait=5)}, InvalidOption, "its schedule says when"),
        ],
    )
    async def test_what_cannot_be_is_refused_and_nothing_is_stored(
        self, client: AsyncJobs, options: dict[str, Any], error: type[Exception], says: str
    ) -> None:
        given = {"name": "odd", "job": note(), "schedule": "@daily", **options}
        with pytest.raises(error, match=says):
            await client.recurring.add(given.pop("name"), given.pop("job"), **given)
        assert await client.recurring.all() == []

    async def test_paused_it_does_not_recur_and_resumed_nothing_is_made_up_for(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await jobs.recurring.add("beat", note(), schedule=SECONDLY, catch_up="all")
        await jobs.recurring.add("other", note(), schedule=SECONDLY)
        await until(connection, TICKED, "beat", 1)
        await jobs.recurring.pause("beat")
        await jobs.recurring.pause("beat")
        paused = (await all_of(jobs))["beat"]
        assert paused.paused and paused.next_at is None
        before = await ticks(connection, "beat")
        [count] = await connection.fetchrow("select count(*) from asyncjobs.recurring_tick where name = 'other'")
        await until(connection, TICKED, "other", count + 2)
        assert await ticks(connection, "beat") == before
        await jobs.recurring.resume("beat")
        await until(connection, TICKED, "beat", len(before) + 1)
        after = await ticks(connection, "beat")
        assert paused.paused_at is not None and after[len(before)][0] > paused.paused_at + timedelta(seconds=1)
        for call in (jobs.recurring.pause, jobs.recurring.resume, jobs.recurring.run):
            with pytest.raises(InvalidOption, match="nothing recurs under the name 'beet': there are beat, other"):
                await call("beet")

    async def test_it_is_run_by_hand_also_while_it_is_paused(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await jobs.recurring.add("daily", note("now"), schedule="@yearly")
        await jobs.recurring.pause("daily")
        made = await jobs.recurring.run("daily")
        await made.result(timeout=PATIENCE)
        [(word, when)] = ran
        assert word == "now" and when is not None and abs(datetime.now(UTC) - when) < timedelta(minutes=1)
        status = (await all_of(jobs))["daily"]
        assert (status.last_job, status.last_state, status.last_at) == (made.id, "succeeded", when)
        assert status.last_ended_at is not None
        assert await ticks(connection, "daily") == [(when, "by hand")]


class TestOrder:
    async def test_with_skip_nothing_is_enqueued_while_the_one_before_is_not_final(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await jobs.recurring.add("slow", held, schedule=SECONDLY, overlap="skip")
        await until(connection, TICKED, "slow", 3)
        assert [came_to for _, came_to in await ticks(connection, "slow")][:3] == ["enqueued", "skipped", "skipped"]
        status = (await all_of(jobs))["slow"]
        assert status.last_state == "ready" and status.skipped_at is not None
        assert status.last_job is not None
        await jobs.cancel(status.last_job)
        await until(
            connection, "select count(*) = 2 from asyncjobs.recurring_tick where name = 'slow' and job is not null"
        )

    async def test_a_job_whose_key_is_taken_is_left_out_and_limits_hold(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await jobs.recurring.add("unique", unique, schedule=SECONDLY)
        await until(connection, TICKED, "unique", 2)
        assert {came_to for _, came_to in await ticks(connection, "unique")} == {"enqueued", "duplicate"}
        [row] = await connection.fetch("select unique_key, limit_keys, tick from asyncjobs.job")
        assert row["unique_key"] == "recurs.unique" and row["limit_keys"] == ["recurs.unique"]
        assert row["tick"] == (await ticks(connection, "unique"))[0][0]

    async def test_jitter_makes_it_due_later_and_the_job_sees_the_time_without(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await jobs.recurring.add("spread", held, schedule=SECONDLY, jitter=600)
        await until(connection, TICKED, "spread", 3)
        rows = await connection.fetch("select tick, run_at from asyncjobs.job order by tick")
        assert all(row["run_at"] == row["tick"] + lateness("spread", row["tick"], 600) for row in rows)
        assert len({row["run_at"] - row["tick"] for row in rows}) > 1


class TestMissed:
    @pytest.mark.parametrize(("catch_up", "count"), [("none", 0), ("latest", 1), ("all", 60)])
    async def test_after_an_hour_in_which_nobody_was_there(
        self, make: Callable[..., AsyncJobs], connection: asyncpg.Connection, catch_up: Any, count: int
    ) -> None:
        async with make() as jobs:
            # Never within ten seconds of its time.
            second = (datetime.now(UTC).second + 30) % 60
            await jobs.recurring.add("minutely", held, schedule=f"{second} * * * * *", catch_up=catch_up)
        await back(connection, "minutely", hours=1)
        async with make().running():
            await until(
                connection, "select next_at > clock_timestamp() from asyncjobs.recurring where name = 'minutely'"
            )
            found = await ticks(connection, "minutely")
        assert [came_to for _, came_to in found] == ["enqueued"] * count
        assert len(await connection.fetch("select from asyncjobs.job")) == count
        if count:
            [now] = await connection.fetchrow("select clock_timestamp()")
            assert now - timedelta(seconds=90) < found[-1][0] < now

    async def test_what_is_passed_over_is_said(
        self, make: Callable[..., AsyncJobs], connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with make() as jobs:
            await jobs.recurring.add("secondly", held, schedule=SECONDLY, catch_up="all")
        await back(connection, "secondly", hours=1)
        async with make().running() as jobs:
            await until(
                connection, "select next_at > clock_timestamp() from asyncjobs.recurring where name = 'secondly'"
            )
            await jobs.recurring.pause("secondly")
        assert (
            "the last 1000 are enqueued for, earlier ones passed over (catch_up is 'all'; 1000 at most)" in caplog.text
        )
        found = await connection.fetch(
            "select tick, xmin::text::bigint as transaction from asyncjobs.job order by tick"
        )
        assert len(found) >= 1000
        assert all(later["tick"] - row["tick"] == timedelta(seconds=1) for row, later in pairwise(found))
        assert max(Counter(row["transaction"] for row in found).values()) == MOST_AT_ONCE  # no statement takes for ever

    async def test_a_clock_that_was_set_back_doubles_nothing(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await jobs.recurring.add("beat", held, schedule=SECONDLY)
        await jobs.recurring.add("other", held, schedule=SECONDLY)
        await until(connection, TICKED, "beat", 1)
        await back(connection, "beat", hours=-1)  # what was decided is an hour ahead
        before = await ticks(connection, "beat")
        await until(connection, TICKED, "other", 4)
        assert len(await ticks(connection, "beat")) <= len(before) + 1


class TestTrouble:
    async def test_what_cannot_be_enqueued_holds_up_no_other_and_is_shown(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        await jobs.recurring.add("bad", note(), schedule=SECONDLY)
        await connection.execute(
            "update asyncjobs.recurring set queue = 'no good', revision = revision + 1 where name = 'bad'"
        )
        await jobs.recurring.add("good", note(), schedule=SECONDLY)
        await until(connection, TICKED, "good", 3)
        status = (await all_of(jobs))["bad"]
        assert status.trouble is not None and "queue must be" in status.trouble
        assert "recurring bad could not be enqueued" in caplog.text
        await jobs.recurring.add("bad", note(), schedule=SECONDLY)
        await until(connection, TICKED, "bad", 1)
        assert (await all_of(jobs))["bad"].trouble is None

    async def test_a_time_zone_that_one_worker_does_not_know_is_left_to_the_others_and_said_once(
        self,
        make: Callable[..., AsyncJobs],
        connection: asyncpg.Connection,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        is_new = ContextVar("is_new", default=False)

        def as_known_there(text: str, timezone: str) -> Schedule:
            if timezone == "Asia/Tokyo" and not is_new.get():
                raise InvalidSchedule("timezone='Asia/Tokyo' is no known time zone")
            return schedule(text, timezone)

        monkeypatch.setattr(worker_recurring, "schedule", as_known_there)
        async with make() as client:
            await client.recurring.add("far", note("far"), schedule=SECONDLY, timezone="Asia/Tokyo")
            await client.recurring.add("near", note("near"), schedule=SECONDLY)
        async with make().running() as jobs:
            await until(connection, TICKED, "near", 3)
            assert await ticks(connection, "far") == []
            assert (
                caplog.text.count("recurring far is left to other workers: timezone='Asia/Tokyo' is no known time zone")
                == 1
            )
            assert "recurring near is left" not in caplog.text
            is_new.set(True)
            async with make().running():
                await until(connection, TICKED, "far", 3)
                times = [tick for tick, _ in await ticks(connection, "far")]
                assert all(later - time == timedelta(seconds=1) for time, later in pairwise(times[1:]))
            assert caplog.text.count("recurring far is left") == 1
            # Once it is read on a clock that is known here, it is this worker's, too.
            await connection.execute(
                "update asyncjobs.recurring set timezone = 'Asia/Seoul', revision = revision + 1 where name = 'far'"
            )
            await connection.execute("notify asyncjobs_recurring")
            await until(
                connection, "select seen_until > $1 from asyncjobs.recurring where name = 'far'", datetime.now(UTC)
            )
            assert (await all_of(jobs))["far"].next_at is not None

    async def test_what_nobody_can_read_stays_due_and_burns_nothing(
        self, make: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = 0
        look = statements.look

        async def counted(*given: Any, **named: Any) -> Any:
            nonlocal looks
            looks += 1
            return await look(*given, **named)

        async with make() as client:
            await client.recurring.add("later", note(), schedule=SECONDLY)
            await client.recurring.add("near", note(), schedule=SECONDLY)
        await connection.execute("update asyncjobs.recurring set timezone = 'Mars/Olympus' where name = 'later'")
        monkeypatch.setattr(statements, "look", counted)
        async with make().running() as jobs:
            await until(connection, "select report like '%Mars/Olympus%' from asyncjobs.worker where dead_at is null")
            await until(connection, TICKED, "near", 3)
            assert looks <= 10 + 5 * len(await ticks(connection, "near"))
            assert (await all_of(jobs))["later"].next_at is not None

    async def test_a_decision_about_what_was_changed_since_it_was_read_comes_to_nothing(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await client.recurring.add("one", note(), schedule=SECONDLY)
        await until(connection, "select next_at < clock_timestamp() from asyncjobs.recurring")
        look = await statements.look(connection, [])
        [row] = look.due
        tick = statements.Tick(look.now.replace(microsecond=0), new_id(), None)
        firing = statements.Firing(row.name, row.revision, look.now, look.now + timedelta(hours=1), [tick])
        assert [each.enqueued for each in await statements.fire(connection, [firing])] == [1]
        assert await statements.fire(connection, [firing]) == []  # by another, or after a lost answer
        again = firing._replace(revision=row.revision + 1)
        [found] = await statements.fire(connection, [again])  # that time was
        assert (found.enqueued, found.trouble) == (0, None)
        assert await connection.fetchval("select count(*) from asyncjobs.job") == 1


REPORT = {"job": "recurs.note", "schedule": "@daily", "args": {"word": "config"}}


class TestDeclared:
    async def test_what_is_declared_is_stored_changed_and_removed_when_a_worker_starts_and_the_log_says_so(
        self, make: Callable[..., AsyncJobs], connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        async with make() as jobs:
            await jobs.recurring.add("mine", note(), schedule="@daily")
        for recurring, says in (
            ({"report": REPORT, "gone": REPORT}, "recurring report is added: recurs.note, '@daily' in UTC"),
            (
                {"report": {**REPORT, "schedule": "@hourly"}},
                "recurring report is changed: recurs.note, '@hourly' in UTC, and was '@daily' in UTC",
            ),
            (
                {"report": {**REPORT, "enabled": False}},
                "recurring report is changed: recurs.note, '@daily' in UTC, not enabled",
            ),
        ):
            async with make(recurring=recurring).running() as jobs:
                await until_so(lambda says=says: says in caplog.text)
                found = await all_of(jobs)
                assert found.keys() == {"mine", *recurring}
                assert found["report"].declared == "config"
                assert found["report"].schedule == recurring["report"]["schedule"]
        assert "recurring gone is removed: it is not declared any more" in caplog.text
        assert found["report"].next_at is None and not found["report"].enabled
        assert (
            await connection.fetchval("select args from asyncjobs.recurring where name = 'report'")
            == '{"word":"config"}'
        )

    async def test_a_schedule_in_code_is_not_inherited_and_goes_with_its_code(
        self, make: Callable[..., AsyncJobs], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")

        class Base(Job, kind="recurs.Base", schedule="0 6 * * *", timezone="Europe/Paris", overlap="skip"):
            async def perform(self) -> None: ...

        class Derived(Base, kind="recurs.Derived"):
            async def perform(self) -> None: ...

        async with make().running() as jobs:
            await until_so(lambda: "recurring recurs.Base is added" in caplog.text)
            found = await all_of(jobs)
            assert "recurs.Derived" not in found
            base = found["recurs.Base"]
            assert (base.declared, base.schedule, base.timezone, base.overlap) == (
                "code",
                "0 6 * * *",
                "Europe/Paris",
                "skip",
            )
            with pytest.raises(
                InvalidOption, match=r"declared in the code of recurs\.Base: remove it there, or pause it"
            ):
                await jobs.recurring.remove("recurs.Base")
            with pytest.raises(InvalidOption, match="change it there, or add this under another name"):
                await jobs.recurring.add("recurs.Base", note(), schedule="@daily")
            await jobs.recurring.pause("recurs.Base")
        Base._definition.options.__dict__["schedule"] = None  # as in the next version of the code
        async with make().running() as jobs:
            await until_so(lambda: "recurring recurs.Base is removed" in caplog.text)
            assert "recurs.Base" not in await all_of(jobs)

    async def test_a_pause_by_hand_outlasts_a_change_of_what_is_declared(
        self, make: Callable[..., AsyncJobs], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        async with make(recurring={"report": REPORT}).running() as jobs:
            await until_so(lambda: "recurring report is added" in caplog.text)
            await jobs.recurring.pause("report")
        async with make(recurring={"report": {**REPORT, "schedule": "@hourly"}}).running() as jobs:
            await until_so(lambda: "recurring report is changed" in caplog.text)
            status = (await all_of(jobs))["report"]
            assert status.paused and status.next_at is None and status.schedule == "@hourly"

    async def test_what_was_added_at_run_time_is_kept_though_it_is_declared_too(
        self, make: Callable[..., AsyncJobs], caplog: pytest.LogCaptureFixture
    ) -> None:
        async with make() as jobs:
            await jobs.recurring.add("report", note(), schedule="@hourly")
        async with make(recurring={"report": REPORT}).running() as jobs:
            await until_so(lambda: "recurring report was added at run time, and is kept" in caplog.text)
            assert (await all_of(jobs))["report"].schedule == "@hourly"

    async def test_a_worker_without_a_configuration_removes_nothing_of_one(
        self,
        make: Callable[..., AsyncJobs],
        connection: asyncpg.Connection,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        async with make(recurring={"report": REPORT}).running():
            await until(connection, "select count(*) = 1 from asyncjobs.recurring where name = 'report'")
        async with make(config=None).running() as jobs:
            await until(connection, "select count(*) = 2 from asyncjobs.recurring_version")
            assert "report" in await all_of(jobs)

    async def test_of_two_versions_at_work_the_newer_ones_declaration_holds_and_no_time_is_doubled(
        self, make: Callable[..., AsyncJobs], connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        old, new = ({"beat": {"job": "recurs.held", "schedule": each}} for each in ("@hourly", SECONDLY))
        async with make(recurring=old).running():
            await until_so(lambda: "recurring beat is added" in caplog.text)
            async with make(recurring=new).running() as jobs:
                await until_so(lambda: "recurring beat is changed: recurs.held, '* * * * * *'" in caplog.text)
                # A process of the old version is started again in the middle of the deploy.
                async with make(recurring=old).running():
                    await until_so(lambda: "declared otherwise here, and is kept" in caplog.text)
                    await until(connection, TICKED, "beat", 3)
                    assert (await all_of(jobs))["beat"].schedule == SECONDLY
                found = await ticks(connection, "beat")
                assert len({time for time, _ in found}) == len(found)
                assert len(await connection.fetch("select from asyncjobs.job")) >= len(found)
        # Nobody has the new version any more: the old one was deployed again.
        async with make(recurring=old).running() as jobs:
            await until_so(lambda: "'@hourly' in UTC, and was '* * * * * *' in UTC" in caplog.text)
            assert (await all_of(jobs))["beat"].schedule == "@hourly"

    @pytest.mark.parametrize(
        ("recurring", "says"),
        [
            ({"job": "app.nowhere.Report"}, r"recurring\.report\.job: no job of kind 'app\.nowhere\.Report' is known \(there is no module 'app"),
            ({"job": "recurs.noted"}, r"no job of kind 'recurs\.noted' is known.*; did you mean 'recurs\.note'\?"),
            ({"job": "recurs.needs"}, r"recurring\.report: .*word"),
            ({"args": {"word": [1]}}, r"recurring\.report: .*word"),
            ({"args": {"wort": "x"}}, r"recurring\.report: .*wort"),
            ({"args": ["a", "b"]}, r"recurring\.report: "),
        ],
    )  # fmt: skip
    async def test_what_is_declared_and_cannot_be_ends_the_start_with_all_of_it(
        self, make: Callable[..., AsyncJobs], recurring: dict[str, Any], says: str
    ) -> None:
        declared = {"schedule": "@daily", "job": "recurs.note", **recurring}
        with pytest.raises(InvalidSettings, match=says) as raised:
            async with make(recurring={"report": declared, "other": declared}).running():
                pass
        assert len(raised.value.problems) == 2

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"schedule": "@reboot"}, "where your program starts"),
            ({"schedule": "@daily", "timezone": "Mars/Olympus"}, "no known time zone"),
            ({"schedule": "@daily"}, "word has no default"),
            ({"jitter": "1m"}, "jitter='1m' is not a time"),
        ],
    )
    def test_a_definition_that_cannot_recur_is_refused(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(InvalidDefinition, match=says):

            @job(kind=f"recurs.refused.{uuid4()}", **options)
            async def refused(word: str) -> None: ...

        with pytest.raises(InvalidDefinition, match=says):

            class Refused(Job, kind=f"recurs.refused.{uuid4()}", **options):
                word: str

                async def perform(self) -> None: ...

    async def test_what_other_code_declares_is_left_to_the_workers_that_have_it(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        for name in ("ours", "theirs"):
            await jobs.recurring.add(name, note(), schedule=SECONDLY)
        await until(connection, TICKED, "ours", 1)  # what nobody knows is removed by a worker that starts
        await connection.execute(
            "update asyncjobs.recurring set declared = 'code', kind = 'strange.kind' where name = 'theirs'"
        )
        before, ours = len(await ticks(connection, "theirs")), len(await ticks(connection, "ours"))
        await until(connection, TICKED, "ours", ours + 4)
        assert len(await ticks(connection, "theirs")) <= before + 1


async def test_where_nothing_recurs_nothing_is_asked(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    await until_so(lambda: jobs.healthy)
    worker = jobs._worker
    assert worker is not None
    await worker.parts.recurring.begun.wait()
    assert await worker.parts.recurring.look() is None  # it looks again when there is news, and not before
    await jobs.recurring.add("beat", note(), schedule=SECONDLY)
    await until(connection, TICKED, "beat", 1)


def test_the_file_of_a_configuration_is_told_with_its_line(tmp_path: Path, url: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[default]\n[default.recurring.report]\nschedule = "@daily"\njob = "app.nowhere.Report"\n')

    async def work() -> None:
        async with AsyncJobs(config=path, database_url=url).running():
            pass

    with pytest.raises(InvalidSettings, match=r"config\.toml:4: default\.recurring\.report\.job: no job of kind"):
        asyncio.run(work())
