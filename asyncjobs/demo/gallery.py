"""The page that shows the cards: one static file beside them."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from urllib.parse import quote

INDEX = "index.html"
_MARK = '<meta name="generator" content="asyncjobs demo">'
_HEAD = 4_096  # bytes of a file that tell what it is
_CARD = re.compile(r'<svg [^>]*role="img"[^>]*>\s*<title>(.*?)</title>\s*<desc>Word cloud of a text of ', re.DOTALL)

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{mark}
<title>{count} drawn by asyncjobs</title>
<style>
  :root {{ color-scheme: light dark; --ground: #f6f5f1; --ink: #22252b; --soft: #6d727c; }}
  @media (prefers-color-scheme: dark) {{ :root {{ --ground: #121419; --ink: #eceae4; --soft: #8f96a3; }} }}
  body {{ margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }}
  header, footer, main {{ max-width: 1560px; margin: 0 auto; padding: 0 clamp(16px, 4vw, 48px); }}
  header {{ padding-top: 40px; padding-bottom: 24px; }}
  h1 {{ margin: 0; font-size: clamp(24px, 4vw, 36px); font-weight: 650; letter-spacing: -0.01em; }}
  p {{ margin: 6px 0 0; color: var(--soft); }}
  main {{ display: grid; gap: 28px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }}
  figure {{ margin: 0; }}
  img {{ display: block; width: 100%; height: auto; border-radius: 10px; box-shadow: 0 2px 14px #0003;
        transition: transform 0.15s; }}
  a:hover img, a:focus-visible img {{ transform: translateY(-3px); }}
  figcaption {{ margin-top: 8px; color: var(--soft); font-size: 14px; overflow-wrap: anywhere; }}
  footer {{ padding-top: 36px; padding-bottom: 40px; font-size: 14px; color: var(--soft); }}
  @media (prefers-reduced-motion: reduce) {{ img {{ transition: none; }} }}
</style>
</head>
<body>
<header>
<h1>{count}</h1>
<p>Each was drawn by one background job: moderate, analyze, generate, notify.</p>
</header>
<main>
{figures}
</main>
<footer>Made by <code>asyncjobs demo</code>.</footer>
</body>
</html>
"""

_FIGURE = """\
<figure><a href="{link}"><img src="{link}" alt="Word cloud: {title}" width="1200" height="800"{loading}></a>
<figcaption>{title}</figcaption></figure>"""


def is_card(file: Path) -> bool:
    """Whether a file is a card of the demo."""
    return title_in(file) is not None


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


def write_new(file: Path, data: bytes) -> None:
    """Write a file that is not there, or was left by one that was killed: never through somebody's link of that name."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as made:
        made.write(data)


def write_gallery(directory: Path) -> Path:
    """Write the page of all cards that are in the directory, of this run and of others; return where it is."""
    cards = [
        (card.name, title_in(card)) for card in sorted(directory.glob("*.svg"), key=lambda card: card.name.lower())
    ]
    figures = [
        _FIGURE.format(link=quote(name), title=html.escape(title), loading=' loading="lazy"' if number >= 6 else "")
        for number, (name, title) in enumerate((name, title) for name, title in cards if title is not None)
    ]
    count = f"{len(figures)} word {'cloud' if len(figures) == 1 else 'clouds'}"
    page = directory / INDEX
    part = directory / f".{INDEX}.{os.getpid()}.part"
    write_new(part, _PAGE.format(mark=_MARK, count=count, figures="\n".join(figures)).encode())
    part.replace(page)
    return page
