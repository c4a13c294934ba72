"""Answers that are no plain numbers: equal by math-verify, where they are small enough to be looked at.

math-verify parses LaTeX with a grammar and simplifies with sympy, which may take for ever: its own time-outs are signals,
which raise in threads, so they stay off, what is plainly too large is refused here, and the process around ends the rest.
Its reader of bare expressions is never asked, because that one runs what it reads as Python.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from workers.verifiers.maths.plain import LONGEST

_CLOSED_FORMS: Final = (
    "cdot frac sqrt pi sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp lg infty cup cap in notin pm mp le "
    "ge leq geq ne neq lt gt begin end text mathbb emptyset varnothing alpha beta gamma delta theta lambda mu sigma phi "
    "omega binom lfloor rfloor lceil rceil overline vec hat mid setminus to lvert rvert vert ldots dots"
)
KNOWN: Final = frozenset(_CLOSED_FORMS.split())
"""LaTeX commands of closed forms. An integral, a limit or a sum that is not evaluated is a question, not an answer."""
_COMMAND: Final = re.compile(r"\\([a-zA-Z]+)")
_DEEPEST: Final = 12
_MOST_DIGITS: Final = 30
_MOST_EXPONENT: Final = 1000
_MOST_EXPANDED: Final = 12
_POWER: Final = re.compile(r"\^\s*(?:\{([^{}]*)\}|(\w))")
_EXPANDS: Final = re.compile(r"[)\]}]\s*\^\s*\{?\s*(\d+)")


class TooMuch(ValueError):
    """The expression is not compared; the message says why."""


def same(found: str, wanted: str) -> bool | None:
    """Whether two answers in plain LaTeX are the same; None where one of them cannot be read.

    Raises:
        TooMuch: one of them is too large, or holds what is no closed form.
    """
    for each in (found, wanted):
        _refuse_too_much(each)
    from math_verify import LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    sides = [
        parse(rf"$\boxed{{{each}}}$", [LatexExtractionConfig(boxed_match_priority=0)], parsing_timeout=None)
        for each in (wanted, found)
    ]
    if not all(sides) or any(not side or isinstance(side[0], str) for side in sides):
        return None
    return bool(verify(sides[0], sides[1], timeout_seconds=None))


def _refuse_too_much(text: str) -> None:
    unknown = sorted(set(_COMMAND.findall(text)) - KNOWN)
    if unknown:
        raise TooMuch(f"\\{unknown[0]} is not compared")
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    numbers = [int(number) for number in re.findall(r"\d{1,40}", text)]
    exponents = [one or other for one, other in _POWER.findall(text)]
    large = (
        len(text) > LONGEST
        or deepest > _DEEPEST
        or any(len(number) > _MOST_DIGITS for number in re.findall(r"\d+", text))
        or any("^" in exponent or "!" in exponent for exponent in exponents)
        or re.search(r"\^\s*\{[^{}]*(?:\{|\^)|\^\s*\w\s*\^", text)
        or any(int(exponent) > _MOST_EXPONENT for exponent in exponents if exponent.strip().isdigit())
        or any(int(exponent) > _MOST_EXPANDED for exponent in _EXPANDS.findall(text))
        or re.search(r"[)\]}]\s*!|!.*!", text)
        or (re.search(r"!|\\binom", text) and max(numbers, default=0) > 100)
    )
    if large:
        raise TooMuch(
            f"{text[:40]}… is too large to be computed" if len(text) > 40 else f"{text} is too large to be computed"
        )
