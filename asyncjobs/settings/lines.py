"""Lines of keys in a TOML text, which `tomllib` does not give.

The text has been read by `tomllib`, so only the beginnings and ends of its parts are looked for.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field

KeyPath = tuple[str | int, ...]
"""A key: table names and list positions, as in `("default", "pools", 1, "concurrency")`."""

_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*("(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*\'''', re.DOTALL
)  # three to five quotes end a multi-line string: it may itself end with two
_SCALAR = re.compile(r"[^,\]}#\n]+")


class _LostError(Exception):
    """The text is not as expected at this place."""


def locate(text: str) -> Lines:
    """Find every key's line; where the text cannot be followed, the lines before that are kept."""
    scanner = _Scanner(text)
    with suppress(_LostError):
        scanner.scan()
    return Lines(scanner.lines)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines by key, counted from 1."""

    known: dict[KeyPath, int]

    def of(self, path: KeyPath) -> int:
        """Return the line of a key, or of the nearest table or list around it; 1 when neither is known."""
        return next((self.known[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.known), 1)


@dataclass(slots=True)
class _Scanner:
    text: str
    at: int = 0
    lines: dict[KeyPath, int] = field(default_factory=dict)
    last: dict[KeyPath, int] = field(default_factory=dict)
    """The position of each array table's newest element, to which later headers belong."""

    def scan(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        start = self.at
        double = self.text.startswith("[[", start)
        self.at += 1 + double
        names = self._key()
        self._expect("]]" if double else "]")
        path: KeyPath = ()
        for name in names[:-1]:
            path = self._element((*path, name), start)
        path = (*path, names[-1])
        if double:
            self.lines.setdefault(path, self._line(start))
            self.last[path] = self.last.get(path, -1) + 1
            path = (*path, self.last[path])
        # Set again: a table may have been implied before by the header of a table inside it.
        self.lines[path] = self._line(start)
        return path

    def _element(self, path: KeyPath, start: int) -> KeyPath:
        self.lines.setdefault(path, self._line(start))
        return (*path, self.last[path]) if path in self.last else path

    def _pair(self, table: KeyPath) -> None:
        start, path = self.at, table
        for name in self._key():
            path = (*path, name)
            self.lines.setdefault(path, self._line(start))
        self._expect("=")
        self._value(path)

    def _key(self) -> list[str]:
        names = []
        while True:
            part = self._match(_KEY_PART)
            names.append(next(iter(tomllib.loads(f"{part}=0"))))
            if not self.text.startswith(".", self.at):
                return names
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        opening = self.text[self.at : self.at + 1]
        if opening in {"[", "{"}:
            self._items(path, closing="]" if opening == "[" else "}")
        else:
            self._match(_STRING if opening in {'"', "'"} else _SCALAR)

    def _items(self, path: KeyPath, *, closing: str) -> None:
        self.at += 1
        count = 0
        while self._skip_blank() and not self.text.startswith(closing, self.at):
            if closing == "}":
                self._pair(path)
            else:
                self.lines[*path, count] = self._line(self.at)
                self._value((*path, count))
            count += 1
            if self._skip_blank() and self.text.startswith(",", self.at):
                self.at += 1
        self._expect(closing)

    def _skip_blank(self) -> bool:
        """Skip blanks and comments; return whether text follows."""
        self._match(_BLANK)
        return self.at < len(self.text)

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _LostError
        self.at = match.end()
        return match[0]

    def _expect(self, mark: str) -> None:
        if not self.text.startswith(mark, self.at):
            raise _LostError
        self.at += len(mark)

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1
