"""What a card is drawn with: colours, and faces whose measures are known without a font file at hand.

The stacks name fonts of equal advance widths (Helvetica, Arial, Liberation Sans, Arimo; Times and its likenesses), so
the tables hold on every system; a word is drawn with `textLength` besides, which makes any other font keep its box.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from asyncjobs.demo import data

Measure = tuple[float, float, float]  # in em: a character's advance, and its ink above and below the baseline
_HIGH = frozenset("bdfhijklßþðđłtβδζθλξφψ")
_DEEP = frozenset("gjpqyQþ,;()[]{}|@/$_βγζημξρςφχψДЦЩдруфцщ")


@dataclass(frozen=True, eq=False, slots=True)
class Face:
    """A font stack and its measures in em; the widths of characters in thousandths of one."""

    stack: str
    x_height: float
    cap_height: float
    ascender: float
    descender: float
    widths: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """The face and the colours of a card, as #rrggbb by what they are for."""

    name: str
    face: Face
    colours: Mapping[str, str]
    inks: tuple[str, ...]  # of the words


def _face(*, runs: dict[str, str], single: dict[str, int], **measures: Any) -> Face:
    widths = {chr(ord(first) + n): int(w) for first, all_of in runs.items() for n, w in enumerate(all_of.split())}
    return Face(**measures, widths=widths | single)


FACES = {name: _face(**measures) for name, measures in data("faces.toml").items()}
PALETTES = tuple(
    Palette(each["name"], FACES[each["face"]], each, tuple(each[f"ink{n}"] for n in range(5)))
    for each in data("palettes.toml")["palettes"]
)


def palette_for(digest: str) -> Palette:
    """The palette of a text by its digest in hex."""
    return PALETTES[hashlib.sha256(f"hue {digest}".encode()).digest()[0] % len(PALETTES)]


class Box(NamedTuple):
    """A rectangle; y grows downwards, as in SVG."""

    left: float
    top: float
    right: float
    bottom: float

    def moved(self, right: float, down: float) -> Box:
        """The same elsewhere."""
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)


def advance(text: str, face: Face) -> float:
    """The width of the text in em: exact for Latin, Greek and Cyrillic letters, a good guess for others."""
    return sum(_measure(character, face)[0] for character in text)


def glyph_boxes(text: str, face: Face) -> tuple[Box, ...]:
    """What the ink may touch, in em from the left end of the baseline.

    One box for the height that all letters share, and one for every run that stands above it or hangs below it, so
    that small words can nestle above "sea" and below "loom".
    """
    if not text:
        return ()
    measures, width = [_measure(character, face) for character in text], advance(text, face)
    top, bottom = min(above for _, above, _ in measures), min(below for _, _, below in measures)
    high = [Box(left, -above, right, bottom) for left, right, above in _runs(measures, 1, top, width)]
    deep = [Box(left, -top, right, below) for left, right, below in _runs(measures, 2, bottom, width)]
    return (Box(0.0, -top, width, bottom), *high, *deep)


def _runs(measures: list[Measure], side: int, common: float, width: float) -> list[tuple[float, float, float]]:
    """The stretches (left, right, extent) whose extent on that side exceeds what all letters share."""
    found: list[tuple[float, float, float]] = []
    at = 0.0
    for measure in measures:
        if measure[side] > common:
            left, right, extent = max(at - 0.07, 0.0), min(at + measure[0] + 0.07, width), measure[side]
            # A gap narrower than half an em holds no word; one box for both is quicker to place.
            if found and left - found[-1][1] < 0.5:
                left, _, before = found.pop()
                extent = max(before, extent)
            found.append((left, right, extent))
        at += measure[0]
    return found


@lru_cache(maxsize=4096)
def _measure(character: str, face: Face) -> Measure:
    base, *marks = list(unicodedata.normalize("NFD", character))
    width = face.widths.get(character) or face.widths.get(base)
    if width is None:
        return _likely_advance(character), 0.98, 0.30
    below = face.descender if base in _DEEP else 0.03
    above = face.cap_height if base.isupper() else face.cap_height - 0.05 if base == "t" else face.ascender
    if base.islower() and base not in _HIGH:
        above = face.x_height
    if marks:  # they stand above or hang below, and which is not worth a table: both are kept free
        above, below = above + 0.24, max(below, face.descender)
    return width / 1000, above, below


def _likely_advance(character: str) -> float:
    """In em, of one outside the tables."""
    category = unicodedata.category(character)
    if category in {"Mn", "Me", "Cf"}:
        return 0.0
    if unicodedata.east_asian_width(character) in {"W", "F"} and category != "Mc":
        return 1.0 if ord(character) <= 0xFFFF else 1.3
    return (
        0.35
        if category == "Mc"
        else 0.56
        if "\u0590" <= character < "\u0900"
        else 0.80
        if character.isupper()
        else 0.66
    )
