"""The table of what the tests prove names tests that exist, and each row once; the usual run proves nearly all of it."""

import ast
import re
from functools import cache

import pytest

from tests.support.workers import ROOT

TABLE = (ROOT / "tests" / "README.md").read_text()
ROWS = [line for line in TABLE.splitlines() if re.match(r"\| [FB]\d", line)]
PROOF = r"`([\w/]+\.py)::(\w+)`"
NAMED = sorted(set(re.findall(PROOF, TABLE)))


IN_THE_SLOW_RUN = {"F22b"}
"""Rows of which every proof takes minutes."""


@cache
def found_in(path: str) -> dict[str, bool]:
    """The functions of a file, and whether the usual run leaves them out whatever their parameters are."""
    text = (ROOT / "tests" / path).read_text()
    return {
        node.name: any(ast.unparse(mark) == "pytest.mark.slow" for mark in node.decorator_list)
        or bool(re.search(r"^pytestmark = .*\bslow\b|^pytestmark = \[[^]]*\bslow\b", text, re.MULTILINE))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_that_is_named_exists(path: str) -> None:
    named = {name for its_path, name in NAMED if its_path == path}
    assert not named - found_in(path).keys()


def test_each_row_is_there_once_with_its_proof_or_the_reason_why_there_is_none() -> None:
    ids = [row.split("|")[1].strip() for row in ROWS]
    assert len(ids) == len(set(ids)) > 100
    assert all(row.split("|")[3].strip() for row in ROWS)


def test_of_each_row_the_usual_run_has_a_proof() -> None:
    left_out = set()
    for row in ROWS:
        proofs = re.findall(PROOF, row)
        if proofs and all(found_in(path).get(name, False) for path, name in proofs):
            left_out.add(row.split("|")[1].strip())
    assert left_out == IN_THE_SLOW_RUN
