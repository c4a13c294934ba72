"""Small files that once broke an import, each with what is right: how many prompts it gives, and what is said of the rest."""

from __future__ import annotations

import pytest

from app.kernel.errors import BadInput
from app.prompts.messages import strict
from app.prompts.parsing import Refusal, parse
from app.prompts.records import ParsedPrompt
from app.prompts.shapes.battle import LATER
from tests.cases.found import case
from tests.prompts.reading import LIMITS

# The file, how many prompts it gives, and words of each refusal in their order.
OUTCOMES: list[tuple[str, int, list[str]]] = [
    ("bare_string.jsonl", 1, ["is text, not an object"]),
    ("blank_looking.jsonl", 0, ["blank", "blank"]),
    ("import_argilla.json", 1, []),
    ("import_columns.json", 0, ["whole columns"]),
    ("import_developer.jsonl", 1, []),
    ("import_hh.jsonl", 1, []),
    ("import_image.parquet", 0, ["only text can be imported"]),
    ("import_kaggle.csv", 1, []),
    ("import_ls.json", 1, []),
    ("import_name_number.jsonl", 1, []),
    ("import_openai_history.jsonl", 1, []),
    ("import_parts_image.jsonl", 0, ["pictures"]),
    ("import_parts_none.jsonl", 1, []),
    ("import_reasoning_history.jsonl", 1, []),
    ("import_repr.csv", 0, ["in Python notation"]),
    ("import_sep.csv", 1, []),
    ("import_sharegpt_tools.json", 1, []),
    ("import_tool_empty.jsonl", 0, ["blank"]),
    ("import_tool_flat.jsonl", 1, []),
    ("import_tool_str.jsonl", 0, ["text that is not JSON"]),
    ("import_trl_prompt.csv", 1, []),
    ("import_ultra.jsonl", 1, []),
    ("import_viewer.json", 1, []),
    ("import_weight_history.jsonl", 1, []),
    ("import_wildchat.jsonl", 1, []),
    ("poison_tool_description.jsonl", 15, []),
    ("tool_args_keys.jsonl", 2, []),
    ("tool_args_mixed.jsonl", 3, []),
]


@pytest.mark.parametrize(("name", "valid", "refused"), OUTCOMES, ids=[name for name, _, _ in OUTCOMES])
def test_a_file_that_broke_an_import_is_taken_or_refused_as_is_right(name: str, valid: int, refused: list[str]) -> None:
    prompts, refusals = [], []
    try:
        for answer in parse(name, case(name).read_bytes(), LIMITS)[1]:
            if isinstance(answer, Refusal):
                refusals.append(answer.reason)
            else:
                prompts.append(answer)
    except BadInput as error:
        refusals.append(error.message)

    assert len(prompts) == valid
    assert len(refusals) == len(refused), refusals
    assert all(words in reason for words, reason in zip(refused, refusals, strict=True)), refusals
    assert all(strict(prompt.messages) == prompt.messages for prompt in prompts)


def only(name: str) -> ParsedPrompt:
    (prompt,) = parse(name, case(name).read_bytes(), LIMITS)[1]
    assert isinstance(prompt, ParsedPrompt)
    return prompt


def test_the_calls_of_every_source_have_one_form() -> None:
    flat, sharegpt = only("import_tool_flat.jsonl").messages, only("import_sharegpt_tools.json").messages

    assert [message["role"] for message in flat] == ["user", "assistant", "tool", "user"]
    call = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": '{"city":"X"}'}}
    assert flat[1]["tool_calls"] == [call]
    assert [message["role"] for message in sharegpt] == ["user", "assistant", "tool", "assistant", "user"]
    assert (flat[2]["tool_call_id"], sharegpt[2]["tool_call_id"]) == ("call_1", "call_1")


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("import_reasoning_history.jsonl", {"messages": {"2": {"reasoning_content": "thinking"}}}),
        ("import_weight_history.jsonl", {"messages": {"2": {"weight": 0}}}),
        ("import_wildchat.jsonl", {"model": "x", "messages": {"1": {"language": "English", "toxic": False}}}),
        ("import_openai_history.jsonl", {}),
        ("import_viewer.json", {"row_idx": 0}),
    ],
)
def test_what_a_source_says_beside_the_text_is_kept(name: str, metadata: dict[str, object]) -> None:
    assert only(name).metadata == metadata


def test_the_later_turns_and_the_responses_of_a_table_are_kept() -> None:
    prompt = only("import_kaggle.csv")

    assert prompt.messages == [{"role": "user", "content": "Is it morally right? case:kg"}]
    assert prompt.metadata["later_turns"] == ["And why?"]
    assert [(each.model, each.text) for each in prompt.responses] == [("a", "No"), ("b", "Yes")]
    assert prompt.metadata["responses_a"] == ["No", "Because"]
    assert (prompt.metadata["winner_model_a"], prompt.note) == ("1", LATER)


def test_prompts_come_in_with_their_responses() -> None:
    """Four files that were refused for bringing responses."""
    ultra, hh, argilla, task = (
        only(f"import_{name}") for name in ("ultra.jsonl", "hh.jsonl", "argilla.json", "ls.json")
    )

    assert (ultra.external_id, ultra.messages) == ("x1", [{"role": "user", "content": "Name a fish."}])
    assert [(each.text, each.said) for each in ultra.responses] == [
        ("Cod", {"score": 8.0, "preference": "chosen"}),
        ("Cow", {"preference": "rejected"}),
    ]
    assert (hh.messages[-1]["content"], [each.text for each in hh.responses]) == ("Hi", ["Hello", "Go"])
    assert (argilla.external_id, [each.text for each in argilla.responses]) == ("aa", ["Sun"])
    assert (task.external_id, task.messages[0]["content"], task.responses) == ("1", "Name a moon.", ())
