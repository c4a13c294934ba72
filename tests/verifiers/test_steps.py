"""Equations of plain numbers are computed line by line; one that does not hold is found, in its line."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from workers.verifiers.checker import Checker
from workers.verifiers.protocol import Case
from workers.verifiers.steps import Steps, wrong_steps


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as checker:
        yield checker


@pytest.mark.parametrize(
    "line",
    [
        "3 + 4 = 7",
        "She has 5 apples + 3 apples = 8 apples",
        "20 dollars/hour * 35 hours/week = $700/week",
        "$\\frac{1}{2} + \\frac{1}{2} = 1$",
        "10/3 = 3.33",
        "2/3 = 0.67 = 67%",
        "18 / 450 x 100 = 4%",
        "50 * 10% = 5",
        "1 1/2 + 1/2 = 2",
        "27(1/3) = 9",
        "5 − 7 = −2",
        "1,000 * 3 = 3,000 = 3000",
        "Zusammen sind es 1.200 + 300 = 1.500 Euro, also 12,50 Euro je Person und 3,5 + 4,5 = 8,0 Stunden",
        "٣ + ٤ = ٧",
        "３＋４＝７",
        "2^10 = 1024",
    ],
)
def test_an_equation_that_holds_is_right(line: str) -> None:
    checked, wrong = wrong_steps(line)

    assert checked
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "3 + 4 = 8",
        "She has 5 apples + 3 apples = 9 apples.",
        "20 dollars/hour * 35 hours/week = $701/week",
        "\\[ 12 \\times 3 = 37 \\]",
        "10/3 = 3.35",
        "2.5 + 1 = 4",
        "7 - 3 = 4 = 5",
        "5 − 7 = 2",
        "٣ + ٤ = ٨",
        "３＋４＝８",
        "2^10 = 1025",
        "x = 3 + 4 = 8",
        "**3 + 4 = 8**",
        "12 ÷ 4 = 4",
    ],
)
def test_an_equation_that_does_not_hold_is_wrong(line: str) -> None:
    assert len(wrong_steps(f"First of all.\n{line}\nThat was it.")[1]) == 1


@pytest.mark.parametrize(
    "line",
    [
        "3 + x = 8",
        "3x + 4 - 4 = 28 - 4",
        "5 + 6 * x = 12",
        "Drop 8 degrees = 2 - 10",
        "if x == 3: y = 4 - 1",
        "2024-01-05 = the day",
        "5 >= 3 + 1",
        "There are 3 = three of them",
        "no numbers at all",
        "<<3+4=8>>",
    ],
)
def test_what_is_no_equation_of_plain_numbers_is_let_be(line: str) -> None:
    assert wrong_steps(line)[1] == []


def test_the_finding_names_the_line_and_what_it_comes_to() -> None:
    finding = Steps().check(Case([], "Let us see.\n3 + 4 = 7\n7 * 2 = 15\n15 + 1 = 16", None, [{"kind": "steps"}]))

    assert finding.passed is False
    assert finding.message == "Line 3: 7 * 2 = 15 does not hold, the left side is 14"
    assert finding.score == pytest.approx(2 / 3)
    assert finding.evidence["wrong"][0]["line"] == 3


def test_a_response_without_equations_is_null_unless_they_are_required() -> None:
    assert Steps().check(Case([], "Seven.", None, [{"kind": "steps"}])).passed is None
    assert Steps().check(Case([], "Seven.", None, [{"kind": "steps", "required": True}])).passed is False


def test_nearly_every_changed_result_is_found_in_its_line() -> None:
    rng = random.Random(5)
    found = 0
    for _ in range(200):
        lines, at = [], rng.randrange(5)
        for index in range(5):
            one, other, sign = rng.randint(2, 99), rng.randint(2, 99), rng.choice("+-*")
            right = {"+": one + other, "-": one - other, "*": one * other}[sign]
            lines.append(f"He counts {one} boxes {sign} {other} = {right + (index == at)} boxes on day {index}.")
        (wrong,) = wrong_steps("\n".join(lines))[1]
        found += wrong.line == at + 1

    assert found == 200


@pytest.mark.parametrize(
    "response",
    [
        "1+" * 100_000 + "1=2",
        "(" * 100_000 + "1=1",
        "=1+1" * 100_000,
        "12 apples " * 20_000 + "=1",
        "1+1=2\n" * 100_000,
        "a b " * 50_000 + "= 3",
        "99^99^99 = 1",
        "1" * 200_000 + " + 1 = 2",
    ],
    ids=["sum", "parentheses", "chain", "words", "lines", "letters", "tower", "digits"],
)
def test_a_response_of_any_shape_is_looked_through_within_the_limit(response: str, checker: Checker) -> None:
    (finding,) = checker.check(Case([], response, None, [{"kind": "steps"}]), ["steps"])

    assert "longer than" not in finding.message
    assert finding.passed is not True or "all right" in finding.message
