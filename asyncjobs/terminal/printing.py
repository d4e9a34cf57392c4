"""Output of commands: tables on a terminal, plain aligned text elsewhere, JSON with `--json`."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from asyncjobs import logs
from asyncjobs.checks.foreign_texts import harmless, harmless_json

LONGEST = 4_000
"""The most characters of one value on a screen."""
_LAST = 30, 200
"""Characters of a last column that is cut: the least, and the number where there is no terminal."""


def as_json(value: Any) -> None:
    """Print a value as JSON; values without a form in JSON (ids, times) as text."""
    print(harmless_json(json.dumps(value, default=_text, ensure_ascii=False, indent=2)))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, cut_last: bool = False) -> None:
    """Print rows under their columns, or `empty` when there are none. Numbers stand to the right.

    `cut_last`: the last column ends at the edge of the terminal, so that the others keep their width.
    """
    given = list(rows)
    cells = [[shown(value) for value in row] for row in given]
    if not cells:
        print(empty)
        return
    right = [all(isinstance(row[n], int | float) for row in given) for n in range(len(columns))]
    if cut_last:
        room = _room(_widths(columns, cells)[:-1])
        for row in cells:
            row[-1] = row[-1] if len(row[-1]) <= room else f"{row[-1][: room - 1]}…"
    if sys.stdout.isatty():
        _rich_table(columns, cells, right)
        return
    widths = _widths(columns, cells)
    for line in [columns, *cells]:
        aligned = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        )
        print("  ".join(aligned).rstrip())


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[n]) for row in [columns, *cells]) for n in range(len(columns))]


def _room(others: Sequence[int]) -> int:
    """Return the width of the last column beside others of these widths."""
    if not sys.stdout.isatty():
        return _LAST[1]
    return max(shutil.get_terminal_size().columns - sum(others) - 2 * len(others), _LAST[0])


def fields(values: dict[str, Any]) -> None:
    """Print names and values, one a line; a value of several lines is indented below its name."""
    width = max(map(len, values))
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for name, value in values.items():
        lines = [harmless(line) for line in _text(value).removesuffix("\n").split("\n")]
        if any(width + 2 + len(line) > columns for line in lines):
            room = max(columns - 2, 1)
            lines = [line[at : at + room] for line in lines for at in range(0, max(len(line), 1), room)]
            print(name, *(f"  {line}" for line in lines), sep="\n")
        elif len(lines) == 1:
            print(f"{name.ljust(width)}  {lines[0]}".rstrip())
        else:
            print(name, *(f"  {line}" for line in lines), sep="\n")


def shown(value: Any) -> str:
    """Return a value as one line of text, with control characters spelled out."""
    return harmless(_text(value))


def shortened(value: Any) -> Any:
    """Return `value`, or the beginning of its text when that is too long for a screen; JSON shows all of it."""
    text = _text(value)
    return value if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters; --json prints them all)"


def brief(value: Any, room: int) -> str:
    """Return `value` as text of at most `room` characters, with the full count when it is cut."""
    text = shown(value)
    if len(text) <= room:
        return text
    count = f"… ({len(value)} in all)" if isinstance(value, list | dict) else f"… ({len(text)} characters)"
    return f"{text[: max(room - len(count), 1)]}{count}"


def age(seconds: float | None) -> str:
    """Return a time span in two units at most: "3d 4h", "12m 5s", "0.4s"."""
    if seconds is None:
        return ""
    if not math.isfinite(seconds):
        return "for ever"
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(part for part in parts[:2] if part)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name, is_right in zip(columns, right, strict=True):
        made.add_column(name, justify="right" if is_right else "left", overflow="fold")
    for row in cells:
        made.add_row(*(Text(cell) for cell in row))  # Text: a kind named [red] is no markup
    Console(no_color=not logs.wants_colours(sys.stdout), highlight=False).print(made)
