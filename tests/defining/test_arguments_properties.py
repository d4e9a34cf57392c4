"""Properties of storing: a value comes back exactly, or is refused; nothing else may happen."""

import contextlib
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from asyncjobs.exceptions import InvalidArguments
from asyncjobs.values.arguments import MISSING, ArgumentCodec, Parameter, ValueCodec

PLAIN = ArgumentCodec("k", [Parameter("x")])
TYPED = ArgumentCodec(
    "k",
    [
        Parameter("at", datetime),
        Parameter("took", timedelta),
        Parameter("price", Decimal),
        Parameter("ids", set[UUID]),
        Parameter("blob", bytes),
        Parameter("names", dict[int, tuple[str, float | None]]),
    ],
)
RESULT = ValueCodec("k", MISSING)

weird_text = st.text(st.characters(codec=None) | st.sampled_from('\x00\ud800\\u0"\u2028'), max_size=20)
sound_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


def json_values(text, floats, ints):
    atoms = st.none() | st.booleans() | ints | floats | text
    return st.recursive(atoms, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=30)


sound_json = json_values(sound_text, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**64 - 1))
weird_json = json_values(weird_text, st.floats(), st.integers())


def same(one, other):
    """Equal, and of equal types all the way down; repr tells 1 from 1.0 and True, and 0.0 from -0.0."""
    return one == other and repr(one) == repr(other)


@given(sound_json)
def test_nested_plain_json_comes_back_exactly(value):
    text = PLAIN.dump(PLAIN.bind((value,), {}))
    assert same(PLAIN.load(text)["x"], value)
    assert same(json.loads(text)["x"], value)


@given(weird_json)
def test_any_json_with_weird_text_comes_back_exactly_or_is_refused(value):
    try:
        text = PLAIN.dump(PLAIN.bind((value,), {}))
    except InvalidArguments as error:
        assert error.problems  # noqa: PT017 - either end is right
        return
    assert same(PLAIN.load(text)["x"], value)
    assert "\x00" not in text
    text.encode()


@given(st.dictionaries(weird_text, weird_text))
def test_any_dict_of_text_comes_back_exactly_or_is_refused(value):
    codec = ArgumentCodec("k", [Parameter("x", dict[str, str])])
    try:
        text = codec.dump(codec.bind((value,), {}))
    except InvalidArguments:
        bad = "".join((*value, *value.values()))
        assert "\x00" in bad or any("\ud800" <= char <= "\udfff" for char in bad)
        return
    assert codec.load(text)["x"] == value


@given(weird_json)
def test_a_result_comes_back_exactly_or_is_refused(value):
    try:
        text = RESULT.dump(value)
    except InvalidArguments:
        return
    assert same(RESULT.load(text), value)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_stored_text_is_read_or_refused(text):
    for codec in (PLAIN, TYPED):
        with contextlib.suppress(InvalidArguments):
            codec.load(text)


typed_values = st.tuples(
    st.datetimes(timezones=st.integers(-1_439, 1_439).map(lambda m: timezone(timedelta(minutes=m)))),
    st.timedeltas(timedelta(days=-999_999), timedelta(days=999_999)),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sets(st.uuids()),
    st.binary(),
    st.dictionaries(
        st.integers(-(2**63), 2**64 - 1),
        st.tuples(sound_text, st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    ),
)


@given(typed_values)
def test_typed_values_come_back_exactly(args):
    values = TYPED.bind(args, {})
    loaded = TYPED.load(TYPED.dump(values))
    assert loaded == dict(zip(values, args, strict=True))
