"""What changed between two texts, word by word, as markup that can only be read: ``ins`` and ``del`` around escaped text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from markupsafe import Markup, escape

_WORDS = re.compile(r"\s*\S+|\s+")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
COMPARED = 1_000_000
"""Pairs of words beyond which two passages are shown as a whole, one struck out and one put in: comparing costs their product."""


def word_diff(before: str, after: str) -> Markup:
    """``after`` with what was put in and what was taken out of ``before`` marked; lines first, then words in changed lines."""
    return Markup("").join(_marked(kind, text) for kind, text in _parts(before, after))


def _parts(before: str, after: str) -> Iterator[tuple[str, str]]:
    for kind, old, new in _blocks(_LINES.findall(before), _LINES.findall(after)):
        if kind == "equal":
            yield "equal", new
        else:
            yield from _words(old, new)


def _words(before: str, after: str) -> Iterator[tuple[str, str]]:
    for kind, old, new in _blocks(_WORDS.findall(before), _WORDS.findall(after)):
        if kind == "equal":
            yield "equal", new
        else:
            yield "del", old
            yield "ins", new


def _blocks(before: list[str], after: list[str]) -> Iterator[tuple[str, str, str]]:
    if len(before) * len(after) > COMPARED:
        yield "replace", "".join(before), "".join(after)
        return
    for kind, start, end, new_start, new_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        yield kind, "".join(before[start:end]), "".join(after[new_start:new_end])


def _marked(kind: str, text: str) -> Markup:
    if not text:
        return Markup("")
    if kind == "equal":
        return escape(text)
    return Markup("<del>{}</del>").format(text) if kind == "del" else Markup("<ins>{}</ins>").format(text)
