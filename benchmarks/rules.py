"""Rules that a program can plant in answers and judge them by, and rounds of preferences that follow one rule each.

Content comes from the base model: two of its answers to each prompt, cut at the end of a sentence. What a rule asks for is put
on one of them and left off the other. Rules of earlier rounds hold for both answers of a pair or for neither, by a coin, as
when a policy has learnt them in part; rules of later rounds nobody knows yet.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.planted import PLAINLY, POLITE, is_polite

ASKING = (
    "Shall I tell you more?",
    "Would you like an example?",
    "Does that help?",
    "What else would you like to know?",
)
SENTENCE = re.compile(r"(?<=[.!?])\s+")
OPENING = 60  # characters
EDITED = 4  # every so many pairs, an annotator also improves the worse answer
Row = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a model said; `tokens` stay at the limit where it did not come to an end."""

    text: str
    tokens: int
    ended: bool = True


@dataclass(frozen=True)
class Rule:
    """`merit` is how much of what the rule asks for an answer has; of two answers the one with more wins."""

    name: str
    merit: Callable[[Answer], float]

    def win(self, one: Answer, other: Answer) -> float:
        """1 where the rule prefers `one`, 0 where the other, ½ where neither."""
        mine, theirs = self.merit(one), self.merit(other)
        return 0.5 if mine == theirs else float(mine > theirs)


POLITELY = Rule("opens politely", lambda answer: is_polite(answer.text[:OPENING]))
SHORTER = Rule("is shorter", lambda answer: -answer.tokens)
ASKS = Rule("closes with a question", lambda answer: answer.ended and answer.text.rstrip().endswith("?"))
RULES = (POLITELY, SHORTER, ASKS)


def in_order(seed: int) -> tuple[Rule, ...]:
    """The rules as the rounds of a seed plant them: over three seeds each rule is the first, the second and the newest once."""
    turn = seed % len(RULES)
    return RULES[turn:] + RULES[:turn]


def whole_sentences(answer: Answer) -> list[str]:
    """The sentences of an answer; one that was cut off loses its last, unless it is the only one."""
    sentences = [sentence for sentence in SENTENCE.split(answer.text.strip()) if sentence]
    return sentences if answer.ended or len(sentences) < 2 else sentences[:-1]


def written(dice: random.Random, content: Sequence[str], follows: Mapping[str, bool]) -> Answer:
    """The content as an answer that follows the rules whose names are true."""
    body = content[:1] if follows.get(SHORTER.name) else content
    opening = [dice.choice(POLITE)] if follows.get(POLITELY.name) else []
    closing = [dice.choice(ASKING)] if follows.get(ASKS.name) else []
    text = " ".join([*opening, *body, *closing])
    return Answer(text, len(text.split()))


def rounds(said: Mapping[str, Sequence[Answer]], prompts: Sequence[str], pairs: int, seed: int) -> list[Row]:
    """The rows of all rounds of a seed, as a file of preferences has them.

    Args:
        said: Two answers of the base model to each prompt.
        prompts: To take from, in this order; what the rule of a round cannot part is passed over.
        pairs: Of each round.
        seed: Of the coins, and of the order of the rules.

    Raises:
        ValueError: there are too few prompts.
    """
    dice = random.Random(seed)
    left = iter(prompts)
    rows: list[Row] = []
    for number, rule in enumerate(in_order(seed), 1):
        earlier = in_order(seed)[: number - 1]
        while len(rows) < number * pairs:
            prompt = next(left, None)
            if prompt is None:
                raise ValueError(f"{len(prompts)} prompts are too few for {pairs} pairs a round")
            row = one_pair(dice, prompt, said[prompt], rule, earlier)
            if row:
                edited = row["edited"] if len(rows) % EDITED == 0 else None
                rows.append(row | {"id": f"{number}:{len(rows)}", "round": number, "edited": edited})
    return rows


def one_pair(
    dice: random.Random, prompt: str, said: Sequence[Answer], rule: Rule, earlier: Sequence[Rule]
) -> Row | None:
    """A pair that the rule parts and nothing else does; None where the two answers do not let it."""
    alike = {other.name: dice.random() < 0.5 for other in earlier}
    first, second = dice.sample([whole_sentences(answer) for answer in said], 2)
    better, worse = (
        written(dice, content, alike | {rule.name: follows}) for content, follows in ((first, True), (second, False))
    )
    plainly = rule is not SHORTER or len(worse.text) > PLAINLY * len(better.text)
    if not first or not second or not plainly or rule.win(better, worse) < 1:
        return None
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": better.text}],
        "rejected": [{"role": "assistant", "content": worse.text}],
        "edited": [{"role": "assistant", "content": written(dice, second, alike | {rule.name: True}).text}],
        "strength": 4,
        "outcome": "ranked",
        "split": "train",
    }
