"""A word cloud as a picture to keep: one SVG, 1200 by 800, that needs nothing but a browser."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from asyncjobs.demo.faces import SANS, advance
from asyncjobs.demo.lettering import TITLE_STACK, cut, plain, set_title
from asyncjobs.demo.palettes import Palette, palette_for

if TYPE_CHECKING:
    from asyncjobs.demo.layout import Layout, PlacedWord
    from asyncjobs.demo.words import Analysis

WIDTH, HEIGHT = 1200, 800

_LEFT, _RIGHT = 56, 1144
_BARS = 7
_COLUMN = 100


def draw_card(title: str, analysis: Analysis, layout: Layout) -> str:
    """Draw the card; the same title and text give the same bytes.

    Args:
        title: Any text; what XML forbids is left out of it, and a long one is set in two lines.
        analysis: Of the text, by `count_words`; it decides the colours.
        layout: Of the same analysis, by `lay_out`.
    """
    palette = palette_for(analysis.digest)
    name = plain(title) or "Untitled"
    # Identifiers are the card's own, so that several cards can stand in one page.
    key = f"c{analysis.digest[:8]}"
    return "\n".join(
        (
            *_opening(name, analysis),
            *_background(key, palette, analysis.digest),
            *_heading(name, palette),
            *_cloud(layout, palette, analysis.digest),
            *_footer(analysis, palette),
            "</svg>\n",
        )
    )


def _opening(name: str, analysis: Analysis) -> list[str]:
    common = ", ".join(word for word, _ in analysis.top[:10])
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>',
        f"<title>{escape(name)}</title>",
        f"<desc>Word cloud of a text of {_plural(analysis.words, 'word')}. The commonest: {escape(common)}.</desc>",
    ]


def _background(key: str, palette: Palette, digest: str) -> list[str]:
    one, two, three = (byte / 255 for byte in bytes.fromhex(digest[8:14]))
    glows = (
        (palette.glows[0], 180 + 360 * one, 90 + 200 * two, 560),
        (palette.glows[1], 760 + 360 * two, 470 + 260 * three, 520),
    )
    sky = f'<linearGradient id="{key}-sky" x1="0" y1="0" x2="0.6" y2="1">'
    lines = ["<defs>", sky, *_stops((palette.upper, 1), (palette.lower, 1)), "</linearGradient>"]
    for index, (colour, *_) in enumerate(glows):
        glow = f'<radialGradient id="{key}-glow{index}">'
        lines += [glow, *_stops((colour, 0.55), (colour, 0)), "</radialGradient>"]
    lines += ["</defs>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="url(#{key}-sky)"/>']
    for index, (_, x, y, radius) in enumerate(glows):
        lines.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius}" fill="url(#{key}-glow{index})"/>')
    return lines


def _stops(start: tuple[str, float], end: tuple[str, float]) -> list[str]:
    stops = ((0, *start), (1, *end))
    return [f'<stop offset="{at}" stop-color="{ink}" stop-opacity="{opacity}"/>' for at, ink, opacity in stops]


def _heading(name: str, palette: Palette) -> list[str]:
    size, lines = set_title(name, _RIGHT - _LEFT - 170)
    top = 94 if len(lines) == 1 else 76
    drawn = [
        f'<text x="{_LEFT}" y="{top + index * size * 1.18:.1f}" font-family="{TITLE_STACK}" font-size="{size}"'
        f' fill="{palette.title}">{escape(line)}</text>'
        for index, line in enumerate(lines)
    ]
    swatches = (
        f'<rect x="{_RIGHT - 22 - 28 * index}" y="76" width="22" height="5" rx="2.5" fill="{ink}"/>'
        for index, ink in enumerate(reversed(palette.inks))
    )
    return [*drawn, *swatches]


def _cloud(layout: Layout, palette: Palette, digest: str) -> list[str]:
    chances = hashlib.shake_256(f"inks {digest}".encode()).digest(len(layout.words) + 1)
    lines = [f'<g font-family="{layout.face.stack}" font-weight="700" text-anchor="middle">']
    last = 0
    for word, chance in zip(layout.words, chances, strict=False):
        # Never the ink of the word before, which often stands beside it; the first is the commonest word's alone.
        last = 0 if word.rank == 0 else (last + 1 + chance % (len(palette.inks) - 1)) % len(palette.inks)
        lines.append(_drawn(word, palette.inks[last]))
    return [*lines, "</g>"]


def _drawn(word: PlacedWord, ink: str) -> str:
    x, y = _number(word.x), _number(word.y)
    place = f'transform="translate({x} {y}) rotate(-90)"' if word.upright else f'x="{x}" y="{y}"'
    # Whatever font there is, the word keeps to the width that was reserved for it.
    fit = f'textLength="{_number(word.width)}" lengthAdjust="spacingAndGlyphs"'
    return f'<text {place} font-size="{_number(word.size)}" fill="{ink}" {fit}>{escape(word.text)}</text>'


def _footer(analysis: Analysis, palette: Palette) -> list[str]:
    hours = analysis.minutes > 180
    figures = (
        (f"{analysis.words:,}", "words"),
        (f"{analysis.distinct:,}", "distinct"),
        (f"{analysis.sentences:,}", "sentences"),
        (f"{round(analysis.minutes / 60) if hours else analysis.minutes:,}", "hours read" if hours else "min read"),
    )
    rule = f'<path d="M{_LEFT} 694H{_RIGHT}" stroke="{palette.muted}" stroke-opacity="0.35"/>'
    lines = [rule, f'<g font-family="{SANS.stack}" font-size="13">']
    x = float(_LEFT)
    for value, label in figures:
        left = f'<text x="{_number(x)}"'
        lines.append(f'{left} y="742" font-size="26" font-weight="700" fill="{palette.title}">{value}</text>')
        lines.append(f'{left} y="764" fill="{palette.muted}">{label}</text>')
        x += max(advance(value, SANS) * 26, advance(label, SANS) * 13) + 34
    return [*lines, *_bars(analysis, palette, x), "</g>"]


def _bars(analysis: Analysis, palette: Palette, start: float) -> list[str]:
    """The commonest words, each over a line as long as it is frequent; as many as there is room for from the start."""
    words = analysis.top[: min(_BARS, int((_RIGHT - start) / _COLUMN))]
    length = _COLUMN - 16
    lines = []
    for index, (word, count) in enumerate(words):
        x = _RIGHT + 16 - _COLUMN * (len(words) - index)
        number = f"{count:,}"
        room = length - advance(number, SANS) * 13 - 6
        label = cut(word, SANS, 13, room)
        filled = _number(max(length * count / words[0][1], 3))
        lines += [
            f'<text x="{x}" y="742" fill="{palette.title}">{escape(label)}</text>',
            f'<text x="{x + length}" y="742" fill="{palette.muted}" text-anchor="end">{number}</text>',
            f'<rect x="{x}" y="758.5" width="{length}" height="2" fill="{palette.muted}" fill-opacity="0.3"/>',
            f'<rect x="{x}" y="757" width="{filled}" height="5" rx="1" fill="{palette.inks[0]}"/>',
        ]
    return lines


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _number(value: float) -> str:
    """At most one decimal, so that no platform's last digit shows."""
    return f"{value:.1f}".removesuffix(".0")
