"""Every message that the page on troubleshooting explains is one that the package writes."""

import re
from functools import cache

import pytest

from tests.support.workers import ROOT

PAGE = (ROOT / "docs" / "production" / "troubleshooting.md").read_text()
HEADINGS = [line for line in PAGE.splitlines() if line.startswith("### ")]
MESSAGES = [found[1] for line in HEADINGS if (found := re.fullmatch(r"### `([^`]+)`", line))]


@cache
def _lines() -> list[str]:
    """The package's code, with strings that follow each other on one line."""
    files = [path for ending in ("py", "sql") for path in sorted((ROOT / "asyncjobs").rglob(f"*.{ending}"))]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files)).splitlines()


def _is_written(message: str) -> bool:
    """Whether a string of the code begins so, where `…` stands for anything; a message that begins with it may stand anywhere."""
    begins, *rest = parts = message.removesuffix("…").split("…")
    start = f"[\"']{re.escape(begins)}" if begins else ""
    pattern = re.compile(start + "".join(f".*?{re.escape(part)}" for part in rest))
    longest = max(parts, key=len)
    return any(longest in line and pattern.search(line) for line in _lines())


def test_the_page_explains_many_messages_each_once() -> None:
    assert len(HEADINGS) == len(MESSAGES) == len(set(MESSAGES)) > 50


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_begins_so_in_the_code(message: str) -> None:
    assert _is_written(message)


def test_a_message_that_is_quoted_wrongly_is_found_out() -> None:
    assert not _is_written("waits for a worker: all are alive")
    assert not _is_written("none is alive; start one")
