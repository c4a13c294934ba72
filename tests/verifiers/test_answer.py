"""A final answer is right or wrong by its value, however it is written; what cannot be told is null."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import answers
from workers.verifiers.answer import Answer
from workers.verifiers.checker import Checker
from workers.verifiers.protocol import Case, Finding

ENGLISH = "How many apples does she have?"
GERMAN = "Wie viele Äpfel hat sie am Ende des Tages, wenn sie jeden Morgen neue kauft?"


def told(response: str, reference: str | None, prompt: str = ENGLISH, **test: object) -> Finding:
    tests = [{"kind": "answer", **test}] if test else []
    return Answer().check(Case([{"role": "user", "content": prompt}], response, reference, tests))


def test_no_right_answer_is_refused_and_no_wrong_one_taken_in_any_form_notation_and_language() -> None:
    made = list(answers.made(1200, seed=3))
    assert {each.language for each in made} == set(answers.PROMPTS)
    wrong = [each for each in made if told(each.response, each.reference, each.prompt).passed is not each.right]

    assert wrong == []


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("The answer is 18 apples for 3 people.", "18"),
        ("So 2 * 3 + x = 18", "18"),
        ("Therefore, she has 18 apples left.", "18"),
        ("18", "18"),
        ("\\boxed{5} is what he has; together it is \\boxed{18}", "18"),
        ("\\boxed{18} and again \\boxed{18}", "18"),
        ("\\boxed{9+9}", "18"),
        ("\\boxed{9 + 9 = 18}", "18"),
        ("\\boxed{x = 18}", "18"),
        ("\\boxed{\\{18\\}}", "18"),
        ("\\boxed{\\sqrt{324}}", "18"),
        ("The answer is -$18", "-18"),
        ("Answer - 18", "18"),
        ("정답은 18입니다.", "18"),
        ("答案是1万2000人。", "12000"),
        ("Answer: 1.5 million people", "1500000"),
        ("The answer is 1½.", "3/2"),
        ("Answer: 1.8e3", "1800"),
        ("The answer is (B) blue", "B"),
        ("The answer is **Paris**.", "paris"),
        ("The answer is 12:30 PM", "12:30 pm"),
        ("\\boxed{x^2+2x+1}", "(x+1)^2"),
        ("\\boxed{\\frac{\\sqrt{3}}{3}}", "\\frac{1}{\\sqrt{3}}"),
        ("\\boxed{3, 2}", "\\{2, 3\\}"),
        ("\\boxed{2} and \\boxed{3}", "2,3"),
        ("The answer is 18.", "She sells 16 - 3 - 4 = 9 eggs.\n#### 18"),
    ],
)
def test_what_is_the_same_is_right(response: str, reference: str) -> None:
    assert told(response, reference).passed is True


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("\\boxed{18} hmm, no \\boxed{5}", "18"),
        ("\\boxed{17} or \\boxed{18}", "18"),
        ("\\boxed{17, 18}", "18"),
        ("The answer is 17 or 18.", "18"),
        ("The answer is 18 or maybe 17.", "18"),
        ("\\boxed{17=18}", "18"),
        ("\\boxed{[0, 100]}", "18"),
        ("\\boxed{18x}", "18"),
        ("\\boxed{x^{18}}", "18"),
        ("\\boxed{x + 18}", "18"),
        ("\\boxed{2x + 9}", "18"),
        ("\\boxed{18}", "x + 18"),
        ("\\boxed{−18}", "18"),
        ("The answer is - 18", "18"),
        ("\\boxed{1800\\%}", "18"),
        ("\\boxed{18.000001}", "18"),
        ("\\boxed{18!}", "18"),
        ("The answer is 1e18", "1"),
        ("The answer is C", "B"),
        ("The answer is 18. Wait, that is wrong: the answer is 17.", "18"),
        ("…", "18"),
    ],
)
def test_what_is_another_or_hedges_is_wrong(response: str, reference: str) -> None:
    assert told(response, reference).passed is False


@pytest.mark.parametrize(
    ("response", "reference", "why"),
    [
        (" ".join(str(number) for number in range(1, 19)), "18", "Several numbers"),
        ("Janet's ducks lay 16 eggs per day and she sells for $18", "18", "Several numbers"),
        ("They lay eggs. There are 18 of them on the farm. I cannot say.", "18", "No final answer is marked"),
        ("The answer is eighteen.", "18", "no number can be read"),
        ("\\boxed{18", "18", ""),
        ("The answer is 18.", "Because she is kind.", "no number"),
        ("The answer is 18.", None, "no right answer"),
        ("The answer is 18.", " ", "no right answer"),
        ("The answer is 18.", "1" * 200_000, "200,000 characters"),
        ("The answer is " + "1" * 200_000, "18", "No final answer"),
        ("The answer is " + "1" * 20_000, "18", "20,000 characters"),
        ("\\boxed{\\int_0^1 x dx}", "1/2", "\\int is not compared"),
        ("\\boxed{9^{9^{9}}}", "18", "too large"),
    ],
)
def test_what_cannot_be_told_is_null_with_its_reason(response: str, reference: str | None, why: str) -> None:
    finding = told(response, reference, value=reference)

    assert finding.passed is None
    assert why in finding.message


def test_a_separator_is_read_as_the_language_and_the_other_numbers_read_it() -> None:
    assert told("Die Antwort lautet 1.234.", "1234", GERMAN).passed is True
    assert told("The answer is 1.234", "1234").passed is False
    assert told("The answer is 1,234", "1234").passed is True
    assert told("Sie hat also für alle zusammen \\boxed{5.000} Äpfel gekauft.", "5", GERMAN).passed is False
    assert told("Das macht 12,50 Euro und noch einmal so viel. Antwort: 1.234", "1.234", GERMAN).passed is True
    assert told("Each costs 12,50 here. The answer is 1.234", "1234").passed is True


def test_a_share_is_a_percentage_where_the_right_answer_says_or_asks_so() -> None:
    assert told("Answer: 50%", "0.5").passed is True
    assert told("Answer: 0.5%", "0.5").passed is False
    assert told("Answer: 0.5%", "0.5", "How many percent are left?").passed is True
    assert told("Answer: 0.25", "25%").passed is True
    assert told("Answer: 2500%", "25%").passed is False


def test_a_test_may_give_several_right_answers_or_the_form_of_the_mark() -> None:
    assert told("The answer is 3/4", None, value=[0.75, "75%"]).passed is True
    assert told("The answer is 18", "18", form="boxed").passed is False
    assert told("The answer is 18", "18", form="sideways").passed is None
    assert told("#### 18", "18", form="hashes").passed is True


def test_a_reference_alone_is_checked_where_it_is_a_number_and_nothing_else_is_tested() -> None:
    applies = Answer().applies
    assert applies(Case([], "x", "He has 3.\n#### 18"))
    assert applies(Case([], "x", "-1,234.5"))
    assert not applies(Case([], "x", "In 1984 he wrote a book about it."))
    assert not applies(Case([], "x", "18", [{"kind": "calls"}]))


BOMBS = {
    "tower": "\\boxed{9^{9^{9^{9}}}}",
    "bare tower": "\\boxed{9^9^9}",
    "factorial": "\\boxed{100000!}",
    "factorial of a power": "\\boxed{(10^9)!}",
    "factorials": "\\boxed{((9!)!)!}",
    "parentheses": "\\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}",
    "fractions": "\\boxed{" + "\\frac{1}{" * 800 + "2" + "}" * 800 + "}",
    "long sum": "\\boxed{" + "+".join(str(number) for number in range(20_000)) + "}",
    "letters": "a" * 200_000,
    "dollars": "$x$ " * 20_000,
    "boxes": "\\boxed{1} " * 5000,
    "open boxes": "\\boxed{" * 30_000,
    "integral": "\\boxed{\\int_0^1 e^{x^2}\\sin(x^3) dx}",
    "sum": "\\boxed{\\sum_{n=1}^{10000000} \\frac{1}{n^3}}",
    "roots": "\\boxed{" + "\\sqrt{2+" * 60 + "2" + "}" * 60 + "}",
    "matrix": "\\boxed{\\begin{pmatrix}" + "&".join(["x^{99}"] * 200) + "\\end{pmatrix}}",
    "polynomial": "\\boxed{(x+y+z+1)^{60}}",
    "exclamations": "!" * 200_000,
    "marks": "The answer is " * 20_000,
    "stars": "*" * 200_000 + "18",
}


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as checker:
        yield checker


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("wanted", ["18", "x+1"])
def test_an_answer_that_cannot_be_computed_ends_within_its_limit_and_is_not_taken(
    name: str, wanted: str, checker: Checker
) -> None:
    (finding,) = checker.check(Case([], BOMBS[name], wanted, [{"kind": "answer"}]), ["answer"])

    assert finding.passed is not True
    assert finding.message
    assert Answer.limit_s < 5


def test_what_looks_like_code_is_never_run(checker: Checker, tmp_path_factory: pytest.TempPathFactory) -> None:
    mark = tmp_path_factory.mktemp("code") / "run"
    code = f"__import__('pathlib').Path('{mark}').touch()"
    for response in (f"\\boxed{{{code}}}", f"The answer is {code} 18", f"${code}$", f"\\boxed{{x + {code}}}"):
        for wanted in ("18", "x+1", code):
            checker.check(Case([], response, wanted, [{"kind": "answer"}]), ["answer"])

    assert not mark.exists()
