"""The protocol of generators: an order goes in, and for each number of it one prompt comes out.

A prompt is made by its number alone, so that an order that was interrupted goes on where it was. A number that gives no prompt
says why (:class:`Dropped`); the others are unharmed. Generators import neither ``app`` nor ``training``: what they may ask of a
model is handed to them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

Message = dict[str, Any]
Ask = Callable[[str], Awaitable[str]]
"""One question to the model that writes, and its answer."""

MOST_REASON: Final = 300


class Dropped(Exception):
    """This number gives no prompt; the message says why, in a person's words."""


class Impossible(Exception):
    """Nothing of this order can be made here; the message says why and what to do."""


class Ended(Exception):
    """There is nothing left to make a prompt of."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text that prompts are made of."""

    name: str
    text: str


async def _nobody(_: str) -> str:
    raise Impossible("This generator needs a model that writes: choose an external model.")


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        seed: With the number it decides everything that is drawn.
        documents: What prompts are made of, where the generator takes any.
        options: ``tasks`` (names) and ``languages`` (codes), where the generator takes them.
        ask: The model that writes.
    """

    seed: int = 0
    documents: tuple[Document, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    ask: Ask = _nobody

    def drawn(self, number: int) -> random.Random:
        """The dice of one prompt."""
        return random.Random(f"{self.seed}:{number}")  # noqa: S311 - repeatable on purpose


@dataclass(frozen=True, slots=True)
class Made:
    """One prompt.

    Attributes:
        messages: It ends with the user.
        capability: What it tests.
        source: What it was made of: names, places, numbers.
        origin: ``synthetic``, ``translated`` or ``probe``.
        reference: A right answer, where one is known.
        tests: What can be checked of an answer.
        language: Code of the language, where the generator knows it.
    """

    messages: list[Message]
    capability: str
    source: dict[str, Any] = field(default_factory=dict)
    origin: str = "synthetic"
    reference: str | None = None
    tests: list[dict[str, Any]] = field(default_factory=list)
    language: str | None = None


class Generator(Protocol):
    """A source of prompts. One file in this folder, and one line in the registry."""

    version: str

    async def make(self, order: Order, number: int) -> Made:
        """The prompt of that number, from 0.

        Raises:
            Dropped: there is none of this number.
            Ended: nor of any later one.
            Impossible: nor of any.
        """


def asked(text: str, system: str | None = None) -> list[Message]:
    """One question, perhaps under a system prompt."""
    before = [] if system is None else [{"role": "system", "content": system}]
    return [*before, {"role": "user", "content": text}]


def object_in(answer: str, *keys: str) -> dict[str, Any]:
    """The JSON object with these keys in what a model wrote, prose around it left out; every value is text that says something.

    Raises:
        Dropped: there is none.
    """
    decoder = json.JSONDecoder()
    for start in [found.start() for found in re.finditer(r"\{", answer[:100_000])][:200]:
        try:
            value, _ = decoder.raw_decode(answer, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and all(isinstance(value.get(key), str) and value[key].strip() for key in keys):
            return value
    raise Dropped(f"the model gave no JSON object with {', '.join(keys)}: {answer.strip()[:120] or 'nothing'}")
