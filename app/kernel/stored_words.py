"""Sentences that the database keeps in English and pages show in the reader's language.

What is kept is a message of the catalogue, filled in: ``N_("{name} is the champion now.").format(name=…)``. Shown, it is
recognised by its words and filled in again. What is no message, since people or programs wrote it, stays as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache

from app.kernel import locales
from app.kernel.locales import SOURCE, Locale

PLACES = (
    "app/rounds/",
    "app/registry/",
    "app/prompts/",
    "app/sources/",
    "app/synthesis/",
    "app/vocabularies",
)
"""Where messages stand that are kept."""
MOST, SENTENCES, DEPTH = 2000, 8, 2
"""Characters of what can be ours, sentences that are looked at, and how often a phrase fills a place of another."""
_PLACE = re.compile(r"\{(\w+)\}")
_ENDS = re.compile(r"(?<=[.;]) ")
_NUMBERS = re.compile(r"[-+\d.,%\[\] ]*\d[-+\d.,%\[\] ]*")
_NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?%?")
_LEAST = 4
"""Letters of a message beside what is filled in: with fewer it could be anything."""


def said(stored: str | None) -> str:
    """``stored`` in the reader's language, as far as it consists of our sentences."""
    locale = locales.current()
    if not stored or locale.code == SOURCE or len(stored) > MOST:
        return stored or ""
    return _shown(locale, stored, 0)


@lru_cache(maxsize=4096)
def _shown(locale: Locale, stored: str, depth: int) -> str:
    if _NUMBERS.fullmatch(stored):
        return _NUMBER.sub(lambda found: _number(found[0]), stored)
    shown: list[str] = []
    sentences = _ENDS.split(stored)[:SENTENCES]
    sentences.append(stored[len(" ".join(sentences)) + 1 :])
    rest = [each for each in sentences if each]
    while rest:  # a message may be several sentences long
        for many in range(len(rest), 0, -1):
            head = _translated(locale, " ".join(rest[:many]), depth)
            if head is not None or many == 1:
                shown.append(rest[0] if head is None else head)
                del rest[:many]
                break
    return " ".join(shown)


def _translated(locale: Locale, sentence: str, depth: int) -> str | None:
    """A sentence that is a message; None where it is none."""
    fixed, filled = _messages()
    if sentence in fixed:
        return locale.translations.gettext(sentence)
    for message, pattern in filled:
        found = pattern.fullmatch(sentence)
        if found:
            values = {name: _value(locale, value, depth) for name, value in found.groupdict().items()}
            return locale.translations.gettext(message).format(**values)
    return None


def _value(locale: Locale, value: str, depth: int) -> str:
    """What fills a place: numbers, a phrase of ours, or a name, which stays as it is."""
    is_ours = _NUMBERS.fullmatch(value) or (" " in value and depth < DEPTH)
    return _shown(locale, value, depth + 1) if is_ours else value


def _number(written: str) -> str:
    share, bare = written.endswith("%"), written.rstrip("%")
    digits = len(bare.partition(".")[2])
    value = float(bare.replace(",", ""))
    if share:
        return locales.percent(value / 100, digits, sign=bare.startswith("+"))
    if abs(value) >= 1000 and "," not in bare:
        return written  # an id, or a year
    return locales.number(value, digits, sign=bare.startswith("+"))


@lru_cache(maxsize=1)
def _messages() -> tuple[frozenset[str], list[tuple[str, re.Pattern[str]]]]:
    """Those that may be kept: what is always the same, and what is filled in, the longest first."""
    found = [
        message.id
        for message in locales.read(SOURCE)
        if isinstance(message.id, str) and any(path.startswith(PLACES) for path, _line in message.locations)
    ]
    filled = [message for message in found if _PLACE.search(message) and _letters(message) >= _LEAST]
    filled.sort(key=_letters, reverse=True)
    return frozenset(found), [(message, _pattern(message)) for message in filled]


def _letters(message: str) -> int:
    return sum(each.isalpha() for each in _PLACE.sub("", message))


def _pattern(message: str) -> re.Pattern[str]:
    """The message with anything in its places that does not go beyond a sentence."""
    written = ""
    for at, part in enumerate(_PLACE.split(message)):
        again = f"(?P<{part}>" in written
        literal = re.escape(part.replace("{{", "{").replace("}}", "}"))
        written += literal if not at % 2 else f"(?P={part})" if again else rf"(?P<{part}>(?:(?!\. ).)+?)"
    return re.compile(written, re.DOTALL)
