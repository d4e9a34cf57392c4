"""Every Python block of the README runs, in order, beside a worker; every other block is what the product accepts."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from asyncjobs import AsyncJobs, settings
from tests.support import warm
from tests.support.asking import until
from tests.support.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
PYTHON = [code for language, code in BLOCKS if language == "python"]
CONFIG = "\n".join(code for language, code in BLOCKS if language == "toml")
MODULES = {found[1]: code for code in PYTHON if (found := re.match(r"# (app_jobs|reports)\.py\n", code))}
ORDER = README.partition("\n## Order among jobs\n")[2].partition("\n## ")[0]


@pytest.fixture
def project(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory as a reader has it: modules and config.toml in it, and the database in the environment."""
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ASYNCJOBS_DATABASE_URL", database_url)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


async def _run(code: str, name: str, project: Path) -> None:
    path = project / f"{name}.py"  # a real file and a real module, so that tracebacks and annotations resolve
    path.write_text(code, encoding="utf-8")
    module = types.ModuleType(name)
    sys.modules[name] = module
    try:
        compiled = compile(code, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(compiled, module.__dict__)  # noqa: S307 - our own text
        if inspect.iscoroutine(result):
            await result
    finally:
        del sys.modules[name]


@pytest.mark.parametrize("number", range(1, len(PYTHON)))
async def test_a_python_block_of_the_readme_runs(number: int, project: Path) -> None:
    code, name = PYTHON[number], f"readme_{number}"
    if "asyncio.run(main())" in code:
        await _run(code.replace("asyncio.run(main())", "await main()"), name, project)
        return
    async with AsyncJobs().running():
        await _run(code, name, project)


def test_the_tour_defines_the_jobs_that_later_blocks_import() -> None:
    assert PYTHON[0].startswith("# app_jobs.py")


def test_the_readmes_configuration_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNCJOBS_DATABASE_URL", raising=False)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    loaded = {name: settings.load(path, environment=name) for name in ("development", "production")}
    for each in loaded.values():
        assert each.imports == ("app_jobs",)
        assert (each.dispatcher.polling_interval, each.dispatcher.batch_size) == (1, 500)
        assert [(pool.queues[0], pool.concurrency, pool.processes) for pool in each.pools] == [
            ("critical", 3, 1),
            ("default", 5, 2),
        ]
        assert each.recurring["daily_report"].schedule == "0 6 * * *"
    assert loaded["production"].database_url == "postgresql://app@db.internal/app"
    assert not loaded["development"].database_url


@pytest.mark.processes
async def test_the_commands_of_the_section_on_order_run_beside_a_worker(
    project: Path, connection: asyncpg.Connection
) -> None:
    lines = [line for language, code in BLOCK.findall(ORDER) if language == "bash" for line in code.splitlines()]
    assert len(lines) >= 5
    async with AsyncJobs().running():
        await until(connection, "select exists (select from asyncjobs.recurring where name = 'daily_report')")
        for line in lines:
            words = [sys.executable, "-m", *shlex.split(line, comments=True)]
            done = await asyncio.to_thread(warm.run, words, cwd=project, env=dict(os.environ), timeout=PATIENCE)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("part", ORDER.split("\n### ")[1:], ids=lambda part: part.partition("\n")[0])
def test_each_part_of_the_section_on_order_has_a_snippet_a_promise_and_a_cost(part: str) -> None:
    assert "python" in dict(BLOCK.findall(part))
    assert part.count("\n- **After a crash**") == 1
    assert part.count("\n**Costs:** ") == 1


def test_every_link_within_the_readme_has_its_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", README), re.MULTILINE)
    places = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]*)\)", README))
    assert links
    assert links - places == set()


def test_every_command_the_readme_names_exists() -> None:
    from typer.main import get_command

    from asyncjobs.cli.application import app

    known = get_command(app)
    for line in re.findall(r"^\| `asyncjobs ([^|]*)`", README, re.MULTILINE):
        words = re.findall(r"^[a-z]+", line)
        assert words[0] in known.commands, line
