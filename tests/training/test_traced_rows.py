"""Calls of tools are trained behind; what tools answered is read, never learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import byte_tokenizer, make_row, turn, write_snapshot
from training.data.rows import prepare
from training.data.snapshot import read_snapshot
from training.formats.errors import DataError
from training.formats.settings import DataConfig, Kind

TOKENIZER = byte_tokenizer()
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}


STEPS: list[dict[str, Any]] = [
    {"role": "assistant", "content": "", "tool_calls": [CALL], "said": "[add()]"},
    {"role": "tool", "name": "add", "tool_call_id": "call_1", "content": "seven"},
]


def test_the_response_is_trained_behind_the_tool_calls_that_it_was_sampled_behind(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
        "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
        "{{ (m.tool_call_id or '') + (m.name or '') + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    call = {"id": "call-1", "function": {"name": "weather", "arguments": {"city": "Lyon"}}}
    prompt = [
        {"role": "user", "content": "Weather?", "name": "alice"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "call-1"},
        {"role": "user", "content": "And tomorrow?"},
    ]
    snapshot = write_snapshot(tmp_path / "s", [make_row(prompt=prompt)])
    [example] = prepare(snapshot, DataConfig(min_strength=3, max_length=512), tokenizer, max_held_out=1).train
    expected = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    assert example.prompt_ids == expected
    assert '{"city": "Lyon"}' in tokenizer.decode(example.prompt_ids)


@pytest.mark.parametrize("consumer", ["reward", "dpo", "sft"])
def test_a_response_that_called_tools_is_trained_behind_its_calls_and_not_on_what_they_answered(
    tmp_path: Path, consumer: Kind
) -> None:
    row = make_row(steps={"chosen": STEPS, "rejected": None}, edited=turn("best"))
    snapshot = write_snapshot(tmp_path / "s", [row])
    limits = DataConfig(min_strength=3, max_length=512)
    [made] = prepare(snapshot, limits, TOKENIZER, max_held_out=100, consumer=consumer).rows
    trained = {TOKENIZER.decode([response.ids[at] for at in response.learnt]) for response in made.responses}
    chosen, rejected = (f"{row[side][0]['content']}<|im_end|>\n" for side in ("chosen", "rejected"))
    behind = "[add()]<|im_end|>"
    wanted = {f"{behind}best<|im_end|>\n"} | (set() if consumer == "sft" else {f"{behind}{chosen}", rejected})
    assert trained == wanted
    assert all(("seven" in TOKENIZER.decode(each.ids)) == bool(each.given) for each in made.responses)


@pytest.mark.parametrize(
    "steps", [{"chosen": [{"role": "assistant"}]}, {"chosen": ["x"]}, "x", {"chosen": [{"role": "x", "content": ""}]}]
)
def test_steps_that_are_none_are_refused_by_line(tmp_path: Path, steps: Any) -> None:
    with pytest.raises(DataError, match="steps must hold"):
        read_snapshot(write_snapshot(tmp_path / "s", [make_row(steps=steps)]))
