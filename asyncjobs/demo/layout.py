"""Where the words of a cloud go: each as near to the middle as there is room, the commonest first."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asyncjobs.demo.faces import Box, Face, advance, glyph_boxes
from asyncjobs.demo.grid import Grid
from asyncjobs.demo.palettes import palette_for

if TYPE_CHECKING:
    from asyncjobs.demo.words import Analysis

AREA = Box(56, 146, 1144, 668)
"""The part of a card that the cloud may use, in pixels."""

_CELL = 3
_LARGEST = 200.0
_LARGEST_SCALE = 500.0
_SMALLEST = 11.0
_AIRY = 40.0
"""From this size on a word keeps two cells around it free instead of one."""
_UNTURNED = "\u0590"
"""The first letter of the scripts, Hebrew and all after it, that are not read well when turned."""
_GROWTHS = 4
_TRIES = 16
_FILLED = 0.6
"""The part of the area that words cover when they are as large as they fit, as measured; some fit a little more."""
_FORGONE = 0.03
"""The part of the words that may be left out so that the others are larger."""


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word of the cloud; x and y are the middle of its baseline, in pixels."""

    text: str
    count: int
    rank: int
    size: float
    x: float
    y: float
    width: float
    upright: bool
    """Turned by a quarter to the left, to be read upwards."""
    boxes: tuple[Box, ...]
    """What its ink may touch; no box of a word overlaps one of another."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The words of a cloud with their places; fewer than the analysis has when there is no room for more."""

    face: Face
    area: Box
    words: tuple[PlacedWord, ...]


@dataclass(frozen=True, slots=True)
class _Wish:
    """A word as it would be if there were room: its size as a share of the first one's, and at most."""

    text: str
    count: int
    share: float
    limit: float
    upright: bool
    shift: tuple[float, float]
    """From the middle, as a part of the area's half width and half height."""


def lay_out(analysis: Analysis, *, area: Box = AREA) -> Layout:
    """Place the words as large as they fit; the same text always gives the same layout.

    Up to 100 ms of pure computing for 90 words: run it in a thread.
    """
    face = palette_for(analysis.digest).face
    wishes = _wishes(analysis, face, area)
    scale = _scale_for(wishes, face, area)
    few = int(len(wishes) * _FORGONE)
    best: list[PlacedWord] | None = None
    shrinking = False
    # From a good guess, up while everything finds room, or down until it does.
    for attempt in range(_TRIES):
        placed = _place(wishes, scale, face, area, forgo=few)
        best = placed or best
        shrinking = shrinking or placed is None
        if best and (shrinking or attempt == _GROWTHS):
            break
        scale *= 0.92 if shrinking else 1.06
    if best is None:
        best = _place(wishes, scale, face, area, forgo=len(wishes)) or []
    return Layout(face, area, _centred(best, area))


def _wishes(analysis: Analysis, face: Face, area: Box) -> list[_Wish]:
    if not analysis.top:
        return []
    most, number = analysis.top[0][1], len(analysis.top)
    chances = hashlib.shake_256(analysis.digest.encode()).digest(3 * number)
    wishes = []
    for rank, (text, count) in enumerate(analysis.top):
        turn, right, down = (chance / 255 for chance in chances[3 * rank : 3 * rank + 3])
        width = max(advance(text, face), 0.1)
        # The root of the frequency; words of one frequency still step down a little, or a short text has no accents.
        share = (count / most) ** 0.7 * (1 - 0.5 * (rank / max(number, 16)) ** 0.7)
        upright = rank > 1 and turn < 0.2 and width < (3.2 if rank < 8 else 4.5) and max(text) < _UNTURNED
        room = (area.bottom - area.top) * 0.7 if upright else (area.right - area.left) * 0.72
        spread = 0.12 if rank == 0 else 0.3
        shift = ((right - 0.5) * spread, (down - 0.5) * spread)
        wishes.append(_Wish(text, count, share, min(room / width, _LARGEST), upright, shift))
    return wishes


def _size(wish: _Wish, scale: float) -> float:
    return round(min(max(scale * wish.share, _SMALLEST), wish.limit), 1)


def _scale_for(wishes: list[_Wish], face: Face, area: Box) -> float:
    """The scale at which the words would cover as much of the area as they usually can."""
    boxes = [_body(glyph_boxes(wish.text, face)[0]) for wish in wishes]
    wanted = _FILLED * (area.right - area.left) * (area.bottom - area.top)
    low, high = 0.0, _LARGEST_SCALE
    for _ in range(16):
        scale = (low + high) / 2
        covered = sum(box * _size(wish, scale) ** 2 for wish, box in zip(wishes, boxes, strict=True))
        low, high = (scale, high) if covered < wanted else (low, scale)
    return low


def _body(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def _place(wishes: list[_Wish], scale: float, face: Face, area: Box, *, forgo: int) -> list[PlacedWord] | None:
    """The words where they find room, the first as large as the scale; None when more than `forgo` find none."""
    grid = Grid(int((area.right - area.left) / _CELL), int((area.bottom - area.top) / _CELL))
    placed: list[PlacedWord] = []
    missed = 0
    for rank, wish in enumerate(wishes):
        size = _size(wish, scale)
        width = advance(wish.text, face) * size
        boxes = [_turned(_scaled(box, size), wish.upright) for box in glyph_boxes(wish.text, face)]
        left, top = min(box.left for box in boxes), min(box.top for box in boxes)
        cells = [_cells(box, left, top) for box in boxes]
        place = grid.nearest(cells, wish.shift)
        if place is None:
            missed += 1
            if missed > forgo:
                return None
            continue
        grid.take(cells, place, 1 if size < _AIRY else 2)
        x, y = area.left + place[0] * _CELL - left, area.top + place[1] * _CELL - top
        at = (x, y - width / 2) if wish.upright else (x + width / 2, y)
        inked = tuple(_moved(box, x, y) for box in boxes)
        placed.append(PlacedWord(wish.text, wish.count, rank, size, *at, width, wish.upright, inked))
    return placed


def _centred(words: list[PlacedWord], area: Box) -> tuple[PlacedWord, ...]:
    """The words moved together so that the cloud, which may have grown to one side, is in the middle."""
    boxes = [box for word in words for box in word.boxes]
    if not boxes:
        return ()
    right = (area.left + area.right - min(box.left for box in boxes) - max(box.right for box in boxes)) / 2
    down = (area.top + area.bottom - min(box.top for box in boxes) - max(box.bottom for box in boxes)) / 2
    return tuple(
        replace(word, x=word.x + right, y=word.y + down, boxes=tuple(_moved(box, right, down) for box in word.boxes))
        for word in words
    )


def _moved(box: Box, right: float, down: float) -> Box:
    return Box(box.left + right, box.top + down, box.right + right, box.bottom + down)


def _scaled(box: Box, size: float) -> Box:
    return Box(box.left * size, box.top * size, box.right * size, box.bottom * size)


def _turned(box: Box, upright: bool) -> Box:
    """A quarter to the left around the left end of the baseline."""
    return Box(box.top, -box.right, box.bottom, -box.left) if upright else box


def _cells(box: Box, left: float, top: float) -> tuple[int, int, int, int]:
    """The cells that the box touches: column, row, columns, rows, from the word's own corner."""
    column, row = math.floor((box.left - left) / _CELL), math.floor((box.top - top) / _CELL)
    right, bottom = math.ceil((box.right - left) / _CELL), math.ceil((box.bottom - top) / _CELL)
    return column, row, right - column, bottom - row
