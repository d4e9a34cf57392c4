"""One PostgreSQL for the whole run, one database a test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest
import pytest_asyncio

from asyncjobs import AsyncJobs
from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from asyncjobs.definitions import registry
from asyncjobs.embedded import EmbeddedPostgres, postmaster
from asyncjobs.embedded.cluster import Cluster
from tests.support import copying, warm
from tests.support.directories import RUNNABLE, held_directory, of_run
from tests.support.lasting import Lasting
from tests.support.proxy import Proxy
from tests.support.roles import apply_roles

_numbers = itertools.count(1)

# Neither is about what is tested: both fail on a machine that is busy.
hypothesis.settings.register_profile(
    "busy machines", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("bounded", hypothesis.settings.get_profile("busy machines"), max_examples=30)

# What nohup or a script's `&` starts ignores these, and so would everything that the tests start and end with them.
for ignored, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, usual)

# Hundreds of processes are started, and to compile our modules takes each of them 0.4 s of a core; the tests, 8 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# What a worker of this process starts for jobs apart.
warm.fork_forking_processes()

# Where pytest makes the directories of tests.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(RUNNABLE))


QUICK = {"defining", "settings", "worker", "integrations", "test_errors.py", "test_logs.py"}
"""Where tests are that need nothing but Python, unless they ask for the server or are marked otherwise."""


@functools.cache
def room_of(path: Path) -> str:
    """The directory of a test's file, or the file, in that of all."""
    return path.relative_to(Path(__file__).parent).parts[0]


def is_bounded(config: pytest.Config) -> bool:
    """Whether this run is without what is marked slow: of all examples that hypothesis draws it takes some."""
    asked: str = config.option.markexpr
    return bool(asked) and "slow" not in asked.replace("not slow", "")


def pytest_configure(config: pytest.Config) -> None:
    """Have the processes that this one starts find the directory of this run."""
    of_run()
    hypothesis.settings.load_profile("bounded" if is_bounded(config) else "busy machines")
    if is_bounded(config):
        # For the constants of our modules, of which it draws one now and then, it reads them all: 3 s of a core in each process.
        drawing: Any = hypothesis.internal.conjecture.providers
        if hasattr(drawing, "_get_local_constants"):  # a private name: without it, the tests are slower
            drawing._get_local_constants = lambda: drawing._local_constants


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while six thousand tests are made, which stay, and nowhere among them afterwards: a fifth of it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: a test waits for half of its time, for processes, leases and the database."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)  # before some are left out by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the quick part, and run what uses something of `SHARED` on the event loop that this lives on."""
    for item in items:
        if not is_bounded(config) and hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("slow")  # with all of its examples
        needs = {"server", "run_pytest", *SHARED} & set(getattr(item, "fixturenames", ()))
        is_slow = item.get_closest_marker("processes") or item.get_closest_marker("slow")
        if not needs and not is_slow and room_of(item.path) in QUICK:
            item.add_marker("quick")
        if shares(item) and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if not hasattr(item.module, "SETTINGS"):
                sharing.add(item.path)


TEMPLATE, WITH_ROLES = "template_of_tests", "template_with_roles"


class Databases:
    """Makes databases on a server, over one connection that stays open, on a loop of its own.

    Args:
        server: Where.
    """

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.url = server.url
        self._has_roles = False
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(connect(server.url("postgres"), is_lent=True))
        # Since PostgreSQL 15 a copy is written through the log unless asked otherwise: 60 ms of a core in place of 25.
        self._by_file = " strategy file_copy" if self._connection.get_server_version().major >= 15 else ""
        self.execute(f"create database {TEMPLATE}")
        self._prepare(TEMPLATE, _migrate)

    def _prepare(self, template: str, change: Callable[[str], Coroutine[Any, Any, object]]) -> None:
        async def prepare() -> None:
            await change(self.url(template))
            # Who comes first to a database after its schema has changed writes down what all others read of its catalogs.
            await (await connect(self.url(template), is_lent=True)).close()

        self._loop.run_until_complete(prepare())

    def execute(self, statement: str) -> None:
        self._loop.run_until_complete(self._connection.execute(statement))

    @contextlib.contextmanager
    def one(self, name: str, options: str = f"template {TEMPLATE}") -> Iterator[str]:
        """The URL of a database, a migrated one, which is dropped at the end."""
        self.execute(f"create database {name} {options}{self._by_file}")
        yield self.url(name)
        self.execute(f"drop database {name} with (force)")

    @contextlib.contextmanager
    def another(self, *, with_roles: bool = False) -> Iterator[str]:
        """One with a name of its own, and if asked for with the roles applied."""
        if with_roles and not self._has_roles:
            self._has_roles = True
            self.execute(f"create database {WITH_ROLES} template {TEMPLATE}{self._by_file}")
            self._prepare(WITH_ROLES, apply_roles)
        with self.one(f"test_{next(_numbers)}", f"template {WITH_ROLES if with_roles else TEMPLATE}") as url:
            yield url

    def close(self) -> None:
        self._connection.terminate()
        self._loop.run_until_complete(asyncio.sleep(0))  # it is closed in the loop's next turn
        self._loop.close()


