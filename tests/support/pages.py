"""Pages of the documents: blocks, links and headings. tests/README.md says which blocks run, and how."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "config.toml"
RUN = {"python", "bash", "sql"}
"""Languages whose blocks run."""
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"^(?:<!-- shown only: (?P<shown_only>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
_COMMAND = re.compile(r"(?:^|[|;&(]\s*)asyncjobs ([^|;&#\n]*)", re.MULTILINE)
_COMMAND_IN_TEXT = re.compile(r"`asyncjobs ([^`]+)`")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
_SPAN = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: Of its first line of code, from 1.
        shown_only: Whether the page says, with the reason, that it does not run.
    """

    language: str
    code: str
    line: int
    shown_only: bool

    @property
    def file(self) -> str | None:
        """The file that it is, as its first line says."""
        found = _FILE.match(self.code)
        return found[1] if found else None

    @property
    def runs(self) -> bool:
        """Whether it is executed at its place."""
        return self.language in RUN and not self.shown_only and self.file is None


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def name(self) -> str:
        """Its path in the project."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def blocks(self) -> Sequence[Block]:
        """In order."""
        return [
            Block(
                language=found["language"],
                code=found["code"],
                line=self.text.count("\n", 0, found.start("code")) + 1,
                shown_only=found["shown_only"] is not None,
            )
            for found in _BLOCK.finditer(self.text)
        ]

    @property
    def runs(self) -> bool:
        """Whether anything of it is executed."""
        return any(each.runs or (each.file or "").startswith("test_") for each in self.blocks)

    @property
    def config(self) -> str:
        """Its blocks of settings, which are one file."""
        of_config = (each for each in self.blocks if each.language == "toml" and each.file in {None, CONFIG})
        text = "\n".join(each.code for each in of_config if not each.shown_only)
        return f"[default]\n{text}" if text and "[default]" not in text else text

    @property
    def commands(self) -> Iterator[str]:
        """What it has of `asyncjobs …`, without the first word."""
        for block in self.blocks:
            if block.language in {"sh", "bash"}:
                yield from _COMMAND.findall(block.code.replace("\\\n", " "))
        yield from _COMMAND_IN_TEXT.findall(self.prose)

    @property
    def unlabelled(self) -> list[str]:
        """The first lines of fences that are no blocks: without a language, or not closed at the line's beginning."""
        rest = _BLOCK.sub("", self.text)
        return [line for line in rest.splitlines() if "```" in line and not line.startswith("```{") and line != "```"]

    @cached_property
    def prose(self) -> str:
        """What is in no block."""
        return _FENCE.sub("", self.text)

    @property
    def links(self) -> set[str]:
        """What it links to, but for other sites."""
        found = _LINK.findall(_SPAN.sub("", self.prose))
        return {link for link in found if not re.match(r"\w+:", link)}

    @cached_property
    def anchors(self) -> set[str]:
        """The names that its headings have on forges and in the built documents."""
        slugs = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in _HEADING.findall(self.prose)]
        met: Counter[str] = Counter()
        found = set()
        for slug in slugs:
            found.add(f"{slug}-{met[slug]}" if met[slug] else slug)
            met[slug] += 1
        return found


def page(name: str) -> Page:
    """The page at a path in the project."""
    return Page(ROOT / name)


PAGES = [Page(ROOT / "README.md"), *map(Page, sorted((ROOT / "docs").rglob("*.md")))]
"""What is told to users."""
