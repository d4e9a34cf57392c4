"""Where the words of a cloud go: each as near to the middle as there is room, the commonest first."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

from asyncjobs.demo.style import Box, advance, glyph_boxes, palette_for
from asyncjobs.demo.words import Analysis

AREA = Box(56, 146, 1144, 668)  # the part of a card that the cloud may use, in pixels
_WIDTH, _HEIGHT, _CELL = AREA.right - AREA.left, AREA.bottom - AREA.top, 3
_SMALLEST, _LARGEST, _LARGEST_SCALE = 11.0, 200.0, 500.0
_AIRY = 40.0  # from this size on a word keeps two cells around it free instead of one
_UNTURNED = "\u0590"  # the first letter of the scripts, Hebrew and all after it, that are not read well when turned
_GROWTHS, _TRIES = 4, 16
_FILLED, _FORGONE = 0.6, 0.03
"""The part of the area that words cover when they are as large as they fit, as measured, some a little more; and the
part of the words that may be left out so that the others are larger."""
_FLATNESS = 2.6  # the exponent of the outline that grows around a point: 2 is an ellipse, more nearer to a rectangle
Cells = tuple[int, int, int, int]  # a rectangle of a grid: column, row, columns, rows


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word of the cloud; x and y are the middle of its baseline, in pixels."""

    text: str
    rank: int
    size: float
    x: float
    y: float
    width: float
    upright: bool  # turned by a quarter to the left, to be read upwards
    boxes: tuple[Box, ...]  # what its ink may touch; none overlaps one of another word


@dataclass(frozen=True, slots=True)
class _Wish:
    """A word as it would be if there were room: its size as a share of the first one's, and at most."""

    text: str
    width: float  # in em, as the boxes are
    boxes: tuple[Box, ...]
    share: float
    limit: float
    upright: bool
    shift: tuple[float, float]  # from the middle, as a part of the area's half width and half height

    def size(self, scale: float) -> float:
        return round(min(max(scale * self.share, _SMALLEST), self.limit), 1)

    def scaled(self, size: float) -> list[Box]:
        """Its boxes in pixels; an upright one's turned a quarter to the left around the left end of the baseline."""
        boxes = [Box(*(side * size for side in box)) for box in self.boxes]
        return [Box(top, -right, bottom, -left) for left, top, right, bottom in boxes] if self.upright else boxes


def lay_out(analysis: Analysis) -> tuple[PlacedWord, ...]:
    """Place the words as large as they fit, fewer when there is no room; the same text always gives the same cloud.

    Up to 100 ms of pure computing for 90 words: run it in a thread.
    """
    wishes = _wishes(analysis)
    scale, few = _first_scale(wishes), int(len(wishes) * _FORGONE)
    best: list[PlacedWord] | None = None
    shrinking = False
    # From a good guess, up while everything finds room, or down until it does.
    for attempt in range(_TRIES):
        placed = _place(wishes, scale, forgo=few)
        best = placed or best
        shrinking = shrinking or placed is None
        if best and (shrinking or attempt == _GROWTHS):
            break
        scale *= 0.92 if shrinking else 1.06
    return _centred(best or _place(wishes, scale, forgo=len(wishes)) or [])


def _wishes(analysis: Analysis) -> list[_Wish]:
    face, number = palette_for(analysis.digest).face, len(analysis.top)
    chances = hashlib.shake_256(analysis.digest.encode()).digest(3 * number)
    wishes = []
    for rank, (text, count) in enumerate(analysis.top):
        turn, right, down = (chance / 255 for chance in chances[3 * rank : 3 * rank + 3])
        width = advance(text, face)
        # The root of the frequency; words of one frequency still step down a little, or a short text has no accents.
        share = (count / analysis.top[0][1]) ** 0.7 * (1 - 0.5 * (rank / max(number, 16)) ** 0.7)
        upright = rank > 1 and turn < 0.2 and width < (3.2 if rank < 8 else 4.5) and max(text) < _UNTURNED
        limit = min((_HEIGHT * 0.7 if upright else _WIDTH * 0.72) / max(width, 0.1), _LARGEST)
        spread = 0.12 if rank == 0 else 0.3
        shift = (right - 0.5) * spread, (down - 0.5) * spread
        wishes.append(_Wish(text, width, glyph_boxes(text, face), share, limit, upright, shift))
    return wishes


def _first_scale(wishes: list[_Wish]) -> float:
    """The scale at which the words would cover as much of the area as they usually can."""
    bodies = [(box.right - box.left) * (box.bottom - box.top) for box in (wish.boxes[0] for wish in wishes)]
    low, high = 0.0, _LARGEST_SCALE
    for _ in range(16):
        scale = (low + high) / 2
        covered = sum(body * wish.size(scale) ** 2 for wish, body in zip(wishes, bodies, strict=True))
        low, high = (scale, high) if covered < _FILLED * _WIDTH * _HEIGHT else (low, scale)
    return low


