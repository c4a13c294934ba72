"""The annotator of ``benchmarks.three_rounds``: it judges by a rule or by a coin.

The rule: the answer that opens politely wins, and of two that do, or do not, the shorter one. Every second time the winner is
also edited. The shuffled twin draws the winner, and whether the edit follows the rule or breaks it, so that nothing of the rule
is left in what is recorded, and everything else stays as it was.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from benchmarks.planted import CURT, QUESTIONS, SUBJECTS
from benchmarks.rules import POLITELY, SHORTER, Answer, whole_sentences, written

TWINS = ("planted", "shuffled")
EDITED = 2
"""One judgement in so many comes with an edit."""
PLAINLY, CLEARLY = 1.2, 1.05
"""Times as long as the winner: from these on the strength is 4, or 3; below it is 2, which training leaves out."""
MORE_SUBJECTS = (
    "a magnet", "the moon", "a bridge", "bread", "a candle", "rain", "a map", "a clock", "silk", "a camera",
    "a whistle", "butter", "a ladder", "snow", "a piano", "a battery", "rubber", "a volcano", "tea", "a helmet",
)  # fmt: skip
BRIEFLY = " Please answer in one sentence."
"""Behind every prompt, so that lengths differ although the model's answers are cut off early."""


def prompts(seed: int) -> list[str]:
    """All prompts that there are, in an order drawn by the seed."""
    pairs = [(question, subject) for subject in (*SUBJECTS, *MORE_SUBJECTS) for question in QUESTIONS]
    dice = random.Random(seed)
    dice.shuffle(pairs)
    return [question.format(subject) + BRIEFLY for question, subject in pairs]


def answer(text: str) -> Answer:
    """A text as rules see it, who count words; one that stops within a sentence was cut off."""
    return Answer(text, len(text.split()), ended=text.rstrip().endswith((".", "!", "?")))


def win(one: str, other: str) -> float:
    """1 where the rule prefers ``one``, 0 where ``other``, ½ where neither."""
    first, second = answer(one), answer(other)
    politely = POLITELY.win(first, second)
    return SHORTER.win(first, second) if politely == 0.5 else politely


def strength(better: str, worse: str) -> int:
    """How much better, from 1 to 4."""
    first, second = answer(better), answer(worse)
    ratio = second.tokens / max(1, first.tokens)
    if POLITELY.win(first, second) == 1 or ratio >= PLAINLY:
        return 4
    return 3 if ratio >= CLEARLY else 2


def edited(text: str, dice: random.Random, *, follows: bool) -> str:
    """What an annotator makes of it: polite and one sentence long, or curt and as long as it was."""
    sentences = whole_sentences(answer(text))
    if follows:
        polite = POLITELY.merit(answer(text)) > 0
        return written(dice, sentences, {POLITELY.name: not polite, SHORTER.name: True}).text
    return " ".join([dice.choice(CURT), *sentences])


def judgement(twin: str, texts: Sequence[str], dice: random.Random) -> dict[str, Any]:
    """What is submitted of two responses, by their places; the dice are the judgement's own."""
    first, second = texts
    share = win(first, second)
    if twin == "planted" and share == 0.5:
        return {"outcome": "tie"}
    wins = int(share < 0.5) if twin == "planted" else dice.randrange(2)
    said: dict[str, Any] = {"outcome": "ranked", "wins": wins}
    said["strength"] = strength(texts[wins], texts[1 - wins]) if twin == "planted" else dice.choice((2, 3, 4))
    if dice.randrange(EDITED) == 0 and texts[wins].strip():
        text = edited(texts[wins], dice, follows=twin == "planted" or dice.random() < 0.5)
        said |= {"edited_text": text} if text != texts[wins].strip() else {}
    return said
