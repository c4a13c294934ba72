"""How numbers are written: which separator groups digits and which begins the decimals, in several languages.

"1.234" is a thousand and more in German and one and a quarter in English. One that has both readings keeps both where the
text does not decide.
"""

from __future__ import annotations

import re
from enum import Enum
from fractions import Fraction
from typing import Final

from workers.verifiers.maths.plain import LONGEST

NUMBER_PATTERN: Final = (
    r"(?:\d{1,3}(?:['٬_]\d{3})+(?:[.,٫]\d+)?"  # 1'234.5, 1٬234٫5, 1_234
    r"|\d{1,3}(?: \d{3})+(?!\d)(?:[.,٫]\d+)?"  # 1 234,5
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)(?:\.\d+)?"  # 12,34,567
    r"|\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?"
    r"|\d{1,3}(?:\.\d{3})+(?!\d)(?:,\d+)?"
    r"|\d+(?:[.,٫]\d+)?"
    r"|[.]\d+"
    r")(?![\d_])"
)
NUMBER: Final = re.compile(r"(?<![\w.,'])" + NUMBER_PATTERN)
"""One number without its sign, in plain text."""
_AMBIGUOUS: Final = re.compile(r"([1-9]\d{0,2})[.,](\d{3})")
_COMMA_SEEN: Final = re.compile(r"\d,\d{1,2}(?![\d,])|\d\.\d{3},\d|\d\.\d{3}\.\d{3}|\d,\d{4,}")
_DOT_SEEN: Final = re.compile(r"\d\.\d{1,2}(?![\d.])|\d,\d{3}\.\d|\d,\d{3},\d{3}|\d\.\d{4,}")
_COMMA: Final = (
    "af az be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk lt lv mk nb nl nn no pl pt ro ru sk sl sq sr "
    "sv tr uk uz vi"
)
COMMA_LANGUAGES: Final = frozenset(_COMMA.split())
"""Languages whose decimals begin with a comma."""


class Style(Enum):
    """Which separator begins the decimals of a text."""

    DOT = "dot"
    COMMA = "comma"
    LIKELY_COMMA = "likely comma"
    """The language has it, but people and models write such texts with the English point, too."""


def seen(text: str) -> Style | None:
    """The style that the unambiguous numbers of a text show; None where they show none, or both."""
    comma, dot = bool(_COMMA_SEEN.search(text)), bool(_DOT_SEEN.search(text))
    return None if comma == dot else Style.COMMA if comma else Style.DOT


def ambiguous(number: str) -> bool:
    """Whether it depends on the style what this number is."""
    return _AMBIGUOUS.fullmatch(number) is not None


def readings(number: str, style: Style) -> frozenset[Fraction]:
    """The values that a number without a sign may have: one, two where the style leaves it open, none where it is too long."""
    if len(number) > LONGEST:
        return frozenset()
    found = _AMBIGUOUS.fullmatch(number)
    if found is None:
        return frozenset({_value(number)})
    grouped, decimal = Fraction(found[1] + found[2]), Fraction(f"{found[1]}.{found[2]}")
    if style is Style.LIKELY_COMMA:
        return frozenset({grouped} if found[2] == "000" else {grouped, decimal})
    groups = "," if style is Style.DOT else "."
    return frozenset({grouped if groups in number else decimal})


def _value(number: str) -> Fraction:
    """The value of a number that is written so in one style only."""
    number = re.sub("['٬_ ]", "", number).replace("٫", ".")
    last = max(number.rfind("."), number.rfind(","))
    if last < 0:
        return Fraction(number)
    several = number.count(number[last]) > 1
    whole, decimals = (number, "") if several else (number[:last], number[last + 1 :])
    return Fraction((re.sub("[.,]", "", whole) or "0") + ("." + decimals if decimals else ""))
