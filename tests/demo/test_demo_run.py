"""The demo from its start to its end: real processes, a real PostgreSQL, real cards."""

import json
import os
import re
import urllib.request
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest

from asyncjobs.demo.sources import sample_texts
from tests.demo.conftest import WORDS, write_card
from tests.support.sweeps import slowly

SAMPLES = sorted(f"{path.stem}.svg" for path in sample_texts())


@pytest.mark.parametrize("anew", [False, *slowly(True)], ids=["forked", "anew"])
def test_it_draws_the_samples_and_leaves_nothing_but_the_cards(start, anew):
    demo = start("--json", anew=anew)
    demo.end()
    assert demo.cards == SAMPLES
    for card in (start.directory / "cards").glob("*.svg"):
        assert ET.parse(card).getroot().tag.endswith("svg")
    assert sorted(path.name for path in (start.directory / "cards").iterdir()) == sorted([*SAMPLES, "index.html"])
    assert list(demo.temporary.iterdir()) == []
    assert demo.footprint().left == []


OTHER_PROJECT = {
    "ASYNCJOBS_DATABASE_URL": "postgresql://someone@example.invalid/production",
    "ASYNCJOBS_CONFIG": "/nowhere.toml",
    "ASYNCJOBS_ENV": "production",
    "PGHOST": "example.invalid",
    "PGSSLMODE": "verify-full",
}


def test_whatever_is_set_for_another_project_the_json_summary_says_what_became_of_each_text(start):
    (start.directory / "river.txt").write_text(WORDS)
    (start.directory / "noise.bin").write_bytes(b"\0\1\2")
    (start.directory / "config.toml").write_text("[default\nbroken")
    demo = start("river.txt", "noise.bin", "--json", environment=OTHER_PROJECT)
    assert demo.end() == ""
    summary = demo.summary()
    drawn, discarded = summary["texts"]
    card = start.directory / "cards" / "river.svg"
    assert (drawn["state"], drawn["card"], drawn["bytes"], drawn["words"]) == (
        "drawn",
        str(card),
        card.stat().st_size,
        len(WORDS.split()),
    )
    assert discarded["state"] == "discarded"
    assert "binary" in discarded["reason"]
    assert (summary["drawn"], summary["discarded"], summary["failed"]) == (1, 1, 0)
    assert summary["jobs"] == 3  # the card's, the one that tells of it, and the one that was discarded
    assert summary["index"] == str(start.directory / "cards" / "index.html")


@pytest.fixture
def older_cards(start):
    """The cards of an earlier run: of a lake, and of another river."""
    cards = start.directory / "cards"
    cards.mkdir()
    for name in ("lake", "river"):
        write_card(cards / f"{name}.svg", name, f"{WORDS} {name}")
    return cards


def test_of_a_directory_what_fits_is_drawn_over_older_cards_and_the_rest_discarded(start, older_cards):
    old = (older_cards / "river.svg").read_text()
    texts = start.directory / "my texts"
    texts.mkdir()
    (texts / "river.txt").write_text(WORDS)
    (texts / "river.md").write_text(WORDS + " in the evening light")
    (texts / "left.rst").write_text(WORDS)
    (texts / "empty.txt").touch()
    (texts / "short.md").write_text("too few words")
    demo = start("my texts", texts / "river.md")
    demo.end()
    assert demo.cards == ["lake.svg", "river-2.svg", "river.svg"]
    assert (older_cards / "river.svg").read_text() != old
    page = (older_cards / "index.html").read_text()
    assert [unquote(link) for link in re.findall(r'img src="([^"]+)"', page)] == demo.cards
    assert "discarded  empty.txt: The text is empty" in demo.output
    assert "discarded  short.md: The text has 3 distinct words" in demo.output
    assert "2 cards drawn, 2 discarded" in demo.output
    assert str(older_cards / "index.html") in demo.output
    assert "asyncjobs init" in demo.output
    assert "asyncjobs run" in demo.output
    assert "\x1b" not in demo.output


def test_nothing_drawn_is_exit_code_1_and_makes_no_directory(start):
    (start.directory / "empty.txt").touch()
    demo = start("empty.txt")
    demo.end(code=1)
    assert "0 cards drawn, 1 discarded" in demo.output
    assert not (start.directory / "cards").exists()


@pytest.mark.slow
def test_on_a_terminal_it_shows_each_step_live(start):
    demo = start(terminal=True, environment={"TERM": "xterm-256color"})
    demo.end()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", demo.output)
    assert "starting a PostgreSQL of its own" in plain
    assert "●●●○  generate" in plain
    assert re.search(r"\d+ of 10 texts, [\d.]+ jobs/s", plain)
    assert "10 cards drawn" in plain
    assert "\x1b[32m" in demo.output
    assert demo.output.count("\x1b[?25h") == demo.output.count("\x1b[?25l")  # the cursor is shown again


def test_missing_files_are_all_named_before_anything_is_started(start):
    # With these binaries no PostgreSQL can be started: that would be the error.
    demo = start("gone.txt", "also gone.txt", os.devnull, environment={"ASYNCJOBS_PG_BIN": "/nowhere"})
    errors = demo.end(code=2)
    assert "gone.txt: there is no such file" in errors
    assert "also gone.txt: there is no such file" in errors
    assert f"{os.devnull}: this is no regular file" in errors
    assert not (start.directory / "cards").exists()
    assert list(demo.temporary.iterdir()) == []


def test_a_file_that_is_not_of_the_demo_is_not_overwritten(start):
    cards = start.directory / "cards"
    cards.mkdir()
    (cards / "index.html").write_text("<h1>My site</h1>")
    (cards / "tea.svg").write_text("<svg/>")
    errors = start().end(code=2)
    assert "index.html: this is not of the demo" in errors
    assert "tea.svg: this is not of the demo" in errors
    assert (cards / "index.html").read_text() == "<h1>My site</h1>"


@pytest.mark.slow
def test_with_web_the_dashboard_is_served_and_stays_when_all_is_drawn_until_it_is_interrupted(start):
    (start.directory / "river.txt").write_text(WORDS)
    demo = start("river.txt", "--web")
    demo.wait_for("the dashboard stays at")
    url = re.search(r"the dashboard stays at (\S+)", demo.output)[1]
    with urllib.request.urlopen(f"{url}api/jobs?state=succeeded") as answer:
        assert len(json.load(answer)["jobs"]) == 2
    demo.process.terminate()
    demo.end()
    assert "1 card drawn" in demo.output
    assert demo.footprint().left == []
