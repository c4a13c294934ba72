"""What changed between two texts, word by word, as markup that can only be read: ``ins`` and ``del`` around escaped text.

The editor compares while somebody types, in static/js/word-diff.js, by the same rules; both are tested with tests/js/words.json.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache

from markupsafe import Markup, escape

COMPARED = 1_000_000
"""Pairs of words beyond which two passages are shown as a whole, one struck out and one put in: comparing costs their product."""
KEPT = 0.25
"""Share of the shorter passage that has to stay for a change to be shown in pieces: below it is written anew."""
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Myanmar, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"  # Han and kana
    "\U00020000-\U0003ffff"
)
"""Scripts that write no spaces between words, where each letter is compared by itself."""
_LINES = re.compile(r"[^\n]*\n|[^\n]+")

Change = tuple[str, str, bool]
"""What was there, what is there, and whether they are the same."""


def word_diff(before: str, after: str) -> Markup:
    """``after`` with what was put in and what was taken out of ``before`` marked; lines first, then words in changed lines."""
    return Markup("").join(_marked(*change) for change in changes(before, after))


def changes(before: str, after: str) -> Iterator[Change]:
    """The passages of two texts, in order."""
    for old, new, same in _blocks(_LINES.findall(before), _LINES.findall(after)):
        if same:
            yield old, new, True
        else:
            yield from readable(_in_words(old, new))


def _in_words(old: str, new: str) -> list[Change]:
    """The first word has no space before it, and one when something is put before it: it gets one to be compared with."""
    left, right = _lead(old), _lead(new)  # what was added, and is taken off the first words again
    found: list[Change] = []
    for before, after, same in _blocks(words(left + old), words(right + new)):
        found.append((before.removeprefix(left), after.removeprefix(right), same))
        left, right = "" if before else left, "" if after else right
    return found


def _lead(text: str) -> str:
    return "" if re.match(rf"$|\s|[{UNSPACED}]", text) else " "


def words(text: str) -> list[str]:
    """Words, letters of scripts without spaces, and signs, each with the space before it; joined they are ``text``."""
    found: list[str] = _pattern().findall(text)
    return found


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    marks = _ranges([code for code in range(0x300, sys.maxunicode) if unicodedata.category(chr(code))[0] == "M"])
    joining = f"{marks}\u200c\u200d"
    letter = rf"(?![{UNSPACED}])[\w{joining}]"
    return re.compile(rf"\s*(?:[{UNSPACED}][{joining}]*|{letter}+(?:['’]{letter}+)*|[^\s\w][{joining}]*)|\s+")


def _ranges(codes: list[int]) -> str:
    """``codes``, which ascend, as ranges of a character class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)


def readable(parts: list[Change]) -> list[Change]:
    """Changes with nothing between them but what is shorter than they are on both sides put together, a rewrite as a whole."""
    joined: list[Change] = []
    for part in parts:
        joined.append(part)
        if len(joined) > 1 and not joined[-2][2] and _is_signs(part[0]):
            joined[-2:] = [_together(joined[-2:])]
        while len(joined) >= 3 and _is_crumb(*joined[-3:]):
            joined[-3:] = [_together(joined[-3:])]
    old, new, _ = _together(joined)
    kept = sum(_size(each) for each, _, same in joined if same)
    if kept < KEPT * min(_size(old), _size(new)):
        return [(old, new, False)]
    return joined


def _is_signs(text: str) -> bool:
    """Whether ``text`` has signs and no word: a full stop belongs to the word before it."""
    return bool(_size(text)) and not any(sign.isalnum() for sign in text)


def _is_crumb(first: Change, between: Change, last: Change) -> bool:
    if not between[2] or first[2] or last[2]:
        return False
    return _size(between[0]) <= min(max(_size(first[0]), _size(first[1])), max(_size(last[0]), _size(last[1])))


def _together(parts: list[Change]) -> Change:
    return "".join(old for old, _, _ in parts), "".join(new for _, new, _ in parts), False


def _size(text: str) -> int:
    """Characters that are no space."""
    return len("".join(text.split()))


def _blocks(before: list[str], after: list[str]) -> Iterator[Change]:
    if len(before) * len(after) > COMPARED:
        yield "".join(before), "".join(after), False
        return
    for kind, start, end, new_start, new_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        yield "".join(before[start:end]), "".join(after[new_start:new_end]), kind == "equal"


def _marked(old: str, new: str, same: bool) -> Markup:  # noqa: FBT001 - a part as it is
    if same:
        return escape(new)
    removed = Markup("<del>{}</del>").format(old) if old else Markup("")
    return removed + (Markup("<ins>{}</ins>").format(new) if new else Markup(""))
