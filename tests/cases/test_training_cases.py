"""Small files that once broke training, each with what is right; skipped by name where the folder of them is missing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cases.found import case
from tests.training.conftest import CHATML, byte_tokenizer
from training.data.rows import prepare
from training.formats.errors import DataError
from training.formats.prompts import plain
from training.formats.settings import DataConfig

LIMITS = DataConfig(min_strength=3, max_length=1024, held_out_percent=0)
# As Gemma's does: it knows no system turn.
SHOWS_TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"
WITHOUT_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


@dataclass(frozen=True)
class Right:
    """What is to come of a file: pairs, what is counted beside them, and the rows that are named."""

    pairs: int
    counts: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)


CASE = {
    "train_hh.jsonl": Right(6),
    "train_ultrafeedback.jsonl": Right(6),
    "train_one_bad_tool.jsonl": Right(6, {"dropped_unrenderable": 1, "held_out_pairs": 2}, ["line 9"]),
    "train_one_system.jsonl": Right(6, {"dropped_unrenderable": 1, "held_out_pairs": 2}, ["line 9"]),
    "empty_chosen.jsonl": Right(1, {"empty_responses": 3}),
    "mixed_tool_arguments.trl.jsonl": Right(2),
    "tie_in_file.jsonl": Right(0, {"ties": 4}),
    "poison_tool_description.jsonl": Right(14, {"dropped_unrenderable": 1}, ["line 15"]),
}


def rows_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in case(name).read_text(encoding="utf-8").splitlines() if line.strip()]


@pytest.mark.parametrize("name", CASE)
def test_a_file_is_trained_on_as_far_as_it_goes(name: str, tmp_path: Path) -> None:
    file, right = case(name), CASE[name]
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = SHOWS_TOOLS + WITHOUT_SYSTEM
    if name.startswith("poison"):  # prompts: what Alice would have said of their answers
        judged = [row | {"chosen": "Gladly.", "rejected": "No."} for row in rows_of(name)]
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in judged), encoding="utf-8")
    if not right.pairs:
        with pytest.raises(DataError, match="4 rows are ties"):
            prepare(file, LIMITS, tokenizer, max_held_out=9)
        return
    counts = prepare(file, LIMITS, tokenizer, max_held_out=9).counts
    assert counts["pairs"] == right.pairs
    assert {name: counts[name] for name in right.counts} == right.counts
    assert counts["left_out_rows"].get("dropped_unrenderable", []) == right.named


def test_rows_with_tools_that_the_template_does_not_show_are_left_out() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = WITHOUT_SYSTEM
    with pytest.raises(DataError, match="shows no tools"):
        prepare(case("mixed_tool_arguments.trl.jsonl"), LIMITS, tokenizer, max_held_out=9)


@pytest.mark.parametrize("name", ["mixed_tool_arguments.trl.jsonl", "tool_args_keys.jsonl", "tool_args_mixed.jsonl"])
def test_tool_calls_load_into_columns_and_no_key_is_invented(name: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    column = "prompt" if ".trl." in name else "messages"
    messages = [[plain(message) for message in row[column]] for row in rows_of(name)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"prompt": each}) + "\n" for each in messages))
    loaded = datasets.load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), cache_dir=str(tmp_path / "cache"))
    for said, turns in zip(loaded["train"]["prompt"], messages, strict=True):
        calls = [turn["tool_calls"][0]["function"] for turn in turns if turn.get("tool_calls")]
        assert [turn["tool_calls"][0]["function"] for turn in said if turn.get("tool_calls")] == calls
        assert all(isinstance(json.loads(call["arguments"]), dict) for call in calls)
