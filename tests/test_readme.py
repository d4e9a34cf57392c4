"""Every Python block of the README runs, in order, beside a worker; every other block is what the product accepts."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncjobs import AsyncJobs, settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]


@pytest.fixture
def project(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory as a reader has it: app_jobs.py in it, and the database in the environment."""
    (tmp_path / "app_jobs.py").write_text(PYTHON[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ASYNCJOBS_DATABASE_URL", database_url)
    yield tmp_path
    sys.modules.pop("app_jobs", None)


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
    async with AsyncJobs(pools=[{"queues": ["*"], "concurrency": 10}]).running():
        await _run(code, name, project)


def test_the_tour_defines_the_jobs_that_later_blocks_import() -> None:
    assert PYTHON[0].startswith("# app_jobs.py")


def test_the_readmes_configuration_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNCJOBS_DATABASE_URL", raising=False)
    (text,) = [code for language, code in BLOCKS if language == "toml"]
    assert tomllib.loads(text)["default"]["imports"] == ["app_jobs"]
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    loaded = settings.load(path, environment="production")
    assert [pool.concurrency for pool in loaded.pools] == [3, 50]
    assert loaded.database_url == "postgresql://app@db.internal/app"


def test_every_command_the_readme_names_exists() -> None:
    from typer.main import get_command

    from asyncjobs.cli.application import app

    known = get_command(app)
    for line in re.findall(r"^\| `asyncjobs ([^|]*)`", README, re.MULTILINE):
        words = re.findall(r"^[a-z]+", line)
        assert words[0] in known.commands, line
