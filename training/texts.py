"""What can be said of a text without a model: how much it repeats itself, and of which kind its letters are."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

WORD = re.compile(r"\w+")
NGRAM = 4


def words(text: str) -> list[str]:
    """Lower-case words; in scripts without spaces between them, a run of letters counts as many as it has letters."""
    found = []
    for word in WORD.findall(text.lower()):
        found += list(word) if _script(word[0]) in {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER"} else [word]
    return found


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
