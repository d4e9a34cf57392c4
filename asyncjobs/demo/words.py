"""What a text is made of: its words by frequency, and whether it is fit to be drawn at all."""

from __future__ import annotations

import codecs
import hashlib
import math
import re
from collections import Counter
from dataclasses import dataclass

from asyncjobs.demo import data

MAX_CHARACTERS = 2_000_000
MIN_DISTINCT = 8
TOP = 90  # words kept of an analysis: as many as a card holds

_STOP_WORDS = {language: frozenset(words.split()) for language, words in data("stopwords.toml").items()}
_STRAIGHT = str.maketrans("\N{RIGHT SINGLE QUOTATION MARK}_", "' ")
_LONGEST = 28
_WORDS_A_MINUTE = 230
# What is no letter to Python and yet a part of words: combining accents, Hebrew and Arabic points, the joiners of
# Persian, and the blocks with vowel signs from Devanagari to Myanmar and Khmer, without the danda that ends sentences.
_MARKS = (
    r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u10ff\u1780-\u17d3\u200c\u200d"
)
# A word with a digit in it is matched whole, so that "3rd" leaves no "rd" behind; it is dropped later.
_WORD = re.compile(rf"[^\W_][\w{_MARKS}]*(?:['\-][^\W_][\w{_MARKS}]*)*")
# Each begins only where a run of marks does: a text of nothing but dots would else take the square of its length.
_SENTENCE = re.compile("(?<![.!?…])[.!?…]++[\"'”’»)\\]]*+(?=\\s|$)|[。！？।]++")  # noqa: RUF001
_OPENING = re.compile(rf"(?:\A|[.!?…]|\n[^\S\n]*+\n)\W{{0,6}}({_WORD.pattern})")
_ENDING = re.compile(r"n't$|'(?:s|ll|ve|re|m|d)$")
_ELISION = re.compile(r"^(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu)'", re.IGNORECASE)
# Without the particles and pronouns of Chinese, which then separate words.
_HAN = re.compile(r"(?:(?![的了是我你他她们这那着很都也在])[\u3400-\u9fff])+")
_KATAKANA = re.compile(r"[\u30a0-\u30ff]{2,}")
_STRANGE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_KANA_OR_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Analysis:
    """The numbers of a text; strings and integers only, as a step's result may be."""

    digest: str  # the SHA-256 of the text in hex: the seed of everything that is chosen for the card
    language: str  # en, de, fr, es, or "" when the stop words of none of them are common in it
    words: int
    distinct: int
    sentences: int
    minutes: int  # to read it, rounded up
    top: tuple[tuple[str, int], ...]
    """At most `TOP` words without stop words, each in its commonest spelling, commonest word first."""


def decode(data: bytes) -> str:
    """Read bytes as UTF-8, or UTF-16 with its mark; what is neither becomes U+FFFD, to which `moderate` objects."""
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")


def moderate(text: str) -> list[str]:
    """The reasons why a text is not fit to be drawn; none when it is."""
    if not text.strip():
        return ["The text is empty; give one with words in it."]
    if len(text) > MAX_CHARACTERS:
        return [f"The text has over {MAX_CHARACTERS:,} characters, the most that a card is made of."]
    reasons = []
    strange, distinct = len(_STRANGE.findall(text)), len({word.casefold() for word in _words(text)})
    if "\0" in text:
        reasons.append("The text has NUL bytes in it: it is a binary file.")
    elif strange * 500 > len(text):
        reasons.append(f"The text has {strange:,} characters that are not text: save it as UTF-8.")
    if distinct < MIN_DISTINCT:
        words = f"{distinct} distinct {'word' if distinct == 1 else 'words'}"
        reasons.append(f"The text has {words}; a card needs at least {MIN_DISTINCT}.")
    return reasons


