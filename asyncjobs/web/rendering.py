"""HTML of the pages: templates, and how values are written in them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.checks.texts import cut
from asyncjobs.db.rows import State
from asyncjobs.terminal.printing import age
from asyncjobs.web import charts

_HERE = Path(__file__).parent
LONGEST = 4_000
"""Characters of a value on a page; all of it is one link away."""
IN_TABLE = 160
"""Characters of a text in a table."""
LONGEST_KIND = 200
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}


class Asset(NamedTuple):
    """A file that pages use."""

    content: bytes
    type: str
    version: str


@cache
def assets() -> dict[str, Asset]:
    """Return the files that pages use, by name."""
    found = {}
    for path in (_HERE / "static").iterdir():
        if path.suffix in TYPES:
            content = path.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:12]
            found[path.name] = Asset(content, f"{TYPES[path.suffix]}; charset=utf-8", version)
    return found


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "age": age,
        "brief": brief,
        "number": number,
        "counted": counted,
        "bytes": bytes_of,
        "line": line,
        "text": harmless_text,
        "pretty": pretty,
        "moment": moment,
        "span": span,
        "kind": kind_of,
        "short_id": short_id,
    }
    environment.globals |= {"charts": charts, "states": [state.name for state in State]}
    return environment


def render(name: str, values: Mapping[str, Any]) -> bytes:
    """Return a page; a lone surrogate, which no encoding has, becomes a question mark."""
    return _environment().get_template(name).render(values).encode("utf-8", "replace")


def as_json(value: Any) -> bytes:
    """Return a value as JSON: ids and times as text, and nothing but ASCII."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False).encode()
    except ValueError:  # rows written by hand may hold endless times
        return json.dumps(_finite(value), default=_plain).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(value)


def number(value: float | None) -> str:
    """Return a number with its thousands apart; nothing for None."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def counted(value: Mapping[str, Any]) -> str:
    """Return a count, with a plus where there are more."""
    return f"{value['jobs']:,}{'+' if value['more'] else ''}"


def bytes_of(size: float) -> str:
    """Return a size in bytes in a unit of its own."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:,.1f} TB"


def span(seconds: float) -> str:
    """Return a whole time span in words."""
    for unit, size in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "no time"


def brief(seconds: float) -> str:
    """Return a time span, in milliseconds where it is below a second."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else age(seconds)


def harmless_text(value: Any) -> str:
    """Return a text of several lines without characters that would control or turn it."""
    return "\n".join(harmless(part) for part in str(value).expandtabs(4).split("\n"))


def line(value: Any, most: int = IN_TABLE) -> str:
    """Return a value as one line, cut when it is long."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return cut(harmless(" ".join(cut(text, 4 * most).split())), most)


def pretty(value: Any) -> str:
    """Return a value as JSON on several lines, cut when it is long."""
    return harmless_text(cut(json.dumps(value, default=str, ensure_ascii=False, indent=2), LONGEST))


def kind_of(kind: str) -> Markup:
    """Return a kind, with its module apart from its name."""
    module, dot, name = line(kind, LONGEST_KIND).rpartition(".")
    if not name:
        module, dot, name = "", "", module + dot
    return Markup('<span class="kind"><span class="module">{}</span><wbr>{}</span>').format(module + dot, name)


def short_id(given: UUID) -> str:
    """Return the beginning of an id: its time, to the quarter of a microsecond; it is found by that."""
    return str(given)[:18]


def moment(at: datetime | None, now: datetime, *, whole: bool = False) -> Markup:
    """Return a time as it is read: how long ago, or until then; `whole`: the time itself."""
    if at is None:
        return Markup("")
    utc = at.astimezone(UTC)
    text = utc.strftime("%Y-%m-%d %H:%M:%S")
    seconds = (now - utc).total_seconds()
    said = text if whole else f"in {age(-seconds)}" if seconds < -0.5 else f"{age(max(seconds, 0.0))} ago"
    other = (
        f"{text} UTC"
        if not whole
        else f"UTC, in {age(-seconds)}"
        if seconds < -0.5
        else f"UTC, {age(max(seconds, 0.0))} ago"
    )
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc.isoformat(), other, said)
