"""The page that shows the cards: one static file beside them."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from urllib.parse import quote

from asyncjobs.demo import filled

INDEX = "index.html"
_MARK = '<meta name="generator" content="asyncjobs demo">'
_HEAD = 4_096  # bytes of a file that tell what it is
_CARD = re.compile(r'<svg [^>]*role="img"[^>]*>\s*<title>(.*?)</title>\s*<desc>Word cloud of a text of ', re.DOTALL)


def is_gallery(file: Path) -> bool:
    """Whether a file is a page that `write_gallery` made."""
    return _MARK in _head(file)


def title_in(card: Path) -> str | None:
    """Return the title of a card; None when it is none."""
    found = _CARD.match(_head(card))
    return html.unescape(found[1]) if found else None


def _head(file: Path) -> str:
    try:
        if not file.is_file():  # a pipe would be waited for
            return ""
        with file.open("rb") as opened:
            return opened.read(_HEAD).decode("utf-8", errors="replace")
    except OSError:
        return ""


def write_whole(file: Path, text: str, part: Path) -> None:
    """Write a file by way of another, so that a reader sees the old one or the new one; never through somebody's link."""
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "w", encoding="utf-8") as made:
        made.write(text)
    part.replace(file)


def write_gallery(directory: Path) -> Path:
    """Write the page of all cards that are in the directory, of this run and of others; return where it is."""
    figures: list[str] = []
    for card in sorted(directory.glob("*.svg"), key=lambda card: card.name.lower()):
        if (title := title_in(card)) is not None:
            loading = ' loading="lazy"' if len(figures) >= 6 else ""
            figures.append(filled("figure.html", link=quote(card.name), title=html.escape(title), loading=loading))
    count = f"{len(figures)} word {'cloud' if len(figures) == 1 else 'clouds'}"
    page = filled("page.html", mark=_MARK, count=count, figures="\n".join(figures))
    write_whole(directory / INDEX, page, directory / f".{INDEX}.{os.getpid()}.part")
    return directory / INDEX