def _place(wishes: list[_Wish], scale: float, *, forgo: int) -> list[PlacedWord] | None:
    """The words where they find room, the first as large as the scale; None when more than `forgo` find none."""
    grid = Grid(int(_WIDTH / _CELL), int(_HEIGHT / _CELL))
    placed: list[PlacedWord] = []
    for rank, wish in enumerate(wishes):
        size = wish.size(scale)
        width, boxes = wish.width * size, wish.scaled(size)
        left, top = min(box.left for box in boxes), min(box.top for box in boxes)
        cells = [_cells(box.moved(-left, -top)) for box in boxes]
        if (place := grid.nearest(cells, wish.shift)) is None:
            if (forgo := forgo - 1) < 0:
                return None
            continue
        grid.take(cells, place, 1 if size < _AIRY else 2)
        x, y = AREA.left + place[0] * _CELL - left, AREA.top + place[1] * _CELL - top
        at = (x, y - width / 2) if wish.upright else (x + width / 2, y)
        inked = tuple(box.moved(x, y) for box in boxes)
        placed.append(PlacedWord(wish.text, rank, size, *at, width, wish.upright, inked))
    return placed


def _cells(box: Box) -> Cells:
    """The cells that a box touches, from the word's own corner."""
    column, row = math.floor(box.left / _CELL), math.floor(box.top / _CELL)
    return column, row, math.ceil(box.right / _CELL) - column, math.ceil(box.bottom / _CELL) - row


def _centred(words: list[PlacedWord]) -> tuple[PlacedWord, ...]:
    """The words moved together so that the cloud, which may have grown to one side, is in the middle."""
    if not words:
        return ()
    lefts, tops, rights, bottoms = zip(*(box for word in words for box in word.boxes), strict=True)
    right = (AREA.left + AREA.right - min(lefts) - max(rights)) / 2
    down = (AREA.top + AREA.bottom - min(tops) - max(bottoms)) / 2
    return tuple(
        replace(word, x=word.x + right, y=word.y + down, boxes=tuple(box.moved(right, down) for box in word.boxes))
        for word in words
    )


class Grid:
    """Cells that are free or taken, by column and row from the top left, and the free place nearest to a point.

    It is one integer, a bit per cell, row after row. Where a rectangle would meet a taken cell is then a few shifts of
    that integer, for all places at once; so the nearest free place is found outright, where a search along a spiral
    tries thousands of places a word.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._rows, self._taken = columns, rows, 0

    def take(self, shape: list[Cells], place: tuple[int, int], margin: int) -> None:
        """Take the cells of a shape at a place, and a margin on every side of them, as far as the grid goes."""
        for column, row, columns, rows in shape:
            left, right = max(place[0] + column - margin, 0), min(place[0] + column + columns + margin, self._columns)
            top, bottom = max(place[1] + row - margin, 0), min(place[1] + row + rows + margin, self._rows)
            self._taken |= self._block(right - left, bottom - top) << (left + top * self._columns)

    def nearest(self, shape: list[Cells], shift: tuple[float, float]) -> tuple[int, int] | None:
        """The place for a shape's corner that brings its middle nearest to a point and touches no taken cell.

        The point is given from the grid's middle, in half widths and half heights of the grid.
        """
        columns = self._columns - max(column + width for column, _, width, _ in shape)
        rows = self._rows - max(row + height for _, row, _, height in shape)
        if columns < 0 or rows < 0:
            return None
        free = self._block(columns + 1, rows + 1)
        for column, row, width, height in shape:
            # Where the rectangle's corner would have it touch a taken cell.
            meeting = _smeared(_smeared(self._taken, width, 1), height, self._columns)
            free &= ~(meeting >> (column + row * self._columns))
        cells = f"{free:0{self._columns * self._rows}b}"[::-1]
        across, down = (self._columns * shift[0] + columns) / 2, (self._rows * shift[1] + rows) / 2
        best, place = math.inf, None
        for row in sorted(range(rows + 1), key=lambda row: abs(row - down)):
            away = (abs(row - down) / self._rows) ** _FLATNESS
            if away >= best:
                break  # no row can be nearer
            start = row * self._columns
            at = start + max(round(across), 0)
            for cell in (cells.find("1", at, start + self._columns), cells.rfind("1", start, at)):
                distance = away + (abs(cell - start - across) / self._columns) ** _FLATNESS
                if cell >= 0 and distance < best:
                    best, place = distance, (cell - start, row)
        return place

    def _block(self, columns: int, rows: int) -> int:
        """The cells of a rectangle in the top left corner."""
        return int(f"{(1 << columns) - 1:0{self._columns}b}" * rows, 2)


def _smeared(bits: int, times: int, step: int) -> int:
    """The number or'ed with itself shifted down by 0, 1, … times - 1 steps; by doubling, so in log(times) shifts."""
    done = 1
    while done < times:
        more = min(done, times - done)
        bits |= bits >> (more * step)
        done += more
    return bits
