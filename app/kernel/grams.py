"""Text search without an extension: texts become n-grams, computed here, that PostgreSQL keeps in a ``tsvector``.

A part of a word has to be found, in any script. So a word is kept as its trigrams ("square" as ``squ qua uar are re/``, where
``/`` is its end), and a run of a script that writes no spaces as its bigrams. What is sought becomes the grams that every text
with it must have. Grams say where it may be, and not whether it is there: that is asked of the folded text itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.kernel.word_diff import UNSPACED

END = "/"
"""After the last letter of a word: no word has it."""
SPACED, RUN = 3, 2
"""Letters of a gram: of a word, and of a run of a script without spaces."""
NEEDLES = 10
"""Words and phrases of a search; more are left out."""
# Points and accents of Latin, Greek and Cyrillic, of Hebrew and of Arabic, and the Arabic stretching of words.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0640\u064b-\u065f\u0670\u06d6-\u06ed]")
# Spellings of one Arabic letter that people mix, Persian ones among them.
_ARABIC = str.maketrans("أإآٱىئیؤةک", "اااايييوهك")
_PARTS = re.compile(rf"[{UNSPACED}]+|[^\W{UNSPACED}]+")
_UNSPACED = re.compile(rf"[{UNSPACED}]")
_SOUGHT = re.compile(r'"([^"]*)"?|([^\s"]+)')
_QUOTES = str.maketrans("“”„«»", '"""""')
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Sought:
    """What is searched for."""

    needles: tuple[str, ...]
    """Folded words and phrases: a text that is found has each of them."""
    terms: tuple[str, ...]
    """Terms of a ``tsquery`` that holds of every text with the needles, and of few others."""

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return bool(self.needles)


def fold(text: str) -> str:
    """``text`` as it is compared: without case, accents, points and differences of width; Arabic letters and digits unified."""
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text).casefold())
    plain = unicodedata.normalize("NFKC", plain).translate(_ARABIC)
    digits = "".join(str(unicodedata.decimal(each, each)) if not each.isascii() else each for each in plain)
    return _SPACE.sub(" ", digits).strip()


def grams(folded: str) -> set[str]:
    """All grams of a folded text."""
    return {each for part in _parts(folded) for each in _cut(part + END, _length(part))}


def seek(query: str) -> Sought:
    """What ``query`` asks for: words, and phrases in quotes."""
    found = [fold(phrase or word) for phrase, word in _SOUGHT.findall(query.translate(_QUOTES))]
    needles = tuple(dict.fromkeys(each for each in found if each))[:NEEDLES]
    return Sought(needles, tuple(dict.fromkeys(term for each in needles for term in _terms(each))))


def vector(facets: Iterable[str], found: Iterable[str]) -> str:
    """A ``tsvector`` as text: ``facets`` with weight A, so that they can be told from grams."""
    return " ".join([*(f"{quoted(each)}:1A" for each in sorted(facets)), *(quoted(each) for each in sorted(found))])


def conjunction(terms: Sequence[str]) -> str:
    """A ``tsquery`` as text that asks for all of ``terms``, which are quoted."""
    return " & ".join(terms)


def quoted(lexeme: str) -> str:
    """A lexeme as it stands in a ``tsvector`` or ``tsquery``."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def _parts(folded: str) -> list[str]:
    return _PARTS.findall(folded)


def _length(part: str) -> int:
    return RUN if _UNSPACED.match(part) else SPACED


def _cut(part: str, length: int) -> Iterator[str]:
    if len(part) < length:
        yield part
    for at in range(len(part) - length + 1):
        yield part[at : at + length]


def _terms(needle: str) -> Iterator[str]:
    """What every text that has ``needle`` has: of each part whole grams or, where it is too short for one, how one begins."""
    for part in _parts(needle):
        length = _length(part)
        if len(part) >= length:
            yield from map(quoted, _cut(part, length))
        elif len(part) == length - 1:
            yield f"{quoted(part)}:*"
        elif part == needle:  # a letter alone is a word, or nearly every text would have it
            yield quoted(part + END)
