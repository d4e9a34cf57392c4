"""The config file: found, read, and the table of one environment taken out of it."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncjobs.settings.keys import KEYS, dotted, suggestion
from asyncjobs.settings.lines import Lines, locate
from asyncjobs.settings.sources import Layer
from asyncjobs.settings.values import as_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = re.compile(r"""^\s*\[+\s*["']?default\b""", re.MULTILINE)
"""A line that shows a file, even one that cannot be parsed, to be a config file of asyncjobs."""

PRIVATE_IN = ("development", "test")
"""Environments in which an empty `database_url` stands for a private PostgreSQL, so that they need no table."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file; without tables when it cannot be read, and then with problems."""

    path: Path
    tables: dict[str, Any] = field(default_factory=dict)
    lines: Lines = field(default_factory=lambda: Lines({}))
    problems: list[str] = field(default_factory=list)

    @property
    def environments(self) -> list[str]:
        """The environments that have a table in the file."""
        reserved = ("default", *KEYS)
        return [name for name, table in self.tables.items() if name not in reserved and isinstance(table, dict)]

    def layer(self, table: str) -> Layer:
        """Return the values of one table; an empty layer when there is no such table."""
        values = self.tables.get(table, {})
        return Layer(
            values if isinstance(values, dict) else {},
            lambda path: f"{self.path}:{self.lines.of((table, *path))}: {dotted((table, *path))}",
        )

    def unknown_environment(self, name: str) -> str | None:
        """Return fact and remedy about an environment that is not among the file's; None: it is, or it needs no table."""
        if not self.environments or name in (*self.environments, *PRIVATE_IN):
            return None
        found = suggestion(name, self.environments)
        remedy = f"did you mean {found}? (known: {', '.join(self.environments)})"
        known = remedy if found else f"give one of {', '.join(self.environments)}, or add a [{name}] table"
        return f"{as_toml(name)} is no environment of {self.path}; {known}"


def find(config: Path | str | None) -> ConfigFile | None:
    """Return the file of the argument or of `ASYNCJOBS_CONFIG`, else `config.toml` here if it has `[default]`."""
    asked = config or os.environ.get("ASYNCJOBS_CONFIG")
    path = Path(asked or "config.toml")
    if not asked and not path.is_file():
        return None
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        fact = f"{path}: cannot be read: {error.strerror}"
        origin = "argument config: " if config else "ASYNCJOBS_CONFIG: " if asked else ""
        return ConfigFile(path, problems=[f"{origin}{fact}; give the path of a config file"])
    except UnicodeDecodeError:
        return ConfigFile(path, problems=[f"{path}: not UTF-8 text; save it as UTF-8"]) if asked else None
    return _read(path, text, asked=bool(asked))


def ignored() -> str | None:
    """Return a warning about a `config.toml` here that `find` leaves out, and that has settings of asyncjobs."""
    try:
        tables = tomllib.loads(Path("config.toml").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    for name, value in tables.items():
        under = [f"{name}.{key}" for key in value if key in KEYS] if isinstance(value, dict) else []
        found = [name] if name in KEYS else under
        if found and "default" not in tables:
            return (
                f"config.toml is not read: it has {found[0]}, and no [default] table, which a config file of asyncjobs has; "
                "add one, or name the file by --config or ASYNCJOBS_CONFIG to have all of it checked"
            )
    return None


def _read(path: Path, text: str, *, asked: bool) -> ConfigFile | None:
    """Read a file; one that nobody named may be another tool's, and is left out unless it has `[default]`."""
    try:
        tables = tomllib.loads(text)
    except ValueError as error:  # numbers with thousands of digits raise it too, not TOMLDecodeError
        return ConfigFile(path, problems=[_syntax(path, text, str(error))]) if asked or _OURS.search(text) else None
    if not asked and not isinstance(tables.get("default"), dict):
        return None
    lines = locate(text)
    return ConfigFile(path, tables, lines, list(_misplaced(path, tables, lines)))


def _syntax(path: Path, text: str, message: str) -> str:
    at = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if at is None:
        return f"{path}: not TOML: {message}; correct it"
    line = at[1] or len(text.rstrip().splitlines())
    column = f", column {at[2]}" if at[2] else ", at the end of the file"
    return f"{path}:{line}: not TOML: {message[: at.start()]}{column}; correct the line"


def _misplaced(path: Path, tables: dict[str, Any], lines: Lines) -> Iterator[str]:
    """Yield problems of keys outside the environments' tables, which would be ignored."""
    if not isinstance(tables.get("default"), dict):
        yield f"{path}:1: no [default] table, so this is no config file of asyncjobs; add one, or name another file"
        return
    for name, value in tables.items():
        if name in KEYS or not isinstance(value, dict):
            remedy = (
                f"write it as default.{name}" if name in KEYS else "move it into [default] or an environment's table"
            )
            yield f"{path}:{lines.of((name,))}: {name}: outside the environments; {remedy}"
