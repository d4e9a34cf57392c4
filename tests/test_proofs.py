"""The table of what the tests prove names tests that exist, and each row once."""

import ast
import re
from functools import cache

import pytest

from tests.support.workers import ROOT

TABLE = (ROOT / "tests" / "README.md").read_text()
ROWS = [line for line in TABLE.splitlines() if re.match(r"\| [FB]\d", line)]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TABLE)))


@cache
def found_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_that_is_named_exists(path: str) -> None:
    named = {name for its_path, name in NAMED if its_path == path}
    assert not named - found_in(path)


def test_each_row_is_there_once_with_its_proof_or_the_reason_why_there_is_none() -> None:
    ids = [row.split("|")[1].strip() for row in ROWS]
    assert len(ids) == len(set(ids)) > 100
    assert all(row.split("|")[3].strip() for row in ROWS)
