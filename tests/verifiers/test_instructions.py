from __future__ import annotations

from typing import Any

import pytest

from workers.verifiers.counting import Count, count_capital_words, count_sentences, count_words
from workers.verifiers.instruction_kinds import KINDS
from workers.verifiers.instructions import Instructions
from workers.verifiers.protocol import Case, Finding, checked
from workers.verifiers.registry import applying

ENGLISH = "the weather is fine today and we are going for a long walk"
GERMAN = "Das Wetter ist heute schön, und wir gehen lange im Wald spazieren."

TWINS: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["tree", "river"]}, "A River by the trees", "a tree"),
    ("keywords:frequency", {"keyword": "war", "frequency": 2, "relation": "at least"}, "War and war", "war"),
    ("keywords:frequency", {"keyword": "war", "frequency": 2, "relation": "less than"}, "war", "war and War"),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocket", "It is Rock."),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 3, "let_relation": "at least"}, "eEe", "ee"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "less than"}, "#", "# #"),
    ("language:response_language", {"language": "de"}, GERMAN, ENGLISH),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "Dr. No left."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb\n***", "a\n\nb"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one, two; three", "one two"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two", "one two three"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "elm"},
        'An oak.\n\n"Elm," she said.',
        "An oak.\n\nElms grow.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [town]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP. P. S. More", "Bye.\nP.S. More"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n** b"),
    ("detectable_format:constrained_response", {}, "My answer is yes.", "Yes."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* and **"),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 x Day 2 y", "Day 1"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', '{"a": 1'),
    ("detectable_format:title", {}, "<<Spring>>\nIt came.", "<< >>\nIt came."),
    ("combination:two_responses", {}, "One.\n******\nTwo.", "One.\n******\nOne."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem."}, "Write a poem.\nRoses", "A poem.\nRoses"),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, 'So it is. "any questions?"', "Any questions? Ask."),
    ("startend:quotation", {}, '"All of it."', '"All" of it.'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA and ESA",
        "NASA",
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), GERMAN.upper()),
    ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.title()),
    ("punctuation:no_comma", {}, "None here.", "One, two."),
]


def find(response: str, *instructions: Any) -> Finding:
    test = {"kind": "instructions", "ids": [i for i, _ in instructions], "kwargs": [k for _, k in instructions]}
    return checked(Instructions(), Case(prompt=[], response=response, tests=[test]))


def test_every_one_of_the_25_kinds_has_a_twin_here() -> None:
    assert {name for name, *_ in TWINS} == set(KINDS)
    assert len(KINDS) == 25


@pytest.mark.parametrize(("name", "kwargs", "right", "wrong"), TWINS)
def test_a_response_that_follows_an_instruction_passes_and_its_wrong_twin_fails(
    name: str, kwargs: dict[str, object], right: str, wrong: str
) -> None:
    assert find(right, (name, kwargs)).passed is True
    failed = find(wrong, (name, kwargs))
    assert failed.passed is False
    assert name.partition(":")[2] in failed.message


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_blank_response_follows_nothing(name: str) -> None:
    kwargs = next(kwargs for each, kwargs, *_ in TWINS if each == name)
    assert find(" \n", (name, kwargs)).passed is False


@pytest.mark.parametrize("comma", [",", "，", "、", "،", "﹐", "፣", "､"])
def test_a_comma_is_one_in_every_script(comma: str) -> None:
    assert find(f"一{comma}二", ("punctuation:no_comma", {})).passed is False


@pytest.mark.parametrize("text", ["“So.”", "„So.“", "«So.»", "「そう」", "＂So.＂"])
def test_quotation_marks_of_other_languages_count_in_pairs(text: str) -> None:
    assert find(text, ("startend:quotation", {})).passed is True
    assert find(text[:-1], ("startend:quotation", {})).passed is False


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("don't stop", 3),  # as IFEval counts
        ("我今天去北京。", 6),
        ("Python 很好用", 4),
        ("مُحَمَّدٌ يَكْتُبُ الرِّسَالَةَ", 3),
        ("मैं हिन्दी में लिखता हूँ।", 5),
        ("می‌خواهم بروم", 2),
        ("오늘 날씨가 좋다.", 3),
        ("cafe\u0301 noir", 2),
        ("…", 0),
    ],
)
def test_words_are_counted_as_each_language_counts_them(text: str, number: int) -> None:
    assert count_words(text) == Count(number, number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("One. Two? Three!", 3),
        ("No mark at the end", 1),
        ("Dr. J. Smith paid $3.50 on www.example.com. He left at 5 p.m. yesterday.", 2),
        ("He said “Stop!” Then he left.", 2),
        ("Wait... what? Well… Yes.", 3),
        ("1. One step.\n2. Another step.", 2),
        ("A title\n\nA sentence.", 1),
        ("She is wrong, and so am I. You too.", 2),
        ("今天天气很好。我们去公园吧！你呢？", 3),
        ("他说：“走吧。”然后走了。", 2),
        ("كيف حالك؟ أنا بخير. شكرا!", 3),
        ("यह पहला वाक्य है। यह दूसरा है।", 2),
        ("Es kostet z.B. 3 Euro. Gut.", 2),
        ("Really?! Yes!!", 2),
    ],
)
def test_sentences_are_counted_as_each_language_ends_them(text: str, number: int) -> None:
    assert count_sentences(text) == Count(number, number)


