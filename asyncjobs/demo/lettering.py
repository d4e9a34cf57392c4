"""Setting a card's title and labels: what may be printed, and how much of it fits."""

from __future__ import annotations

import re
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING

from asyncjobs.demo.faces import SERIF, advance

if TYPE_CHECKING:
    from asyncjobs.demo.faces import Face

TITLE_STACK = "Georgia, 'Times New Roman', 'Liberation Serif', serif"

_WIDER = 1.14
"""How much wider Georgia is than the face of the tables."""
_SIZES = (48, 44, 40, 36)
_SMALL = 32
_LONGEST = 400
# What XML 1.0 forbids, and the marks that would turn the text after them around.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def plain(text: str) -> str:
    """The text on one line, without what cannot be printed or would not be XML."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def set_title(title: str, width: float) -> tuple[int, list[str]]:
    """The size and the lines of a title: one line as large as it fits, else two, the second cut short if it must."""
    room = width / _WIDER
    for size in _SIZES:
        if advance(title, SERIF) * size <= room:
            return size, [title]
    # Lines end between words; a word that is longer than a line is broken where the line ends.
    first = cut(title[:_LONGEST], SERIF, _SMALL, room, ending="")
    if title[len(first) :][:1] != " " and " " in first:
        first = first[: first.rindex(" ")]
    rest = title[len(first) :].strip()
    return _SMALL, [first, cut(rest[:_LONGEST], SERIF, _SMALL, room)] if rest else [first]


def cut(text: str, face: Face, size: float, width: float, *, ending: str = "…") -> str:
    """The text if it is no wider, else the longest beginning of it that is not, with the ending."""
    if advance(text, face) * size <= width:
        return text
    room = width / size - advance(ending, face)
    kept = takewhile(lambda so_far: so_far <= room, accumulate(advance(character, face) for character in text))
    return text[: sum(1 for _ in kept)].rstrip() + ending