def count_words(text: str) -> Analysis:
    """Count the words of a text; numbers are none, and "Boat", "boat's" and "boats" are one."""
    spellings, lower = _words(text), Counter[str]()
    for spelling, count in spellings.items():
        lower[spelling.casefold()] += count
    language, stop = _stop_words(lower)
    families = _families(text, spellings, language)
    total = lower.total()
    return Analysis(
        digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        language=language,
        words=total,
        distinct=len(families),
        sentences=max(len(_SENTENCE.findall(text)), min(total, 1)),
        minutes=math.ceil(total / _WORDS_A_MINUTE),
        top=_top(families, stop),
    )


def _stop_words(counts: Counter[str]) -> tuple[str, frozenset[str]]:
    """The language whose stop words cover most of a text, "" when none covers a tenth, and the words too common to be drawn.

    Those of a second language are added when the text has several that are that language's own, and often.
    """
    total = counts.total()
    hits = {language: sum(counts.get(word, 0) for word in words) for language, words in _STOP_WORDS.items()}
    best = max(hits, key=hits.__getitem__)
    if not total or hits[best] * 10 < total:
        return "", frozenset()
    stop = _STOP_WORDS[best]
    for words in _STOP_WORDS.values():
        own = [counts[word] for word in words - _STOP_WORDS[best] if word in counts]
        # Several, because a single one may be what the text is about: "sea" is Spanish, "die" German.
        if len(own) >= 8 and sum(own) * 50 >= total:
            stop |= words
    return best, stop


def _words(text: str) -> Counter[str]:
    """How often each spelling occurs; nothing with a digit in it."""
    words: Counter[str] = Counter()
    for word, count in Counter(_WORD.findall(text.translate(_STRAIGHT))).items():
        if _KANA_OR_HAN.search(word):
            # By a rule of thumb, nothing parts words there: short runs whole, longer ones in pairs; no hiragana.
            for run in (*_KATAKANA.findall(word), *_HAN.findall(word)):
                is_whole = len(run) <= 4 or _KATAKANA.match(run)
                for part in [run] if is_whole else [run[at : at + 2] for at in range(len(run) - 1)]:
                    words[part] += count
        elif word.isalpha() or not any(map(str.isnumeric, word)):
            words[word] = count
    return words


def _families(text: str, spellings: Counter[str], language: str) -> dict[str, Counter[str]]:
    """The spellings of each word, by the word in its folded form."""
    # Where the capital says nothing: those that only ever begin a sentence, but for German, which has it in the middle.
    openings = Counter(_OPENING.findall(text.translate(_STRAIGHT))) if language != "de" else Counter[str]()
    families: dict[str, Counter[str]] = {}
    for spelling, count in spellings.items():
        bare = _ENDING.sub("", spelling)
        if language == "fr":
            bare = _ELISION.sub("", bare)
        if openings.get(spelling, 0) >= count and bare[1:].islower():
            bare = bare.lower()
        families.setdefault(bare.casefold(), Counter())[bare] += count
    if language == "en":
        for word in [word for word in families if word.endswith("s")]:
            if (singular := _singular(word)) in families:
                families[singular].update(families.pop(word))
    return families


def _singular(word: str) -> str:
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return ""
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]


def _top(families: dict[str, Counter[str]], stop: frozenset[str]) -> tuple[tuple[str, int], ...]:
    long = {word: spellings for word, spellings in families.items() if len(word) > 1 or _HAN.match(word)}
    # A text of stop words only still gets its cloud.
    chosen = {word: spellings for word, spellings in long.items() if word not in stop} or long
    # Among equals the longer word is the more telling one; beyond that, the one that came first.
    ordered = sorted(chosen.values(), key=lambda spellings: (-spellings.total(), -min(len(next(iter(spellings))), 6)))
    top = []
    for of in ordered[:TOP]:
        word = min(of, key=lambda spelling: (-of[spelling], not spelling.islower(), len(spelling), spelling))
        top.append((word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…", of.total()))
    return tuple(top)
