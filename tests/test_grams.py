"""Text search: what is found of what is written, in any script, and that no gram hides what is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.grams import END, conjunction, fold, grams, quoted, seek, vector


def holds(term: str, has: set[str]) -> bool:
    """What PostgreSQL asks of a term."""
    lexeme = term.removesuffix(":*").strip("'").replace("''", "'").replace("\\\\", "\\")
    return any(each.startswith(lexeme) for each in has) if term.endswith(":*") else lexeme in has


def finds(query: str, text: str) -> bool:
    sought, folded = seek(query), fold(text)
    by_grams = all(holds(each, grams(folded)) for each in sought.terms)
    is_there = all(each in folded for each in sought.needles)
    assert by_grams or not is_there or any(len(each) == 1 for each in sought.needles), "a gram hides it"
    return by_grams and is_there


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("squ", "The Square root"),
        ("uare", "The Square root"),
        ("SQUARE", "the square root"),
        ('"square root"', "The square\n root of two"),
        ("root the", "The square root"),
        ("strasse", "Die Straße"),
        ("résumé", "my resume"),
        ("resume", "mein Résumé"),
        ("平方", "求平方根"),
        ("根", "求平方根"),
        ("ひら", "ひらがな"),
        ("한국", "한국어 문서"),
        ("كتاب", "هذا الكِتابُ"),
        ("احمد", "أحمد"),
        ("123", "رقم ١٢٣"),
        ("ｗｉｄｅ", "wide"),
        ("c++", "written in C++"),
        ("foo-b", "foo-bar"),
        ("o'b", "Flann O'Brien"),
        ("a", "a letter"),
        ("ab", "cab"),
        ("“square root”", "a square root"),
        ("gpt模型", "GPT模型很大"),
    ],
)
def test_what_is_there_is_found(query: str, text: str) -> None:
    assert finds(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ('"root square"', "the square root"),
        ("square circle", "the square root"),
        ("平根", "求平方根"),
        ("squareroot", "square root"),
        ("a", "letter"),
    ],
)
def test_what_is_not_there_is_not_found(query: str, text: str) -> None:
    assert not finds(query, text)


def test_words_are_needles_and_quotes_hold_them_together() -> None:
    assert seek('one "two three" one "four').needles == ("one", "two three", "four")
    assert not seek('  "" ')
    assert len(seek(" ".join(f"word{n}" for n in range(30))).needles) == 10


def test_a_word_ends_where_nothing_follows() -> None:
    assert grams("ab cde") == {f"ab{END}", "cde", f"de{END}"}


def test_lexemes_are_quoted() -> None:
    assert vector(["attribute:it's=1"], ["abc"]) == "'attribute:it''s=1':1A 'abc'"
    assert conjunction([quoted("a\\b"), "'c':*"]) == "'a\\\\b' & 'c':*"


@given(st.text(max_size=60), st.integers(0, 59), st.integers(2, 20))
def test_any_passage_of_any_text_has_grams_of_it(text: str, start: int, length: int) -> None:
    passage = fold(text)[start : start + length]
    found = seek(f'"{passage}"')
    if found and found.needles[0] in fold(text) and len(found.needles[0]) > 1:
        assert all(holds(each, grams(fold(text))) for each in found.terms)
