"""What the documents name exists: links, headings, commands, options; and how long README.md is."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from typer.main import get_command

from asyncjobs.cli.application import app
from tests.support.pages import PAGES, ROOT, Page, page

OTHERS = [page(name) for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md")]
COMMANDS = get_command(app)
NOT_WORDS = ("…", "[", "-")


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_each_link_of_a_page_leads_to_a_file_and_a_heading(page: Page) -> None:
    wrong = []
    for link in page.links:
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        if not target.exists() or not target.is_relative_to(ROOT) or (anchor and anchor not in Page(target).anchors):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_of_a_page_has_a_language(page: Page) -> None:
    assert page.unlabelled == []


def why_not(command: str) -> str | None:
    """Why there is no such command of `asyncjobs`; None: there is."""
    words = shlex.split(command, comments=True)
    found: Any = COMMANDS
    while (
        (known := getattr(found, "commands", None))
        and words
        and not (words[0].startswith(NOT_WORDS) or words[0].isupper())
    ):
        name = words.pop(0).rstrip(",")
        if name not in known:
            return f"asyncjobs {command}: no command {name!r}"
        found = known[name]
    options = {option for each in found.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    own = words[: words.index("--")] if "--" in words else words
    given = {word.partition("=")[0] for word in own if word.startswith("-")}
    return f"asyncjobs {command}: no options {given - options}" if given - options else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_that_a_page_names_exists_with_its_options(page: Page) -> None:
    assert [wrong for command in page.commands if (wrong := why_not(command))] == []


def test_what_does_not_exist_is_found() -> None:
    assert why_not("jobs retry ID --from STEP") is None
    assert why_not("COMMAND --help") is None
    assert why_not("jobs retrieve ID") == "asyncjobs jobs retrieve ID: no command 'retrieve'"
    assert "--nothing" in str(why_not("jobs retry ID --nothing"))


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 10_240


def test_each_page_of_the_documents_is_in_the_contents_of_its_part() -> None:
    for each in PAGES:
        if each.path.is_relative_to(ROOT / "docs") and each.path.name != "index.md":
            assert each.path.name in Page(each.path.with_name("index.md")).links, each.name
