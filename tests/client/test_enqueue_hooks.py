"""Hooks and middleware around an enqueue: what stops it, what changes nothing, and where middleware comes from."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from client_jobs import double, row, rows

from asyncjobs import (
    AsyncJobs,
    Discard,
    InvalidSettings,
    Job,
    NotEnqueued,
    after_enqueue,
    around_enqueue,
    before_enqueue,
    enqueue_all,
    job,
)
from asyncjobs.definitions.hooks import Hooks
from asyncjobs.performing import hook_calls
from tests.support.processes import PATIENCE

said: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    said.clear()


class Refused(Exception): ...


@job(kind="enqueue_hooks.checked")
async def checked(number: int) -> int:
    return number


@checked.before_enqueue
async def refuse_negative_numbers(job: Job) -> None:
    said.append(("before", job.arguments["number"], job.state))
    if job.arguments["number"] < 0:
        raise Refused(job.arguments["number"])


@checked.after_enqueue
def say_so(job: Job) -> None:
    said.append(("after", job.arguments["number"], job.state))


class Around(Job, kind="enqueue_hooks.Around"):
    enqueues: bool = True

    async def perform(self) -> None: ...

    @before_enqueue
    def before(self) -> None:
        said.append("before")
        self.set(queue="chosen")

    @around_enqueue
    async def around(self, call: Callable[[], Awaitable[None]]) -> None:
        said.append("opens")
        if self.enqueues:
            await call()
        said.append("closes")

    @after_enqueue
    async def after(self) -> None:
        said.append("after")


def failing(kind: str, point: str, raised: BaseException) -> Any:
    """A definition whose hook at `point` raises."""

    @job(kind=f"enqueue_hooks.{kind}")
    async def function() -> None: ...

    async def hook(job: Job, call: Callable[[], Awaitable[None]] | None = None) -> None:
        if call is not None:
            await call()
        raise raised

    getattr(function, point)(hook)
    return function


class TestOneJob:
    async def test_hooks_are_called_before_and_after_its_row_is_made(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await checked(5).enqueue()
        assert said == [("before", 5, None), ("after", 5, "ready")]
        assert await row(connection, made) is not None

    async def test_one_that_raises_before_stops_it_with_its_own_error_and_nothing_is_stored(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        refused = checked(-5)
        with pytest.raises(Refused, match="-5"):
            await refused.enqueue()
        assert said == [("before", -5, None)]
        assert await rows(connection) == 0
        assert refused.state is None
        with pytest.raises(NotEnqueued):
            await refused

    async def test_one_that_hangs_before_stops_it_with_a_timeout_error(
        self, client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @job(kind="enqueue_hooks.hanging")
        async def function() -> None: ...

        @function.before_enqueue
        async def hang(job: Job) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await function().enqueue()
        assert await rows(connection) == 0

    @pytest.mark.parametrize("point", ["after_enqueue", "around_enqueue"])
    @pytest.mark.parametrize("raised", [Refused("late"), Discard("late")], ids=repr)
    async def test_one_that_raises_afterwards_changes_nothing(
        self,
        client: AsyncJobs,
        connection: asyncpg.Connection,
        caplog: pytest.LogCaptureFixture,
        point: str,
        raised: BaseException,
    ) -> None:
        made = await failing("late", point, raised)().enqueue()
        assert made.state == "ready"
        assert await row(connection, made) is not None
        assert "a hook failed" in caplog.text

    async def test_a_hook_before_may_say_where_it_goes(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await Around().enqueue()
        assert said == ["before", "opens", "closes", "after"]
        assert (await row(connection, made))["queue"] == "chosen"

    async def test_one_around_that_does_not_call_keeps_it_from_being_enqueued(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await Around(enqueues=False).enqueue()
        assert said == ["before", "opens", "closes"]
        assert await rows(connection) == 0
        assert made.state is None

    async def test_enqueueing_the_same_job_again_calls_none(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await checked(5).enqueue()
        said.clear()
        await made.enqueue()
        assert said == []
        assert await rows(connection) == 1


class TestMany:
    async def test_hooks_are_called_for_each_job(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        assert await enqueue_all([*map(checked, range(60)), double(1)]) == 61
        assert {number for when, number, _ in said if when == "before"} == set(range(60))
        assert {number for when, number, _ in said if when == "after"} == set(range(60))
        assert await rows(connection) == 61

    async def test_a_hook_that_raises_stops_it_with_its_own_error_and_its_job_is_not_stored(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        with pytest.raises(Refused, match="-1"):
            await enqueue_all([checked(-1)])
        assert await rows(connection) == 0

    async def test_one_that_raises_lets_those_beside_it_come_to_their_end(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        with pytest.raises(Refused, match="-1") as raised:
            await enqueue_all(checked(number) for number in (-1, 1, -2, 3))
        assert raised.value.__notes__ == [
            "enqueue_all: 1 jobs beside it could not be enqueued either",
            "enqueue_all: 2 jobs were enqueued all the same",
        ]
        assert await rows(connection) == 2  # and no task is left to add to them

    async def test_a_job_whose_hook_does_not_call_on_is_not_counted(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        assert await enqueue_all([Around(), Around(enqueues=False)]) == 1
        assert await rows(connection) == 1


class TestInTheCallersTransaction:
    async def test_what_comes_after_is_called_before_the_commit(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        transaction = connection.transaction()
        await transaction.start()
        made = await checked(5).enqueue(connection=connection)
        assert said == [("before", 5, None), ("after", 5, "ready")]
        await transaction.rollback()
        assert await row(connection, made) is None

    async def test_one_that_raises_before_leaves_the_transaction_as_it_was(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        async with connection.transaction():
            with pytest.raises(Refused):
                await checked(-5).enqueue(connection=connection)
            kept = await checked(5).enqueue(connection=connection)
        assert await rows(connection) == 1
        assert await row(connection, kept) is not None


class Layer:
    def __init__(self, name: str = "by name") -> None:
        self.name = name

    def before_enqueue(self, job: Job) -> None:
        said.append(f"{self.name} before")

    async def around_perform(self, job: Job, call: Callable[[], Awaitable[Any]]) -> None:
        said.append(f"{self.name} opens")
        await call()
        said.append(f"{self.name} closes")

    def after_enqueue(self, job: Job) -> None:
        said.append(f"{self.name} after")


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module `enqueue_layers` with middleware in it."""
    module = types.ModuleType("enqueue_layers")
    module.Layer = Layer
    module.made = Layer("made")
    monkeypatch.setitem(sys.modules, "enqueue_layers", module)


