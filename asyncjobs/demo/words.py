"""What a text is made of: its words by frequency, and whether it is fit to be drawn at all."""

from __future__ import annotations

import codecs
import hashlib
import math
import re
from collections import Counter
from dataclasses import dataclass

from asyncjobs.demo.stopwords import STOP_WORDS, detect_language

MAX_CHARACTERS = 2_000_000
MIN_DISTINCT = 8
TOP = 90
"""Words kept of an analysis: as many as a card holds."""

_LONGEST = 28
_WORDS_A_MINUTE = 230
# Letters, with the marks that are no letters to Python: combining accents, Hebrew and Arabic points, Indic and
# South-East Asian vowel signs, the joiners of Persian. A danda (0964) ends a sentence.
_LETTER = (
    r"[^\W\d_\u0900-\u10ff\u1780-\u17ff]|[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    r"\u0900-\u0963\u0971-\u10ff\u1780-\u17d3\u200c\u200d]"
)
# A word with a digit in it is matched whole, so that "3rd" leaves no "rd" behind; it is dropped later.
_WORD = re.compile(rf"(?:{_LETTER}|\d)+(?:['’\-](?:{_LETTER}|\d)+)*")  # noqa: RUF001
_SENTENCE = re.compile("[.!?…]+[\"'”’»)\\]]*(?=\\s|$)|[。！？।]+")  # noqa: RUF001
_ENDING = re.compile(r"n't$|'(?:s|ll|ve|re|m|d)$|'$")
_ELISION = re.compile(r"^(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu)'", re.IGNORECASE)
_HAN = re.compile(r"[\u3400-\u9fff]+")
_KATAKANA = re.compile(r"[\u30a0-\u30ff]+")
_STRANGE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_KANA_OR_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Analysis:
    """The numbers of a text; strings and integers only, so that it is the same after a round through JSON."""

    digest: str
    """The SHA-256 of the text in hex: the seed of everything that is chosen for the card."""
    language: str
    """en, de, fr, es, or "" when the stop words of none of them are common in it."""
    words: int
    distinct: int
    sentences: int
    minutes: int
    """To read it, at 230 words a minute, rounded up."""
    top: tuple[tuple[str, int], ...]
    """At most `TOP` words without stop words, each in its commonest spelling, commonest word first."""


def decode(data: bytes) -> str:
    """Read bytes as UTF-8, or UTF-16 with its mark; what is neither becomes U+FFFD, to which `moderate` objects."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="replace")


def moderate(text: str) -> list[str]:
    """The reasons why a text is not fit to be drawn; none when it is."""
    if not text.strip():
        return ["The text is empty; give one with words in it."]
    if len(text) > MAX_CHARACTERS:
        return [f"The text has {len(text):,} characters; the most a card is made of is {MAX_CHARACTERS:,}."]
    reasons = []
    strange = len(_STRANGE.findall(text))
    if "\0" in text:
        reasons.append("The text has NUL bytes in it: it is a binary file.")
    elif strange * 500 > len(text):
        reasons.append(f"The text has {strange:,} characters that are not text: save it as UTF-8.")
    distinct = len({word.casefold() for word in _words(text)})
    if distinct < MIN_DISTINCT:
        reasons.append(f"The text has {distinct} distinct words; a card needs at least {MIN_DISTINCT}.")
    return reasons


def count_words(text: str) -> Analysis:
    """Count the words of a text; numbers are none, and "Boat", "boat's" and "boats" are one."""
    spellings = Counter(_words(text))
    lower: Counter[str] = Counter()
    for spelling, count in spellings.items():
        lower[spelling.casefold()] += count
    language = detect_language(lower)
    families = _families(spellings, language)
    total = lower.total()
    return Analysis(
        digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        language=language,
        words=total,
        distinct=len(families),
        sentences=max(len(_SENTENCE.findall(text)), min(total, 1)),
        minutes=math.ceil(total / _WORDS_A_MINUTE),
        top=_top(families, language),
    )


def _words(text: str) -> list[str]:
    words = []
    for word in _WORD.findall(text.replace("’", "'")):  # noqa: RUF001
        if _KANA_OR_HAN.search(word):
            words += _without_spaces(word)
        elif word.isalpha() or not any(map(str.isdigit, word)):
            words.append(word)
    return words


def _without_spaces(run: str) -> list[str]:
    """The words of Chinese or Japanese, by a rule of thumb: short runs whole, longer ones in pairs; no hiragana."""
    words = [katakana for katakana in _KATAKANA.findall(run) if len(katakana) > 1]
    for han in _HAN.findall(run):
        words += [han] if len(han) <= 4 else [han[at : at + 2] for at in range(len(han) - 1)]
    return words


def _families(spellings: Counter[str], language: str) -> dict[str, Counter[str]]:
    """The spellings of each word, by the word in its folded form."""
    families: dict[str, Counter[str]] = {}
    for spelling, count in spellings.items():
        bare = _ENDING.sub("", spelling)
        if language == "fr":
            bare = _ELISION.sub("", spelling)
        families.setdefault(bare.casefold(), Counter())[bare] += count
    if language == "en":
        for word in [word for word in families if word.endswith("s")]:
            singular = _singular(word)
            if singular in families:
                families[singular].update(families.pop(word))
    return families


def _singular(word: str) -> str | None:
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return None
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]


def _top(families: dict[str, Counter[str]], language: str) -> tuple[tuple[str, int], ...]:
    stop = STOP_WORDS.get(language, frozenset())
    long = {word: spellings for word, spellings in families.items() if len(word) > 1 or _HAN.match(word)}
    kept = {word: spellings for word, spellings in long.items() if word not in stop}
    # A text of stop words only still gets its cloud.
    chosen = kept if len(kept) >= 3 else long
    # Among equals the longer word is the more telling one; beyond that, the one that came first.
    ordered = sorted(chosen.values(), key=lambda spellings: (-spellings.total(), -min(len(next(iter(spellings))), 6)))
    return tuple((_shortened(_commonest(spellings)), spellings.total()) for spellings in ordered[:TOP])


def _commonest(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda spelling: (-spellings[spelling], not spelling.islower(), spelling))


def _shortened(word: str) -> str:
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
