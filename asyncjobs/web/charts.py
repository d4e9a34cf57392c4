"""Charts as inline SVG; what they look like is in the stylesheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

WIDTH, HEIGHT = 720.0, 120.0


def bars(below: Sequence[int], above: Sequence[int], label: str) -> Markup:
    """Return bars of two numbers each, one on the other; `label` says it in words."""
    most = nice(max((one + other for one, other in zip(below, above, strict=True)), default=0))
    step = WIDTH / max(len(below), 1)
    parts = []
    for n, (one, other) in enumerate(zip(below, above, strict=True)):
        low, high = HEIGHT * one / most, HEIGHT * other / most
        if one:
            parts.append(_bar("ok", n * step, HEIGHT - low, step, low))
        if other:
            parts.append(_bar("no", n * step, HEIGHT - low - max(high, 1.5), step, max(high, 1.5)))
    body = Markup("").join(parts)
    return Markup(
        '<svg class="bars" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="grid" d="M0 .5H{}M0 {}H{}M0 {}H{}"/>{}</svg>'
    ).format(
        _number(WIDTH),
        _number(HEIGHT),
        label,
        _number(WIDTH),
        _number(HEIGHT / 2),
        _number(WIDTH),
        _number(HEIGHT - 0.5),
        _number(WIDTH),
        body,
    )


def _bar(name: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        name, _number(x + width * 0.1), _number(y), _number(width * 0.8), _number(height)
    )


def nice(most: int) -> int:
    """Return the least round number that is not less than `most`."""
    if most <= 1:
        return 1
    size: int = 10 ** math.floor(math.log10(most))
    return next(math.ceil(size * factor) for factor in (1, 2, 2.5, 5, 10) if size * factor >= most)


def top(below: Sequence[int], above: Sequence[int]) -> int:
    """Return the number at the top of `bars`."""
    return nice(max((one + other for one, other in zip(below, above, strict=True)), default=0))


def meter(part: int, whole: int, label: str) -> Markup:
    """Return how much of something is used."""
    share = min(part / whole, 1.0) if whole else 0.0
    return Markup(
        '<svg class="meter{}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="rest" width="100" height="6"/><rect class="part" width="{}" height="6"/></svg>'
    ).format(" full" if whole and part >= whole else "", label, _number(share * 100))


def progress(done: float, whole: float, state: str) -> Markup:
    """Return how far a job is; of one that has ended without success it shows where that was."""
    share = min(max(done / whole, 0.0), 1.0)
    return Markup(
        '<svg class="meter {}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="progress">'
        '<rect class="rest" width="100" height="6"/><rect class="part" width="{}" height="6"/></svg>'
    ).format("ended" if state in ("failed", "discarded", "cancelled") else "", _number(share * 100))


def shares(by_state: dict[str, int], label: str) -> Markup:
    """Return the shares of states as one bar."""
    total, parts, x = sum(by_state.values()), [], 0.0
    for state in ("succeeded", "failed", "discarded", "cancelled", "running", "waiting", "ready", "scheduled"):
        width = 100 * by_state.get(state, 0) / total if total else 0.0
        if width:
            parts.append(
                Markup('<rect class="of-{}" x="{}" width="{}" height="6"/>').format(state, _number(x), _number(width))
            )
        x += width
    return Markup(
        '<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="rest" width="100" height="6"/>{}</svg>'
    ).format(label, Markup("").join(parts))


def span(started: datetime, ended: datetime | None, first: datetime, last: datetime, label: str) -> Markup:
    """Return when something ran, between two times."""
    whole = max((last - first).total_seconds(), 0.001)
    begin = min(max((started - first).total_seconds() / whole, 0.0), 1.0) * 100
    end = min(max(((ended or last) - first).total_seconds() / whole, 0.0), 1.0) * 100
    return Markup(
        '<svg class="span" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="rest" width="100" height="6"/><rect class="{}" x="{}" width="{}" height="6"/></svg>'
    ).format(label, "part" if ended else "part open", _number(min(begin, 99.0)), _number(max(end - begin, 1.0)))


def extent(steps: Sequence[dict[str, Any]], until: datetime) -> tuple[datetime, datetime]:
    """Return the first and the last time of steps."""
    first = min(step["started_at"] for step in steps)
    last = max(step["finished_at"] or until for step in steps)
    return first, max(first, last)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
