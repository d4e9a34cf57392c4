"""Rules for names of queues and kinds, and for prefixes of kinds. The functions in SQL keep the same rules."""

from __future__ import annotations

import re

from asyncjobs.checks.texts import is_storable

QUEUE_RULE = "1 to 64 of A-Z a-z 0-9 _ . : -, not beginning with -"
KIND_RULE = "1 to 200 printable characters, no space at either end"
PREFIX_RULE = "up to 40 of A-Z a-z 0-9 _ . : -, the last of them one of _ . : -"

_CHARACTERS = "[A-Za-z0-9_.:-]"
_QUEUE = re.compile(f"(?!-){_CHARACTERS}{{1,64}}")
_PREFIX = re.compile(f"({_CHARACTERS}{{0,39}}[_.:-])?")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def is_queue(text: str) -> bool:
    """Whether `text` can name a queue."""
    return _QUEUE.fullmatch(text) is not None


def is_kind(text: str) -> bool:
    """Whether `text` can name a kind."""
    return 1 <= len(text) <= 200 and text == text.strip() and not _CONTROL.search(text) and is_storable(text)


def is_prefix(text: str) -> bool:
    """Whether `text` can be the prefix of an application's kinds; empty text is no prefix."""
    return _PREFIX.fullmatch(text) is not None
