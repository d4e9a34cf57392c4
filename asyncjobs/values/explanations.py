"""Explanations of what is wrong with a job's arguments: the slow side of `shape`, run only for an error."""

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
"""Problems that one error explains; others are counted."""
_MOST_VALUES: Final = 5_000
"""Values that are all checked for problems; of more, only the first problem of each list and dict is found."""
_MOST_ERRORS: Final = 20_000
"""Errors of pydantic that are read: each takes 3 µs to read and as much to explain."""
UNSEEN: Final = ("…", f"of more than {_MOST_VALUES:,} values only the first wrong one of each list and dict is listed")
_LONGEST_FACT: Final = 200
_NEAREST: Final = 0.6
"""difflib's cutoff for "did you mean"."""
_NOWHERE: Final = object()
_UNEXPECTED: Final = re.compile(r"Expected `([^`]+)`.*\[field_name='(\w+)'.*input_type=([\w.]+)\]")
"""A line of pydantic's warning about a value that does not fit its annotation; the line holds the value too."""
_DEPTH: Final = re.compile(r"Circular reference|serialization depth|recursion")

_TELLING: Final = ("_parsing", "_error", "_encoding", "_offset")
"""Endings of types of pydantic's errors whose messages hold a piece of the value, after a comma or a colon."""

_NAIVE: Final = (
    "a datetime without a timezone means another time elsewhere; "
    "pass an aware one, such as datetime.now(UTC), or annotate pydantic.NaiveDatetime"
)
_TOO_LARGE: Final = "an int past 64 bits (-2**63 to 2**64-1); annotate and pass str"
_SURROGATE: Final = "holds a lone surrogate, which is no text; decode it properly, or annotate and pass bytes"


def explain(error: ValidationError, given: Any, parameters: Mapping[str, Parameter], whole: str) -> list[Problem]:
    """Return `(path, fact and remedy)` of the first given values that failed validation, and the number of others.

    Args:
        error: Pydantic's.
        given: The values by name.
        parameters: The parameters by name.
        whole: The path of a problem that belongs to no parameter.
    """
    return _explain(error, given, parameters, whole, missing="pass it", remedy="pass")


def in_full(error: ValidationError, given: Any, validate: Callable[[Any], object]) -> ValidationError:
    """Return the error with all problems of the values, or `error` when they are too many to be checked.

    Args:
        error: Of a validation that ended at the first wrong item of each list and dict.
        given: The values.
        validate: A validation that does not end there.
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
    """Explain the error of a row's text, which older code or SQL has written, without its values, since others read this.

    Args:
        error: Pydantic's.
        text: The row's.
        parameters: The parameters by name.
        whole: The path of a problem that belongs to no parameter.
        names: Keys that are names in annotations, and so no values.
    """
    try:
        given = from_json(text)
    except ValueError:
        return [(whole, f"the stored text is not JSON ({error.errors()[0]['msg']}); correct the row"[:_LONGEST_FACT])]
    missing = "correct the row, or give the parameter a default"
    remedy = "correct the row, or in a chain the result of the job before: the job takes"
    return _explain(error, given, parameters, whole, missing=missing, remedy=remedy, names=names)


def unknown_values(given: Any, parameters: Mapping[str, Parameter]) -> list[Problem]:
    """Return the first values that belong to no parameter, and the number of others."""
    if not isinstance(given, dict):
        return []
    names = [name for name in given if name not in parameters]
    return _counted(
        [(plain_json.join("", name), unknown(name, parameters)) for name in names[:MOST_EXPLAINED]], len(names)
    )


def is_of_other_names(given: Any, parameters: Mapping[str, Parameter]) -> bool:
    """Whether a value belongs to no parameter, or a required parameter has no value."""
    if not isinstance(given, dict):
        return False
    return not given.keys() <= parameters.keys() or any(
        parameter.required and name not in given for name, parameter in parameters.items()
    )


def explain_unread(
    error: ValidationError, given: Any, parameters: Mapping[str, Parameter], whole: str
) -> list[Problem]:
    """Explain the error of reading a text that was just made of values."""
    problems = _explain(error, given, parameters, whole, missing="the job would not get it", remedy="the annotation is")
    return [(path, f"cannot be read back: {fact}; {plain_json.INVERSE}") for path, fact in problems]


def unread(error: Exception) -> str:
    """Return fact and remedy of a value whose new text cannot be read because the user's code raised."""
    text = str(error).splitlines()[0][:_LONGEST_FACT] if str(error) else ""
    return f"cannot be read back: {type(error).__qualname__}: {text}; {plain_json.INVERSE}"


def unknown(name: str, parameters: Iterable[str]) -> str:
    """Return fact and remedy of an argument that the job does not have."""
    names = list(parameters)
    near = len(name) <= _LONGEST_FACT and difflib.get_close_matches(name, names, 1, _NEAREST)
    if near:
        return f"no argument of this job; did you mean {near[0]}?"
    if not names:
        return "no argument of this job; it takes none"
    return f"no argument of this job; it takes {', '.join(names)}"[:_LONGEST_FACT]


def unstorable(error: Exception) -> str:
    """Return fact and remedy of a value that has no form in JSON, without the value."""
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
    """Return keys with a lone surrogate, in which pydantic stores U+FFFD without an error."""
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
    """Return the NoKey that caused an error; None: another cause."""
    while error is not None:
        if isinstance(error, NoKey):
            return error
        error = error.__cause__ or error.__context__
    return None


def place_of(wanted: object, value: Any, path: str) -> str:
    """Return the path of the object `wanted` itself within containers; `path` if it is not found."""
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
    """Return one problem for each path: pydantic reports every member of a union, which here become one problem.

    With `names`, neither values nor keys outside `names` are shown.
    """
    if error.error_count() > _MOST_ERRORS:
        count = f"{error.error_count():,} values are of other types or have other names than the job takes"
        return unknown_values(given, parameters) or [(whole, count)]
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
    """Return the explained problems, and as the last one the number of others."""
    more = count - len(problems)
    return problems if more <= 0 else [*problems, ("…", f"{more:,} more like these")]


def _fact(detail: ErrorDetails, *, tells: bool) -> tuple[str, bool]:
    """Return what is wrong, and whether that says the remedy already.

    `tells`: whether the value may be shown.
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
    """Return pydantic's message without pieces of the value; the message of a user's validator stays whole."""
    if kind.startswith("union_tag"):
        return f"Input should have one of the tags {bounds.get('expected_tags', '')}"
    if kind in ("value_error", "assertion_error") and "error" in bounds:
        return message
    return message.split(", ", 1)[0].split(": ", 1)[0] if kind.endswith(_TELLING) else message


def _path(loc: tuple[int | str, ...], given: Any, *, ends_in_name: bool, names: Collection[str] | None = None) -> str:
    """Return the path of pydantic's location, without parts that name a member of a union or "[key]"."""
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
    """Return the items of a container with their keys, or the fields of an object."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple | set | frozenset | deque):
        return enumerate(value)
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    return getattr(value, "__dict__", {}).items() if isinstance(value, pydantic.BaseModel) else ()