@pytest.fixture(scope="session", autouse=True)
def plain_environment() -> Iterator[None]:
    """Settings of whoever runs the tests change none of them; which PostgreSQL they run on is his to say."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(("ASYNCJOBS_", "PG")) and name != "ASYNCJOBS_PG_BIN":
                environment.delenv(name)
        yield


@pytest.fixture(scope="module", autouse=True)
def kinds_of_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module's tests know the kinds of its own file and of files beside it that are no tests: each takes plans some time."""
    own, beside, tests = str(request.path), f"{request.path.parent}/", f"{Path(__file__).parent}/"

    def is_known(file: str) -> bool:
        is_beside = file.startswith(beside) and not file.startswith(f"{beside}test_")
        return file == own or is_beside or not file.startswith(tests)

    known = dict(registry._definitions)
    for name, definition in known.items():
        if not is_known(definition.source.file):
            del registry._definitions[name]
    yield
    known |= registry._definitions
    registry._definitions.clear()
    registry._definitions.update(known)


@pytest.fixture(autouse=True)
def recurs_no_more() -> Iterator[None]:
    """What a test has defined with a schedule is declared by no worker of a later one."""
    before = len(registry._definitions)
    yield
    if len(registry._definitions) > before:
        for name, definition in [*registry._definitions.items()][before:]:
            if definition.options.schedule is not None:
                del registry._definitions[name]


@contextlib.contextmanager
def running_server() -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL, gone at the end, and with it those of test runs that were killed."""

    def end(abandoned: Path) -> None:
        cluster = Cluster(abandoned / "server", temporary=True)
        asyncio.run(postmaster.stop(cluster))
        cluster.remove()

    with held_directory("asyncjobs-server-", end) as directory:
        directory.chmod(0o711)  # under root the server is another user's
        postgres = EmbeddedPostgres(directory / "server", fsync=False, temporary=True, max_connections=200)
        with asyncio.Runner() as runner:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("ASYNCJOBS_PG_BIN", str(copying.binaries()))
                runner.run(postgres.start())
            try:
                yield postgres
            finally:
                runner.run(postgres.stop())


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The running PostgreSQL."""
    with running_server() as postgres:
        yield postgres


@pytest.fixture(scope="session")
def copying_postgres() -> str:
    """For ASYNCJOBS_PG_BIN, in tests that start servers of their own and are not about how one is made."""
    return str(copying.binaries())


@pytest.fixture(scope="session")
def databases(server: EmbeddedPostgres) -> Iterator[Databases]:
    """The databases of the tests, and the migrated one that they are copied from."""
    with contextlib.closing(Databases(server)) as made:
        yield made


async def _migrate(url: str) -> None:
    connection = await connect(url)
    try:
        await migrating.migrate(connection)
    finally:
        await connection.close()


@pytest.fixture
def database_url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database of this test's own; with the roles applied, for tests that ask for `as_role`."""
    with databases.another(with_roles="as_role" in request.fixturenames) as url:
        yield url


@pytest.fixture(scope="module")
def shared_url(databases: Databases) -> Iterator[str]:
    """The URL of a migrated database of a module's, for tests that leave nothing in it."""
    with databases.another() as url:
        yield url


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """In front of the server, to break the way to it."""
    async with Proxy.in_front_of(database_url) as made:
        yield made


@pytest.fixture
def proxied_url(proxy: Proxy) -> str:
    """The test's database through the proxy."""
    return f"{proxy.url()}?sslmode=disable"  # one connection an attempt: with the default it is two


@pytest.fixture(scope="session")
def plain_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file that says nothing: this project's takes each client 8 ms of a core."""
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text("[default]\n")
    return path


@pytest.fixture
def make_jobs(url: str, plain_config: Path) -> Callable[..., AsyncJobs]:
    """Make an AsyncJobs on the test's database: short times, and settings by name."""

    def make(**settings: Any) -> AsyncJobs:
        pools = [{"queues": ["*"], "concurrency": 10}]
        short = {"lease": 3, "shutdown_timeout": 2, "cleanup_timeout": 1, "pools": pools}
        settings = {"config": plain_config, **short, **settings}
        return AsyncJobs(database_url=settings.pop("database_url", url), **settings)

    return make


@pytest.fixture
def own_url(database_url: str) -> str:
    """The URL of the test's own database."""
    return database_url


@pytest.fixture
async def own_connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection, with the settings of its role, to the test's database."""
    opened = await connect(database_url, is_lent=True)
    yield opened
    opened.terminate()


