"""The public face under mypy and pyright, both strict: what is right passes, and every wrong line is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sweeps import slowly

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RIGHT, WRONG = HERE / "right_uses.py", HERE / "wrong_uses.py"


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, str]]:
    """What mypy finds: messages by file and line."""
    directory = tmp_path_factory.mktemp("mypy")
    cache = ROOT / ".mypy_cache" / "typing"  # of what has not changed it need not be told again
    (directory / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {ROOT}\nfollow_imports = silent\n")
    ended = run(
        *(sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", str(cache)),
        *("--no-error-summary", str(RIGHT), str(WRONG)),
        cwd=directory,
    )
    assert ended.returncode in (0, 1), ended.stderr + ended.stdout
    found: dict[str, dict[int, str]] = {}
    for path, line, message in re.findall(r"^(.+?\.py):(\d+): error: (.*)$", ended.stdout, re.MULTILINE):
        found.setdefault(Path(path).name, {})[int(line)] = message
    return found


@pytest.fixture(scope="module")
def pyright(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, str]]:
    """What pyright finds: messages by file and line."""
    beside = Path(sys.executable).parent / "pyright"
    command = str(beside) if beside.exists() else shutil.which("pyright")
    if command is None:
        pytest.skip("pyright is not installed")
    directory = tmp_path_factory.mktemp("pyright")
    configuration = {
        "include": [RIGHT.name, WRONG.name],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT)],
        "reportUnusedExpression": False,
    }
    for path in (RIGHT, WRONG):
        shutil.copy(path, directory)  # it takes files of its own project only
    (directory / "pyrightconfig.json").write_text(json.dumps(configuration))
    ended = run(command, "--outputjson", "--pythonpath", sys.executable, "-p", str(directory), cwd=directory)
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        pytest.skip(f"pyright cannot run here: {(ended.stderr or ended.stdout)[:200]}")
    assert answer["summary"]["filesAnalyzed"] == 2, ended.stdout
    found: dict[str, dict[int, str]] = {}
    for each in answer["generalDiagnostics"]:
        if each["severity"] == "error":
            found.setdefault(Path(each["file"]).name, {})[each["range"]["start"]["line"] + 1] = each["message"]
    return found


@pytest.fixture(params=["mypy", *slowly("pyright")])
def found(request: pytest.FixtureRequest) -> dict[str, dict[int, str]]:
    return request.getfixturevalue(request.param)


def test_what_users_write_has_the_types_it_should_have(found: dict[str, dict[int, str]]) -> None:
    assert found.get(RIGHT.name, {}) == {}


def test_every_wrong_line_is_refused_and_no_other(found: dict[str, dict[int, str]]) -> None:
    lines = WRONG.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# wrong: " in line}
    refused = found.get(WRONG.name, {})
    assert {number: lines[number - 1] for number in sorted(marked - refused.keys())} == {}, "not refused"
    assert {number: refused[number] for number in sorted(refused.keys() - marked)} == {}, "refused, and not marked"


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "asyncjobs" / "py.typed").exists()