class TestMiddleware:
    async def test_given_to_the_client_is_around_every_job_the_first_outermost(self, url: str) -> None:
        layers = [Layer("outer"), Layer("inner")]
        async with AsyncJobs(database_url=url, middleware=layers):
            await double(1).enqueue()
            assert said == ["outer before", "inner before", "inner after", "outer after"]
            said.clear()
            await enqueue_all([double(1), double(2)])
            assert len(said) == 8
            said.clear()
            assert await double(2).perform_now() == 4
            assert said == ["outer opens", "inner opens", "inner closes", "outer closes"]
        said.clear()
        assert await double(2).perform_now() == 4
        assert said == []

    async def test_is_put_around_the_hooks_of_a_definition_once_and_not_for_each_job(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        joined: list[Any] = []
        within = Hooks.within
        monkeypatch.setattr(Hooks, "within", lambda *given: joined.append(given) or within(*given))
        async with AsyncJobs(database_url=url, middleware=[Layer("only")]):
            for number in range(3):
                await double(number).enqueue()
        assert len(joined) == 1

    async def test_that_has_nothing_to_do_with_enqueueing_leaves_many_jobs_to_one_statement(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Performing:
            async def around_perform(self, job: Job, call: Callable[[], Awaitable[Any]]) -> None:
                await call()

        one_by_one: list[Any] = []
        async with AsyncJobs(database_url=url, middleware=[Performing()]) as client:
            monkeypatch.setattr(client._client()._jobs, "_insert", one_by_one.append)
            assert await enqueue_all([double(1), double(2)]) == 2
        assert one_by_one == []

    async def test_named_in_the_settings_is_imported_and_stands_outside_what_was_given(
        self, url: str, named: None, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text('[default]\nmiddleware = ["enqueue_layers.Layer", "enqueue_layers.made"]\n')
        async with AsyncJobs(config=config, database_url=url, middleware=[Layer("given")]):
            await double(1).enqueue()
        assert said == [
            *("by name before", "made before", "given before"),
            *("given after", "made after", "by name after"),
        ]

    @pytest.mark.parametrize("name", ["enqueue_layers.Missing", "no_such_module.Layer", "enqueue_layers.Layer.name"])
    async def test_that_cannot_be_imported_is_refused_when_the_client_opens(
        self, url: str, named: None, tmp_path: Path, name: str
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(f'[default]\nmiddleware = ["{name}"]\n')
        with pytest.raises(InvalidSettings, match=name.split(".", maxsplit=1)[0]):
            await AsyncJobs(config=config, database_url=url).open()

    async def test_a_worker_performs_inside_it(self, make_jobs: Callable[..., AsyncJobs]) -> None:
        async with make_jobs(middleware=[Layer("worker")]).running():
            made = await double(3).enqueue()
            assert await made == 6
        assert said[0] == "worker before"
        assert [word for word in said if word != "worker after"][1:] == ["worker opens", "worker closes"]
