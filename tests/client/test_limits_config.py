"""Limits that a configuration sets, beside the code and what is set by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from stopping import at_gate, gates

from asyncjobs import AsyncJobs, InvalidSettings, Limit, Rate, enqueue_all, job
from asyncjobs.db import limiting
from asyncjobs.definitions import registry
from asyncjobs.settings import load
from asyncjobs.worker.limits.configured import unlimited
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so

pytestmark = pytest.mark.usefixtures("gate", "database_url")

begun: list[int] = []
RATE = "it is a rate, which does not bound how many jobs run at once; declare concurrency=Limit(…)"
Make = Callable[..., AsyncJobs]


@job(kind="config.held", concurrency=Limit(1))
async def held(n: int) -> None:
    begun.append(n)
    await at_gate()


at_once: list[int] = []


@job(kind="wide.of_config", concurrency=Limit(4))
async def wide(n: int) -> None:
    begun.append(n)
    at_once.append(len(begun))
    for _ in range(20):
        await asyncio.sleep(0)
    begun.remove(n)


@job(kind="config.shared", concurrency=[Limit(2, by=("n",), key="config key"), Limit(9, key="config key")])
async def shared(n: int) -> None: ...


@job(kind="config.paced", rate_limit=Rate(1000, per=1))
async def paced() -> None: ...


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the log says of limits."""
    begun.clear()
    found: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := record.getMessage()).startswith("limit config"):
                found.append(text.removeprefix("limit "))

    handler, logger = Keeping(logging.INFO), logging.getLogger("asyncjobs.worker")
    logger.addHandler(handler)
    caplog.set_level(logging.INFO, "asyncjobs.worker")
    yield found
    logger.removeHandler(handler)


@pytest.fixture
def without(tmp_path: Path) -> Path:
    """A configuration that says nothing of limits."""
    path = tmp_path / "config.toml"
    path.write_text("[default]\n")
    return path


async def numbers(connection: asyncpg.Connection) -> dict[str, tuple[int | None, str]]:
    """What holds, and who says so."""
    return {
        row.name: (row.most, row.said_by)
        for row in await limiting.read_limits(connection)
        if row.name.startswith(("config", "rate:config"))
    }


async def until_said(connection: asyncpg.Connection, config: int | None, name: str = "config.held") -> None:
    """Wait until a worker has said it."""
    found = (
        "select most_by_config is not distinct from $1 and said_at > '-infinity' from asyncjobs.limits where name = $2"
    )
    await until(connection, found, config, name)


async def test_it_holds_from_a_workers_start_on_in_place_of_the_code_and_is_said(
    make_jobs: Make, connection: asyncpg.Connection, said: list[str]
) -> None:
    async with make_jobs().running():
        await until_said(connection, None)
    async with make_jobs(limits={"config.held": 3}).running():
        made = [await held(n).enqueue() for n in range(4)]
        await until_so(lambda: len(begun) == 3)
        await until(connection, "select count(*) = 1 from asyncjobs.job where state = 1")
        assert await numbers(connection) == {
            "config.held": (3, "config"),
            "rate:config.paced": (None, "code"),
            "config\u00a0key": (9, "code"),
            "config\u00a0key(n)": (2, "code"),
        }
        gates["open"].set()
        for each in made:
            await each
    assert said == ["config.held is 3 at once by config, and was 1 at once by code"]


async def test_whoever_ends_gives_no_more_places_on_than_it_says(
    make_jobs: Make, connection: asyncpg.Connection
) -> None:
    at_once.clear()
    async with make_jobs(limits={"wide.of_config": 1}).running():
        await until_said(connection, 1, "wide.of_config")
        made = [wide(n) for n in range(12)]
        await enqueue_all(made)
        for each in made:
            await each.result(timeout=PATIENCE)
    assert at_once == [1] * 12


async def test_what_is_not_in_the_newer_configuration_is_the_codes_again(
    make_jobs: Make, connection: asyncpg.Connection, without: Path, said: list[str]
) -> None:
    async with make_jobs(limits={"config.held": 3}).running():
        await until_so(lambda: said == ["config.held is 3 at once by config"])
    async with make_jobs(config=without).running():
        await until_so(lambda: said[1:] == ["config.held is 1 at once by code, and was 3 at once by config"])


