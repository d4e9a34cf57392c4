"""What `asyncjobs demo` runs: texts in, word clouds out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from string import Template
from typing import Any

DATA = Path(__file__).with_name("data")
"""What is no code: sample texts, stop words, widths of letters, colours, a card, a page and a configuration."""


def data(name: str) -> dict[str, Any]:
    """Return what a TOML file of `DATA` has."""
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"))


def filled(name: str, /, *values: dict[str, str], **more: str) -> str:
    """Return a template of `DATA` with these in the places of their names."""
    return Template((DATA / name).read_text(encoding="utf-8")).substitute(*values, **more)
