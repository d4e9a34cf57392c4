"""How wide and how high text is in the two bold faces of the cards, without a font file at hand.

The stacks name fonts of equal advance widths (Helvetica, Arial, Liberation Sans, Arimo; Times and its likenesses), so
the tables hold on every system; a word is drawn with `textLength` besides, which makes any other font keep its box.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Face:
    """A font stack and its measures, in em."""

    stack: str
    x_height: float
    cap_height: float
    ascender: float
    descender: float
    widths: tuple[int, ...]
    """Thousandths of an em, for the characters U+0020 to U+007E."""


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


# fmt: off
SANS = Face(
    "Helvetica, Arial, 'Liberation Sans', Arimo, sans-serif", 0.56, 0.74, 0.76, 0.23,
    (278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
     556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833,
     722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611,
     556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389,
     280, 389, 584),
)
SERIF = Face(
    "'Times New Roman', Times, 'Liberation Serif', Tinos, serif", 0.50, 0.71, 0.73, 0.24,
    (250, 333, 555, 500, 500, 1000, 833, 278, 333, 333, 500, 570, 250, 333, 250, 278, 500, 500, 500, 500, 500, 500, 500,
     500, 500, 500, 333, 333, 570, 570, 570, 500, 930, 722, 667, 722, 722, 667, 611, 778, 778, 389, 500, 778, 667, 944,
     722, 778, 611, 778, 722, 556, 667, 722, 722, 1000, 722, 722, 667, 333, 278, 333, 581, 500, 333, 500, 556, 444, 556,
     444, 333, 500, 556, 278, 333, 556, 278, 833, 556, 500, 556, 556, 444, 389, 333, 556, 500, 722, 500, 500, 444, 394,
     220, 394, 520),
)
# fmt: on

_ODD = {"ß": 0.611, "æ": 0.889, "œ": 0.944, "Æ": 1.0, "Œ": 1.0, "ø": 0.611, "Ø": 0.778, "ł": 0.333, "Ł": 0.667}
_ODD |= {"đ": 0.611, "ð": 0.611, "þ": 0.611, "ı": 0.278, "’": 0.333, "‘": 0.333, "“": 0.5, "”": 0.5, "–": 0.556}  # noqa: RUF001
_ODD |= {"—": 1.0, "…": 1.0, "·": 0.333, "ď": 0.733, "ľ": 0.469, "ť": 0.521}
_WIDE = frozenset("жмшщыюфѡϖЖМШЩЫЮФѠ")
_SHAPED = range(0x0600, 0x1100)
"""Arabic to Myanmar: letters that join, stack and reorder, whose advance no table of characters can tell."""


def advance(text: str, face: Face) -> float:
    """The width of the text in em; never less than what the face needs, and more for scripts it does not know."""
    return sum(_character(character, face)[0] for character in text)


def measurable(text: str) -> bool:
    """Whether `advance` is exact enough for a `textLength`; a shaped script would be stretched by it."""
    return not any(ord(character) in _SHAPED or ord(character) > 0xFFFF for character in text)


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
    base, marked = parts[0], len(parts) > 1
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0.0, face.ascender, 0.0
    code = ord(base)
    if 0x20 <= code <= 0x7E or character in _ODD:
        width = _ODD.get(character) or face.widths[code - 0x20] / 1000
        if character not in _ODD and marked and base in "ij":
            width = max(width, 0.333)
        return width, *_extent(base, marked, face)
    return _foreign(character), 0.98, 0.30


def _extent(base: str, marked: bool, face: Face) -> tuple[float, float]:
    below = face.descender if base in "gjpqyQþ,;()[]{}|@/$_" else 0.03
    if base.islower() and base not in "bdfhijklßþðđłt":
        above = face.x_height
    elif base == "t":
        above = face.cap_height - 0.05
    else:
        above = face.cap_height if base.isupper() else face.ascender
    # Accents stand above or hang below, and which is not worth a table: both are kept free.
    return (above + 0.24, max(below, face.descender)) if marked else (above, below)


def _foreign(character: str) -> float:
    """An advance, in em, on the generous side, for a character outside the tables."""
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return 1.0 if ord(character) <= 0xFFFF else 1.3
    if ord(character) in _SHAPED:
        return 0.75
    if character in _WIDE:
        return 0.98
    return 0.80 if character.isupper() else 0.66