@pytest.fixture
async def own_client(make_jobs: Callable[..., AsyncJobs]) -> AsyncIterator[AsyncJobs]:
    """An open client: it enqueues and awaits, and runs nothing."""
    async with make_jobs() as jobs:
        yield jobs


@pytest.fixture
async def own_jobs(make_jobs: Callable[..., AsyncJobs]) -> AsyncIterator[AsyncJobs]:
    """An open client with a worker on this loop."""
    async with make_jobs().running() as running:
        yield running


SHARING = {"cli", "client", "db", "docs", "integrations", "web"}
"""Where tests share `connection`, `client`, `jobs` and `url`, on databases that are emptied behind each test.

A test that asks there for `database_url`, or for what is made with it, such as `make_jobs`, has all of its own: one that
starts or stops workers, or sets what they are to do; that ends sessions; that changes the schema or a session's settings.
"""
SHARED = {"connection", "client", "jobs", "url"}


def shares(item: Any) -> bool:
    """Whether a test uses something of `SHARED` that others use, too."""
    names = getattr(item, "fixturenames", ())
    return room_of(item.path) in SHARING and "database_url" not in names and not SHARED.isdisjoint(names)


sharing: set[Path] = set()
"""Modules with tests that share, and no `SETTINGS` of their own."""
following: list[pytest.Item] = []
"""The test that comes after this one."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    following[:] = [] if nextitem is None else [nextitem]


@contextlib.asynccontextmanager
async def open_lastings(databases: Databases, config: Path, **own: Any) -> AsyncIterator[dict[str, Lasting]]:
    """What tests share: a database, one with roles, one with a client, and one with a worker; closed at the end."""
    # Its loop stands still while a test beside these runs on one of its own: for less than such a lease.
    settings: dict[str, Any] = {"lease": 600, "shutdown_timeout": 2, "cleanup_timeout": 1}
    settings |= {"pools": [{"queues": ["*", "-nobody"], "concurrency": 10}], **own}

    def make(url: str) -> AsyncJobs:
        return AsyncJobs(database_url=url, config=config, **settings)

    found = {
        "as_role": Lasting(lambda: databases.another(with_roles=True)),
        "connection": Lasting(databases.another),
        "client": Lasting(databases.another, make),
        "jobs": Lasting(databases.another, make, works=True),
    }
    yield found
    for each in found.values():
        await each.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def of_modules(databases: Databases, plain_config: Path) -> AsyncIterator[dict[str, Lasting]]:
    """What the tests of one module after the other share."""
    async with open_lastings(databases, plain_config) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def of_module(
    databases: Databases, plain_config: Path, of_modules: dict[str, Lasting], request: pytest.FixtureRequest
) -> AsyncIterator[dict[str, Lasting]]:
    """What the tests of this module share: with its `SETTINGS`, or kept until a module comes that does not share it."""
    if own := getattr(request.module, "SETTINGS", {}):
        async with open_lastings(databases, plain_config, **own) as found:
            yield found
        return
    for each in of_modules.values():
        await each.begin_module()
    yield of_modules
    if not any(each.path in sharing for each in following):
        for each in of_modules.values():
            await each.close()


@pytest_asyncio.fixture(loop_scope="session")
async def shared_one(of_module: dict[str, Lasting], request: pytest.FixtureRequest) -> AsyncIterator[Lasting]:
    """What this test uses of it."""
    found = of_module[
        next((name for name in ("jobs", "client", "as_role") if name in request.fixturenames), "connection")
    ]
    yield await found.opened()
    await found.emptied()


def _one(request: pytest.FixtureRequest, name: str) -> Any:
    if not shares(request.node):
        return request.getfixturevalue(f"own_{name}")
    return getattr(request.getfixturevalue("shared_one"), name)


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """The URL of the database of this test, its `connection`, `client` or `jobs`."""
    return _one(request, "url")


@pytest.fixture
def connection(request: pytest.FixtureRequest) -> asyncpg.Connection:
    """A plain connection, with the settings of its role, to the database of this test, its `client` or its `jobs`."""
    return _one(request, "connection")


@pytest.fixture
def client(request: pytest.FixtureRequest) -> AsyncJobs:
    """An open client: it enqueues and awaits, and runs nothing."""
    return _one(request, "client")


@pytest.fixture
def jobs(request: pytest.FixtureRequest) -> AsyncJobs:
    """An open client with a worker on the test's loop; where its module's, that serves all queues but `nobody`."""
    return _one(request, "jobs")


@pytest_asyncio.fixture(loop_scope="session")
async def session_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.fixture
async def function_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.fixture
def complete(request: pytest.FixtureRequest) -> Callable[[Awaitable[Any]], Any]:
    """Runs something on the event loop of the test, for fixtures: theirs is of one scope, whatever the test shares."""
    loop = request.getfixturevalue("session_loop" if shares(request.node) else "function_loop")
    return loop.run_until_complete
