"""One quantity out of a short text: ``$1,234.50``, ``−3/4``, ``12 %``, ``1.5 million people``, ``x = 18``, ``9 + 9``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

from workers.verifiers.maths.arithmetic import value
from workers.verifiers.maths.numerals import NUMBER, Style, readings
from workers.verifiers.maths.plain import LONGEST

_CURRENCY: Final = r"(?:(?:US|CA|AU|NZ|HK|R|A|C)?\$|[€£¥₹₩₽₺₪₫฿₴]|Rs\.?|USD|EUR|GBP|CHF|JPY|INR)"
_MINUS_BEFORE: Final = re.compile(
    rf"(?<![\w)}}\]-]) *-\s*{_CURRENCY}?[\s({{*]*$|^-$|(?:minus|negative)\s*$", re.IGNORECASE
)
_PERCENT: Final = re.compile(
    r"\s*(?:%|percent\b|per cent\b|prozent\b|pour cent\b|por ciento\b|por cento\b|percento\b|procent\b|процент|パーセント)",
    re.IGNORECASE,
)
_SCALES: Final = {
    "hundred": 100,
    "thousand": 10**3, "tausend": 10**3, "mille": 10**3, "mil": 10**3, "mila": 10**3, "tys": 10**3, "тысяч": 10**3, "k": 10**3,
    "million": 10**6, "millionen": 10**6, "millions": 10**6, "millones": 10**6, "milioni": 10**6, "milhões": 10**6,
    "mio": 10**6, "млн": 10**6, "миллионов": 10**6,
    "billion": 10**9, "milliarden": 10**9, "milliards": 10**9, "mrd": 10**9, "млрд": 10**9, "trillion": 10**12,
    "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7,
}  # fmt: skip
"""Words behind a number that multiply it. "Billion" is English: in languages where it is 10¹² people write digits."""
_SCALE: Final = re.compile(rf"\s*({'|'.join(sorted(_SCALES, key=len, reverse=True))})(?![^\W\d_])", re.IGNORECASE)
_TENS: Final = {
    "千": 10**3,
    "천": 10**3,
    "万": 10**4,
    "萬": 10**4,
    "만": 10**4,
    "億": 10**8,
    "亿": 10**8,
    "억": 10**8,
    "兆": 10**12,
}
_COUNTED: Final = re.compile(rf"(?:\d[\d,]*(?:\.\d+)?\s*[{''.join(_TENS)}]\s*)+(?:\d[\d,]*(?!\d|\.\d))?")
_PART: Final = re.compile(rf"(\d[\d,]*(?:\.\d+)?)\s*([{''.join(_TENS)}]?)")
_VARIABLE: Final = r"(?<![^\W\d_])[a-eg-ln-rt-zA-EG-LN-RT-Z](?![^\W\d_])"
_ALGEBRA: Final = re.compile(
    rf"\\(?!frac)[a-zA-Z]+|√|π|∞|\d\s*!|\d[xyznabi](?![a-zA-Z])|\d[a-zA-Z]+\d"
    rf"|{_VARIABLE}\s*[-+*^(]|[-+*]\s*{_VARIABLE}|[xyz]\s*/|\)\s*{_VARIABLE}"
)
"""What is computed with letters, or has no exact value."""
_UNIT_POWER: Final = re.compile(r"(?<=[\d ])(?:[^\W\d_]{2,12}|m|s)\s*\^\s*(?:\{\s*-?[123]\s*\}|[23])")
_WORDS: Final = re.compile(rf"{_CURRENCY}|(?<!\\)\b[^\W\d_]+(?:[/-][^\W\d_]+)*\.?|(?<=\d)[^\W\d_]{{2,}}")
_LISTED: Final = re.compile(
    rf"(?:\s*%)?\s*(?:,|;)?\s*(?:[^\W\d_]+\s+){{0,2}}?(?:,|;|&|or|and|to|oder|und|bis|ou|et|o|y|e|of|en|или|и|或|和|または|か)\s*"
    rf"(?:maybe|perhaps|possibly|vielleicht)?\s*{_CURRENCY}?\s*-?\s*",
    re.IGNORECASE,
)
_JOINED: Final = re.compile(r"[\s()]*(?:[-+*/^=]|\\frac|\{|\})[\s(){}$]*|[\s{}]+")
_BRACKETED_LIST: Final = re.compile(
    r"\s*(?:(?:\\\{|\[)[^=]*\d\s*,.*(?:\\\}|\]|\))|\([^=]*\d\s*,(?!\d{3}(?!\d)).*[)\]])\s*\.?\s*", re.DOTALL
)
"""A set, an interval or a tuple."""
_DECORATION: Final = re.compile(r"\*\*|^\s*\*|\*\s*$|[`\"“”«»„≈]|(?<!\d)\$|\$(?!\d)")
_UNKNOWN: Final = re.compile(r"^[^\d=+*/\\]{0,40}$|^[^\d=]{0,20}\([a-z\d, ]{1,8}\)\s*$")


class Several(ValueError):
    """There is more than one number where one is wanted.

    Attributes:
        listed: They are alternatives, a list, or an equation that does not hold: no single answer, whatever is meant.
    """

    def __init__(self, numbers: str, *, listed: bool) -> None:
        super().__init__(numbers)
        self.listed = listed


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a short text says: its readings, and whether they are percent."""

    values: frozenset[Fraction]
    percent: bool = False


