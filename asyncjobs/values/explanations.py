"""Says what is wrong with a job's arguments: the slow side of `argument_shape`, run only for an error."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pydantic
from pydantic_core import from_json

from asyncjobs.checks.texts import cut, shown_plainly
from asyncjobs.values import plain_json
from asyncjobs.values.annotations import show
from asyncjobs.values.references import NoKey
from asyncjobs.values.schemas import PLAIN_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pydantic_core import ErrorDetails, ValidationError

    from asyncjobs.values.parameters import Parameter

Problem = tuple[str, str]

MOST_EXPLAINED: Final = 20
"""Problems that one error explains; the rest is counted."""
_MOST_VALUES: Final = 5_000
"""Values of which each is looked at for what is wrong with it; of more, a list or a dict says its first problem."""
_MOST_ERRORS: Final = 20_000
"""Errors of pydantic that are read: each takes 3 µs to read and as much to explain."""
UNSEEN: Final = ("…", f"of more than {_MOST_VALUES:,} values the first wrong one of each list and dict is told")
_LONGEST_FACT: Final = 200
_NEAREST: Final = 0.6
"""difflib's cutoff for "did you mean"."""
_NOWHERE: Final = object()
_UNEXPECTED: Final = re.compile(r"Expected `([^`]+)`.*\[field_name='(\w+)'.*input_type=([\w.]+)\]")
"""A line of pydantic's complaint about a value that is not of its annotation; the line holds the value too."""
_DEPTH: Final = re.compile(r"Circular reference|serialization depth|recursion")

_TELLING: Final = ("_parsing", "_error", "_encoding", "_offset")
"""How the types of pydantic's errors end whose messages hold, after a comma or a colon, a piece of the value."""

_NAIVE: Final = (
    "a datetime without a timezone means another time elsewhere; "
    "pass an aware one, such as datetime.now(UTC), or annotate pydantic.NaiveDatetime"
)
_TOO_LARGE: Final = "an int past 64 bits (-2**63 to 2**64-1); annotate and pass str"
_SURROGATE: Final = "holds a lone surrogate, which is no text; decode it properly, or annotate and pass bytes"


def explain(error: ValidationError, given: Any, parameters: Mapping[str, Parameter], whole: str) -> list[Problem]:
    """`(path, fact and remedy)` of the first given values that failed validation, and how many did besides.

    Args:
        error: What pydantic raised.
        given: The values by name.
        parameters: The parameters by name.
        whole: What to call a problem that belongs to no parameter.
    """
    return _explain(error, given, parameters, whole, missing="pass it", remedy="pass")


def in_full(error: ValidationError, given: Any, validate: Callable[[Any], object]) -> ValidationError:
    """The error of values with all that is wrong with them, or `error` when they are too many to be looked at.

    Args:
        error: Of a validation that has ended at the first wrong item of each list and dict.
        given: The values.
        validate: Ends at none.
    """
    try:
        if not plain_json.is_large(given, _MOST_VALUES):
            validate(given)
    except pydantic.ValidationError as found:
        return found
    return error


def explain_stored(
    error: ValidationError, text: str, parameters: Mapping[str, Parameter], whole: str, names: Collection[str]
) -> list[Problem]:
    """The same for a row's text, which older code or SQL has written. No value of it is told: others read this.

    Args:
        error: What pydantic raised.
        text: The row's.
        parameters: The parameters by name.
        whole: What to call a problem that belongs to no parameter.
        names: Keys that are no values, as the annotations name them.
    """
    try:
        given = from_json(text)
    except ValueError:
        return [(whole, f"the stored text is not JSON ({error.errors()[0]['msg']}); correct the row"[:_LONGEST_FACT])]
    missing = "correct the row, or give the parameter a default"
    remedy = "correct the row, or in a chain what the job before returns: the job takes"
    return _explain(error, given, parameters, whole, missing=missing, remedy=remedy, names=names)


def strangers(given: Any, parameters: Mapping[str, Parameter]) -> list[Problem]:
    """The first values that are of no parameter, and how many are besides."""
    if not isinstance(given, dict):
        return []
    names = [name for name in given if name not in parameters]
    return _counted(
        [(plain_json.join("", name), unknown(name, parameters)) for name in names[:MOST_EXPLAINED]], len(names)
    )


