"""Filters of jobs by tag, by meta and by argument: as they are given, and as they are looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.definitions import registry
from asyncjobs.definitions.labels import checked_key, checked_meta, checked_tag, checked_tags, labels_of, searchable_of
from asyncjobs.exceptions import InvalidArguments, InvalidOption
from asyncjobs.values import codec
from asyncjobs.values.plain_json import NUL_ESCAPE, problems


class OneOf(tuple[Any, ...]):
    """Values of which an argument is to have one: what a command is given may be text or JSON."""

    __slots__ = ()


class Words(TypedDict):
    """The parts of a filter that a command's words say."""

    tag: tuple[str, ...] | None
    meta: dict[str, str] | None
    arguments: dict[str, OneOf] | None


class Labelled(NamedTuple):
    """A checked filter by labels and arguments; all of it must hold."""

    labels: tuple[str, ...] = ()
    """Stored labels."""
    searchable: tuple[tuple[str, ...], ...] = ()
    """For each argument that is looked up in the index, its stored texts, of which one must be there."""
    arguments: Mapping[str, tuple[Any, ...]] = {}
    """For each argument that is compared with what is stored, its plain values, of which it must have one."""
    all_arguments: Mapping[str, tuple[Any, ...]] = {}
    """The same of every argument, to compare where the index has no such job: the kind is not known here."""

    @property
    def by_stored(self) -> Labelled:
        """The same with every argument compared with what is stored."""
        return self._replace(searchable=(), arguments=self.all_arguments)

    @property
    def reads_arguments(self) -> bool:
        """Whether it asks for arguments, which not every role may read."""
        return bool(self.all_arguments)


def labelled(tag: Any, meta: Any, arguments: Any, kind: Any) -> Labelled:
    """Return a checked filter.

    Args:
        tag: A tag, or several, all of which must be there.
        meta: Entries of meta, all of which must be there.
        arguments: Values of arguments by name.
        kind: As given for the filter: a definition, or a kind's name; None: any.

    Raises:
        InvalidOption: A value is invalid; the message names it, its limit and the remedy.
        InvalidArguments: A value does not fit the argument of the kind.
    """
    tags = () if tag is None else (checked_tag(tag, "tag"),) if isinstance(tag, str) else checked_tags(tag, "tag")
    labels = labels_of(tags, {} if meta is None else checked_meta(meta, "meta"))
    if arguments is None:
        return Labelled(tuple(labels))
    if not isinstance(arguments, Mapping) or not all(isinstance(name, str) for name in arguments):
        raise InvalidOption(
            f'arguments={shown(arguments)} is no dict of values by name: give such as arguments={{"user_id": 42}}'
        )
    definition = registry.find(kind) if isinstance(kind, str) else getattr(kind, "_definition", None)
    values = {name: _values(definition, name, value) for name, value in arguments.items()}
    indexed = values.keys() if definition is None else values.keys() & set(definition.options.searchable)
    return Labelled(
        tuple(labels),
        tuple(tuple(searchable_of(name, one) for one in values[name]) for name in values if name in indexed),
        {name: value for name, value in values.items() if name not in indexed},
        values,
    )


def _values(definition: Any, name: str, value: Any) -> tuple[Any, ...]:
    """Return the plain values that an argument may have; for a known kind those that fit it."""
    if definition is not None and name not in (names := definition.arguments.names):
        known = f"its arguments are {', '.join(names)}" if names else "it has none"
        raise InvalidOption(f"arguments: {shown(name)} is no argument of {definition.kind}: {known}")
    found: list[Any] = []
    wrong: InvalidArguments | None = None
    for one in value if isinstance(value, OneOf) else (value,):
        try:
            found.append(_plain(name, one) if definition is None else definition.arguments.stored(name, one))
        except InvalidArguments as error:
            wrong = wrong or error
    if not found and wrong is not None:
        raise wrong
    return tuple(found)


def _plain(name: str, value: Any) -> Any:
    try:
        found = codec.loads(text := codec.dumps(value))
    except TypeError as error:
        raise InvalidOption(
            f"arguments[{shown(name)}]={shown(value)} has no form in JSON: give it as it is stored, or say kind= too"
        ) from error
    if not is_storable(name) or (NUL_ESCAPE in text and problems(found, "")):
        raise InvalidOption(
            f"arguments[{shown(name)}]={shown(value)} holds a NUL or half of a surrogate pair, and no stored argument does"
        )
    return found


def read_words(tags: Iterable[str], meta: Iterable[str], arguments: Iterable[str]) -> Words:
    """Return the filter that a command's words say: tags, KEY=VALUE of meta, NAME=VALUE of arguments.

    Raises:
        InvalidOption: A word has no =, or a name stands twice.
    """
    return {
        "tag": tuple(tags) or None,
        "meta": {checked_key(key, "--meta"): text for key, text in _pairs(meta, "--meta")} or None,
        "arguments": {name: _either(text) for name, text in _pairs(arguments, "--arg")} or None,
    }


def _pairs(words: Iterable[str], option: str) -> Iterable[tuple[str, str]]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise InvalidOption(f"{option} {word}: write NAME=VALUE, as in {option} user_id=42")
        if name in found:
            raise InvalidOption(f"{option}: {name} is given twice: give it once")
        found[name] = text
    return found.items()


def _either(text: str) -> OneOf:
    try:
        return OneOf((codec.loads(text), text))
    except ValueError:
        return OneOf((text,))
