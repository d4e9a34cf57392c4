"""Jobs whose arguments are those of another version of the code, with real workers of two versions of one module."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from asyncjobs import AsyncJobs, InvalidArguments, InvalidDefinition, Job, job
from tests.support import warm
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so
from tests.support.sweeps import slowly
from tests.support.workers import ROOT, Worker, Workers

OLD = """
from asyncjobs import job

@job
async def hello(name: str) -> str:
    return f"old {name}"
"""
NEW = OLD.replace("name: str", 'name: str, lang: str = "en"').replace("old {name}", "{lang} {name}")
DROPS = OLD.replace("@job", '@job(dropped=("lang",))')
CONFIG = """
[default]
imports = ["shop"]
lease = 4
version_grace = {grace}
[[default.pools]]
queues = ["*"]
concurrency = 10
"""


class Deploy:
    """Versions of one module, each in a directory of its own: to enqueue from and to work in."""

    def __init__(self, directory: Path, url: str, workers: Workers) -> None:
        self._directory = directory
        self._environment = {**os.environ, "ASYNCJOBS_DATABASE_URL": url}
        self._workers = workers

    def add(self, version: str, text: str, *, grace: str = '"10m"') -> None:
        home = self._directory / version
        home.mkdir()
        (home / "shop.py").write_text(text)
        (home / "config.toml").write_text(CONFIG.format(grace=grace))

    async def enqueue(self, version: str, *words: str) -> UUID:
        home = self._directory / version
        done = await asyncio.to_thread(
            warm.run,
            [sys.executable, "-m", "asyncjobs", "enqueue", "shop.hello", *words],
            cwd=home,
            env={**self._environment, "PYTHONPATH": str(ROOT)},
            stderr=None,
            check=True,
        )
        return UUID(done.stdout.strip())

    async def work(self, version: str) -> Worker:
        home = self._directory / version
        worker = self._workers.start(
            name=version,
            config=home / "config.toml",
            environment={
                "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)]),
                "ASYNCJOBS_DATABASE_URL": self._environment["ASYNCJOBS_DATABASE_URL"],
                "ASYNCJOBS_LOG_FORMAT": "text",
            },
        )
        await worker.wait_for_log("ready")
        return worker


@pytest_asyncio.fixture(loop_scope="session")
async def deploy(tmp_path: Path, url: str) -> AsyncIterator[Deploy]:
    async with Workers(tmp_path) as workers:
        yield Deploy(tmp_path, url, workers)


async def gone(worker: Worker) -> None:
    """Stop it: for as long as it is there, which of the two takes a job first is chance, at each of a growing row of looks."""
    worker.stop()
    assert await worker.exit_code() == 0


async def test_a_job_with_a_new_argument_that_an_old_worker_meets_waits_for_a_new_one(
    deploy: Deploy, client: AsyncJobs
) -> None:
    deploy.add("old", OLD)
    deploy.add("new", NEW)
    old = await deploy.work("old")
    made = await deploy.enqueue("new", "name=Ada")  # the default is untouched, and stored
    await old.wait_for_log("its arguments may be another version's (lang: no argument of this job; it takes name)")

    async def waits() -> str | None:
        why = await client.why(made)
        return why if "another version" in why else None  # the moment at which the old one looks again

    why = await until_so(waits)
    assert why.startswith("waits for a worker of another version")
    assert "lang: no argument of this job" in why
    await deploy.work("new")
    await gone(old)
    found = await client.get(made)
    assert await found.result(timeout=PATIENCE) == "en Ada"
    status = await found.status()
    assert (status.state, status.attempt, status.errors) == ("succeeded", 1, [])


async def test_a_job_that_lacks_an_argument_of_the_new_code_waits_for_an_old_worker(
    deploy: Deploy, client: AsyncJobs
) -> None:
    deploy.add("old", OLD)
    deploy.add("new", NEW.replace(' = "en"', ""))
    new = await deploy.work("new")
    made = await deploy.enqueue("old", "name=Ada")
    await new.wait_for_log("its arguments may be another version's (lang: is missing")
    await deploy.work("old")
    await gone(new)
    assert await (await client.get(made)).result(timeout=PATIENCE) == "old Ada"


async def test_an_argument_that_was_dropped_runs_old_jobs_at_once(deploy: Deploy, client: AsyncJobs) -> None:
    deploy.add("before", NEW)
    deploy.add("after", DROPS)
    made = await deploy.enqueue("before", "name=Ada", "lang=de")
    await deploy.work("after")
    assert await (await client.get(made)).result(timeout=PATIENCE) == "old Ada"


async def test_nobody_takes_it_within_the_grace_and_it_fails_saying_so(deploy: Deploy, client: AsyncJobs) -> None:
    deploy.add("old", OLD, grace='"1200ms"')
    deploy.add("new", NEW)
    made = await deploy.enqueue("new", "name=Ada")
    worker = await deploy.work("old")
    found = await client.get(made)
    with pytest.raises(Exception, match="no worker that takes them came within 1s200ms"):
        await found.result(timeout=PATIENCE)
    status = await found.status()
    assert (status.state, status.attempt, len(status.errors)) == ("failed", 1, 1)
    assert status.errors[0].type == "asyncjobs.exceptions.InvalidArguments"
    assert "lang: no argument of this job" in status.errors[0].message
    assert worker.log.count("was given back") == 1

    await deploy.work("new")
    worker.stop()
    await worker.exit_code()
    assert await client.retry(made)
    assert await found.result(timeout=PATIENCE) == "en Ada"


async def strange(connection: asyncpg.Connection, kind: str, args: str = '{"name": "Ada", "lang": "en"}') -> UUID:
    """Enqueue what no code here takes."""
    return await connection.fetchval("select asyncjobs.enqueue(kind => $1, args => $2::json)", kind, args)


@job(kind="versions.hello")
async def hello(name: str) -> str:
    return f"hello {name}"


async def claims(connection: asyncpg.Connection) -> int:
    return await connection.fetchval("select last_value from asyncjobs.fence_seq")


async def test_it_is_not_claimed_again_and_again(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    before = await claims(connection)
    async with make_jobs(version_grace=2).running() as jobs:
        made = await strange(connection, "versions.hello")
        with pytest.raises(Exception, match="version_grace"):
            await (await jobs.get(made)).result(timeout=20)
    assert await claims(connection) - before <= 5  # after 0, 0.5, 1 and 2 seconds


@pytest.mark.parametrize("grace", [*slowly("0"), '"500ms"'])
async def test_a_process_job_has_the_same_grace(
    deploy: Deploy, client: AsyncJobs, connection: asyncpg.Connection, grace: str
) -> None:
    deploy.add("apart", OLD.replace("@job", '@job(executor="process")').replace("async def", "def"), grace=grace)
    await deploy.work("apart")
    made = await strange(connection, "shop.hello")
    with pytest.raises(Exception, match="version_grace"):
        await (await client.get(made)).result(timeout=PATIENCE)
    assert (await client.status(made)).attempt == 1


async def test_one_that_waits_can_be_cancelled_and_expires(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs().running() as jobs:
        made, late = await strange(connection, "versions.hello"), await strange(connection, "versions.hello")
        await until(connection, "select count(*) = 2 from asyncjobs.job where counts is not null")
        await connection.execute("update asyncjobs.job set expires_at = now() where id = $1", late)
        assert await jobs.cancel(made)
        assert (await jobs.status(made)).state == "cancelled"
        assert await until(connection, "select state from asyncjobs.finished where id = $1", late) == 6


async def test_the_time_it_has_waited_is_forgotten_once_a_worker_takes_it(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    from asyncjobs import Snooze

    taken = asyncio.Event()

    @job(kind="versions.snoozes")
    async def snoozes(name: str, lang: str) -> None:
        taken.set()
        raise Snooze(3600)

    made = await strange(connection, "versions.snoozes")
    key = '{"given back, ms, for its arguments: lang: no argument": 5000}'
    await connection.execute("update asyncjobs.job set counts = $2 where id = $1", made, key)
    async with make_jobs().running() as jobs:
        await asyncio.wait_for(taken.wait(), PATIENCE)
        await until(connection, "select state = 0 from asyncjobs.job where id = $1", made)
        assert (await jobs.status(made)).counts == {}
    assert snoozes.kind


async def test_an_argument_of_another_type_fails_at_once(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    made = await strange(connection, "versions.hello", '{"name": [1]}')
    with pytest.raises(Exception, match="correct the row"):
        await (await jobs.get(made)).result(timeout=20)


# The option


class Base(Job, abstract=True, dropped=("lang",)):
    name: str


class Derived(Base, kind="versions.Derived", dropped=["tone"]):
    async def perform(self) -> str:
        return self.name


class Again(Base, kind="versions.Again"):
    lang: str = "en"

    async def perform(self) -> str:
        return f"{self.lang} {self.name}"


async def test_dropped_arguments_are_inherited_added_to_and_taken_up_again(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    args = '{"name": "Ada", "lang": "de", "tone": "flat"}'
    assert await (await jobs.get(await strange(connection, "versions.Derived", args))).result(timeout=20) == "Ada"
    args = '{"name": "Ada", "lang": "de"}'
    assert await (await jobs.get(await strange(connection, "versions.Again", args))).result(timeout=20) == "de Ada"


def test_who_calls_a_job_cannot_name_what_was_dropped() -> None:
    untyped: Any = Derived
    with pytest.raises(InvalidArguments, match="lang: no argument of this job"):
        untyped(name="Ada", lang="de")


@pytest.mark.parametrize("dropped", ["lang", (1,), ("a b",), 5, b"lang"])
def test_what_is_no_tuple_of_names_is_refused(dropped: Any) -> None:
    with pytest.raises(InvalidDefinition, match="is no tuple of former arguments' names"):

        @job(kind="versions.refused", dropped=dropped)
        async def refused() -> None: ...


def test_an_argument_cannot_be_dropped() -> None:
    with pytest.raises(InvalidDefinition, match="dropped names 'lang', which is an argument"):

        @job(kind="versions.both", dropped=("lang",))
        async def both(lang: str) -> None: ...

    with pytest.raises(InvalidDefinition, match="dropped names 'lang', which is an argument"):

        class Both(Job, kind="versions.Both", dropped=("lang",)):
            lang: str

            async def perform(self) -> None: ...
