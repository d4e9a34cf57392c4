"""What is counted in a text, and which texts are refused."""

from __future__ import annotations

import pytest

from asyncjobs.demo.sources import sample_texts, title_of
from asyncjobs.demo.words import MAX_CHARACTERS, MIN_DISTINCT, TOP, count_words, decode, moderate
from tests.support.sweeps import slowly

LINES = "wind rain moon lake hill tree bird song night road"


def counts(text):
    return dict(count_words(text).top)


def test_a_word_is_counted_whatever_its_case_and_shown_in_its_commonest_spelling():
    assert counts("we saw Paris, then Paris, then PARIS, and then a boat") == {"Paris": 3, "boat": 1}


def test_a_capital_that_only_begins_sentences_is_not_shown():
    assert counts("Whales sing. The ship met Ahab. Whales dive, said Ahab.")["whales"] == 2
    assert counts("Whales sing. The ship met Ahab. Whales dive, said Ahab.")["Ahab"] == 2


def test_german_nouns_keep_their_capital_at_the_beginning_of_a_sentence():
    assert "Schnee" in counts("Schnee fällt auf die Beete und deckt sie zu, und alles ist weiß wie ein Blatt.")


def test_plurals_and_possessives_are_counted_with_their_singular():
    assert counts("the boat and the boats and the boat’s mast with its two masts") == {"boat": 3, "mast": 2}
    assert counts("the berry and the berries on the glass of the glasses") == {"berry": 2, "glass": 2}


def test_a_plural_without_a_singular_in_the_text_stays_as_it_is():
    assert counts("the trousers of the chess player and his news") == {
        "trousers": 1,
        "chess": 1,
        "player": 1,
        "news": 1,
    }


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("The sea is never the same sea and the boats are on it", "en", {"sea", "boats"}),
        (
            "Der Garten ist im Winter nur ein Plan und die Erde ist weiß",
            "de",
            {"Garten", "Winter", "Plan", "Erde", "weiß"},
        ),
        ("L’eau et le sel, c'est tout ce qu'il faut pour la pâte", "fr", {"eau", "sel", "pâte"}),
        ("El pan y la sal están en la mesa de mi abuela", "es", {"pan", "sal", "mesa", "abuela"}),
    ],
)
def test_the_stop_words_of_the_texts_language_are_left_out(text, language, words):
    analysis = count_words(text)

    assert analysis.language == language
    assert {word for word, _ in analysis.top} == words


def test_a_word_that_is_a_stop_word_elsewhere_is_kept():
    text = "The sea is wide, the sea is deep, and the sea was here before the men who die in it."

    assert counts(text)["sea"] == 3
    assert counts(text)["die"] == 1


def test_a_text_in_two_languages_loses_the_stop_words_of_both():
    english = "The boat was on the water and it was so cold that the men were in the cabin with the captain. "
    german = "Der Kapitän war nicht auf dem Boot und die Männer haben sich das mit ihm noch nicht überlegt. "

    words = set(counts(english * 2 + german))

    assert {"boat", "water", "Kapitän", "Boot"} <= words
    assert not words & {"der", "Der", "dem", "und", "nicht", "the", "was"}


def test_a_text_of_nothing_but_stop_words_keeps_them():
    assert set(counts("the a of and in is it that")) == {"the", "of", "and", "in", "is", "it", "that"}


def test_numbers_and_words_with_digits_in_them_are_no_words():
    analysis = count_words("In 1492, on the 3rd of August, ships A4 and B52 sailed 1,000 miles, ½ of it west")

    assert {word for word, _ in analysis.top} == {"August", "ships", "sailed", "miles", "west"}


def test_the_figures_count_words_sentences_and_minutes():
    analysis = count_words("One boat. Two boats!\nIs it late? “Yes…” he said " + "slowly " * 221)

    assert analysis.words == 231
    assert analysis.sentences == 4
    assert analysis.minutes == 2
    assert analysis.distinct == 11


def test_an_empty_text_counts_nothing():
    analysis = count_words("")

    assert (analysis.words, analysis.distinct, analysis.sentences, analysis.minutes) == (0, 0, 0, 0)
    assert analysis.top == ()


