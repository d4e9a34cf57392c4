"""The table of docs/guides/changing-code.md: what a job with two recorded steps does where the code has others."""

from __future__ import annotations

import re

import pytest

from asyncjobs import InvalidStep
from asyncjobs.records.step_records import Record, StepProgress
from tests.support.pages import page

ROWS = re.findall(
    r'^\| `([a-z ]+)`(?:, where `(\w)` is declared `@step\(formerly="(\w)"\)`)? \| (.*) \|$',
    page("docs/guides/changing-code.md").text,
    re.MULTILINE,
)


@pytest.mark.parametrize(("code", "renamed", "formerly", "said"), ROWS)
def test_a_job_does_what_the_table_says(code: str, renamed: str, formerly: str, said: str) -> None:
    names = code.split()
    progress = StepProgress("k", [Record(n, name, "succeeded") for n, name in enumerate("ab", 1)])
    try:
        found = {name: progress.meet(name, formerly=(formerly,) if name == renamed else ()) for name in names}
        runs = [f"`{name}`" for name, record in found.items() if record is None]
        does = f"runs {', '.join(runs)}" if runs else "is over: it has succeeded"
    except InvalidStep:
        does = "fails with `InvalidStep`"
    assert does == said


def test_the_table_has_rows_of_each_sort() -> None:
    assert len(ROWS) >= 9
    assert len({said.split()[0] for *_, said in ROWS}) == 3
