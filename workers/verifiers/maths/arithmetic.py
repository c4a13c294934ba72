"""The exact value of plain arithmetic: a small parser over rationals, without eval and bounded in everything."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from workers.verifiers.maths.numerals import NUMBER_PATTERN, Style, readings
from workers.verifiers.maths.plain import LONGEST

_MOST_BITS: Final = 4096
_DEEPEST: Final = 40
_FRACTION: Final = "\\frac"
_TOKEN: Final = re.compile(rf"\s*(?:(?P<number>{NUMBER_PATTERN})|(?P<sign>\\frac|[-+*/^(){{}}%x]))")


class NotArithmetic(ValueError):
    """The text is no plain arithmetic, or too large to compute."""


def value(text: str, style: Style = Style.DOT) -> Fraction | None:
    r"""The exact value of plain text such as ``(3 + 4) * 2``, ``\frac{3}{4}``, ``1 3/4``, ``1.8 * 10^{3}``, ``5%``; else None.

    A number with two readings in this style has its first here.
    """
    if len(text) > LONGEST:
        return None
    try:
        parser = _Parser(text, style)
        found = parser.sum(0)
        return found if parser.at_end() else None
    except (NotArithmetic, ZeroDivisionError):
        return None


class _Parser:
    def __init__(self, text: str, style: Style) -> None:
        self._tokens: list[str | Fraction] = []
        self._whole: list[bool] = []
        self._at = 0
        position = 0
        text = text.strip()
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                raise NotArithmetic(text[position:])
            number = token["number"]
            self._tokens.append(token["sign"].replace("x", "*") if number is None else _only(number, style))
            self._whole.append(number is not None and number.isdigit())
            position = token.end()

    def at_end(self) -> bool:
        return self._at == len(self._tokens)

    def sum(self, depth: int) -> Fraction:
        if depth > _DEEPEST:
            raise NotArithmetic("too deep")
        total = self._product(depth)
        while (sign := self._next("+", "-")) is not None:
            part = self._product(depth)
            total = _small(total + part if sign == "+" else total - part)
        return total

    def _product(self, depth: int) -> Fraction:
        total = self._signed(depth)
        while True:
            sign = self._next("*", "/")
            if sign is None and (self.at_end() or self._tokens[self._at] != "("):  # 2(3 + 4)
                return total
            part = self._signed(depth)
            total = _small(total / part if sign == "/" else total * part)

    def _signed(self, depth: int) -> Fraction:
        if depth > _DEEPEST:
            raise NotArithmetic("too deep")
        if (sign := self._next("-", "+")) is not None:
            found = self._signed(depth + 1)
            return -found if sign == "-" else found
        return self._power(depth)

    def _power(self, depth: int) -> Fraction:
        base = self._atom(depth)
        if self._next("^") is not None:
            exponent = self._signed(depth + 1)
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if exponent.denominator != 1 or abs(exponent) * bits > _MOST_BITS:
                raise NotArithmetic("power")
            base = base ** int(exponent)
        while self._next("%") is not None:
            base = base / 100
        return base

    def _atom(self, depth: int) -> Fraction:
        if self.at_end():
            raise NotArithmetic("ends early")
        token, whole = self._tokens[self._at], self._whole[self._at]
        self._at += 1
        if isinstance(token, Fraction):
            return token + self._fraction_behind(depth) if whole else token
        if token == _FRACTION:
            above, below = self._digits_or_group(depth), self._digits_or_group(depth)
            return _small(above / below)
        closing = {"(": ")", "{": "}"}.get(token)
        if closing is None:
            raise NotArithmetic(token)
        found = self.sum(depth + 1)
        if self._next(closing) is None:
            raise NotArithmetic("not closed")
        return found

    def _fraction_behind(self, depth: int) -> Fraction:
        r"""The fraction of a mixed number, "1 3/4" and "1\frac{3}{4}"; 0 where none follows."""
        rest = self._tokens[self._at : self._at + 3]
        if rest[:1] == [_FRACTION]:
            return self._atom(depth)
        if len(rest) == 3 and rest[1] == "/" and self._whole[self._at] and self._whole[self._at + 2]:
            above, below = rest[0], rest[2]
            if isinstance(above, Fraction) and isinstance(below, Fraction) and 0 < above < below:
                self._at += 3
                return above / below
        return Fraction(0)

    def _digits_or_group(self, depth: int) -> Fraction:
        r"""What stands after ``\frac``: a group in braces, or one digit of a number such as ``\frac34``."""
        if self.at_end():
            raise NotArithmetic("ends early")
        token = self._tokens[self._at]
        if isinstance(token, Fraction) and self._whole[self._at] and token >= 10:
            first, rest = divmod(int(token), 10)
            if first >= 10:
                raise NotArithmetic("\\frac")
            self._tokens[self._at] = Fraction(rest)
            return Fraction(first)
        return self._atom(depth + 1)

    def _next(self, *signs: str) -> str | None:
        token = None if self.at_end() else self._tokens[self._at]
        if isinstance(token, str) and token in signs:
            self._at += 1
            return token
        return None


def _only(number: str, style: Style) -> Fraction:
    found = readings(number, style)
    if not found:
        raise NotArithmetic("too long")
    return max(found)


def _small(found: Fraction) -> Fraction:
    if max(found.numerator.bit_length(), found.denominator.bit_length()) > _MOST_BITS:
        raise NotArithmetic("too large")
    return found
