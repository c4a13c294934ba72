"""Sums and word problems with their answers, of growing size: a small model solves some of them and not all."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from workers.synthesis.protocol import Made, Order, asked

ANSWER: Final = "End with a line that says “Answer:” and the number."
_NAMES: Final = ("Ana", "Ben", "Chen", "Dana", "Emeka", "Fatima", "Goran", "Hana")
_THINGS: Final = ("apples", "books", "stamps", "marbles", "tickets", "shells")

Problem = tuple[str, int, str]
"""The question, its answer, and the kind of problem."""


def _sum(dice: random.Random) -> Problem:
    numbers = [dice.randint(2, 10 ** dice.randint(1, 3)) for _ in range(dice.randint(2, 4))]
    return f"What is {' + '.join(map(str, numbers))}?", sum(numbers), "sum"


def _mixed(dice: random.Random) -> Problem:
    a, b, c = dice.randint(2, 99), dice.randint(2, 12), dice.randint(2, 99)
    return f"What is {a} + {b} × {c}?", a + b * c, "mixed"


def _difference(dice: random.Random) -> Problem:
    a, b = dice.randint(10, 999), dice.randint(2, 999)
    return f"What is {a} - {b}?", a - b, "difference"


def _shared(dice: random.Random) -> Problem:
    name, thing, people, each = dice.choice(_NAMES), dice.choice(_THINGS), dice.randint(2, 12), dice.randint(2, 20)
    said = f"{name} has {people * each} {thing} and shares them equally among {people} people. How many does each get?"
    return said, each, "shared"


def _left(dice: random.Random) -> Problem:
    name, thing = dice.choice(_NAMES), dice.choice(_THINGS)
    boxes, in_box = dice.randint(2, 12), dice.randint(3, 24)
    given = dice.randint(1, boxes * in_box - 1)
    said = f"{name} has {boxes} boxes with {in_box} {thing} in each, and gives away {given} {thing}. How many are left?"
    return said, boxes * in_box - given, "left"


_KINDS: Final[tuple[Callable[[random.Random], Problem], ...]] = (_sum, _mixed, _difference, _shared, _left)


class Arithmetic:
    """Arithmetic with whole numbers."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """One problem; kinds take turns."""
        question, answer, kind = _KINDS[number % len(_KINDS)](order.drawn(number))
        return Made(
            messages=asked(f"{question}\n\n{ANSWER}"),
            capability="maths",
            source={"kind": kind},
            reference=str(answer),
            tests=[{"kind": "answer", "value": str(answer)}],
            language="en",
        )
