"""Labels of a job: tags and meta, and the arguments by which it can be found, each as the text that is stored and looked up.

A tag is stored as ``t:import``, an entry of meta as ``m:source=api``, an argument as ``user_id=42``, with its value as JSON.
All are keys of one index, whose keys are short.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.exceptions import InvalidOption
from asyncjobs.values import codec

MOST_TAGS: Final = 20
MOST_TAG: Final = 100
"""Characters of a tag."""
MOST_META: Final = 20
MOST_META_KEY, MOST_META_VALUE = 100, 500
"""Characters of a key and of a value of meta."""
MOST_SEARCHABLE: Final = 256
"""Characters of a searchable argument; a longer one is cut, and ends in its SHA-256."""


def checked_tags(value: Any, name: str) -> tuple[str, ...]:
    """Return tags, each once.

    Raises:
        InvalidOption: They are no tuple of tags, or one is too long or cannot be stored.
    """
    if isinstance(value, str):
        raise InvalidOption(f"{name}={shown(value)} is a string: give a tuple, such as {name}=({shown(value)},)")
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise InvalidOption(f'{name}={shown(value)} is no tuple of tags: give such as {name}=("import",)')
    found = tuple(dict.fromkeys(checked_tag(tag, name) for tag in value))
    if len(found) > MOST_TAGS:
        raise InvalidOption(f"{name} has {len(found)} tags, and a job has at most {MOST_TAGS}: leave some out")
    return found


def checked_tag(tag: Any, name: str) -> str:
    """Return one tag.

    Raises:
        InvalidOption: It is no tag.
    """
    if not isinstance(tag, str):
        raise InvalidOption(f"{name}: {shown(tag)} is no string: give such as {name}=({shown(str(tag))},)")
    return _stored(tag, f"{name}: a tag", MOST_TAG, "give a short name, and put the rest into meta= or the arguments")


def checked_meta(value: Any, name: str) -> dict[str, str]:
    """Return meta.

    Raises:
        InvalidOption: It is no dict of strings, or has too many or too long ones.
    """
    if not isinstance(value, Mapping):
        raise InvalidOption(f'{name}={shown(value)} is no dict of strings: give such as {name}={{"source": "api"}}')
    if len(value) > MOST_META:
        raise InvalidOption(
            f"{name} has {len(value)} entries, and a job has at most {MOST_META}: store the rest in the arguments"
        )
    return {checked_key(key, name): _checked_value(key, text, name) for key, text in value.items()}


def checked_key(key: Any, name: str) -> str:
    """Return one key of meta.

    Raises:
        InvalidOption: It is no key.
    """
    if not isinstance(key, str):
        raise InvalidOption(f"{name}: the key {shown(key)} is no string: give {shown(str(key))}")
    if "=" in key:
        raise InvalidOption(
            f"{name}: the key {shown(key)} has a =: leave it out, since key=value is how it is looked up"
        )
    return _stored(key, f"{name}: a key", MOST_META_KEY, "give a shorter one")


def _checked_value(key: str, value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidOption(
            f"{name}[{shown(key)}]={shown(value)} is no string, and meta holds strings: give {shown(str(value))}"
        )
    remedy = "store what is long elsewhere or in the arguments"
    return _stored(value, f"{name}[{shown(key)}]", MOST_META_VALUE, remedy, least=0)


def _stored(text: str, what: str, most: int, remedy: str, *, least: int = 1) -> str:
    if not least <= len(text) <= most:
        raise InvalidOption(f"{what} has {len(text)} characters, and has {least} to {most}: {remedy}")
    if not is_storable(text):
        raise InvalidOption(
            f"{what} has a NUL or half of a surrogate pair, which PostgreSQL cannot store: leave it out"
        )
    return str(text)


def labels_of(tags: Iterable[str], meta: Mapping[str, str]) -> list[str]:
    """Return the stored labels of checked tags and meta."""
    return [*(f"t:{tag}" for tag in tags), *(f"m:{key}={value}" for key, value in meta.items())]


def tags_in(labels: Sequence[str | None] | None) -> tuple[str, ...]:
    """Return the tags among stored labels; what is no label, perhaps written by hand, is left out."""
    return tuple(label[2:] for label in labels or () if isinstance(label, str) and label.startswith("t:"))


def meta_in(labels: Sequence[str | None] | None) -> dict[str, str]:
    """Return the meta among stored labels; what is no label, perhaps written by hand, is left out."""
    pairs = (label[2:].partition("=") for label in labels or () if isinstance(label, str) and label.startswith("m:"))
    return {key: value for key, _, value in pairs}


def searchable_of(name: str, value: Any) -> str:
    """Return the text by which an argument is found; `value` is plain JSON."""
    text = f"{name}={codec.dumps(value)}"
    if len(text) <= MOST_SEARCHABLE:
        return text
    return f"{text[: MOST_SEARCHABLE - 65]} {hashlib.sha256(text.encode()).hexdigest()}"
