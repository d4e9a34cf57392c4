"""Setting a card's title and labels: what may be printed, and how much of it fits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asyncjobs.demo.faces import SERIF, advance

if TYPE_CHECKING:
    from collections.abc import Callable

TITLE_STACK = "Georgia, 'Times New Roman', 'Liberation Serif', serif"

_WIDER = 1.14
"""How much wider Georgia is than the face of the tables."""
_SIZES = (48, 44, 40, 36)
_SMALL = 32
_LONGEST = 400
# What XML 1.0 forbids, and the marks that would turn the text after them around.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+"
)


def plain(text: str) -> str:
    """The text on one line, without what cannot be printed or would not be XML."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def set_title(title: str, width: float) -> tuple[int, list[str]]:
    """The size and the lines of a title: one line as large as it fits, else two, the second cut short if it must."""
    for size in _SIZES:
        if _width(title, size) <= width:
            return size, [title]

    def fits(text: str) -> bool:
        return _width(text, _SMALL) <= width

    # A word that is longer than a line is broken where the line ends; other lines end between words.
    first = cut(title[:_LONGEST], fits, ending="")
    if title[len(first) :][:1] != " " and " " in first:
        first = first[: first.rindex(" ")]
    rest = title[len(first) :].strip()
    return _SMALL, [first.strip(), cut(rest[:_LONGEST], fits)] if rest else [first]


def cut(text: str, fits: Callable[[str], bool], ending: str = "…") -> str:
    """The text if it fits, else the longest beginning of it that fits with the ending."""
    if fits(text):
        return text
    ends = range(len(text) - 1, 0, -1)
    return next((text[:end].rstrip() + ending for end in ends if fits(text[:end] + ending)), ending)


def _width(text: str, size: float) -> float:
    return advance(text, SERIF) * size * _WIDER
