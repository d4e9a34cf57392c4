"""A grid of cells that are free or taken, and the free place for a shape nearest to a point.

The grid is one integer, a bit per cell, row after row. Where a rectangle would meet a taken cell is then a few shifts
of that integer, for all places at once; so the nearest free place is found outright, where a search along a spiral
tries thousands of places a word.
"""

from __future__ import annotations

Cells = tuple[int, int, int, int]
"""A rectangle: column, row, columns, rows."""

_FLATNESS = 2.6
"""The exponent of the outline that grows around a point: 2 is an ellipse, more is closer to the rectangle."""


class Grid:
    """Cells by column and row, counted from the top left.

    Args:
        columns: At least 1.
        rows: At least 1.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        # Whole bytes to a row, so that a row is cut out of the number without shifting all of it.
        self._row_bytes = columns // 8 + 1
        self._stride = self._row_bytes * 8
        self._taken = 0

    def take(self, shape: list[Cells], place: tuple[int, int], margin: int) -> None:
        """Take the cells of a shape at a place, and a margin on every side of them, as far as the grid goes."""
        for column, row, columns, rows in shape:
            left, right = max(place[0] + column - margin, 0), min(place[0] + column + columns + margin, self.columns)
            top, bottom = max(place[1] + row - margin, 0), min(place[1] + row + rows + margin, self.rows)
            self._taken |= self._block(right - left, bottom - top) << (left + top * self._stride)

    def nearest(self, shape: list[Cells], shift: tuple[float, float]) -> tuple[int, int] | None:
        """The place for a shape's corner that brings its middle nearest to a point and touches no taken cell.

        Args:
            shape: Rectangles from the shape's corner; none reaches left of it or above it.
            shift: The point, from the grid's middle, in half widths and half heights of the grid.
        """
        columns = max(column + width for column, _, width, _ in shape)
        rows = max(row + height for _, row, _, height in shape)
        if columns > self.columns or rows > self.rows:
            return None
        free = self._block(self.columns - columns + 1, self.rows - rows + 1)
        for cells in shape:
            free &= ~self._meeting(cells)
        middle = (self.columns * (1 + shift[0]) - columns) / 2, (self.rows * (1 + shift[1]) - rows) / 2
        return self._pick(free, middle, self.rows - rows + 1)

    def _pick(self, free: int, middle: tuple[float, float], rows: int) -> tuple[int, int] | None:
        """The set bit nearest to the point, rows in order of their distance until no row can be nearer."""
        data = free.to_bytes(self._row_bytes * self.rows, "little")
        best, place = float("inf"), None
        for row in sorted(range(rows), key=lambda row: abs(row - middle[1])):
            away = (abs(row - middle[1]) / self.rows) ** _FLATNESS
            if away >= best:
                break
            bits = int.from_bytes(data[row * self._row_bytes : (row + 1) * self._row_bytes], "little")
            for column in _neighbours(bits, max(round(middle[0]), 0)):
                distance = away + (abs(column - middle[0]) / self.columns) ** _FLATNESS
                if distance < best:
                    best, place = distance, (column, row)
        return place

    def _meeting(self, cells: Cells) -> int:
        """The corners at which the rectangle would touch a taken cell."""
        column, row, columns, rows = cells
        wide = _smeared(self._taken, columns, 1)
        return _smeared(wide, rows, self._stride) >> (column + row * self._stride)

    def _block(self, columns: int, rows: int) -> int:
        """The cells of a rectangle in the top left corner."""
        line = ((1 << columns) - 1).to_bytes(self._row_bytes, "little")
        return int.from_bytes(line * rows, "little")


def _smeared(bits: int, times: int, step: int) -> int:
    """The number or'ed with itself shifted down by 0, 1, … times - 1 steps; by doubling, so in log(times) shifts."""
    done = 1
    while done < times:
        more = min(done, times - done)
        bits |= bits >> (more * step)
        done += more
    return bits


def _neighbours(bits: int, column: int) -> list[int]:
    """The nearest set bits at or above the column, and below it."""
    above, below = bits >> column, bits & ((1 << column) - 1)
    found = [column + (above & -above).bit_length() - 1] if above else []
    return [*found, below.bit_length() - 1] if below else found
