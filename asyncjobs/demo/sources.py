"""Which texts are drawn, and into which files: decided before anything is started."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asyncjobs.demo.gallery import INDEX, is_card, is_gallery
from asyncjobs.demo.samples import sample_texts, title_of

SUFFIXES = (".txt", ".md")
"""Of the files that are taken from a directory."""
_LONGEST_STEM = 180  # bytes; a file system takes names of 255
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Unusable(Exception):
    """What was given cannot be used; one sentence a problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Source:
    """One text and its card."""

    text: Path
    title: str
    card: Path


def find(given: Iterable[Path], directory: Path) -> list[Source]:
    """Return the texts to draw, in the order given, each once; without any the samples.

    Args:
        given: Files and directories; of these the texts directly in them.
        directory: Absolute; where the cards go.

    Raises:
        Unusable: Everything that is wrong with the files and the directory, at once.
    """
    problems: list[str] = []
    texts = list(_texts(given, problems))
    unique = {os.path.realpath(text): text for text in reversed(texts or ([] if problems else sample_texts()))}
    sources = list(_named(list(reversed(unique.values())), directory))
    problems += _in_the_way(sources, directory)
    if problems:
        raise Unusable(problems)
    return sources


def _texts(given: Iterable[Path], problems: list[str]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            found = sorted(file for file in _entries(path, problems) if file.suffix.lower() in SUFFIXES)
            if not found:
                problems.append(f"{path}: no {' or '.join(f'*{suffix}' for suffix in SUFFIXES)} file is in it")
            yield from (file.absolute() for file in found)
        elif problem := _problem(path):
            problems.append(f"{path}: {problem}")
        else:
            yield path.absolute()


def _entries(directory: Path, problems: list[str]) -> list[Path]:
    try:
        return [file for file in directory.iterdir() if file.is_file() and not _problem(file)]
    except OSError as error:
        problems.append(f"{directory}: {error.strerror}")
        return []


def _problem(path: Path) -> str | None:
    """Why a path given as a file is none that a worker can read."""
    try:
        if not path.exists():
            return "there is no such file"
    except OSError as error:
        return f"{error.strerror}"
    if not path.is_file():
        return "this is no regular file, and the worker is another process: save it as one"
    if not os.access(path, os.R_OK):
        return "this file may not be read"
    if _LONE_SURROGATE.search(str(path.absolute())):
        return "its name is no UTF-8, so it cannot be a job's argument: rename it"
    return None


def _named(texts: list[Path], directory: Path) -> Iterator[Source]:
    taken: set[str] = set()
    for text in texts:
        stem = text.stem.lstrip(".") or "text"
        stem = stem.encode()[:_LONGEST_STEM].decode(errors="ignore")
        name, number = stem, 1
        # Without case: on some file systems two such names are one file.
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        yield Source(text, title_of(text), directory / f"{name}.svg")


def _in_the_way(sources: list[Source], directory: Path) -> list[str]:
    """Say what is wrong with the directory: what the demo did not make, it does not overwrite."""
    problems = []
    if _LONE_SURROGATE.search(str(directory)):
        problems.append(f"{directory}: its name is no UTF-8, so it cannot be a job's argument; give another with --out")
    index = directory / INDEX
    theirs = [source.card for source in sources if os.path.lexists(source.card) and not is_card(source.card)]
    if os.path.lexists(index) and not is_gallery(index):
        theirs.append(index)
    problems += [f"{file}: this is not of the demo, which would overwrite it; give another --out" for file in theirs]
    return problems
