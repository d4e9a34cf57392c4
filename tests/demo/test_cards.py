"""Cards: deterministic, well-formed, legible, and no word on another."""

from __future__ import annotations

import functools
import itertools
import string
import xml.etree.ElementTree as ET

import pytest

from asyncjobs.demo.cards import draw_card, plain, set_title
from asyncjobs.demo.clouds import AREA, lay_out
from asyncjobs.demo.sources import sample_texts
from asyncjobs.demo.style import FACES, PALETTES, advance, glyph_boxes, palette_for
from asyncjobs.demo.words import count_words

SVG = "{http://www.w3.org/2000/svg}"
SAMPLES = {path.stem: path.read_text(encoding="utf-8") for path in sample_texts()}
ODD = {
    "twelve words": "wind rain sun moon lake hill tree bird song night morning road",
    "one word": "sea " * 50,
    "no word": "1 2 3",
    "long words": " ".join(f"Donaudampfschifffahrtsgesellschaft{a}{b}" for a in "abcdefgh" for b in "abcdefgh"),
    "many scripts": "海 海 空 コーヒー शब्द समुद्र البحر כתב שלום мир Ёжик щука θάλασσα 바다 ภาษาไทย Ünïcödé kůň İstanbul 😀",
    "few words of very different lengths": "ab " * 9
    + "floccinaucinihilipilification " * 8
    + "sea mast captain boat oar",
    "capitals": "QUICK BROWN FOX JUMPS LAZY DOG " * 6 + "LIQUOR JUGS VEXINGLY DAFT ZEBRAS SPHINX QUARTZ",
    "a million characters": ("The river runs past the old mill and under the stone bridge. " * 17_000)[:1_000_000],
}
TEXTS = SAMPLES | ODD
SOME_TEXTS = [
    pytest.param(text, id=name, marks=[pytest.mark.slow] if number % 5 and len(text) > 2000 else [])
    for number, (name, text) in enumerate(TEXTS.items())
]
SOME_SAMPLES = SOME_TEXTS[: len(SAMPLES)]


analyzed = functools.lru_cache(maxsize=None)(count_words)
laid_out = functools.lru_cache(maxsize=None)(lay_out)


def card(text, title="A title"):
    return draw_card(title, analyzed(text), laid_out(analyzed(text)))


def texts_of(svg):
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def overlap(one, other):
    """Whether two boxes share more than an edge."""
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


@pytest.mark.parametrize("text", SOME_TEXTS)
def test_no_word_overlaps_another(text):
    words = laid_out(analyzed(text))

    overlapping = [
        (one.text, other.text)
        for one, other in itertools.combinations(words, 2)
        if any(overlap(box, another) for box in one.boxes for another in other.boxes)
    ]

    assert overlapping == []


@pytest.mark.parametrize("text", SOME_TEXTS)
def test_all_words_are_within_the_area(text):
    for word in laid_out(analyzed(text)):
        for box in word.boxes:
            assert AREA.left <= box.left < box.right <= AREA.right
            assert AREA.top <= box.top < box.bottom <= AREA.bottom


@pytest.mark.parametrize("text", SOME_TEXTS)
def test_nearly_all_words_find_room(text):
    assert len(laid_out(analyzed(text))) >= 0.97 * len(analyzed(text).top)


@pytest.mark.parametrize("text", SOME_SAMPLES)
def test_a_samples_cloud_fills_its_area(text):
    boxes = [box for word in laid_out(analyzed(text)) for box in word.boxes]

    assert max(box.right for box in boxes) - min(box.left for box in boxes) > 0.9 * (AREA.right - AREA.left)
    assert max(box.bottom for box in boxes) - min(box.top for box in boxes) > 0.9 * (AREA.bottom - AREA.top)


@pytest.mark.parametrize("text", SOME_SAMPLES)
def test_a_commoner_word_is_not_smaller_and_few_are_upright(text):
    words = laid_out(analyzed(text))

    assert all(
        one.size >= other.size for one, other in itertools.pairwise(words) if not one.upright and not other.upright
    )
    assert 0 < sum(word.upright for word in words) < len(words) / 3


def test_the_cloud_is_in_the_middle_of_its_area():
    boxes = [box for word in laid_out(analyzed(ODD["twelve words"])) for box in word.boxes]

    assert min(box.left for box in boxes) - AREA.left == pytest.approx(AREA.right - max(box.right for box in boxes))
    assert min(box.top for box in boxes) - AREA.top == pytest.approx(AREA.bottom - max(box.bottom for box in boxes))


@pytest.mark.parametrize("text", SOME_TEXTS)
def test_a_card_is_well_formed_and_the_same_every_time(text):
    svg = card(text)

    assert svg == draw_card("A title", count_words(text), lay_out(count_words(text)))
    assert ET.fromstring(svg.encode()).get("viewBox") == "0 0 1200 800"