def quantity(text: str, style: Style) -> Quantity | None:
    """The one quantity in plain text (see :mod:`plain`); None where it holds none, or something that is no plain number.

    Raises:
        Several: it holds several, and is no arithmetic.
    """
    if len(text) > LONGEST:
        return None
    text = text.replace("**", " ").strip(" *_`")
    if _BRACKETED_LIST.fullmatch(text):
        raise Several(text.strip(), listed=True)
    text = _UNIT_POWER.sub("", _counted(text)).replace("\\{", "(").replace("\\}", ")")
    if "=" in text:
        return _equation(text.split("="), style)
    numbers = list(NUMBER.finditer(text))
    if _ALGEBRA.search(text):
        return None
    if len(numbers) == 1 and "^" not in text:
        return _single(text, numbers[0], style)
    bare = _DECORATION.sub(" ", _WORDS.sub(_without_word, text)).strip(" .,;:")
    found = value(bare, style)
    if found is not None:
        percent = bare.count("%") == 1 and bare.endswith("%")
        return Quantity(frozenset({found * 100 if percent else found}), percent)
    if len(numbers) > 1 and "^" not in text:
        raise Several(", ".join(number[0] for number in numbers[:8]), listed=_any_listed(text, numbers))
    return None


def leading(text: str, style: Style) -> Quantity | None:
    """The first quantity of a phrase, "18 apples, which takes 2 days"; what follows must not be an alternative to it.

    Raises:
        Several: it is one of a list, or of several to choose from.
    """
    text = _counted(text[:LONGEST])
    try:
        return quantity(text, style)
    except Several as several:
        if several.listed:
            raise
    numbers = list(NUMBER.finditer(text))
    for first, second in pairwise(numbers):
        if not _JOINED.fullmatch(text, first.end(), second.start()):
            return quantity(text[: second.start()].rstrip(" ($€£"), style)
    return None


def _any_listed(text: str, numbers: list[re.Match[str]]) -> bool:
    return any(_LISTED.fullmatch(text, one.end(), other.start()) for one, other in pairwise(numbers))


def agree(found: Quantity, wanted: Quantity, *, asked_in_percent: bool = False) -> bool:
    """Whether both say the same. A bare wanted number may be meant in percent; "0.5" is, where the question asks for percent."""
    if found.percent == wanted.percent:
        return bool(found.values & wanted.values)
    hundredths = frozenset(each / 100 for each in (found if found.percent else wanted).values)
    if wanted.percent:  # 25% is met by 25 and by 0.25
        return bool(found.values & (wanted.values | hundredths))
    shares = frozenset(each for each in wanted.values if abs(each) < 1 and each.denominator > 1)
    plain = wanted.values if asked_in_percent else wanted.values - shares
    return bool(found.values & plain or hundredths & shares)


def _single(text: str, number: re.Match[str], style: Style) -> Quantity | None:
    before, after = text[: number.start()], text[number.end() :]
    values: Iterable[Fraction] = readings(number[0], style)
    scale = _SCALE.match(after)
    if scale is not None:
        values = [each * _SCALES[scale[1].lower()] for each in values]
    if _MINUS_BEFORE.search(before):
        values = [-each for each in values]
    found = frozenset(values)
    return Quantity(found, bool(_PERCENT.match(after))) if found else None


def _equation(sides: list[str], style: Style) -> Quantity | None:
    """The value of the last side of a chain of equations; an earlier side that is another number makes it no answer."""
    last = quantity(sides[-1], style)
    if last is None:
        return None
    for side in sides[:-1]:
        if _UNKNOWN.match(side.strip()) and not NUMBER.search(side):
            continue  # "x", "the total"
        try:
            earlier = quantity(side, style)
        except Several:
            continue
        if earlier is not None and not earlier.values & last.values and not _rounded(earlier, last):
            raise Several(" = ".join(part.strip() for part in sides), listed=True)
    return last


def _rounded(exact: Quantity, said: Quantity) -> bool:
    return any(abs(one - other) <= Fraction(1, 100) for one in exact.values for other in said.values)


def _without_word(found: re.Match[str]) -> str:
    return found[0] if found[0] == "x" else " "


def _counted(text: str) -> str:
    """Numbers in tens of thousands (1万2000, 3억) as digits."""

    def digits(found: re.Match[str]) -> str:
        total = Fraction(0)
        for number, tens in _PART.findall(found[0]):
            if len(number) > LONGEST // 4:
                return found[0]
            total += Fraction(number.replace(",", "")) * _TENS.get(tens, 1)
        return f"{float(total):f}" if total.denominator > 1 else str(total.numerator)

    return _COUNTED.sub(digits, text)
