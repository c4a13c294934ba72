"""Everyday questions with rules for the form of the answer, in the system prompt or the question; a program checks each."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from workers.synthesis.protocol import Made, Order, asked

_TOPICS: Final = (
    "how to boil an egg",
    "why the sky is blue",
    "what to pack for a day of hiking",
    "how a bicycle stays upright",
    "what a library is for",
    "how to write a polite letter of complaint",
    "how bread rises",
    "how to learn a new language",
    "why cats purr",
    "how to plant a tree",
    "what makes a good team",
    "how rain forms",
    "how to keep houseplants alive",
    "what a budget is",
    "how to prepare for a job interview",
    "why people dream",
)
_OPENINGS: Final = ("Explain {}.", "Tell me {}.", "Write a short text about {}.", "A child asks {}. What do you say?")
_WORDS: Final = ("water", "time", "simple", "because", "small", "light", "people", "first")
_ENDS: Final = ("That is all.", "I hope this helps.", "Is there anything else?")

Rule = tuple[str, str, dict[str, Any]]
"""The sentence that says it, the id of the instruction, and what it names."""


def _words(dice: random.Random) -> Rule:
    least = dice.randrange(20, 90, 10)
    if dice.random() < 0.5:
        named = {"num_words": least, "relation": "at least"}
        return f"Use at least {least} words.", "length_constraints:number_words", named
    return (
        f"Use fewer than {least} words.",
        "length_constraints:number_words",
        {"num_words": least, "relation": "less than"},
    )


def _sentences(dice: random.Random) -> Rule:
    least = dice.randint(2, 5)
    named = {"num_sentences": least, "relation": "at least"}
    return f"Write at least {least} sentences.", "length_constraints:number_sentences", named


def _bullets(dice: random.Random) -> Rule:
    count = dice.randint(2, 5)
    said = f"Give exactly {count} bullet points, each on a line that begins with “* ”."
    return said, "detectable_format:number_bullet_lists", {"num_bullets": count}


def _keyword(dice: random.Random) -> Rule:
    word = dice.choice(_WORDS)
    return f"Use the word “{word}”.", "keywords:existence", {"keywords": [word]}


def _forbidden(dice: random.Random) -> Rule:
    word = dice.choice(_WORDS)
    return f"Do not use the word “{word}”.", "keywords:forbidden_words", {"forbidden_words": [word]}


def _commas(_: random.Random) -> Rule:
    return "Do not use any commas.", "punctuation:no_comma", {}


def _small(_: random.Random) -> Rule:
    return "Write in lower-case English letters only.", "change_case:english_lowercase", {}


def _capitals(_: random.Random) -> Rule:
    return "Write in capital English letters only.", "change_case:english_capital", {}


def _title(_: random.Random) -> Rule:
    return "Give the answer a title in double angular brackets, such as <<title>>.", "detectable_format:title", {}


def _ending(dice: random.Random) -> Rule:
    end = dice.choice(_ENDS)
    return f"End with the exact sentence “{end}” and nothing after it.", "startend:end_checker", {"end_phrase": end}


def _quoted(_: random.Random) -> Rule:
    return "Put the whole answer in double quotation marks.", "startend:quotation", {}


_RULES: Final[tuple[Callable[[random.Random], Rule], ...]] = (
    _words,
    _sentences,
    _bullets,
    _keyword,
    _forbidden,
    _commas,
    _small,
    _capitals,
    _title,
    _ending,
    _quoted,
)
_APART: Final = (
    {_small, _capitals},
    {_small, _ending},
    {_capitals, _ending},
    {_keyword, _forbidden},
    {_title, _bullets, _quoted},
    {_quoted, _ending},
)
"""Rules that may contradict one another: one prompt has one of them at most."""
MOST_RULES: Final = 3


class FormatRules:
    """A question with one to three rules."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """One question; in every other prompt the rules stand in the system prompt."""
        dice = order.drawn(number)
        rules = [rule(dice) for rule in self._chosen(dice, 1 + number % MOST_RULES)]
        question = dice.choice(_OPENINGS).format(dice.choice(_TOPICS))
        said = " ".join(sentence for sentence, _, _ in rules)
        as_system = bool(number % 2)
        messages = asked(question, said) if as_system else asked(f"{question} {said}")
        ids, kwargs = [each for _, each, _ in rules], [named for _, _, named in rules]
        return Made(
            messages=messages,
            capability="instruction following",
            source={"rules": ids, "in": "system" if as_system else "question"},
            tests=[{"kind": "instructions", "ids": ids, "kwargs": kwargs}],
            language="en",
        )

    def _chosen(self, dice: random.Random, count: int) -> list[Callable[[random.Random], Rule]]:
        chosen: list[Callable[[random.Random], Rule]] = []
        for rule in dice.sample(_RULES, len(_RULES)):
            together = {*chosen, rule}
            if len(chosen) < count and not any(len(apart & together) > 1 for apart in _APART):
                chosen.append(rule)
        return chosen
