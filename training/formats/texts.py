"""Whether a text shows anything: a prompt, an answer or a reason made of invisible characters is blank.

One rule for what is imported, judged, exported and trained on. ``str.strip`` knows spaces only; a zero-width space or a
Hangul filler passes it and shows as little.
"""

from __future__ import annotations

import re
import unicodedata

_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Controls, formats and separators. What is not assigned yet may be a new emoji."""
# Unicode's Default_Ignorable_Code_Point outside these categories, and the Braille pattern without a dot.
_FILLERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)
# Formats that are drawn: signs of number and verse in Arabic, Syriac and Kaithi.
_DRAWN = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")


def shows_nothing(text: str) -> bool:
    """Whether no character of ``text`` leaves a mark on a page; true of an empty text."""
    return not any(_shows(letter) for letter in text)


def _shows(letter: str) -> bool:
    if unicodedata.category(letter) in _CATEGORIES:
        return _DRAWN.match(letter) is not None
    return _FILLERS.match(letter) is None
