"""Texts for messages, logs and rows: values shown briefly, and characters that PostgreSQL and UTF-8 cannot hold."""

from __future__ import annotations

import datetime as dt
import re
import reprlib
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

MOST_SHOWN: Final = 60
"""Characters of a value in a message."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PRINTED: Final = frozenset({bool, type(None), float, dt.date, dt.time, dt.datetime, dt.timedelta, Decimal, UUID})


def cut(text: str, most: int = MOST_SHOWN) -> str:
    """Return `text`, or its beginning with an ellipsis: at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def is_storable(text: str) -> bool:
    """Whether PostgreSQL and UTF-8 can hold `text`: it has no NUL and no lone surrogate."""
    return "\x00" not in text and (text.isascii() or _UNSTORABLE.search(text) is None)


def written_out(text: str) -> str:
    """Return `text` with characters that cannot be stored written out."""
    return _UNSTORABLE.sub(lambda found: "\\x00" if found[0] == "\x00" else f"\\u{ord(found[0]):04x}", text)


def shown(value: Any) -> str:
    """Return a value as a message shows it: the beginning of its repr, or its type if the repr raises."""
    return _briefly(_shortener, value)


def shown_plainly(value: Any) -> str:
    """Return a value as `shown` does, but only the class's name if it is not Python's: its repr may hold a secret."""
    return _briefly(_plain_shortener, value)


def _briefly(shortener: reprlib.Repr, value: Any) -> str:
    try:
        return cut(shortener.repr(value))
    except Exception:  # an int of more digits than Python prints, a list with a broken iterator, a repr that raises
        return f"<{type(value).__name__}>"


class _Shortener(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong = 2, 50, 40

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if abs(x) < 10**40 else "a huge number"

    def repr_instance(self, x: Any, _level: int) -> str:
        return repr(x[:MOST_SHOWN]) if type(x) is bytes else self.repr_of_others(x)

    def repr_of_others(self, value: Any) -> str:
        return repr(value)


class _PlainShortener(_Shortener):
    """Never calls the repr of a class that is not Python's, at any depth."""

    def repr_of_others(self, value: Any) -> str:
        return repr(value) if type(value) in _PRINTED else f"<{type(value).__name__}>"


_shortener, _plain_shortener = _Shortener(), _PlainShortener()
