from __future__ import annotations

import json
from typing import Any

import pytest

from app.prompts.benchmarks import benchmarks
from app.prompts.records import ParsedPrompt
from tests.prompts.reading import line, one, read, reason
from tests.prompts.test_parsing_properties import ROOMY
from tests.verifiers.capabilities import public
from workers.verifiers.protocol import Case, case_of
from workers.verifiers.tool_calls import ToolCalls

IFEVAL = {
    "key": 7,
    "prompt": "Write without a comma.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"relation": "at least", "num_words": 3}],
}
GSM8K = {"question": "Two and two?", "answer": "2+2=<<2+2=4>>4\n#### 4"}
PARAMETERS = {
    "type": "dict",
    "properties": {"base": {"type": "float"}, "points": {"type": "tuple", "items": {"type": "any"}}},
    "required": ["base"],
}
BFCL: dict[str, Any] = {
    "id": "simple_0",
    "question": [[{"role": "user", "content": "How large is it?"}]],
    "function": [{"name": "area", "description": "d", "parameters": PARAMETERS}],
}


def test_a_record_of_ifeval_is_a_prompt_with_instructions() -> None:
    read = one(IFEVAL)

    assert (read.external_id, read.capability) == ("7", "steerable")
    assert read.messages == [{"role": "user", "content": "Write without a comma."}]
    assert read.tests == [
        {
            "kind": "instructions",
            "ids": IFEVAL["instruction_id_list"],
            "kwargs": [{}, {"relation": "at least", "num_words": 3}],
        }
    ]
    assert read.metadata == {}


def test_the_nulls_that_tables_fill_in_are_no_kwargs() -> None:
    padded = [{"num_words": None, "relation": None}, {"num_words": 3, "relation": "at least"}]

    assert one(IFEVAL | {"kwargs": padded}).tests == one(IFEVAL).tests
    assert one(IFEVAL | {"kwargs": json.dumps(padded)}).tests == one(IFEVAL).tests


@pytest.mark.parametrize("kwargs", [[{}], "x", [1, 2], {"a": 1}])
def test_kwargs_that_do_not_belong_to_the_ids_are_refused(kwargs: Any) -> None:
    assert "kwargs" in reason(line(IFEVAL | {"kwargs": kwargs}))


def test_a_record_of_gsm8k_is_a_prompt_with_its_final_answer() -> None:
    read = one(GSM8K)

    assert read.messages == [{"role": "user", "content": "Two and two?"}]
    assert (read.reference, read.capability) == (GSM8K["answer"], "maths")
    assert read.tests == [{"kind": "answer", "value": "4"}]


def test_a_question_with_another_answer_has_no_test() -> None:
    read = one({"question": "Who?", "answer": "She."})

    assert (read.tests, read.capability) == (None, None)


def test_a_record_of_bfcl_is_a_prompt_with_tools_as_models_know_them() -> None:
    read = one(BFCL)

    assert (read.external_id, read.capability, read.tests) == ("simple_0", "tool-use", None)
    assert read.messages == BFCL["question"][0]
    assert read.tools == [
        {
            "type": "function",
            "function": {
                "name": "area",
                "description": "d",
                "parameters": {
                    "type": "object",
                    "properties": {"base": {"type": "number"}, "points": {"type": "array", "items": {}}},
                    "required": ["base"],
                },
            },
        }
    ]


@pytest.mark.parametrize("key", ["ground_truth", "possible_answer"])
def test_the_answers_of_bfcl_in_the_same_record_are_its_test(key: str) -> None:
    read = one(BFCL | {key: [{"area": {"base": [3, 3.0], "points": ["", [1]]}}]})

    assert read.tests == [
        {"kind": "tool_calls", "calls": [{"name": "area", "arguments": {"base": [3, 3.0], "points": ["", [1]]}}]}
    ]
    assert read.metadata == {}


def test_the_answers_of_bfcl_alone_are_refused_with_the_remedy() -> None:
    assert "into the question" in reason(line({"id": "simple_0", "ground_truth": [{"area": {"base": [3]}}]}))


def test_a_question_of_bfcl_may_be_text_or_have_later_turns() -> None:
    assert one(BFCL | {"question": "How large?"}).messages == [{"role": "user", "content": "How large?"}]
    turns = [[{"role": "user", "content": "A?"}], [{"role": "user", "content": "B?"}]]
    read = one(BFCL | {"question": turns})
    assert (read.messages, read.metadata) == (turns[0], {"later_turns": turns[1:]})


@pytest.mark.parametrize("record", [IFEVAL, GSM8K, BFCL])
def test_a_record_with_tests_or_a_capability_of_its_own_keeps_them(record: dict[str, Any]) -> None:
    own = [{"kind": "language", "wanted": "de"}]

    assert one(IFEVAL | {"tests": own}).tests == own
    assert one(record | {"capability": "mine"}).capability == "mine"
    assert one(record | {"category": "mine"}).capability == "mine"


def test_an_ordinary_prompt_is_no_benchmark() -> None:
    for benchmark in benchmarks().values():
        assert benchmark.read({"prompt": "Why?"}) is None
        assert benchmark.read({"prompt": "Why?", "function": "f", "answer": 4, "kwargs": {}}) is None


def test_the_whole_of_ifeval_is_read_with_its_834_instructions() -> None:
    prompts = read(public("ifeval.jsonl").read_bytes(), "ifeval.jsonl", ROOMY)

    assert len(prompts) == 541
    assert sum(len(each.tests[0]["ids"]) for each in prompts if isinstance(each, ParsedPrompt)) == 834


@pytest.mark.parametrize(
    ("name", "number"), [("simple_python", 400), ("multiple", 200), ("parallel", 200), ("parallel_multiple", 200)]
)
def test_the_questions_of_bfcl_are_read_with_tools_that_can_be_used(name: str, number: int) -> None:
    prompts = [
        each
        for each in read(public(f"bfcl_{name}.jsonl").read_bytes(), "x.jsonl", ROOMY)
        if isinstance(each, ParsedPrompt)
    ]

    assert len(prompts) == number
    for prompt in prompts:
        assert prompt.tools is not None
        call = (
            f'<tool_call>{{"name": {json.dumps(prompt.tools[0]["function"]["name"])}, "arguments": {{}}}}</tool_call>'
        )
        found = ToolCalls().check(Case(prompt=prompt.messages, response=call, tools=prompt.tools))
        assert found.passed is not None, found.message


def test_what_is_imported_is_a_case_of_the_verifiers() -> None:
    read = one(IFEVAL)

    assert (
        case_of({"prompt": read.messages, "response": "x", "tests": read.tests, "tools": read.tools}).tests
        == read.tests
    )
