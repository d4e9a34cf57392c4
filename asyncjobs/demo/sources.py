"""Which texts are drawn, and into which files: decided before anything is started."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from asyncjobs import InvalidSettings
from asyncjobs.demo import DATA
from asyncjobs.demo.board import Line
from asyncjobs.demo.gallery import INDEX, is_gallery, title_in

SUFFIXES = (".txt", ".md")  # of the files that are taken from a directory
_LONGEST_STEM = 180  # bytes; a file system takes names of 255
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def sample_texts() -> list[Path]:
    """The texts shipped with the package, in the order of their names."""
    return sorted((DATA / "texts").glob("*.txt"))


def find(given: Iterable[Path], directory: Path) -> list[Line]:
    """Return the texts to draw, in the order given, each once; without any the samples.

    Args:
        given: Files and directories; of these the texts directly in them.
        directory: Absolute; where the cards go.

    Raises:
        InvalidSettings: Everything that is wrong with the files and the directory, at once.
    """
    problems: list[str] = []
    texts = list(_texts(given, problems))
    unique = {os.path.realpath(text): text for text in reversed(texts or ([] if problems else sample_texts()))}
    lines = list(_named(list(reversed(unique.values())), directory))
    if _LONE_SURROGATE.search(str(directory)):
        problems.append(f"{directory}: its name is no UTF-8, so it cannot be a job's argument; give another with --out")
    theirs = [line.card for line in lines if os.path.lexists(line.card) and title_in(line.card) is None]
    if os.path.lexists(directory / INDEX) and not is_gallery(directory / INDEX):
        theirs.append(directory / INDEX)
    problems += [f"{file}: this is not of the demo, which would overwrite it; give another --out" for file in theirs]
    if problems:
        raise InvalidSettings(problems)
    return lines


def _texts(given: Iterable[Path], problems: list[str]) -> Iterator[Path]:
    for path in given:
        if not path.is_dir():
            if problem := _problem(path):
                problems.append(f"{path}: {problem}")
            else:
                yield path.absolute()
            continue
        try:
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not _problem(file))
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        if not files:
            problems.append(f"{path}: no {' or '.join(f'*{suffix}' for suffix in SUFFIXES)} file is in it")
        yield from (file.absolute() for file in files)


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


def _named(texts: list[Path], directory: Path) -> Iterator[Line]:
    taken: set[str] = set()
    for text in texts:
        stem = (text.stem.lstrip(".") or "text").encode()[:_LONGEST_STEM].decode(errors="ignore")
        name, number = stem, 1
        # Without case: on some file systems two such names are one file.
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        yield Line(text, title_of(text), directory / f"{name}.svg")


def title_of(path: Path) -> str:
    """A title from a file's name: "the-night-sky.txt" is "The night sky"."""
    title = " ".join(path.stem.replace("-", " ").replace("_", " ").split()) or path.name
    return title[:1].upper() + title[1:]
