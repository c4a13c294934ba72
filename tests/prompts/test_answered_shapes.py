"""Files with responses, as their sources publish them: each gives its prompt, its responses, and what the file says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.prompts import parsing
from app.prompts.parsing import Refusal
from app.prompts.records import ParsedPrompt
from app.prompts.responses import MOST, Response
from tests.prompts.answered import BETTER, LATER, RECORDS, WORSE, Said, answer
from tests.prompts.reading import USER, line, one, read, reason, refused_file


def said(prompt: ParsedPrompt) -> list[Said]:
    return [(each.model, each.text, each.said) for each in prompt.responses]


def asked(prompt: ParsedPrompt) -> list[str]:
    return [message["content"] for message in prompt.messages]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_gives_its_prompt_and_its_responses(name: str) -> None:
    record, messages, responses = RECORDS[name]
    prompt = one(record)

    assert asked(prompt) == messages
    assert said(prompt) == responses


def test_what_stands_beside_the_responses_is_kept() -> None:
    argilla = one(RECORDS["Argilla 2"][0])
    task = one(RECORDS["Label Studio"][0])
    steer = one(RECORDS["HelpSteer 3"][0])

    assert argilla.metadata == {"argilla": {"responses": {"best": [{"value": "response_1"}]}}}
    assert task.metadata == {"label_studio": {"annotations": [{"result": [{"value": {"selected": "left"}}]}]}}
    assert (task.external_id, argilla.external_id) == ("7", "x")
    assert steer.metadata == {"overall_preference": -1, "domain": "general"}


def test_the_rows_of_one_prompt_are_joined_and_say_of_which_row_they_are_preferred() -> None:
    """HelpSteer has a row for each response; hh-rlhf has several pairs of some prompts."""
    ratings = {"helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 0}
    steer = [{"prompt": "Why?", "response": text} | ratings for text in "ab"]
    pairs = [{"prompt": "How?", "chosen": "a", "rejected": text} for text in "bc"]

    of_steer, of_pairs = read(b"".join(map(line, [*steer, *pairs])))

    assert isinstance(of_steer, ParsedPrompt)
    assert isinstance(of_pairs, ParsedPrompt)
    assert said(of_steer) == [(None, "a", ratings), (None, "b", ratings)]
    at = [
        (text, mark | {"line": number})
        for number, pair in ((3, "ab"), (4, "ac"))
        for text, mark in zip(pair, (BETTER, WORSE), strict=True)
    ]
    assert [(text, rest) for _, text, rest in said(of_pairs)] == at


def test_two_files_of_one_model_each_are_one_set_of_prompts_when_they_stand_in_one_file() -> None:
    rows = [
        {"id": f"q{number}", "prompt": f"Name fish {number}.", "response": f"{model} {number}", "model": model}
        for model in ("rival-a", "rival-b")
        for number in range(3)
    ]

    prompts = [each for each in read(b"".join(map(line, rows))) if isinstance(each, ParsedPrompt)]

    assert [each.external_id for each in prompts] == ["q0", "q1", "q2"]
    assert said(prompts[1]) == [("rival-a", "rival-a 1", {}), ("rival-b", "rival-b 1", {})]


def test_what_three_people_said_of_each_two_models_is_kept_in_order() -> None:
    rows = [
        {"cmp_key": key, "instruction": "Add.", "input": "", "response1": key[0], "response2": key[2], "annotator1": at}
        for at, key in enumerate(("m_n", "m_o", "n_o"))
    ]

    (prompt,) = read(b"".join(map(line, rows)))

    assert isinstance(prompt, ParsedPrompt)
    assert [(model, text) for model, text, _ in said(prompt)] == [("m", "m"), ("n", "n"), ("o", "o")]
    assert prompt.metadata["judgements"] == [
        {"cmp_key": key, "annotator1": at} for at, key in enumerate(("m_n", "m_o", "n_o"))
    ]


def test_a_row_that_says_nothing_new_is_refused_like_any_duplicate() -> None:
    pair = line({"prompt": "Why?", "chosen": "a", "rejected": "b"})

    prompts = read(pair + pair)

    assert [each.reason for each in prompts if isinstance(each, Refusal)] == [
        "has the same content as line 1: remove one of them"
    ]


def test_two_sources_with_one_id_are_refused_by_name() -> None:
    first, second = ({"id": "x", "prompt": text, "responses": ["a", "b"]} for text in ("Why?", "How?"))

    found = read(line(first) + line(second))

    assert [each.reason for each in found if isinstance(each, Refusal)] == [
        'has the same id "x" as line 1: give each prompt its own id'
    ]


def message(number: int, role: str, text: str, *replies: Any, **more: Any) -> dict[str, Any]:
    return {"message_id": f"m{number}", "role": role, "text": text, "replies": list(replies), **more}


def test_a_tree_gives_a_prompt_for_each_turn_that_was_answered_in_several_ways() -> None:
    below = message(
        4, "prompter", "And?", message(5, "assistant", "x", rank=1), message(6, "assistant", "y", rank=0), lang="en"
    )
    gone = message(7, "assistant", "gone", deleted=True)
    first = message(2, "assistant", "a", below, rank=0, model_name="m", synthetic=True)
    root = message(1, "prompter", "Why?", first, message(3, "assistant", "b", rank=1), gone, lang="en")

    prompts = [each for each in read(line({"message_tree_id": "t", "prompt": root})) if isinstance(each, ParsedPrompt)]

    assert [(each.external_id, asked(each), each.language) for each in prompts] == [
        ("m1", ["Why?"], "en"),
        ("m4", ["Why?", "a", "And?"], "en"),
    ]
    assert said(prompts[0]) == [
        ("m", "a", {"message_id": "m2", "rank": 0, "synthetic": True}),
        (None, "b", {"message_id": "m3", "rank": 1}),
    ]
    assert prompts[1].metadata["message_tree_id"] == "t"


def test_a_battle_of_several_turns_compares_the_first_answers_and_keeps_the_rest() -> None:
    talks = {f"conversation_{side}": [USER, answer(side), LATER, answer("end")] for side in "ab"}

    prompt = one(talks | {"model_a": "m", "model_b": "n", "winner": "model_a"})

    assert (asked(prompt), said(prompt)) == (["Why?"], [("m", "a", {}), ("n", "b", {})])
    assert (prompt.metadata["winner"], prompt.metadata["conversation_a"][-1]["content"]) == ("model_a", "end")
    assert "went on for several turns" in str(prompt.note)


def test_how_a_response_was_made_is_told_from_what_is_said_of_it() -> None:
    given = {"text": "höhe", "model_name": " m  7 ", "temperature": 0.2, "max_tokens": 9, "sampling": {"top_p": 1}}

    (cut, whole) = one(
        {
            "prompt": "x",
            "responses": [
                given | {"finish_reason": "length"},
                {"text": "b", "completion_tokens": 5, "finish_reason": "eos"},
            ],
        }
    ).responses

    assert cut == Response("höhe", "m 7", "length", 2, {"top_p": 1, "temperature": 0.2, "max_tokens": 9}, {})
    assert (whole.finish_reason, whole.tokens, whole.said) == ("stop", 5, {"finish_reason": "eos"})


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"prompt": "x", "responses": 3}, '"responses" that are a number'),
        ({"prompt": "x", "responses": [1]}, "a response 1 that is a number"),
        ({"prompt": "x", "responses": ["a", " "]}, "a response 2 that is blank"),
        ({"prompt": "x", "responses": [{"text": True}]}, "text is true or false"),
        ({"prompt": "x", "responses": [{"text": "a", "model": 3}]}, '"model" is no name'),
        ({"prompt": "x", "responses": [{"text": "a", "model": "m" * 65}]}, "65 characters, 64 is the most"),
        ({"prompt": "x", "responses": [str(each) for each in range(MOST + 1)]}, "33 responses, 32 is the most"),
        ({"prompt": "x", "responses": ["a" * 200_001]}, "200,001 characters"),
        ({"prompt": "x", "responses": [{"text": "a", "tool_calls": [{"name": "w"}]}]}, "calls a tool"),
        ({"prompt": "x", "chosen": "a"}, 'a "chosen" without a "rejected"'),
        ({"prompt": "x", "chosen": "a", "rejected": "a"}, "the same text"),
        ({"chosen": [USER, answer("a")], "rejected": [LATER, answer("b")]}, "answer different prompts"),
        ({"chosen": [USER], "rejected": [USER]}, "does not end with the assistant"),
        ({"prompt": "x", "chosen": 1, "rejected": 2}, '"chosen" that is a number'),
        ({"prompt": "other", "chosen": [USER, answer("a")], "rejected": [USER, answer("b")]}, "do not continue"),
        ({"chosen": "a", "rejected": "b"}, 'has no "prompt" or "messages"'),
        ({"conversation_a": [USER, answer("a")]}, "a battle with one conversation"),
        ({"conversation_a": [USER, answer("a")], "conversation_b": [LATER, answer("b")]}, "do not part at an answer"),
        ({"message_tree_id": "t", "text": "x", "role": "prompter"}, "one message of OpenAssistant"),
        ({"message_tree_id": "t", "prompt": message(1, "prompter", "x")}, "no turn has two answers"),
        ({"message_tree_id": "t", "prompt": {"replies": [], "role": "prompter"}}, 'without "text" and "role"'),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(record: dict[str, Any], words: str) -> None:
    assert words in reason(line(record))


def test_a_file_of_more_prompts_with_responses_than_can_be_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST_HELD", 2)
    rows = [line({"prompt": str(number), "responses": ["a", "b"]}) for number in range(3)]

    assert len(read(b"".join(rows[:2]))) == 2
    assert "more than 2 prompts with responses" in refused_file(b"".join(rows), "x.jsonl")


KEYS = sorted(
    {key for record, *_ in RECORDS.values() for key in record} | {"message_tree_id", "replies", "text", "output"}
)
words = st.sampled_from(["a", "b", "", "1", "m_n", "left", "user", "assistant", "tie", "\n\nHuman: a\n\nAssistant: b"])
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | words
turns = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("role", "content", "from", "value", "text", "response", "model", "body", "replies"), leaves
    ),
)
loose = leaves | turns | st.lists(leaves | turns | st.lists(turns, max_size=2), max_size=3)
deep = loose | st.dictionaries(st.sampled_from([*KEYS, "text", "role"]), loose, max_size=4)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(KEYS), deep, max_size=6))
def test_whatever_a_record_holds_it_is_prompts_or_a_refusal(record: dict[str, Any]) -> None:
    for found in read(line(record)):
        if isinstance(found, Refusal):
            assert "Error" not in found.reason
        else:
            assert all(each.text.strip() for each in found.responses)
            json.dumps([each.said for each in found.responses], allow_nan=False)


def test_ratings_are_kept_as_they_were_said_whatever_their_scale() -> None:
    prompt = one(
        {
            "prompt": "x",
            "responses": [{"text": "a", "rating": -1e9}, {"text": "b", "rating": "great", "ratings": [0, 11]}],
        }
    )

    assert [rest for *_, rest in said(prompt)] == [{"rating": -1e9}, {"rating": "great", "ratings": [0, 11]}]


def test_a_table_holds_them_as_json_in_its_cells() -> None:
    turns = [json.dumps([USER, answer(text)]).replace('"', '""') for text in "ab"]
    head = b"chosen,rejected,score_chosen\n"

    (prompt,) = read(head + f'"{turns[0]}","{turns[1]}",7\n'.encode(), "x.csv")

    assert isinstance(prompt, ParsedPrompt)
    assert said(prompt) == [(None, "a", {"score": "7"} | BETTER), (None, "b", WORSE)]


def test_one_pair_alone_is_a_json_file() -> None:
    (prompt,) = read(
        json.dumps({"id": "x", "chosen": [USER, answer("a")], "rejected": [USER, answer("b")]}).encode(), "x.json"
    )

    assert isinstance(prompt, ParsedPrompt)
    assert len(prompt.responses) == 2
