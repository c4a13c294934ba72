from __future__ import annotations

from typing import Any

import pytest

from workers.verifiers.protocol import Case, Finding, checked
from workers.verifiers.span import Span, citations

SOURCE = (
    "The bridge was built in 1932 by three hundred workers. It was not closed in winter.\n"
    "Its cost — two million pounds — was paid by the city's council, which didn’t ask anyone."
)
CHINESE = "这座桥建于1932年，由三百名工人建造。冬天没有关闭。"


def find(response: str, source: Any = SOURCE, asked: str = "What of the bridge?", **test: Any) -> Finding:
    case = Case(
        prompt=[{"role": "user", "content": asked}],
        response=response,
        tests=[{"kind": "span", "source": source, **test}],
    )
    return checked(Span(), case)


@pytest.mark.parametrize(
    "response",
    [
        'It says "built in 1932 by three hundred workers."',
        "It says “The bridge was built in 1932”, no more.",
        "Es heißt „it was not closed in winter“.",
        "« it was not closed in winter » selon la source",
        "It says ‘the city’s council, which didn't ask anyone’.",
        "> The bridge was built in 1932\n> by three hundred workers.\n\nSo it was.",
        "<quote>Its cost - two million pounds - was paid</quote>",
        'It was "built in 1932 … It was not closed in winter".',
        'It was "built in 1932 [...] closed in winter".',
        '"[The bridge] was built in 1932", and "not closed in winter".',
        '"The **bridge** was built\u00a0in 1932"',
        'A so-called "bridge" was "built in 1932 by three hundred workers".',
    ],
)
def test_what_stands_in_the_source_may_be_cited_in_any_typesetting(response: str) -> None:
    found = find(response)
    assert found.passed is True, found.message


@pytest.mark.parametrize(
    "response",
    [
        'It says "built in 1933 by three hundred workers".',
        'It says "It was closed in winter".',
        'It says "ridge was built in 1932".',
        'It says "was built in 1932 by three hundred work".',
        'It says "closed in winter … built in 1932".',
        "> The bridge was opened in 1932.",
        'Right: "built in 1932 by three hundred workers"; wrong: "painted green every single year".',
        "“two million dollars — was paid by the city's council”",
    ],
)
def test_a_citation_that_does_not_stand_there_fails_and_is_named(response: str) -> None:
    found = find(response)
    assert found.passed is False
    assert "not in it" in found.message


def test_a_response_that_cites_nothing_fails_unless_nothing_need_be_cited() -> None:
    assert find("It was built in 1932.").passed is False
    assert find('The "bridge" was built.').passed is False
    assert find("It was built in 1932.", quotes=0).passed is True
    assert find('"The bridge was built in 1932."', quotes=2).passed is False


def test_what_repeats_the_question_and_what_is_code_is_no_citation() -> None:
    right = '"the bridge was built in 1932"'
    assert find(f'You ask "who painted the old bridge". {right}', asked="Who painted the old bridge?").passed is True
    assert citations('```python\nprint("three words here")\n```\nand `"three words here"`') == []


def test_one_of_several_sources_is_enough() -> None:
    assert (
        find('"the bridge was built in 1932" and "snow falls in winter"', [SOURCE, "Snow falls in winter."]).passed
        is True
    )


def test_passages_that_must_be_cited_are_looked_for() -> None:
    response = '"the bridge was built in 1932 by three hundred workers"'
    assert find(response, spans=["built in 1932"]).passed is True
    assert find(response, spans=[[4, 54]]).passed is True
    missed = find(response, spans=["not closed in winter"])
    assert (missed.passed, "not cited" in missed.message) == (False, True)


@pytest.mark.parametrize(("quote", "passed"), [("由三百名工人建造", True), ("由五百名工人建造", False)])
def test_a_script_without_spaces_is_cited_too(quote: str, *, passed: bool) -> None:
    assert find(f"文中写道：“{quote}”。", CHINESE).passed is passed
    assert find(f"文中写道：「{quote}」。", CHINESE).passed is passed


@pytest.mark.parametrize(
    ("source", "test"),
    [
        (None, {}),
        (" ", {}),
        ([], {}),
        ([SOURCE, 7], {}),
        (SOURCE, {"spans": "built"}),
        (SOURCE, {"spans": ["painted green in 1933"]}),
        (SOURCE, {"spans": [[9, 4]]}),
        (SOURCE, {"quotes": "two"}),
    ],
)
def test_a_test_that_is_none_is_null(source: Any, test: dict[str, Any]) -> None:
    assert find('"the bridge was built in 1932"', source, **test).passed is None


def test_marks_without_end_take_no_longer_than_their_length() -> None:
    for mark in ('"', "“", "„", "«", "‘", "「", "<quote>", "> ", "`", "["):
        find(mark * 20_000 + " a" * 20_000)
