"""Which language a text is in: py3langid over its prose, code, quotes and names left out."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from typing import Any, Final

from training.formats import languages
from training.formats.languages import NAMES, SAME

_TOLD_APART: Final = (
    "en de fr es it pt nl sv da no fi pl cs hu ro ru uk bg el tr ar he hi th ja zh ko vi id sw "
    "sk sl hr ca lt lv et fa ur bn ta te mr gu kn ml pa ka hy km lo my si am"
)
LANGUAGES: Final = frozenset(_TOLD_APART.split())
"""ISO 639-1 codes that a text is told apart in; of one more only where it is the one that is wanted."""
_ALIKE: Final = (frozenset({"id", "ms"}), frozenset({"hr", "sr", "bs"}))
"""Languages that are not told apart."""
_CLOSE: Final = tuple(
    frozenset(group.split())
    for group in (
        "no da sv",
        "cs sk",
        "es pt gl ca it",
        "hi mr ne",
        "ru uk bg be mk sr",
        "id ms",
        "hr sr bs sl",
        "fa ur ar",
        "nl de af",
    )
)
"""Languages of which one sentence may look like another's: the text around it decides."""
_RARE: Final = frozenset("sk sl hr ca lt lv et ur fa mr".split())  # noqa: SIM905  # reads as one line
"""Languages that a short text is taken for only where it is plain; of their neighbours there is much more."""
_RARE_WEIGHT: Final = 0.3

_LEFT_OUT: Final = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^[ \t]{0,8}(```|~~~)[\s\S]*?(?:^[ \t]{0,8}\1|\Z)",
        r"<(code|pre)\b[^>]{0,200}>[\s\S]*?(?:</\1>|\Z)",
        r"`[^`\n]{1,400}`",
        r"\$\$[^$]{1,2000}\$\$|\\\[[\s\S]{0,2000}?\\\]|\\\([^\n]{0,400}?\\\)|\$[^$\n]{1,200}\$",
        r"https?://\S+|www\.\S+|\b[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]{1,64}",
        r"</?[a-zA-Z][^<>\n]{0,200}>|&\w{2,8};|\\[a-zA-Z]+",
        r"\[[^\]\n]{0,5}\]\([^)\n]{0,400}\)|\]\([^)\n]{0,400}\)",
    )
]
_QUOTES: Final = re.compile(
    r"^[ \t]{0,3}>.*$|\"[^\"\n]{1,600}\"|“[^”\n]{1,600}”|„[^“”\n]{1,600}[“”]|«[^»\n]{1,600}»|»[^«\n]{1,600}«"
    r"|「[^」\n]{1,600}」|『[^』\n]{1,600}』",
    re.MULTILINE,
)
_NAMES: Final = re.compile(
    r"(?<=[^\W\d_][ ,])(?:[A-ZÀ-ÖØ-ÞА-Я][a-zß-öø-ÿа-я]+(?:[ -](?=[A-ZÀ-ÖØ-ÞА-Я]))?){2,6}\b|@\w+|#\w+"
)
_LATIN_RUN: Final = re.compile(r"[A-Za-zÀ-ɏḀ-ỿ][\x21-\x7eÀ-ɏḀ-ỿ]*(?: +[\x21-\x7eÀ-ɏḀ-ỿ]+)*")
_SENTENCE: Final = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？।؟])|\n+")
FEW_LETTERS: Final = 8
"""So many letters a text must have before its language is told; a third of it in scripts that write words with few."""
_DENSE: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_PIECE: Final = 20
"""Letters of the pieces in which a mixed text is looked at."""
_MOST: Final = 20_000
"""Characters that are looked at: a language does not show late."""
_SURE: Final = 0.25
_PLAIN: Final = 80
_PLAIN_FROM: Final = 0.8
"""A piece of fewer letters than that is in another language than its text only where it is as probable as this."""


def code_of(name: str) -> str:
    """The code that a language is called by here: "de" of "de-CH", "DE" and "German".

    Raises:
        ValueError: no language that can be told is called so.
    """
    code = languages.code_of(name)
    if code is None:
        raise ValueError(f"{name!r} is no language that can be told: use a code of ISO 639-1, such as de")
    return code