def test_a_card_has_a_title_and_a_description_for_those_who_do_not_see_it():
    root = ET.fromstring(card(SAMPLES["tea"], title="Tea & cake"))

    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Tea & cake"
    assert root.findtext(f"{SVG}desc").startswith("Word cloud of a text of 424 words. The commonest: tea, leaves,")


def test_markup_in_a_title_is_text():
    svg = card(SAMPLES["tea"], title="<script>alert(\"1\")</script> & 'so' ]]>")

    assert "<script" not in svg
    assert "<script>alert(\"1\")</script> & 'so' ]]>" in texts_of(svg)


def test_a_card_refers_to_nothing_outside_and_runs_nothing():
    svg = card(SAMPLES["the-sea"])
    root = ET.fromstring(svg)

    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "desc", "defs", "linearGradient", "radialGradient", "stop"),
        *("rect", "circle", "text", "g", "path"),
    }
    assert svg.replace("http://www.w3.org/2000/svg", "").count("://") == 0
    assert "href" not in svg


def test_the_identifiers_of_two_cards_in_one_page_differ():
    some = [text for text in TEXTS.values() if len(text) < 2000]
    ids = [{element.get("id") for element in ET.fromstring(card(text)).iter()} - {None} for text in some]

    assert len(set().union(*ids)) == sum(map(len, ids))


def test_what_xml_forbids_is_left_out_of_a_title():
    title = "a\x00b\x1bc\ud800d\uffffe\u202ef\ng"

    assert plain(title) == "a b c d e f g"
    assert ET.fromstring(card(SAMPLES["tea"], title=title).encode()).findtext(f"{SVG}title") == "a b c d e f g"


@pytest.mark.parametrize("title", ["", " \n", "\x00\u202e"])
def test_a_card_without_a_title_says_so(title):
    assert texts_of(card(SAMPLES["tea"], title=title))[0] == "Untitled"


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("Tea", ["Tea"]),
        ("word " * 20, ["word " * 9 + "word", "word " * 9 + "word"]),
        ("x" * 5_000, None),
        ("word " * 5_000, None),
        ("海と空と" * 40, None),
    ],
)
def test_a_title_is_set_in_at_most_two_lines_that_fit(title, lines):
    size, found = set_title(plain(title), 900)

    assert lines in (None, found)
    assert len(found) <= 2
    assert all(advance(line, FACES["serif"]) * size <= 900 for line in found)
    assert (found[-1][-1] == "…") == (lines is None)


def test_the_footer_has_the_numbers_and_the_commonest_words():
    texts = texts_of(card(SAMPLES["tea"]))

    footer = texts[texts.index("words") - 1 :]
    assert footer[:8] == ["424", "words", "205", "distinct", "27", "sentences", "2", "min read"]
    assert footer[8:14] == ["tea", "12", "leaves", "6", "green", "5"]
    assert len(footer) == 8 + 2 * 7


def test_the_reading_time_of_a_long_text_is_in_hours():
    texts = texts_of(card(ODD["a million characters"]))

    assert texts[texts.index("hours read") - 1] == "14"


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_every_palette_is_legible_on_its_background(palette):
    colours = palette.colours
    grounds = [colours["upper"], colours["lower"]]
    grounds += [
        mixed(ground, glow) for ground, glow in itertools.product(grounds, (colours["glow0"], colours["glow1"]))
    ]

    assert min(contrast(ink, ground) for ink in palette.inks for ground in grounds) >= 3
    assert min(contrast(colours["title"], ground) for ground in grounds) >= 4.5
    assert contrast(colours["muted"], colours["lower"]) >= 4


def test_every_palette_is_used_and_the_samples_do_not_look_alike():
    assert {palette_for(count_words(letters).digest).name for letters in string.ascii_letters} == {
        palette.name for palette in PALETTES
    }
    assert len({palette_for(analyzed(text).digest).name for text in SAMPLES.values()}) >= 6


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
def test_the_boxes_of_a_word_leave_room_beside_its_ascenders(face):
    sea, boat = glyph_boxes("sea", face), glyph_boxes("loom", face)

    assert len(sea) == 1
    assert sea[0].right == pytest.approx(advance("sea", face))
    assert [box.top for box in boat] == [-face.x_height, -face.ascender]
    assert boat[1].right < boat[0].right / 2


def channels(colour):
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def mixed(ground, glow):
    pairs = zip(channels(ground), channels(glow), strict=True)
    return "#" + "".join(f"{round(255 * (0.45 * one + 0.55 * other)):02x}" for one, other in pairs)


def contrast(one, other):
    lights = sorted(
        sum(
            part * (channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4)
            for part, channel in zip((0.2126, 0.7152, 0.0722), channels(colour), strict=True)
        )
        for colour in (one, other)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)