def is_of_other_names(given: Any, parameters: Mapping[str, Parameter]) -> bool:
    """Whether one of the values is of no parameter, or a parameter has none."""
    if not isinstance(given, dict):
        return False
    return not given.keys() <= parameters.keys() or any(
        parameter.required and name not in given for name, parameter in parameters.items()
    )


def explain_unread(
    error: ValidationError, given: Any, parameters: Mapping[str, Parameter], whole: str
) -> list[Problem]:
    """The same for a text that was just made of values, and cannot be read."""
    problems = _explain(error, given, parameters, whole, missing="the job would not get it", remedy="the annotation is")
    return [(path, f"cannot be read back: {fact}; {plain_json.INVERSE}") for path, fact in problems]


def unread(error: Exception) -> str:
    """Fact and remedy of a value whose text was just made, and whose reading raised an error of the user's code."""
    text = str(error).splitlines()[0][:_LONGEST_FACT] if str(error) else ""
    return f"cannot be read back: {type(error).__qualname__}: {text}; {plain_json.INVERSE}"


def unknown(name: str, parameters: Iterable[str]) -> str:
    """Fact and remedy of an argument that the job does not have."""
    names = list(parameters)
    near = len(name) <= _LONGEST_FACT and difflib.get_close_matches(name, names, 1, _NEAREST)
    if near:
        return f"no argument of this job; did you mean {near[0]}?"
    if not names:
        return "no argument of this job; it takes none"
    return f"no argument of this job; it takes {', '.join(names)}"[:_LONGEST_FACT]


def unstorable(error: Exception) -> str:
    """Fact and remedy of a value that has no JSON, without the value."""
    wrong = _UNEXPECTED.findall(str(error))
    if wrong:
        facts = [f"{field} holds {found} where {expected} is annotated" for expected, field, found in wrong]
        return f"{', '.join(facts[: plain_json.MANY])}; pass values of the annotated types"
    if isinstance(error, UnicodeDecodeError):
        return (
            "bytes of a pydantic model are stored as text and these are none; give the model "
            "ConfigDict(ser_json_bytes='base64', val_json_bytes='base64')"
        )
    if isinstance(error, ValueError | RecursionError) and _DEPTH.search(str(error)):
        return plain_json.TOO_DEEP
    fact = str(error).splitlines()[0][:_LONGEST_FACT] if str(error) else type(error).__qualname__
    return f"cannot be stored as JSON ({fact}); pass a value that can"


def lost_keys(value: Any, path: str) -> list[Problem]:
    """Keys with a lone surrogate: pydantic stores them with U+FFFD instead, and says nothing."""
    found: list[Problem] = []
    stack, seen = [(value, path)], set()
    while stack and len(found) < plain_json.MANY:
        value, path = stack.pop()
        if isinstance(value, str) or id(value) in seen:
            continue
        seen.add(id(value))
        for key, item in _items(value):
            fact = plain_json.text_problem(key) if isinstance(key, str) else ""
            if fact:
                found.append((path, f"the key {shown_plainly(key)}: {fact}"))
            stack.append((item, plain_json.join(path, key)))
    return found


def no_key(error: BaseException | None) -> NoKey | None:
    """The NoKey that pydantic wrapped, if that is the cause."""
    while error is not None:
        if isinstance(error, NoKey):
            return error
        error = error.__cause__ or error.__context__
    return None


def place_of(wanted: object, value: Any, path: str) -> str:
    """Path of the very object `wanted` within containers; `path` itself if it is not found."""
    return _search(wanted, value, path, 0) or path


