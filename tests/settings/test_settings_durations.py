from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjobs.checks.durations import TEN_YEARS, read_seconds, spell
from asyncjobs.settings import seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0.0),
        (45, 45.0),
        (0.25, 0.25),
        ("45", 45.0),
        ("1.5", 1.5),
        ("45s", 45.0),
        ("10m", 600.0),
        ("7d", 604800.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        (" 500ms ", 0.5),
        ("1s500ms", 1.5),
        ("1.5h", 5400.0),
        (timedelta(minutes=2), 120.0),
        (TEN_YEARS, TEN_YEARS),
        ("3650d", TEN_YEARS),
    ],
)
def test_a_time_is_seconds_or_text_or_a_timedelta(value, expected):
    result = seconds(value, name="wait")
    assert result == expected
    assert type(result) is float


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        None,
        float("nan"),
        float("inf"),
        "",
        " ",
        "s",
        "nan",
        "inf",
        "1e3",
        "ten",
        "5 minutes",
        "5M",
        "30m1h",
    ]
    + ["5m5m", "1h-30m", "٣s", b"5s", [5]],
)
def test_what_is_no_time_is_refused_with_the_remedy(value):
    with pytest.raises(ValueError, match=r'^wait: .* is not a time; give from 0s to 3650d, .*"45s", "10m" or "7d"$'):
        seconds(value, name="wait")


@pytest.mark.parametrize("value", [-1, -0.001, "-5", timedelta(seconds=-1), TEN_YEARS + 1, "3651d", "9" * 400, 10**400])
def test_a_time_that_is_negative_or_over_ten_years_is_refused(value):
    with pytest.raises(ValueError, match=r"^wait: .* is not allowed; give from 0s to 3650d,"):
        seconds(value, name="wait")


def test_a_number_too_long_to_spell_out_is_refused_like_any_other():
    with pytest.raises(ValueError, match="^wait: a huge number is not allowed"):
        seconds(10**5000, name="wait")


def test_limits_are_the_caller_s_and_are_themselves_allowed():
    assert read_seconds("50ms", minimum=0.05, maximum=60) == 0.05
    assert read_seconds(60, minimum=0.05, maximum=60) == 60
    for value in (0.049, 60.001):
        with pytest.raises(ValueError, match="give from 50ms to 1m"):
            read_seconds(value, minimum=0.05, maximum=60)


def test_a_negative_minimum_lets_negative_times_through():
    assert seconds("-5", name="shift", minimum=-10) == -5


@given(st.integers(0, int(TEN_YEARS) * 1000))
def test_a_spelt_time_reads_back(milliseconds):
    assert seconds(spell(milliseconds / 1000), name="x") == pytest.approx(milliseconds / 1000, abs=1e-6)


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ValueError, match=r"'x+\.\.\.x+' is not a time"):
        seconds("x" * 1000, name="wait")
