"""Words and sentences of a text in any language, counted without a model.

A text in a script without spaces has no words that could be told apart without a dictionary. Chinese and Japanese count
characters, as people do there; of Thai, Lao, Khmer and Burmese only bounds are known, and whoever asks gets None where the
answer lies between them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_MARKS: Final = "".join(chr(c) for c in range(0x300, 0x20000) if unicodedata.category(chr(c)).startswith("M"))
"""Vowel signs and accents that are characters of their own: inside a word, though ``\\w`` takes them for its end."""
_IN_WORD: Final = rf"[\w{re.escape(_MARKS)}\u200c\u200d]"
_WORD: Final = re.compile(rf"\w{_IN_WORD}*")
_CHARACTERS: Final = re.compile(
    r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Han and kana: each is counted."""
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Thai, Lao, Burmese and Khmer: words follow each other without a space."""
_NO_STOPS: Final = re.compile(r"[\u0e00-\u0eff]")
"""Thai and Lao, which end no sentence with a mark."""
_CAPITALS: Final = re.compile(rf"\w{_IN_WORD}*(?:[.’'/-]\w{_IN_WORD}*)*")

_ALWAYS: Final = "。｡！？؟۔।॥።፧։။៕"
_CLOSING: Final = "\"'”’»)\\]」』）】*_"
_STOP: Final = re.compile(rf"(?P<marks>[.!?．…{_ALWAYS}]+)[{_CLOSING}]*(?P<after>\s*)")
_ABBREVIATIONS: Final = (
    "mr mrs ms dr prof st sr jr capt lt col gen rev hon vs e.g i.e cf al no nr vol pp fig ca approx z.b d.h bzw usw"
)
_SHORT: Final = frozenset(_ABBREVIATIONS.split())
"""Words after which a full stop ends no sentence, as a rule."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are: exactly where ``least`` and ``most`` are equal, else somewhere between."""

    least: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"

    def holds(self, relation: str, wanted: int) -> bool | None:
        """Whether the count is ``at least`` or ``less than`` the wanted one; None where the bounds do not say.

        Raises:
            ValueError: another relation.
        """
        if relation not in RELATIONS:
            raise ValueError(f"relation {relation!r} is neither of {', '.join(RELATIONS)}")
        enough = True if self.least >= wanted else False if self.most < wanted else None
        return enough if enough is None or relation == RELATIONS[0] else not enough


RELATIONS: Final = ("at least", "less than")


def exactly(number: int) -> Count:
    """A count that is known."""
    return Count(number, number)


def count_words(text: str) -> Count:
    """The words of a text: runs of letters and digits; a character of Chinese or Japanese is one."""
    least = most = 0
    for run in _WORD.findall(text):
        characters = len(_CHARACTERS.findall(run))
        for rest in _CHARACTERS.sub(" ", run).split():
            least += 1
            most += max(1, len(_UNSPACED.findall(rest)))
        least += characters
        most += characters
    return Count(least, most)


def count_sentences(text: str) -> Count:
    """The sentences of a text: what ends with a mark that ends sentences, and what follows the last one.

    Headings and list items without such a mark belong to the sentence after them.
    """
    first = _WORD.search(text)
    if first is None:
        return exactly(0)
    ends = [found.end() for found in _STOP.finditer(text, first.end()) if _ends(text, found)]
    number = len(ends) + bool(_WORD.search(text, ends[-1] if ends else 0))
    if 2 * len(_NO_STOPS.findall(text)) > sum(map(str.isalpha, text)):
        return Count(max(number, 1), max(number, len(text.split())))
    return exactly(number)


def count_capital_words(text: str) -> int:
    """The words that are written in capitals alone, such as "NASA", "I" and "ALL-IN"."""
    return sum(word.isupper() for word in _CAPITALS.findall(text))


def stands_alone(word: str) -> re.Pattern[str]:
    """What finds a word that is no part of a longer one, in capitals or not; scripts without spaces know no such limit."""
    before, after = (
        "" if not limit or _CHARACTERS.match(limit) or _UNSPACED.match(limit) or not re.match(_IN_WORD, limit) else each
        for each, limit in ((rf"(?<!{_IN_WORD})", word[:1]), (rf"(?!{_IN_WORD})", word[-1:]))
    )
    return re.compile(before + re.escape(word) + after, re.IGNORECASE)


def spaced(word: str) -> bool:
    """Whether a word comes from a script that puts spaces between its words."""
    return not (_CHARACTERS.search(word) or _UNSPACED.search(word))


def _ends(text: str, stop: re.Match[str]) -> bool:
    """Whether these marks end a sentence here."""
    marks, after = stop["marks"], text[stop.end() : stop.end() + 1]
    if any(mark in _ALWAYS for mark in marks):
        return True
    if after and not stop["after"]:
        return marks != "." and bool(_CHARACTERS.match(after))
    if marks.strip("!?") == "":
        return True
    if after.islower():
        return False
    return marks != "." or not _is_abbreviation(text, stop.start(), after)


def _is_abbreviation(text: str, at: int, after: str) -> bool:
    """Whether the full stop at this place belongs to the word before it: "Dr.", "J.", "e.g.", the "1." of a list."""
    near = max(0, at - 40)
    line = text[max(near, text.rfind("\n", near, at) + 1) : at]
    word = line.split()[-1].lstrip("(\"'“‘[*") if line.strip() else ""
    if line.strip().isdigit():
        return True
    if not after:
        return False
    if word.lower() in {"no", "nr"}:
        return after.isdigit()
    return word.lower() in _SHORT or (len(word) == 1 and word.isupper() and word != "I")
