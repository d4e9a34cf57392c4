"""Whether the code that runs now fits what is recorded of a job's steps."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import pytest

from asyncjobs import InvalidArguments, InvalidStep, Job, attribute
from asyncjobs.definitions import attributes
from asyncjobs.records.step_records import MOST_STEPS, Record, StepProgress
from asyncjobs.steps.step_code import Values


@dataclasses.dataclass
class Message:
    to: str
    cc: str = ""


def recorded(*names: str) -> list[Record]:
    return [Record(n, name, "succeeded") for n, name in enumerate(names, 1)]


def test_what_is_recorded_is_found_in_its_order_and_what_follows_is_new() -> None:
    progress = StepProgress("k", reversed(recorded("a", "b")))
    assert [progress.meet(name) for name in ("a", "b", "c")] == [*recorded("a", "b"), None]
    assert progress.next_number == 3


def test_a_step_that_is_met_twice_is_refused() -> None:
    progress = StepProgress("k")
    progress.meet("a")
    with pytest.raises(InvalidStep, match="k: step 'a' is run twice in one attempt: give each run a name"):
        progress.meet("a")


@pytest.mark.parametrize("met", ["b", "x"])
def test_another_step_than_the_recorded_one_is_refused_with_the_names_of_both_versions(met: str) -> None:
    progress = StepProgress("k", recorded("a", "b"))
    with pytest.raises(InvalidStep) as refused:
        progress.meet(met, code=["b", "a", "x"])
    said = str(refused.value)
    assert f"comes to step {met!r} where this job recorded 'a'" in said
    assert "Recorded: 'a', 'b'. The code now: 'b', 'a', 'x'." in said
    assert "formerly=" in said and "jobs retry ID --from STEP" in said


def test_where_the_code_is_not_known_the_message_names_what_was_met() -> None:
    progress = StepProgress("k", recorded("a", "b"))
    progress.meet("a")
    with pytest.raises(InvalidStep, match="The code now: 'a', 'c' …"):
        progress.meet("c")


def test_a_step_is_found_under_a_former_name() -> None:
    progress = StepProgress("k", recorded("old"))
    found = progress.meet("new", formerly=("older", "old"))
    assert found is not None and found.name == "old"


def test_a_step_that_failed_and_was_passed_over_is_run_again_and_those_after_it_are_found() -> None:
    progress = StepProgress("k", [Record(2, "b", "succeeded")])
    assert progress.meet("a") is None
    assert progress.meet("b") == Record(2, "b", "succeeded")


def test_a_step_recorded_under_another_number_is_refused_where_nothing_is_recorded() -> None:
    progress = StepProgress("k", [Record(2, "b", "succeeded")])
    with pytest.raises(InvalidStep, match="comes to step 'b' as number 1 where this job recorded 'b' as number 2"):
        progress.meet("b")


def test_ten_thousand_steps_are_the_most() -> None:
    progress = StepProgress("k")
    for n in range(MOST_STEPS):
        progress.meet(str(n))
    with pytest.raises(InvalidStep, match="more than 10,000 steps: use one step with a cursor"):
        progress.meet("one more")


@pytest.mark.parametrize("name", ["", "x" * 402, "a\x00b", "\ud800", None, 7, b"a", ["a"]], ids=repr)
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidStep, match="is no name of a step: use text of 1 to 401 characters, without NUL"):
        StepProgress("k").meet(name)


@pytest.mark.parametrize("name", ["x", "x" * 401, "ünïcödé 🎉", "with 'quotes' and \"more\"", " "])
def test_any_other_text_is_a_name(name: str) -> None:
    assert StepProgress("k").meet(name) is None


WAS_READ = [
    ("41", datetime, False),
    ('"41"', int, False),
    ("true", int, False),
    ("[1, 41]", list[datetime], False),
    ('{"a":41}', dict[str, datetime], False),
    ("41", float, True),
    ("41", int | None, True),
    ('"2026-01-01T00:00:00+00:00"', datetime, True),
    ('{"to":"kim"}', Message, True),
    ("null", str | None, True),
]


@pytest.mark.parametrize(("text", "now", "fits"), WAS_READ)
def test_what_was_recorded_is_the_same_value_by_another_annotation_or_refused(text: str, now: Any, fits: bool) -> None:
    values = Values("k.step", now)
    if fits:
        values.load_recorded(text)
        return
    with pytest.raises(InvalidArguments, match=r"k.step: .*was recorded as .*, which is read as .* now: keep its type"):
        values.load_recorded(text)


class Counting(Job, kind="recorded.Counting"):
    at: datetime | None = attribute(default=None)

    async def perform(self) -> None: ...


def test_an_attribute_that_was_saved_as_another_type_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="recorded.Counting.at: .*was recorded as 41"):
        attributes.restore(Counting(), '{"at":41}')