def test_where_a_script_does_not_tell_words_the_finding_is_null_unless_the_bounds_decide() -> None:
    thai = "วันนี้อากาศดีมาก เราไปเดินเล่นกัน"
    for number, relation, passed in [
        (2, "at least", True),
        (8, "at least", None),
        (8, "less than", None),
        (500, "at least", False),
        (500, "less than", True),
    ]:
        found = find(thai, ("length_constraints:number_words", {"num_words": number, "relation": relation}))
        assert found.passed is passed, found.message


def test_a_forbidden_word_of_chinese_needs_no_space_around_it_and_one_of_hindi_ends_with_its_vowel_sign() -> None:
    assert find("我爱北京天安门", ("keywords:forbidden_words", {"forbidden_words": ["北京"]})).passed is False
    assert find("यह काला है", ("keywords:forbidden_words", {"forbidden_words": ["काल"]})).passed is True
    assert find("cafe\u0301", ("keywords:forbidden_words", {"forbidden_words": ["CAFÉ"]})).passed is False


def test_the_first_word_of_a_chinese_paragraph_needs_no_space_after_it() -> None:
    kwargs = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "总之"}
    assert find("开始。\n\n总之就这样。", ("length_constraints:nth_paragraph_first_word", kwargs)).passed is True
    assert find("开始。\n\n最后就这样。", ("length_constraints:nth_paragraph_first_word", kwargs)).passed is False


def test_capitals_are_counted_beyond_latin() -> None:
    assert count_capital_words("НАТО и ЕС, I and ALL-IN, OK3 but not Ok or 42") == 5


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        (("startend:rhyme", {}), "no instruction that is known"),
        (("length_constraints:number_words", {"num_words": 3}), "relation"),
        (("length_constraints:number_words", {"num_words": "3", "relation": "at least"}), "num_words"),
        (("length_constraints:number_words", {"num_words": 3, "relation": "roughly"}), "roughly"),
        (("punctuation:no_comma", {"num_words": 3}), "num_words"),
        (("punctuation:no_comma", []), "no object"),
        (("language:response_language", {"language": "xx"}), "xx"),
        (("keywords:existence", {"keywords": [""]}), "keywords"),
        ((7, {}), "no instruction that is known"),
    ],
)
def test_an_instruction_that_cannot_be_checked_is_null_with_its_reason(instruction: Any, reason: str) -> None:
    found = find("Some text.", instruction)
    assert found.passed is None
    assert reason in found.message


def test_one_failed_instruction_fails_the_response_and_one_unknown_leaves_it_open() -> None:
    comma, unknown, title = (
        (name, None) for name in ("punctuation:no_comma", "startend:rhyme", "detectable_format:title")
    )
    assert (find("A text", comma, title).passed, find("A text", comma, title).score) == (False, 0.5)
    assert find("A text", comma, unknown).passed is None
    assert find("A text", title, unknown).passed is False
    assert find("A text", comma).message == "1 of 1 instructions"


def test_keys_that_other_instructions_need_may_stand_beside_as_null() -> None:
    assert find("no comma", ("punctuation:no_comma", {"num_words": None, "keywords": None})).passed is True


def test_ids_and_kwargs_of_different_lengths_are_no_test() -> None:
    test = {"kind": "instructions", "ids": ["punctuation:no_comma"], "kwargs": []}
    found = checked(Instructions(), Case(prompt=[], response="x", tests=[test]))
    assert found.passed is None


def test_the_verifier_applies_where_a_test_asks_for_it() -> None:
    test = {"kind": "instructions", "ids": ["punctuation:no_comma"]}
    assert "instructions" in applying(Case(prompt=[], response="x", tests=[test]))
    assert "instructions" not in applying(Case(prompt=[], response="x", tests=[{"kind": "answer"}]))


def test_a_long_response_takes_no_longer_than_its_length() -> None:
    long = "*" * 20_000 + "[" * 20_000 + "<" * 20_000 + " " * 20_000 + "\n" * 20_000 + "Dr. " * 5_000
    for name, kwargs, *_ in TWINS:
        find(long, (name, kwargs))
