"""The final answer of a response against the right one: exact numbers first, then math-verify.

A number is compared as an exact rational, however it is written. What marks an answer stands in :mod:`maths.final`; a
response that marks none, or whose answer cannot be read, is null. Test: ``{"kind": "answer", "value"?, "form"?}``; the value is
the reference where it is left out, and may be a list of accepted ones. ``form`` "boxed" or "hashes" wants it marked so.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from workers.verifiers.maths import final as places
from workers.verifiers.maths import numerals
from workers.verifiers.maths.final import Place
from workers.verifiers.maths.numerals import COMMA_LANGUAGES, NUMBER, Style
from workers.verifiers.maths.plain import LONGEST, plain
from workers.verifiers.maths.quantity import Quantity, Several, agree, leading, quantity
from workers.verifiers.maths.symbols import TooMuch, same
from workers.verifiers.protocol import Case, Finding, Test, unchecked

_FORMS: Final[dict[str, Callable[[str], Place | None]]] = {
    "any": places.final,
    "boxed": places.boxed,
    "hashes": places.hashed,
}
_CHOICE: Final = re.compile(r"\(?([A-Ja-j])\)?[.:]?(?:\s.*)?", re.DOTALL)
_PAIR: Final = re.compile(r"(?<![\d.,])\d+,\d{1,2}(?![\d,.])")
"""Decimals with a comma, or two numbers."""
_PERCENT_ASKED: Final = re.compile(
    r"%|percent|per cent|prozent|pour ?cent|por ?cien|por cento|процент|パーセント|百分", re.IGNORECASE
)


class CannotTell(ValueError):
    """It cannot be decided whether the answer is right; the message says why."""


class NoAnswer(ValueError):
    """The response certainly gives no answer of the form that is wanted."""


@dataclass(frozen=True, slots=True)
class _Told:
    passed: bool
    by: str


class Answer:
    """Whether the final answer is the right one."""

    name = "answer"
    version = "1"
    limit_s = 4.0

    def applies(self, case: Case) -> bool:
        """An ``answer`` test; or a reference that is one number or marks one, where there are no other tests."""
        if case.tests_of("answer"):
            return True
        if case.tests or case.reference is None:
            return False
        return (
            "####" in case.reference or "\\boxed" in case.reference or bool(_BARE.fullmatch(plain(case.reference[:80])))
        )

    def check(self, case: Case) -> Finding:
        """The last marked answer of the response against the value of each test, or against the reference."""
        tests: list[Test] = case.tests_of("answer") or [{}]
        findings = [self._check(case, test) for test in tests]
        wrong = [finding for finding in findings if finding.passed is False]
        unknown = [finding for finding in findings if finding.passed is None]
        return (wrong or unknown or findings)[0]

    def _check(self, case: Case, test: Test) -> Finding:
        value = test.get("value", case.reference)
        accepted = [str(each) for each in (value if isinstance(value, list) else [value]) if each is not None]
        try:
            place = self._place(case.response, test.get("form") or "any", accepted)
            found = told(case, place, accepted)
        except CannotTell as error:
            return unchecked(self, str(error))
        except NoAnswer as error:
            return Finding(self.name, self.version, False, str(error), None, {"wanted": _kept(accepted)})
        evidence = {"found": place.text[:LONGEST], "where": place.where, "wanted": _kept(accepted), "by": found.by}
        message = ", as wanted" if found.passed else f", but {_short(_right(accepted[0]))} is wanted"
        return Finding(self.name, self.version, found.passed, _short(place.text) + message, None, evidence)

    def _place(self, response: str, form: str, accepted: list[str]) -> Place:
        if form not in _FORMS:
            raise CannotTell(f"form: {form!r} is unknown, use one of {', '.join(_FORMS)}")
        if not any(each.strip() for each in accepted):
            raise CannotTell("There is no right answer to compare with: give a reference, or a value in the test")
        if not any(character.isalnum() for character in response):
            raise NoAnswer("There is no answer")
        place = _FORMS[form](response)
        if place is None and form != "any":
            raise NoAnswer(f"No answer is marked with {'a box' if form == 'boxed' else '####'}")
        if place is None:
            where = f" in its last {places.SEARCHED:,} characters" if len(response) > places.SEARCHED else ""
            raise CannotTell(f'No final answer is marked{where} ("The answer is …", "####" or a box)')
        return place


def told(case: Case, place: Place, accepted: list[str]) -> _Told:
    """Whether what stands at a place is one of the accepted answers.

    Raises:
        CannotTell: with the reason.
    """
    found: list[_Told] = []
    cannot: CannotTell | None = None
    for value in accepted:
        try:
            found.append(_compare(case, place, _right(value)))
        except CannotTell as error:
            cannot = error
    right = next((each for each in found if each.passed), None)
    if right is None and cannot is not None:
        raise cannot
    return right or found[0]


_BARE: Final = re.compile(
    rf"\s*[-+]?\s*[$€£¥]?\s*{NUMBER.pattern}\s*(?:%|[^\W\d_]{{1,12}})?\s*\.?\s*|\s*-?\s*\\frac\{{\d+\}}\{{\d+\}}\s*|\s*-?\d+/\d+\s*"
)


def _right(value: str) -> str:
    """The right answer in a reference: what it marks, or all of it."""
    place = places.hashed(value) or places.boxed(value) or (places.final(value) if len(value) > LONGEST else None)
    return (place.text if place is not None else value).strip()


def _compare(case: Case, place: Place, wanted: str) -> _Told:
    """Whether what stands at a place is what is wanted.

    Raises:
        CannotTell: with the reason.
    """
    if len(wanted) > LONGEST:
        raise CannotTell(
            f"The right answer has {len(wanted):,} characters, and marks none: more than {LONGEST} are not compared"
        )
    if len(place.text) > LONGEST:
        raise CannotTell(f"The answer has {len(place.text):,} characters: more than {LONGEST} are not compared")
    letter, chosen = _CHOICE.fullmatch(wanted), _CHOICE.fullmatch(_stripped(place.text))
    if letter is not None and len(wanted) <= 4 and chosen is not None:
        return _Told(letter[1].upper() == chosen[1].upper(), "choice")
    prompt = _last_question(case)
    right_text = plain(wanted).strip()
    right = None
    with contextlib.suppress(Several):
        style = _style(right_text, prompt)
        if style is not Style.DOT or not _PAIR.search(right_text):
            right = quantity(right_text, style)
    if right is not None:
        return _numbers(case, place, right, right_text)
    if _same_text(place.text, wanted):
        return _Told(True, "text")
    if not re.search(r"[\d\\^]", right_text) and len(right_text) > 2:
        raise CannotTell("The right answer has no number, and the response says it in other words")
    return _expressions(place.text, right_text)


def _numbers(case: Case, place: Place, right: Quantity, right_text: str) -> _Told:
    found_text = plain(place.text).strip()
    if place.where != "\\boxed{}":
        found_text = found_text.rstrip("!")
    prompt = _last_question(case)
    try:
        found = (leading if place.phrase or place.where == "####" else quantity)(
            found_text, _style(found_text, case.response, prompt)
        )
    except Several as several:
        if several.listed and place.where != "the conclusion":
            return _Told(False, "several numbers")
        raise CannotTell(f"Several numbers stand where the answer does: {several}") from None
    if found is not None:
        asked = bool(_PERCENT_ASKED.search(prompt))
        return _Told(agree(found, right, asked_in_percent=asked), "exact numbers")
    if place.where in {"the conclusion", "the whole response"} or not re.search(r"[\d\\]", found_text):
        raise CannotTell(f"{_short(place.text)}: no number can be read there")
    return _expressions(found_text, right_text)


def _expressions(found: str, wanted: str) -> _Told:
    try:
        equal = same(_bare_expression(plain(found)), _bare_expression(wanted))
    except TooMuch as error:
        raise CannotTell(str(error)) from None
    if equal is None:
        raise CannotTell(f"{_short(found)}: cannot be read as an expression")
    return _Told(equal, "math-verify")


def _bare_expression(text: str) -> str:
    return re.sub(r"(?<!\\)\$|%", "", text).strip().rstrip(".,;").replace("*", r" \cdot ")


def _style(text: str, *context: str) -> Style:
    """Which separator begins the decimals: what unambiguous numbers around show, else what the language is used to."""
    if not _PAIR.search(text) and not any(numerals.ambiguous(number[0]) for number in NUMBER.finditer(text)):
        return Style.DOT
    for each in context:
        shown = numerals.seen(plain(each[-10_000:]))
        if shown is not None:
            return shown
    from workers.verifiers.languages import language_of

    spoken = next(filter(None, (language_of(each[-4000:]) for each in context)), "en")
    return Style.LIKELY_COMMA if spoken in COMMA_LANGUAGES else Style.DOT


def _last_question(case: Case) -> str:
    content: Any = case.prompt[-1].get("content") if case.prompt else ""
    return content[-10_000:] if isinstance(content, str) else ""


def _same_text(one: str, other: str) -> bool:
    return _stripped(one).casefold().split() == _stripped(other).casefold().split()


def _stripped(text: str) -> str:
    return plain(text).strip(" *_`\"'“”.$\n\t")


def _kept(accepted: list[str]) -> list[str]:
    return [each[-LONGEST:] for each in accepted[:20]]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
