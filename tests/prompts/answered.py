"""Records with responses, one of each kind as its source publishes it: what it asks, and what its responses say."""

from __future__ import annotations

from typing import Any

from tests.prompts.reading import ASSISTANT, USER

Said = tuple[str | None, str, dict[str, Any]]
FIRST, SECOND = {"rank": 1}, {"rank": 2}
BETTER, WORSE, EQUAL = {"preference": "chosen"}, {"preference": "rejected"}, {"preference": "tie"}
LATER = {"role": "user", "content": "And?"}


def answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


RECORDS: dict[str, tuple[dict[str, Any], list[str], list[Said]]] = {
    "Corral's own": (
        {"prompt": "Why?", "responses": ["a", {"model": "m", "text": "b", "rating": 3}, [answer("c")]]},
        ["Why?"],
        [(None, "a", {}), ("m", "b", {"rating": 3}), (None, "c", {})],
    ),
    "by model": ({"prompt": "Why?", "responses": {"m": "a", "n": "b"}}, ["Why?"], [("m", "a", {}), ("n", "b", {})]),
    "TRL, explicit": (
        {"prompt": [USER], "chosen": [answer("a")], "rejected": [answer("b")], "score_chosen": 9},
        ["Why?"],
        [(None, "a", {"score": 9} | BETTER), (None, "b", WORSE)],
    ),
    "TRL, implicit": (
        {"chosen": [USER, ASSISTANT, LATER, answer("a")], "rejected": [USER, ASSISTANT, LATER, answer("b")]},
        ["Why?", "Because.", "And?"],
        [(None, "a", BETTER), (None, "b", WORSE)],
    ),
    "UltraFeedback, binarized": (
        {
            "prompt": "Why?",
            "messages": [USER, answer("a")],
            "chosen": [USER, answer("a")],
            "rejected": [USER, answer("b")],
            "chosen-model": "m",
            "rejected-rating": 2.5,
        },
        ["Why?"],
        [("m", "a", BETTER), (None, "b", {"rating": 2.5} | WORSE)],
    ),
    "UltraFeedback": (
        {
            "instruction": "Why?",
            "models": ["m", "n"],
            "completions": [
                {"model": "m", "response": "a", "overall_score": 7.0, "annotations": {"truth": {"Rating": "5"}}},
                {"model": "n", "response": "b", "overall_score": 3.0},
            ],
        },
        ["Why?"],
        [
            ("m", "a", {"overall_score": 7.0, "annotations": {"truth": {"Rating": "5"}}}),
            ("n", "b", {"overall_score": 3.0}),
        ],
    ),
    "hh": (
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: a",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: b",
        },
        ["Hi", "Yes?", "Why?"],
        [(None, "a", BETTER), (None, "b", WORSE)],
    ),
    "hh, prompt apart": (
        {"prompt": "\n\nHuman: Why?\n\nAssistant:", "chosen": "a", "rejected": "b"},
        ["Why?"],
        [(None, "a", BETTER), (None, "b", WORSE)],
    ),
    "HelpSteer 2, preference": (
        {
            "prompt": "Hi<extra_id_1>Assistant\nYes?\n<extra_id_1>User\nWhy?",
            "response_1": "a",
            "response_2": "b",
            "preference_strength": 2,
        },
        ["Hi", "Yes?", "Why?"],
        [(None, "a", WORSE), (None, "b", BETTER)],
    ),
    "HelpSteer 3": (
        {"context": [USER], "response1": "a", "response2": "b", "overall_preference": -1, "domain": "general"},
        ["Why?"],
        [(None, "a", BETTER), (None, "b", WORSE)],
    ),
    "arena": (
        {
            "conversation_a": [USER, answer("a")],
            "conversation_b": [USER, answer("b")],
            "model_a": "m",
            "model_b": "n",
            "winner": "tie (bothbad)",
        },
        ["Why?"],
        [("m", "a", EQUAL), ("n", "b", EQUAL)],
    ),
    "arena, several turns": (
        {
            "conversation_a": [USER, answer("Yes?"), LATER, answer("a")],
            "conversation_b": [USER, answer("Yes?"), LATER, answer("b")],
            "model_a": "m",
            "model_b": "n",
            "winner": "model_b",
        },
        ["Why?", "Yes?", "And?"],
        [("m", "a", WORSE), ("n", "b", BETTER)],
    ),
    "arena, by table, several turns": (
        {
            "prompt": ["Why?", "And?"],
            "response_a": ["Yes?", "a"],
            "response_b": ["Yes?", "b"],
            "model_a": "m",
            "model_b": "n",
            "winner_model_a": 1,
        },
        ["Why?", "Yes?", "And?"],
        [("m", "a", BETTER), ("n", "b", WORSE)],
    ),
    "arena, both the same": (
        {
            "conversation_a": [USER, answer("a")],
            "conversation_b": [USER, answer("a")],
            "model_a": "m",
            "model_b": "n",
            "winner": "model_b",
        },
        ["Why?"],
        [("m", "a", WORSE), ("n", "a", BETTER)],
    ),
    "arena, by table": (
        {"prompt": "Why?", "response_a": "a", "response_b": "b", "model_a": "m", "model_b": "n", "winner_model_a": 1},
        ["Why?"],
        [("m", "a", BETTER), ("n", "b", WORSE)],
    ),
    "Argilla 2": (
        {
            "id": "x",
            "fields": {"text": "Why?", "response_1": "a", "response_2": "b"},
            "responses": {"best": [{"value": "response_1"}]},
            "suggestions": {},
        },
        ["Why?"],
        [(None, "a", FIRST), (None, "b", SECOND)],
    ),
    "Argilla 2, a ranking": (
        {
            "fields": {"prompt": "Why?", "response-1": "a", "response-2": "b"},
            "responses": {"ranking": [{"value": ["response-2", "response-1"], "status": "submitted"}]},
        },
        ["Why?"],
        [(None, "a", SECOND), (None, "b", FIRST)],
    ),
    "Argilla 2, by its API": (
        {
            "fields": {"prompt": "Why?", "response_a": "a", "response_b": "b"},
            "responses": [
                {"values": {"q": {"value": [{"value": "response_a", "rank": 2}, {"value": "response_b", "rank": 1}]}}},
                {"values": {"preference": {"value": "A"}}, "status": "draft"},
            ],
        },
        ["Why?"],
        [(None, "a", SECOND), (None, "b", FIRST)],
    ),
    "Argilla, flat": (
        {
            "prompt": "Why?",
            "response_1": "a",
            "response_2": "b",
            "preference.responses": ["Response 2", "Response 1"],
            "preference.responses.status": ["submitted", "discarded"],
            "preference.responses.users": ["u", "v"],
        },
        ["Why?"],
        [(None, "a", SECOND), (None, "b", FIRST)],
    ),
    "Argilla 2, chat": (
        {"fields": {"chat": [USER], "chosen": "a", "rejected": "b"}},
        ["Why?"],
        [(None, "a", BETTER), (None, "b", WORSE)],
    ),
    "Label Studio": (
        {
            "id": 7,
            "data": {"prompt": "Why?", "answer1": "a", "answer2": "b"},
            "annotations": [{"result": [{"value": {"selected": "left"}}]}],
        },
        ["Why?"],
        [(None, "a", FIRST), (None, "b", SECOND)],
    ),
    "Label Studio, by choice": (
        {
            "data": {"prompt": "Why?", "answer1": "a", "answer2": "b"},
            "annotations": [
                {"result": [{"from_name": "best", "value": {"choices": ["Answer 2"]}}]},
                {"was_cancelled": True, "result": [{"from_name": "best", "value": {"choices": ["Answer 1"]}}]},
            ],
        },
        ["Why?"],
        [(None, "a", SECOND), (None, "b", FIRST)],
    ),
    "Label Studio, by a ranker": (
        {
            "data": {"text": "Why?", "items": [{"id": "x1", "body": "a"}, {"id": "x2", "body": "b"}]},
            "annotations": [{"result": [{"type": "ranker", "value": {"ranker": {"rank": ["x2", "x1"]}}}]}],
        },
        ["Why?"],
        [(None, "a", {"id": "x1", **SECOND}), (None, "b", {"id": "x2", **FIRST})],
    ),
    "Label Studio, JSON_MIN, pairwise": (
        {
            "prompt": "Why?",
            "answer1": "a",
            "answer2": "b",
            "id": 7,
            "comparison": [{"selected": "right"}],
            "annotator": 1,
            "annotation_id": 9,
            "lead_time": 3.5,
        },
        ["Why?"],
        [(None, "a", SECOND), (None, "b", FIRST)],
    ),
    "Label Studio, JSON_MIN, choice": (
        {
            "text": "Why?",
            "answer1": "a",
            "answer2": "b",
            "best": "Answer 2",
            "annotator": 1,
            "annotation_id": 9,
            "lead_time": 3.5,
        },
        ["Why?"],
        [(None, "a", SECOND), (None, "b", FIRST)],
    ),
    "Label Studio, JSON_MIN, ranker": (
        {
            "text": "Why?",
            "items": [{"id": "x1", "body": "a"}, {"id": "x2", "body": "b"}],
            "rank": [{"ranker": {"rank": ["x2", "x1"]}}],
            "annotator": 1,
            "annotation_id": 9,
            "lead_time": 3.5,
        },
        ["Why?"],
        [(None, "a", {"id": "x1", **SECOND}), (None, "b", {"id": "x2", **FIRST})],
    ),
    "Label Studio, ranked": (
        {
            "id": 7,
            "data": {"text": "Why?", "items": [{"id": "1", "body": "a"}, {"id": "2", "body": "b"}]},
            "annotations": [],
        },
        ["Why?"],
        [(None, "a", {"id": "1"}), (None, "b", {"id": "2"})],
    ),
    "LLaMA-Factory, sharegpt": (
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        ["Why?"],
        [(None, "a", BETTER), (None, "b", WORSE)],
    ),
    "LLaMA-Factory, alpaca": (
        {"instruction": "Why?", "input": "", "chosen": "a", "rejected": "b"},
        ["Why?"],
        [(None, "a", BETTER), (None, "b", WORSE)],
    ),
    "LLaMA-Factory, list": (
        {"instruction": "Add.", "input": "1 2", "output": ["a", "b"]},
        ["Add.\n\n1 2"],
        [(None, "a", {"rank": 0} | BETTER), (None, "b", {"rank": 1} | WORSE)],
    ),
    "PandaLM": (
        {
            "idx": 0,
            "cmp_key": "m-7b_n-7b",
            "instruction": "Add.",
            "input": "1 2",
            "response1": "a",
            "response2": "b",
            "annotator1": 2,
        },
        ["Add.\n\n1 2"],
        [("m-7b", "a", {}), ("n-7b", "b", {})],
    ),
    "LLMBar": (
        {"input": "Why?", "output_1": "a", "output_2": "b", "label": 2},
        ["Why?"],
        [(None, "a", WORSE), (None, "b", BETTER)],
    ),
    "a row for each response": (
        {"instruction": "Why?", "output": "a", "generator": "m", "score": 2},
        ["Why?"],
        [("m", "a", {"score": 2})],
    ),
}