def _explain(
    error: ValidationError,
    given: Any,
    parameters: Mapping[str, Parameter],
    whole: str,
    *,
    missing: str,
    remedy: str,
    names: Collection[str] | None = None,
) -> list[Problem]:
    """One problem a path: pydantic reports every member of a union, here they are told as one.

    With `names`, keys that are none of these are not told, nor any value.
    """
    if error.error_count() > _MOST_ERRORS:
        count = f"{error.error_count():,} values are of other types or have other names than the job takes"
        return strangers(given, parameters) or [(whole, count)]
    told: dict[str, list[str]] = {}
    tails: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        kind, loc = detail["type"], detail["loc"]
        top = str(loc[0]) if loc else ""
        path = _path(loc, given, ends_in_name=kind in ("missing", "extra_forbidden"), names=names) or whole
        if path not in told and len(told) >= MOST_EXPLAINED:
            told[path] = []
        elif kind == PLAIN_ERROR and names is not None:
            told.setdefault(path, ["holds what plain JSON does not give back: correct the row"])
        elif kind == PLAIN_ERROR:
            for place, fact in plain_json.problems(detail["input"], path):
                told.setdefault(place, [fact])
        elif kind == "missing":
            told[path] = [f"is missing; {missing}"]
        elif kind == "extra_forbidden" and len(loc) == 1:
            told[path] = [unknown(top, parameters)]
        else:
            fact, final = _fact(detail, tells=names is None)
            facts = told.setdefault(path, [])
            if fact not in facts:
                facts.append(fact)
            expected = show(parameters[top].annotation) if top in parameters else "a JSON object"
            got = "" if names is not None else f", got {shown_plainly(detail['input'])}"
            tails[path] = "" if final else f"{got}; {remedy} {cut(expected)}"
    problems = [(path, " or ".join(facts[: plain_json.MANY]) + tails.get(path, "")) for path, facts in told.items()]
    return _counted(problems[:MOST_EXPLAINED], len(problems))


def _counted(problems: list[Problem], count: int) -> list[Problem]:
    """The problems that are explained, and as the last of them how many there are besides."""
    more = count - len(problems)
    return problems if more <= 0 else [*problems, ("…", f"{more:,} more like these")]


def _fact(detail: ErrorDetails, *, tells: bool) -> tuple[str, bool]:
    """What is wrong, and whether the remedy is said already.

    Args:
        detail: Of one value.
        tells: Whether the value may be told.
    """
    kind, bounds = detail["type"], detail.get("ctx", {})
    if kind == "timezone_aware":
        return _NAIVE, True
    if bounds.get("le") == plain_json.MAX_INT or bounds.get("ge") == plain_json.MIN_INT:
        return _TOO_LARGE, True
    if kind == "string_unicode":
        return _SURROGATE, True
    name = type(detail["input"]).__name__
    if name == bounds.get("class_name", bounds.get("class")):
        return f"is of another class called {name}: it was defined again; make the value anew", True
    message = detail["msg"] if tells else _without_value(kind, detail["msg"], bounds)
    fact = message[:_LONGEST_FACT].removeprefix("Input ").removesuffix(".")
    return fact if fact[1:2].isupper() else fact[:1].lower() + fact[1:], False  # "URL scheme …" stays so


def _without_value(kind: str, message: str, bounds: Mapping[str, Any]) -> str:
    """A message of pydantic's without the pieces of the value that some hold; one of a user's validator is his."""
    if kind.startswith("union_tag"):
        return f"Input should have one of the tags {bounds.get('expected_tags', '')}"
    if kind in ("value_error", "assertion_error") and "error" in bounds:
        return message
    return message.split(", ", 1)[0].split(": ", 1)[0] if kind.endswith(_TELLING) else message


def _path(loc: tuple[int | str, ...], given: Any, *, ends_in_name: bool, names: Collection[str] | None = None) -> str:
    """Path of pydantic's place, without the parts that name a member of a union or "[key]"."""
    path, value, last = "", given, len(loc) - 1
    for index, part in enumerate(loc):
        inner = _item(value, part)
        if inner is not _NOWHERE or index == 0 or (index == last and ends_in_name):
            is_value = names is not None and index and isinstance(part, str) and part not in names
            path, value = f"{path}[…]" if is_value else plain_json.join(path, part), inner
    return path


def _item(value: Any, part: int | str) -> Any:
    if isinstance(value, dict):
        return value.get(part, _NOWHERE)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return _NOWHERE


def _search(wanted: object, value: Any, path: str, depth: int) -> str:
    if value is wanted:
        return path
    if depth < plain_json.MAX_DEPTH:
        for key, item in _items(value):
            found = _search(wanted, item, plain_json.join(path, key), depth + 1)
            if found:
                return found
    return ""


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Items of a container with their keys, or the fields of an object."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple | set | frozenset | deque):
        return enumerate(value)
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    return getattr(value, "__dict__", {}).items() if isinstance(value, pydantic.BaseModel) else ()
