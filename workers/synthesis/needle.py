"""A number hidden in a long text, by length and depth: what of its context does a model use?

The origin is ``probe``: such prompts measure. Lengths are in tokens of English, of which a word has some 1.3. The source of a
prompt says its length and depth, so that pass rates can be read by both.
"""

from __future__ import annotations

import random
from typing import Final

from workers.synthesis.protocol import Made, Order, asked

LENGTHS: Final = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000)
"""Tokens, about; the first of each round of depths is the shortest."""
DEPTHS: Final = (0, 25, 50, 75, 100)
"""Percent of the text before the needle."""
TOKENS_A_WORD: Final = 1.3
_PLACES: Final = ("harbour", "mill", "library", "market", "bridge", "orchard", "station", "observatory")
_PEOPLE: Final = ("gardener", "pilot", "baker", "teacher", "carpenter", "doctor", "sailor", "painter")
_DOES: Final = (
    "walked past the {place} before breakfast",
    "spoke with a friend about the weather",
    "looked for a lost glove near the {place}",
    "read two pages of an old book and fell asleep",
    "waited at the {place} until the rain stopped",
    "carried a basket of apples up the hill",
)
ASKED: Final = (
    "{text}\n\nWhat is the number of the locker at the {place}? End with a line that says “Answer:” and the number."
)


class Needle:
    """One hidden number a prompt."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """Each length at each depth, the lengths in turn."""
        dice = order.drawn(number)
        length = LENGTHS[number % len(LENGTHS)]
        depth = DEPTHS[number // len(LENGTHS) % len(DEPTHS)]
        place, value = dice.choice(_PLACES), dice.randint(1_000, 9_999)
        sentences = _filler(dice, length)
        sentences.insert(round(len(sentences) * depth / 100), f"The number of the locker at the {place} is {value}.")
        return Made(
            messages=asked(ASKED.format(text=" ".join(sentences), place=place)),
            capability="long context",
            source={"tokens": length, "depth": depth},
            origin="probe",
            reference=str(value),
            tests=[{"kind": "answer", "value": str(value)}],
            language="en",
        )


def _filler(dice: random.Random, tokens: int) -> list[str]:
    """Sentences without a number, of about so many tokens together."""
    found: list[str] = []
    words = 0
    while words * TOKENS_A_WORD < tokens:
        did = dice.choice(_DOES).format(place=dice.choice(_PLACES))
        sentence = f"The {dice.choice(_PEOPLE)} {did}."
        found.append(sentence)
        words += len(sentence.split())
    return found