async def test_a_worker_without_a_configuration_leaves_alone_what_another_says(
    make_jobs: Make, connection: asyncpg.Connection, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with make_jobs(config=None, limits={"config.held": 3}).running():
        await until_so(lambda: len(said) == 1)
    before = await connection.fetchval("select max(said_at) from asyncjobs.limits")
    async with make_jobs(config=None).running():
        await until(connection, "select said_at > $1 from asyncjobs.limits where name = 'config.held'", before)
        assert (await numbers(connection))["config.held"] == (3, "config")
    assert len(said) == 1


async def test_set_by_hand_it_stays_so_until_that_is_taken_back(
    make_jobs: Make, connection: asyncpg.Connection, said: list[str]
) -> None:
    async with make_jobs(limits={"config.held": 3}).running() as jobs:
        await until_so(lambda: len(said) == 1)
        await jobs.set_limit("config.held", 7)
    async with make_jobs(limits={"config.held": 4}).running() as jobs:
        await until_so(lambda: len(said) == 2)
        assert (await numbers(connection))["config.held"] == (7, "hand")
        await jobs.set_limit("config.held", None)
        assert (await numbers(connection))["config.held"] == (4, "config")
    assert said[1:] == [
        "config.held is 4 at once by config here, and stays 7 at once by hand: `jobs.set_limit('config.held', None)` ends that"
    ]


async def test_of_two_configurations_that_of_the_worker_that_began_later_holds(
    make_jobs: Make, connection: asyncpg.Connection, said: list[str]
) -> None:
    async with make_jobs(limits={"config.held": 3}).running() as older:
        await until_so(lambda: len(said) == 1)
        async with make_jobs(limits={"config.held": 5}).running():
            await until_so(lambda: said[1:] == ["config.held is 5 at once by config, and was 3 at once by config"])
            # The older one says all of it once more, since it knows of more jobs.
            made = older._worker
            assert made is not None
            made.parts.admission._said = []
            made.parts.admission.notified()
            await until_so(lambda: len(said) == 3)
            assert (
                said[2]
                == "config.held is 3 at once by config here, and stays 5 at once by config: a worker that began later says so"
            )
            assert (await numbers(connection))["config.held"] == (5, "config")


async def test_the_longest_name_that_fits_counts(make_jobs: Make, connection: asyncpg.Connection) -> None:
    async with make_jobs(limits={"config key": 4, "config key(n)": 1}).running():
        await until_said(connection, 1, "config\u00a0key(n)")
        found = await numbers(connection)
    assert (found["config\u00a0key"], found["config\u00a0key(n)"]) == ((4, "config"), (1, "config"))


async def test_a_rate_is_no_limit_of_how_many_run(make_jobs: Make, connection: asyncpg.Connection) -> None:
    async with make_jobs(limits={"config.paced": 4, "config.held": 2}).running():
        await until_said(connection, 2)
        assert (await numbers(connection))["rate:config.paced"] == (None, "code")


async def test_it_holds_for_what_only_others_know_and_is_over_with_its_configuration(
    make_jobs: Make, connection: asyncpg.Connection, without: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_jobs():
        await held(1).set(wait=3600, concurrency=Limit(2, key="config.of_others")).enqueue()
    async with make_jobs(limits={"config.of_others": 6}).running():
        await until_said(connection, 6, "config.of_others")
    assert "limits.config.of_others: no job defined here is under a limit 'config.of_others'" in caplog.text
    async with make_jobs(config=without).running():
        await until_said(connection, None, "config.of_others")
        assert (await numbers(connection))["config.of_others"] == (2, "code")


async def test_two_applications_on_one_database_have_each_their_own(
    make_jobs: Make, connection: asyncpg.Connection, without: Path
) -> None:
    async with make_jobs(limits={"config.held": 3}, kind_prefix="shop.").running():
        await until_said(connection, 3, "shop.config.held")
    async with make_jobs(config=without).running():
        await until_said(connection, None)
        assert (
            await connection.fetchval("select most_by_config from asyncjobs.limits where name = 'shop.config.held'")
            == 3
        )


async def test_whoever_waits_is_let_pass_by_the_new_number(make_jobs: Make) -> None:
    async with make_jobs().running():
        await enqueue_all(held(n) for n in range(3))
        await until_so(lambda: len(begun) == 1)
        async with make_jobs(limits={"config.held": 3}).running():
            await until_so(lambda: len(begun) == 3)
            gates["open"].set()


async def test_it_is_told_while_a_new_key_is_looked_at(
    make_jobs: Make, connection: asyncpg.Connection, database_url: str
) -> None:
    async with make_jobs() as client:
        await held(1).set(concurrency=Limit(1, key="config.of_others")).enqueue()
        await client.set_limit("config.of_others", 0)
    await connection.execute("update asyncjobs.limits set most_by_hand = null, most_by_config = 0, config_of = ''")
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        assert await other.fetchval("select passed from asyncjobs.admit()") == 0
        await limiting.say_limits(connection, [], {"config.of_others": 1}, scope="")
    assert await other.fetchval("select passed from asyncjobs.admit()") == 1
    await other.close()


async def test_why_says_who_says_so(make_jobs: Make, connection: asyncpg.Connection) -> None:
    async with make_jobs(limits={"config.held": 0}).running() as jobs:
        waits = await held(1).enqueue()
        await until_said(connection, 0)
        await _says(jobs, waits, "which is 0 by config")
        await jobs.set_limit("config.held", 1)
        await gates["arrived"].wait()
        second = await held(2).enqueue()
        await _says(jobs, second, "1 at once by hand, held by")
        gates["open"].set()


async def _says(jobs: AsyncJobs, one: Any, wanted: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while wanted not in await jobs.why(one):
            await asyncio.sleep(0)


def test_one_that_no_job_is_under_is_told_with_the_line_and_what_may_be_meant(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[default.limits]\n"config.held" = 3\n"config.hold" = 3\nnobodys = 1\n"config.paced" = 1\n')
    assert unlimited(load(path)) == [
        f"{path}:3: default.limits.config.hold: no job defined here is under a limit 'config.hold': did you mean 'config.held'?",
        f"{path}:4: default.limits.nobodys: no job defined here is under a limit 'nobodys': is its module in imports?",
        f"{path}:5: default.limits.config.paced: no job defined here is under a limit 'config.paced': {RATE}",
    ]
    with registry.prefixed("shop."):
        assert len(unlimited(load(path))) == 3


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"a": -1}, "limits.a: -1 is not allowed; give a whole number from 0 to 1000000"),
        ({"a": 1_000_001}, "limits.a: 1000001 is not allowed; give a whole number from 0 to 1000000"),
        ({"a": True}, "limits.a: true is not allowed; give a whole number"),
        ({"a": 1.5}, "limits.a: 1.5 is not allowed; give a whole number"),
        ({"a": "many"}, 'limits.a: "many" is not allowed; give a whole number'),
        ({"app": {"jobs": {"charge": 5}}}, 'limits.app: a table is no number; a name with dots stands in quotes, as in "app.jobs'),
        ({"": 5}, '"" is no limit; give a kind, such as "app.jobs.charge", or a shared key: 1 to 200 printable characters'),
        ({"a(n) 7": 5}, '"a(n) 7" is one key of a limit; give the limit, and set a single key by `jobs.set_limit`'),
        ([], "limits: a list is not a table; TOML writes a table with single brackets"),
        (5, "limits: 5 is not a table; write its keys with values"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_remedy(limits: Any, says: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load(limits=limits)
    assert says in str(raised.value)


def test_it_is_read_from_the_file_with_its_line_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[default.limits]\nstripe = 7\n"app.jobs.charge" = 2\n[production.limits]\nstripe = 70\n')
    assert load(config).limits == {"stripe": 7, "app.jobs.charge": 2}
    assert load(config, environment="production").limits == {"stripe": 70, "app.jobs.charge": 2}
    monkeypatch.setenv("ASYNCJOBS_LIMITS", '{"stripe": 9}')
    assert load(config).limits["stripe"] == 9
    monkeypatch.setenv("ASYNCJOBS_LIMITS", "9")
    with pytest.raises(InvalidSettings, match="ASYNCJOBS_LIMITS"):
        load(config)
    config.write_text("[default.limits]\n\nstripe = -7\n")
    monkeypatch.delenv("ASYNCJOBS_LIMITS")
    with pytest.raises(InvalidSettings, match=r"config\.toml:3: default\.limits\.stripe: -7 is not allowed"):
        load(config)