def test_scripts_with_marks_and_joiners_keep_their_words_whole():
    assert counts("समुद्र नमस्ते שָׁלוֹם می‌خواهم Ångström cafe\u0301") == dict.fromkeys(
        ["समुद्र", "नमस्ते", "שָׁלוֹם", "می‌خواهم", "Ångström", "cafe\u0301"], 1
    )


def test_chinese_and_japanese_are_counted_without_spaces_to_part_the_words():
    assert counts("灯塔很高，灯塔的光。")["灯塔"] == 2
    assert counts("私はコーヒーが好きです。コーヒー、東京。") == {"コーヒー": 2, "東京": 1, "私": 1, "好": 1}


def test_emoji_are_no_words():
    assert counts("👨‍👩‍👧 🌊 ship 🏳️‍🌈 boat 1️⃣") == {"ship": 1, "boat": 1}


def test_a_word_longer_than_a_line_is_shortened():
    (word, count), *_ = count_words("a" * 100_000).top

    assert (len(word), word[-1], count) == (28, "…", 1)


def test_no_more_words_are_kept_than_a_card_holds():
    analysis = count_words(" ".join("w" + chr(97 + a) + chr(97 + b) for a in range(20) for b in range(20)))

    assert len(analysis.top) == TOP
    assert analysis.distinct == 400


def test_the_same_text_has_the_same_analysis_and_another_text_another_digest():
    assert count_words(LINES) == count_words(LINES)
    assert count_words(LINES).digest != count_words(LINES + " ").digest


@pytest.mark.parametrize(
    "text",
    [
        "." * 400_000 + "x",
        *slowly("—" * 1_000_000, "\n" * 1_000_000, "a-" * 500_000, "’" * 1_000_000),
    ],
)
def test_a_long_run_of_one_thing_takes_no_more_than_a_pass_over_it(text):
    # In the square of its length each of these would take minutes or hours, and the run would never end.
    assert count_words(text).words <= 1
    assert len(moderate(text)) == 1


def test_a_text_of_a_million_characters_is_counted():
    text = ("The river runs past the mill and under the bridge. " * 20_000)[:1_000_000]

    analysis = count_words(text)

    assert moderate("night rain lake " + text) == []
    assert analysis.words == 196_079
    assert dict(analysis.top)["river"] == 19_608


def test_a_good_text_is_given_no_reason():
    assert moderate(LINES) == []


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_refused(text):
    assert moderate(text) == ["The text is empty; give one with words in it."]


def test_a_text_with_few_distinct_words_is_refused_with_their_number():
    assert moderate("sea " * 500) == [f"The text has 1 distinct word; a card needs at least {MIN_DISTINCT}."]
    assert moderate("Sea SEA boat") == [f"The text has 2 distinct words; a card needs at least {MIN_DISTINCT}."]


def test_a_binary_file_is_refused():
    assert moderate(LINES + "\0") == ["The text has NUL bytes in it: it is a binary file."]


def test_a_text_in_another_encoding_is_refused_with_the_remedy():
    text = decode("Im März blüht überall süßer Flieder, größer als je zuvor".encode("latin-1"))

    assert moderate(text) == ["The text has 7 characters that are not text: save it as UTF-8."]


def test_a_text_above_the_limit_is_refused_without_being_read():
    assert moderate("x" * (MAX_CHARACTERS + 1)) == [
        "The text has over 2,000,000 characters, the most that a card is made of."
    ]


def test_bytes_are_read_as_utf_8_or_as_utf_16_with_its_mark():
    assert decode("\ufeffMärz".encode()) == "März"
    assert decode("März".encode("utf-16")) == "März"


def test_the_samples_are_texts_that_can_be_drawn():
    paths = sample_texts()

    assert len(paths) == 10
    assert [path for path in paths if moderate(decode(path.read_bytes()))] == []


@pytest.mark.parametrize(
    ("name", "title"), [("the-night-sky.txt", "The night sky"), ("Der_Garten.md", "Der Garten"), ("-", "-")]
)
def test_a_title_is_made_from_the_files_name(tmp_path, name, title):
    assert title_of(tmp_path / name) == title
