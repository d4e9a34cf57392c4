"""Beginnings of ids, as they are copied from a screen."""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import UUID

LEAST = 8
"""Digits, at least."""
RULE = f"an id, or its beginning: at least {LEAST} of 0-9 a-f, as in 0190b6d2-7a4f-7c63"

_DIGITS = re.compile(f"[0-9a-f]{{{LEAST},32}}", re.ASCII)


class Ids(NamedTuple):
    """All ids that begin alike."""

    least: UUID
    greatest: UUID


def ids_beginning(text: str) -> Ids | None:
    """Return the ids that begin with a text; None: no id does, or it is too short."""
    digits = text.strip().lower().replace("-", "")
    if not _DIGITS.fullmatch(digits):
        return None
    return Ids(UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f")))
