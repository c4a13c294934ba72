"""What can be said of a text without a model: how much it repeats itself, and of which kind its letters are."""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

# Scripts that put no spaces between words: Thai, Lao, Myanmar, Khmer, kana and Chinese characters.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
NGRAM = 4


def words(text: str) -> list[str]:
    """Lower-case words with their accents and vowel signs; of scripts that put no spaces between words, every letter is one."""
    return _word().findall(text.lower())


def marks_and_words(text: str) -> list[str]:
    """The same, and every punctuation mark and symbol."""
    lowered = text.lower()
    return _word().findall(lowered) + [
        sign for sign in lowered if unicodedata.category(sign)[0] in "PS" and sign != "_"
    ]


@cache
def _word() -> re.Pattern[str]:
    # To `re` a vowel sign of Devanagari or Thai is no part of a word, so the combining marks have to be named.
    signs = "".join(sign for sign in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(sign)[0] == "M")
    return re.compile(rf"(?=\w)[{_UNSPACED}][{signs}]*|(?:(?![{_UNSPACED}])[\w{signs}])+")


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Different n-grams over all n-grams (distinct-n: Li et al., arXiv 1510.03055), of word lists; 1 where there are none."""
    grams = Counter(gram for text in texts for gram in _ngrams(text, n))
    return len(grams) / grams.total() if grams else 1.0


def repeated(text: Sequence[str], n: int = NGRAM) -> float:
    """The share of a text's n-grams that stood in it before (Welleck et al., arXiv 1908.04319: seq-rep-n)."""
    grams = list(_ngrams(text, n))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def scripts(text: str) -> Counter[str]:
    """How many letters of each script a text has: LATIN, CYRILLIC, CJK, ..."""
    return Counter(script for letter in text if letter.isalpha() and (script := _script(letter)))


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0]


def _ngrams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]
