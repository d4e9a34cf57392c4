"""Says what is wrong with a job's arguments: the slow side of `argument_shape`, run only for an error."""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING, Any, Final

from asyncjobs.defining import plain_json
from asyncjobs.defining.argument_annotations import PLAIN_ERROR, show
from asyncjobs.defining.references import NoKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails, ValidationError

    from asyncjobs.defining.argument_shape import Parameter

Problem = tuple[str, str]

_LONGEST_FACT: Final = 200
_NEAREST: Final = 0.6
"""difflib's cutoff for "did you mean"."""


def explain(error: ValidationError, given: Any, parameters: Mapping[str, Parameter], whole: str) -> list[Problem]:
    """Every `(path, fact and remedy)` of a failed validation; the members of a union are told as one.

    Args:
        error: What pydantic raised.
        given: The values by name; None if they are JSON text.
        parameters: The parameters by name.
        whole: What to call a problem that belongs to no parameter.
    """
    told: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        for path, fact in _explain_one(detail, given, parameters, whole):
            facts = told.setdefault(path, [])
            if fact not in facts:
                facts.append(fact)
    return [(path, ", or ".join(facts[: plain_json.MANY])) for path, facts in told.items()]


def unknown(name: str, parameters: Iterable[str]) -> str:
    """Fact and remedy of an argument that the job does not have."""
    names = list(parameters)
    near = difflib.get_close_matches(name, names, 1, _NEAREST)
    if near:
        return f"no argument of this job; did you mean {near[0]}?"
    if not names:
        return "no argument of this job; it takes none"
    return f"no argument of this job; it takes {', '.join(names)}"[:_LONGEST_FACT]


def place_of(wanted: object, value: Any, path: str) -> str:
    """Path of the very object `wanted` within containers; `path` itself if it is not found."""
    return _search(wanted, value, path, 0) or path


def no_key(error: BaseException | None) -> NoKey | None:
    """The NoKey that pydantic wrapped, if that is the cause."""
    while error is not None:
        if isinstance(error, NoKey):
            return error
        error = error.__cause__ or error.__context__
    return None


def _explain_one(detail: ErrorDetails, given: Any, parameters: Mapping[str, Parameter], whole: str) -> list[Problem]:
    kind, value = detail["type"], detail["input"]
    loc = detail["loc"]
    if kind == "extra_forbidden" and len(loc) == 1:
        return [(str(loc[0])[:60], unknown(str(loc[0]), parameters))]
    path = _path(loc, given, ends_in_name=kind == "missing") or whole
    if kind == PLAIN_ERROR:
        return plain_json.problems(value, path) or [(path, "is not plain JSON; annotate it")]
    if kind == "missing":
        if len(loc) > 1:
            return [(path, "is missing; pass it")]
        return [(path, f"is missing; pass it ({show(parameters[str(loc[0])].annotation)})")]
    expected = show(parameters[str(loc[0])].annotation) if loc and loc[0] in parameters else "a JSON object"
    return [(path, _fact(detail, expected))]


def _fact(detail: ErrorDetails, expected: str) -> str:
    kind, value = detail["type"], detail["input"]
    bounds = detail.get("ctx", {})
    if kind == "timezone_aware":
        return (
            "a datetime without a timezone would mean another time elsewhere; "
            "pass an aware one, such as datetime.now(UTC), or annotate pydantic.NaiveDatetime"
        )
    if bounds.get("le") == plain_json.MAX_INT or bounds.get("ge") == plain_json.MIN_INT:
        return "an int past 64 bits (-2**63 to 2**64-1); annotate and pass str"
    if kind == "string_unicode":
        return "holds a lone surrogate, which is no text; decode it properly, or annotate and pass bytes"
    if kind == "json_invalid":
        return f"the stored text is not JSON ({detail['msg']}); correct the row"[:_LONGEST_FACT]
    fact = detail["msg"][:_LONGEST_FACT].removesuffix(".")
    fact = fact[:1].lower() + fact[1:]
    return f"{fact}, got {plain_json.short(value)}; pass {expected[:60]}"


def _path(loc: tuple[int | str, ...], given: Any, *, ends_in_name: bool) -> str:
    """Path of pydantic's place, without the parts that name a member of a union or "[key]"."""
    path, value, last = "", given, len(loc) - 1
    for index, part in enumerate(loc):
        if index == 0 or value is None or (index == last and ends_in_name):
            path, value = plain_json.join(path, part), _item(value, part, None)
            continue
        inner = _item(value, part, _NOWHERE)
        if inner is not _NOWHERE:
            path, value = plain_json.join(path, part), inner
    return path


def _item(value: Any, part: int | str, default: Any) -> Any:
    try:
        if isinstance(part, str) and not isinstance(value, dict):
            return getattr(value, part, default) if dataclasses.is_dataclass(value) else default
        return value[part]
    except (LookupError, TypeError):
        return default


def _search(wanted: object, value: Any, path: str, depth: int) -> str:
    if value is wanted:
        return path
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        items = enumerate(value)
    if depth < plain_json.MAX_DEPTH:
        for key, item in items:
            found = _search(wanted, item, plain_json.join(path, key), depth + 1)
            if found:
                return found
    return ""


_NOWHERE: Final = object()
