"""The texts that the demo draws when it is given none."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def sample_texts() -> list[Path]:
    """The texts shipped with the package, in the order of their names."""
    return sorted(Path(str(files("asyncjobs.demo"))).joinpath("texts").glob("*.txt"))


def title_of(path: Path) -> str:
    """A title from a file's name: "the-night-sky.txt" is "The night sky"."""
    words = path.stem.replace("-", " ").replace("_", " ").split()
    title = " ".join(words) or path.name
    return title[:1].upper() + title[1:]
