"""How wide and how high text is in the two bold faces of the cards, without a font file at hand.

The stacks name fonts of equal advance widths (Helvetica, Arial, Liberation Sans, Arimo; Times and its likenesses), so
the tables hold on every system; a word is drawn with `textLength` besides, which makes any other font keep its box.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from asyncjobs.demo.widths import SANS_WIDTHS, SERIF_WIDTHS


@dataclass(frozen=True, slots=True)
class Face:
    """A font stack and its measures, in em."""

    stack: str
    x_height: float
    cap_height: float
    ascender: float
    descender: float


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; y grows downwards, as in SVG."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


SANS = Face("Helvetica, Arial, 'Liberation Sans', Arimo, sans-serif", 0.56, 0.74, 0.76, 0.23)
SERIF = Face("'Times New Roman', Times, 'Liberation Serif', Tinos, serif", 0.50, 0.71, 0.73, 0.24)

_WIDTHS = {SANS: SANS_WIDTHS, SERIF: SERIF_WIDTHS}
_HIGH = frozenset("bdfhijklßþðđłtβδζθλξφψ")
_DEEP = frozenset("gjpqyQþ,;()[]{}|@/$_βγζημξρςφχψДЦЩдруфцщ")


def advance(text: str, face: Face) -> float:
    """The width of the text in em: exact for Latin, Greek and Cyrillic letters, a good guess for others."""
    return sum(_character(character, face)[0] for character in text)


def glyph_boxes(text: str, face: Face) -> tuple[Box, ...]:
    """What the ink may touch, in em from the left end of the baseline.

    One box for the height that all letters share, and one for every run that stands above it or hangs below it, so
    that small words can nestle above "sea" and below "loom".
    """
    measures = [_character(character, face) for character in text]
    if not measures:
        return ()
    width = sum(measure[0] for measure in measures)
    top, bottom = min(measure[1] for measure in measures), min(measure[2] for measure in measures)
    boxes = [Box(0.0, -top, width, bottom)]
    boxes += [Box(left, -high, right, bottom) for left, right, high in _runs(measures, 1, top)]
    boxes += [Box(left, -top, right, deep) for left, right, deep in _runs(measures, 2, bottom)]
    return tuple(boxes)


def _runs(measures: list[tuple[float, float, float]], side: int, common: float) -> list[tuple[float, float, float]]:
    """The stretches (left, right, extent) whose extent on that side exceeds what all letters share."""
    found: list[tuple[float, float, float]] = []
    total, at = sum(measure[0] for measure in measures), 0.0
    for measure in measures:
        if measure[side] > common:
            left, right = max(at - 0.07, 0.0), min(at + measure[0] + 0.07, total)
            # A gap narrower than half an em holds no word; one box for both is quicker to place.
            if found and left - found[-1][1] < 0.5:
                left, _, extent = found.pop()
                found.append((left, right, max(extent, measure[side])))
            else:
                found.append((left, right, measure[side]))
        at += measure[0]
    return found


@lru_cache(maxsize=4096)
def _character(character: str, face: Face) -> tuple[float, float, float]:
    """Advance, height above and depth below the baseline, in em."""
    parts = unicodedata.normalize("NFD", character)
    width = _WIDTHS[face].get(character) or _WIDTHS[face].get(parts[0])
    if width is None:
        return _foreign(character), 0.98, 0.30
    return width, *_extent(parts[0], len(parts) > 1, face)


def _extent(base: str, marked: bool, face: Face) -> tuple[float, float]:
    below = face.descender if base in _DEEP else 0.03
    if base.islower() and base not in _HIGH:
        above = face.x_height
    elif base == "t":
        above = face.cap_height - 0.05
    else:
        above = face.cap_height if base.isupper() else face.ascender
    # Accents stand above or hang below, and which is not worth a table: both are kept free.
    return (above + 0.24, max(below, face.descender)) if marked else (above, below)


def _foreign(character: str) -> float:
    """A likely advance, in em, of a character outside the tables."""
    category = unicodedata.category(character)
    if category in {"Mn", "Me", "Cf"}:
        return 0.0
    if category == "Mc":
        return 0.35
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return 1.0 if ord(character) <= 0xFFFF else 1.3
    if 0x0590 <= ord(character) < 0x0900:
        return 0.56
    return 0.80 if character.isupper() else 0.66
