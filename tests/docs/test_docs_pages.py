"""README.md and every page of docs, run as a reader would: each alone, its blocks in order, beside a worker."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import inspect
import os
import shlex
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once
from prometheus_client import REGISTRY

from asyncjobs import AsyncJobs, settings
from asyncjobs.db.connecting import connect
from asyncjobs.definitions import registry
from asyncjobs.integrations.opentelemetry import AsyncJobsInstrumentor
from asyncjobs.performing import tracing
from tests.support import warm
from tests.support.asking import until
from tests.support.pages import CONFIG, PAGES, Block, Page
from tests.support.processes import PATIENCE

PYTEST_INI = """
[pytest]
filterwarnings =
    error
    ignore:Using .httpx. with .starlette.testclient.
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""
NEWEST = """
select id from (select id from asyncjobs.job union all select id from asyncjobs.finished) as either order by id desc limit 1
"""


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """What a page brings is gone behind it: modules and jobs, metrics, a tracer provider: others may call theirs the same."""
    modules, definitions = set(sys.modules), set(registry._definitions)
    collectors, provider = set(REGISTRY._collector_to_names), trace._TRACER_PROVIDER
    yield
    for collector in set(REGISTRY._collector_to_names) - collectors:
        REGISTRY.unregister(collector)
    if trace._TRACER_PROVIDER is not provider:  # it can be set once, says OpenTelemetry, and means programs
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = provider, Once()
        AsyncJobsInstrumentor().uninstrument()
    tracing.active = None
    for name in set(registry._definitions) - definitions:
        del registry._definitions[name]
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(Path.cwd())):
            del sys.modules[name]


class Reader:
    """Does what a page says, in a directory.

    Args:
        page: Which.
        directory: Empty; the working directory.
        connection: To the page's database.
    """

    def __init__(self, page: Page, directory: Path, connection: asyncpg.Connection) -> None:
        self._page = page
        self._directory = directory
        self._connection = connection
        self._module = types.ModuleType("page_" + page.path.stem.replace("-", "_").lower())
        self._module.__file__ = str(page.path)

    def begin(self) -> None:
        """Write its files as they are first."""
        for block in reversed(self._page.blocks):
            if block.file not in {None, CONFIG} and not block.shown_only:
                self._write(block, block.file)
        (self._directory / CONFIG).write_text(self._page.config or "[default]\n", encoding="utf-8")

    async def read(self) -> None:
        """Do what it says, from the first block to the last."""
        declared = list(tomllib.loads(self._page.config).get("default", {}).get("recurring", {}))
        await until(
            self._connection,
            "select not exists (select unnest($1::text[]) except select name from asyncjobs.recurring)",
            declared,
        )
        sys.modules[self._module.__name__] = self._module
        for block in self._page.blocks:
            if block.shown_only:
                if block.language == "python":
                    self._compiled(block)
            elif block.file not in {None, CONFIG}:
                self._write(block, block.file)
            elif block.runs:
                await getattr(self, f"_run_{block.language}")(block)

    def _write(self, block: Block, name: str) -> None:
        """Put a file at its place; the worker has the module anew that it is another version of."""
        path = self._directory / name
        if path.exists() and path.read_text(encoding="utf-8") == block.code:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, encoding="utf-8")
        module = name.removesuffix(".py").replace("/", ".")
        if sys.modules.pop(module, None):
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)  # it may be as old and as long
            for kind, definition in [*registry._definitions.items()]:
                if (definition.function or definition.job_class).__module__ == module:
                    del registry._definitions[kind]
            importlib.import_module(module)

    def _compiled(self, block: Block) -> types.CodeType:
        code = block.code.replace("asyncio.run(main())", "await main()")
        at_its_lines = "\n" * (block.line - 1) + code  # a traceback shows the page
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        return compile(at_its_lines, str(self._page.path), "exec", flags=flags, dont_inherit=True)

    async def _run_python(self, block: Block) -> None:
        result = eval(self._compiled(block), self._module.__dict__)
        if inspect.iscoroutine(result):
            await result

    async def _run_sql(self, block: Block) -> None:
        await self._connection.execute(block.code)

    async def _run_bash(self, block: Block) -> None:
        for line in block.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            of_django = words[:2] == ["python", "manage.py"]
            runs = {"run", "asyncjobs_run"} & set(words[1:3])
            ends = (of_django or words[0] == "asyncjobs") and (not runs or "--burst" in words)
            assert ends, f"{self._page.name}: {line}: is no command of ours that ends; such a block is `sh`"
            if "ID" in words:
                newest = str(await self._connection.fetchval(NEWEST))
                words = [newest if word == "ID" else word for word in words]
            command = [sys.executable, *(words[1:] if of_django else ["-m", *words])]
            environment = {**os.environ, **(await self._of_libpq() if of_django else {})}
            done = await asyncio.to_thread(
                warm.run, command, cwd=self._directory, env=environment, stdin=None, timeout=PATIENCE
            )
            assert done.returncode == 0, f"{self._page.name}: {line}\n{done.stdout}\n{done.stderr}"

    async def _of_libpq(self) -> dict[str, str]:
        """The variables that name the page's database to Django."""
        host, port = (
            self._connection._addr if isinstance(self._connection._addr, tuple) else (self._connection._addr, 0)
        )
        user, name = await self._connection.fetchrow("select current_user, current_database()")
        place = Path(host)
        if place.name.startswith(".s.PGSQL."):
            host, port = str(place.parent), place.suffix[1:]
        return {"PGHOST": host, "PGPORT": str(port), "PGUSER": user, "PGDATABASE": name}


@pytest.fixture
def directory(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty one to work in, whose modules can be imported, and the database in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ASYNCJOBS_DATABASE_URL", database_url)
    monkeypatch.setenv("ASYNCJOBS_SHUTDOWN_TIMEOUT", "1")
    with undone():
        yield tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if page.runs], ids=lambda page: page.name)
async def test_a_page_runs(page: Page, directory: Path, database_url: str, beside: str) -> None:
    connection = await connect(database_url, is_lent=True)
    reader = Reader(page, directory, connection)
    reader.begin()
    try:
        async with AsyncJobs().running():
            await reader.read()
    finally:
        connection.terminate()
    if [*directory.glob("**/test_*.py")]:
        await asyncio.to_thread(pass_tests, directory, beside)


def pass_tests(directory: Path, beside: str) -> None:
    if not (directory / "pytest.ini").exists():
        (directory / "pytest.ini").write_text(PYTEST_INI)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "ASYNCJOBS_"))}
    words = ("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # that takes 0.2 s to import
    done = warm.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=directory,
        env={**kept, "ASYNCJOBS_TEST_DATABASE_URL": beside},
        stdin=None,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if page.config], ids=lambda page: page.name)
def test_the_settings_of_a_page_are_accepted_in_each_environment(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASYNCJOBS_DATABASE_URL", raising=False)
    path = tmp_path / CONFIG
    path.write_text(page.config, encoding="utf-8")
    for environment in {*tomllib.loads(page.config), "development"} - {"default"}:
        settings.load(path, environment=environment)
