"""Whether the arithmetic that a response writes down holds, line by line, without a model and without an answer.

Every equation of plain numbers is computed exactly; a result that is rounded is right as far as it is written. What has
letters in it, or cannot be computed, is not an equation here. Test: ``{"kind": "steps"}``; with ``"required": true`` a response
without any equation fails instead of being null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

from workers.verifiers.maths.arithmetic import value
from workers.verifiers.maths.numerals import NUMBER_PATTERN, Style, seen
from workers.verifiers.maths.plain import LONGEST, plain
from workers.verifiers.protocol import Case, Finding, unchecked

_MOST_LINES: Final = 2000
_LONGEST_LINE: Final = 2000
LABEL: Final = "§"
"""Stands for words that were left out, so that "8 degrees = 2 - 8" is not read as an equation."""
_NUMBER: Final = rf"(?:\\frac\{{\d{{1,12}}\}}\{{\d{{1,12}}\}}|\d{{1,4}} \d{{1,3}}/\d{{1,3}}(?!\d)|{NUMBER_PATTERN})"
_OPERAND: Final = (
    rf"[$€£¥(\s]{{0,6}}-?[$€£¥(\s]{{0,6}}{_NUMBER}(?:\s?[%€£¥])?(?:\s?\^\s?\{{?\d{{1,2}}\}}?)?(?:[)\s]|{LABEL}){{0,6}}"
)
_SIDE: Final = rf"{_OPERAND}(?:(?:[-+*/x]|(?=\()){_OPERAND}){{0,40}}"
_CHAIN: Final = re.compile(
    rf"(?<![\d\w.,^}}*/+<>-])({_SIDE}(?:[=≈]{_SIDE}){{1,8}})"
    r"(?![\d_]|[a-z]\b|[.,]\d|\s?[*^]|\s?[-+/]\s?(?:[\d$(.]|[a-z]\b)|\s?\(\s?\d)"
)
_AMID: Final = re.compile(r"(?:(?:(?<![^\W\d_])[-+*/^]|\bx)\s*(?:[^\W\d_]+\s+){0,3}|[\d)}]\s*)$")
"""What stands before an equation that is only the end of a longer one."""
_EQUALS: Final = re.compile("[=≈＝]")
_ANNOTATION: Final = re.compile(r"<<[^<>\n]{0,200}>>")
_UNITS: Final = re.compile(
    r"(?<=[\d)%])(?: ?/ ?[^\W\d_]{2,}| ?(?!x\b)[^\W\d_]{2,}\.?| [a-wyz](?= [^\W\d_]))"
    r"(?: ?/ ?[^\W\d_]{2,}| (?!x\b)[^\W\d_]+(?:['-][^\W\d_]+)?){0,6}(?=\s*(?:[-+*/=)]|x\s))"
)
"""Words between a number and the next sign: "5 apples each * 3"."""
_OPERATED: Final = re.compile(rf"[\d)%{LABEL}]\s*[-+*/x]\s*[($€£¥\d\\.-]|\\frac|\^|\d\(|\d \d")


@dataclass(frozen=True, slots=True)
class WrongStep:
    """An equation that does not hold: its line, counted from 1, and what its two sides come to."""

    line: int
    equation: str
    left: Fraction
    right: Fraction


class Steps:
    """Whether every equation of the response holds."""

    name = "steps"
    version = "1"
    limit_s = 4.0

    def applies(self, case: Case) -> bool:
        """A ``steps`` test."""
        return bool(case.tests_of("steps"))

    def check(self, case: Case) -> Finding:
        """The first wrong equation, and the share of lines with equations before and beside it that are right."""
        checked, wrong = wrong_steps(case.response)
        if not checked:
            if any(test.get("required") is True for test in case.tests_of("steps")):
                return Finding(self.name, self.version, False, "No equation is written down")
            return unchecked(self, "No equation of plain numbers is written down")
        lines = {step.line for step in wrong}
        evidence = {
            "equations": checked,
            "wrong": [
                {"line": step.line, "equation": step.equation, "left": _text(step.left), "right": _text(step.right)}
                for step in wrong[:20]
            ],
        }
        if not wrong:
            return Finding(self.name, self.version, True, f"{_counted(checked)}, all right", 1.0, evidence)
        first = wrong[0]
        message = f"Line {first.line}: {first.equation} does not hold, the left side is {_text(first.left)}"
        return Finding(self.name, self.version, False, message, 1 - min(len(lines), checked) / checked, evidence)


def wrong_steps(response: str) -> tuple[int, list[WrongStep]]:
    """How many equations of plain numbers the lines hold, and those that are wrong."""
    checked, wrong = 0, []
    shown = seen(response[-20_000:])
    styles = [shown] if shown is not None else [Style.DOT, Style.COMMA]
    for number, line in enumerate(response.splitlines()[:_MOST_LINES], start=1):
        if not _EQUALS.search(line):
            continue
        for left, right in _equations(_readable(line)):
            pairs = [(value(_bare(left), style), value(_bare(right), style)) for style in styles]
            sides = [(one, other) for one, other in pairs if one is not None and other is not None]
            checked += bool(sides)
            if sides and not any(_holds(left, one, right, other) for one, other in sides):
                wrong.append(WrongStep(number, f"{_shown(left)} = {_shown(right)}", *sides[0]))
    return checked, wrong


def _equations(line: str) -> Iterator[tuple[str, str]]:
    """The neighbouring sides of every chain of equations in which something is computed."""
    for chain in _CHAIN.finditer(line):
        before = line[: chain.start()][-200:]
        if (
            len(chain[1]) > LONGEST
            or _AMID.search(before)
            or (chain[1].lstrip()[:1] == "-" and before[-2:].strip().isalnum())
        ):
            continue
        for index, (left, right) in enumerate(pairwise(_EQUALS.split(chain[1]))):
            if _OPERATED.search(left) or (LABEL not in left and (index or _OPERATED.search(right))):
                yield left.strip(), right.strip()


def _readable(line: str) -> str:
    """The line in plain text, with signs of currency and percent, but without units."""
    line = _ANNOTATION.sub("", line[:_LONGEST_LINE]).replace(LABEL, " ")
    line = re.sub(r"\$(?!\s?[\d.-])|\*\*|[`_]", " ", plain(line))
    return _UNITS.sub(LABEL, line)


def _bare(side: str) -> str:
    return re.sub(f"[$€£¥{LABEL}]", "", side).strip()


def _shown(side: str) -> str:
    return " ".join(side.replace(LABEL, "").split())


def _holds(left: str, one: Fraction, right: str, other: Fraction) -> bool:
    """Whether two sides are equal, or one is the other as far as its decimals go."""
    if ("%" in left) != ("%" in right):  # "18 / 450 * 100 = 4%", "100 - 60 = 40%"
        shares = value(_bare(left).replace("%", "")), value(_bare(right).replace("%", ""))
        if (
            shares[0] is not None
            and shares[1] is not None
            and _holds(left.replace("%", ""), shares[0], right.replace("%", ""), shares[1])
        ):
            return True
    return one == other or _is_rounded(left, one, right, other) or _is_rounded(right, other, left, one)


def _is_rounded(computed: str, exact: Fraction, said: str, value: Fraction) -> bool:
    """Whether ``said`` is one number, and the other side rounded up, down or to the nearest at the places that it shows.

    To a whole number only quotients are rounded.
    """
    if exact.denominator == 1 or not re.fullmatch(rf"[\s($€£¥-]*{NUMBER_PATTERN}[\s)%{LABEL}]*", said):
        return False
    decimals = re.search(r"[.,٫](\d+)", said)
    places = (len(decimals[1]) if decimals is not None else 0) + 2 * ("%" in said)
    if places:
        return abs(exact - value) < Fraction(1, 10**places)
    return abs(exact) >= 1 and bool(re.search(r"/|frac", computed)) and abs(exact - value) <= Fraction(1, 2)


def _counted(equations: int) -> str:
    return "1 equation" if equations == 1 else f"{equations} equations"


def _text(number: Fraction) -> str:
    if number.denominator == 1:
        return str(number.numerator)[:60]
    return f"{float(number):.6g}" if abs(number) < 10**300 else "too large to write"