def prose(text: str) -> str:
    """The text without code, formulas, addresses, markup, quotes and names; with quotes where there is nothing else."""
    text = text[:_MOST]
    for pattern in _LEFT_OUT:
        text = pattern.sub(" ", text)
    unquoted = _QUOTES.sub(" ", text)
    if letters(unquoted) >= _PIECE:
        text = unquoted
    unnamed = _NAMES.sub(" ", text)
    if 2 * letters(unnamed) >= letters(text):
        text = unnamed
    if 5 * len(_DENSE.findall(text)) >= letters(text):  # product names and formulas among other scripts
        text = _LATIN_RUN.sub(lambda run: " " if len(run[0]) < _PIECE else run[0], text)
    return text


def letters(text: str) -> int:
    """Letters and what belongs to them; one of a dense script counts for three."""
    return sum(character.isalpha() for character in text) + 2 * len(_DENSE.findall(text))


def language_of(text: str, *, wanted: frozenset[str] = frozenset()) -> str | None:
    """The code of the language of a text; None where it has too few words to say.

    Args:
        text: With code, quotes and names, which are left out.
        wanted: Languages that are considered beside ``LANGUAGES``.
    """
    told = _told(prose(text), wanted)
    return None if told is None else told[0]


def shares(text: str, *, wanted: frozenset[str] = frozenset()) -> dict[str, float]:
    """The languages of a text by their share of its letters, largest first; empty where it has too few words to say."""
    counted: Counter[str] = Counter()
    text = prose(text)
    whole = _told(text, wanted)
    for piece in _pieces(text):
        told = _told(piece, wanted)
        if told is not None:
            counted[_by_context(piece, told, whole)] += letters(piece)
    if not counted and whole is not None:
        counted[whole[0]] = 1
    total = counted.total()
    return {code: count / total for code, count in counted.most_common()}


def alike(one: str, other: str) -> bool:
    """Whether both codes name one language, or two that are not told apart."""
    one, other = SAME.get(one, one), SAME.get(other, other)
    return one == other or any({one, other} <= group for group in _ALIKE)


def _by_context(piece: str, told: tuple[str, float], whole: tuple[str, float] | None) -> str:
    """The language of a piece; what is short and not plain is taken to be in that of the whole text."""
    code, probability = told
    if whole is None or letters(piece) >= _PLAIN:
        return code
    near = any({code, whole[0]} <= group for group in _CLOSE)
    return whole[0] if near or probability < _PLAIN_FROM else code


def _pieces(text: str) -> list[str]:
    """Sentences and lines, short ones together with those after them."""
    pieces, open_piece = [], ""
    for part in _SENTENCE.split(text):
        open_piece += " " + part
        if letters(open_piece) >= _PIECE:
            pieces.append(open_piece)
            open_piece = ""
    if letters(open_piece) >= FEW_LETTERS:
        pieces.append(open_piece)
    return pieces


def _told(text: str, wanted: frozenset[str]) -> tuple[str, float] | None:
    if letters(text) < FEW_LETTERS:
        return None
    words = "".join(c if c.isalpha() or unicodedata.category(c)[0] == "M" else " " for c in text)
    considered = LANGUAGES | wanted
    ranked: dict[str, float] = {}
    for label, probability in _identifier().rank(" ".join(words.split())):
        code = SAME.get(label, label)
        if code in considered:
            weight = _RARE_WEIGHT if code in _RARE and code not in wanted else 1.0
            ranked[code] = ranked.get(code, 0.0) + weight * probability
    total = sum(ranked.values())
    if not total:
        return None
    best = max(ranked, key=ranked.__getitem__)
    return (best, ranked[best] / total) if ranked[best] / total >= _SURE else None


def load() -> None:
    """Read what identifies languages into memory; a few seconds on a busy machine, the first time."""
    _identifier()


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = {"yue", "wuu", *NAMES}  # Nynorsk would take Danish for Norwegian
    identifier.set_languages(sorted(known & set(identifier.labels)))
    return identifier
