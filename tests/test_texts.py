"""Values in messages, and what a database can hold."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjobs.checks import texts
from asyncjobs.checks.texts import cut, is_storable, shown, shown_plainly, written_out


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


class Color(Enum):
    red = 1


@given(st.lists(st.sampled_from("a\0é…\ud7ff\ud800\udbff\udfff\ue000\U0001f600"), max_size=20).map("".join))
def test_what_can_be_stored_has_no_nul_and_is_utf8(text: str) -> None:
    try:
        text.encode()
        expected = "\0" not in text
    except UnicodeEncodeError:
        expected = False
    assert is_storable(text) is expected
    assert is_storable(written_out(text))


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("x" * 60, "x" * 60), ("x" * 61, "x" * 59 + "…")])
def test_a_text_is_cut_to_what_is_shown_at_most(text: str, expected: str) -> None:
    assert cut(text) == expected


@pytest.mark.parametrize("show", [shown, shown_plainly])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        (None, "None"),
        pytest.param(10**5000, "a huge number", id="huge"),
        ([1, [2, [3]]], "[1, [2, [...]]]"),
        (Broken(), "<Broken>"),
        (Path, None),
        ("x" * 10_000, None),
        (list(range(10_000)), None),
        ({str(n): "y" * 100 for n in range(100)}, None),
    ],
)
def test_any_value_can_be_shown_briefly(show: Any, value: Any, expected: str | None) -> None:
    found = show(value)
    assert len(found) <= texts.MOST_SHOWN
    assert expected is None or found == expected


def test_the_repr_of_a_strangers_class_is_shown_only_where_it_may_be() -> None:
    assert shown(Color.red) == "<Color.red: 1>"
    assert shown_plainly(Color.red) == "<Color>"
    assert shown_plainly([Color.red]) == "[<Color>]"
