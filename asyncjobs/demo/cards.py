"""A word cloud as a picture to keep: one SVG, 1200 by 800, that needs nothing but a browser."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import accumulate, takewhile
from xml.sax.saxutils import escape

from asyncjobs.demo import filled
from asyncjobs.demo.clouds import PlacedWord
from asyncjobs.demo.style import FACES, Face, Palette, advance, palette_for
from asyncjobs.demo.words import Analysis

_LEFT, _RIGHT = 56, 1144
_BARS, _COLUMN = 7, 100
_SANS, _SERIF = FACES["sans"], FACES["serif"]
_TITLE_STACK = "Georgia, 'Times New Roman', 'Liberation Serif', serif"
_WIDER = 1.14  # than the face of the tables is Georgia
_SIZES, _SMALL, _LONGEST = (48, 44, 40, 36), 32, 400
# What XML 1.0 forbids, and the marks that would turn the text after them around.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def draw_card(title: str, analysis: Analysis, cloud: Sequence[PlacedWord]) -> str:
    """Draw the card; the same title and text give the same bytes.

    Args:
        title: Any text; what XML forbids is left out of it, and a long one is set in two lines.
        analysis: Of the text, by `count_words`; it decides the colours.
        cloud: Of the same analysis, by `lay_out`.
    """
    palette, name = palette_for(analysis.digest), plain(title) or "Untitled"
    one, two, three = (byte / 255 for byte in bytes.fromhex(analysis.digest[8:14]))
    return filled(
        "card.svg",
        {**palette.colours, "face": palette.face.stack, "name": escape(name)},
        key=f"c{analysis.digest[:8]}",  # identifiers are the card's own, so that several cards can stand in one page
        size=f"{analysis.words:,} word{'' if analysis.words == 1 else 's'}",
        common=escape(", ".join(word for word, _ in analysis.top[:10])),
        x0=f"{180 + 360 * one:.0f}",
        y0=f"{90 + 200 * two:.0f}",
        x1=f"{760 + 360 * two:.0f}",
        y1=f"{470 + 260 * three:.0f}",
        sans=_SANS.stack,
        heading=_heading(name, palette),
        cloud=_cloud(cloud, palette, analysis.digest),
        footer=_footer(analysis, palette),
    )


def _heading(name: str, palette: Palette) -> str:
    size, lines = set_title(name, _RIGHT - _LEFT - 170)
    top, ink = 94 if len(lines) == 1 else 76, palette.colours["title"]
    return "\n".join(
        f'<text x="{_LEFT}" y="{top + index * size * 1.18:.1f}" font-family="{_TITLE_STACK}" font-size="{size}"'
        f' fill="{ink}">{escape(line)}</text>'
        for index, line in enumerate(lines)
    )


def _cloud(cloud: Sequence[PlacedWord], palette: Palette, digest: str) -> str:
    chances = hashlib.shake_256(f"inks {digest}".encode()).digest(len(cloud) + 1)
    drawn, last = "", 0
    for word, chance in zip(cloud, chances, strict=False):
        # Never the ink of the word before, which often stands beside it; the first is the commonest word's alone.
        last = 0 if word.rank == 0 else (last + 1 + chance % (len(palette.inks) - 1)) % len(palette.inks)
        x, y, size, ink = _number(word.x), _number(word.y), _number(word.size), palette.inks[last]
        place = f'transform="translate({x} {y}) rotate(-90)"' if word.upright else f'x="{x}" y="{y}"'
        # Whatever font there is, the word keeps to the width that was reserved for it.
        fit = f'textLength="{_number(word.width)}" lengthAdjust="spacingAndGlyphs"'
        drawn += f'<text {place} font-size="{size}" fill="{ink}" {fit}>{escape(word.text)}</text>\n'
    return drawn


def _footer(analysis: Analysis, palette: Palette) -> str:
    """The figures, and the commonest words, each over a line as long as it is frequent: as many as there is room for."""
    hours = analysis.minutes > 180
    figures = (
        (f"{analysis.words:,}", "words"),
        (f"{analysis.distinct:,}", "distinct"),
        (f"{analysis.sentences:,}", "sentences"),
        (f"{round(analysis.minutes / 60) if hours else analysis.minutes:,}", "hours read" if hours else "min read"),
    )
    title, muted, drawn, x = palette.colours["title"], palette.colours["muted"], "", float(_LEFT)
    for value, label in figures:
        drawn += (
            f'<text x="{_number(x)}" y="742" font-size="26" font-weight="700" fill="{title}">{value}</text>\n'
            f'<text x="{_number(x)}" y="764" fill="{muted}">{label}</text>\n'
        )
        x += max(advance(value, _SANS) * 26, advance(label, _SANS) * 13) + 34
    words, length = analysis.top[: min(_BARS, int((_RIGHT - x) / _COLUMN))], _COLUMN - 16
    for index, (word, count) in enumerate(words):
        left, number = _RIGHT + 16 - _COLUMN * (len(words) - index), f"{count:,}"
        label = cut(word, _SANS, 13, length - advance(number, _SANS) * 13 - 6)
        drawn += (
            f'<text x="{left}" y="742" fill="{title}">{escape(label)}</text>\n'
            f'<text x="{left + length}" y="742" fill="{muted}" text-anchor="end">{number}</text>\n'
            f'<rect x="{left}" y="758.5" width="{length}" height="2" fill="{muted}" fill-opacity="0.3"/>\n'
            f'<rect x="{left}" y="757" width="{_number(max(length * count / words[0][1], 3))}" height="5" rx="1" '
            f'fill="{palette.inks[0]}"/>\n'
        )
    return drawn


def _number(value: float) -> str:
    """At most one decimal, so that no platform's last digit shows."""
    return f"{value:.1f}".removesuffix(".0")


def plain(text: str) -> str:
    """The text on one line, without what cannot be printed or would not be XML."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def set_title(title: str, width: float) -> tuple[int, list[str]]:
    """The size and the lines of a title: one line as large as it fits, else two, the second cut short if it must."""
    room = width / _WIDER
    for size in _SIZES:
        if advance(title, _SERIF) * size <= room:
            return size, [title]
    # Lines end between words; a word that is longer than a line is broken where the line ends.
    first = cut(title[:_LONGEST], _SERIF, _SMALL, room, ending="")
    if title[len(first) :][:1] != " " and " " in first:
        first = first[: first.rindex(" ")]
    rest = title[len(first) :].strip()
    return _SMALL, [first, cut(rest[:_LONGEST], _SERIF, _SMALL, room)] if rest else [first]


def cut(text: str, face: Face, size: float, width: float, *, ending: str = "…") -> str:
    """The text if it is no wider, else the longest beginning of it that is not, with the ending."""
    if advance(text, face) * size <= width:
        return text
    room = width / size - advance(ending, face)
    kept = takewhile(lambda so_far: so_far <= room, accumulate(advance(character, face) for character in text))
    return text[: sum(1 for _ in kept)].rstrip() + ending
