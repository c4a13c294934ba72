"""Any file in TRL's format is read as a snapshot is, and what is wrong with it is said with the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import byte_tokenizer, turn
from training.config import DataConfig
from training.data import prepare
from training.errors import DataError
from training.snapshot import read_file

CONFIG = DataConfig(min_strength=3, max_length=256)


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


TEXT = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
MESSAGES = {
    "prompt": [{"role": "user", "content": "Why?"}],
    "chosen": turn("Because."),
    "rejected": turn("No."),
}
IMPLICIT = {
    "chosen": [{"role": "user", "content": "Why?"}, *turn("Because.")],
    "rejected": [{"role": "user", "content": "Why?"}, *turn("No.")],
}


@pytest.mark.parametrize("row", [TEXT, MESSAGES, IMPLICIT], ids=["text", "messages", "implicit"])
def test_text_messages_and_an_implicit_prompt_are_the_same_preference(tmp_path: Path, row: dict[str, Any]) -> None:
    [preference], digest = read_file(write(tmp_path, row), held_out_percent=0)
    assert preference.prompt == ({"role": "user", "content": "Why?"},)
    assert (preference.chosen, preference.rejected, preference.split) == ("Because.", "No.", "train")
    assert len(digest) == 64


def test_a_file_is_trained_on_without_strengths(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT | {"edited": "Because it is."}, TEXT | {"prompt": "How?", "strength": 2, "weight": 0.5})
    prepared = prepare(file, CONFIG, byte_tokenizer(), max_held_out=9)
    assert prepared.counts["filtered_by_strength"] == 1
    [row] = prepared.rows
    assert len(row.pairs) == 3


def test_prompts_are_held_out_by_their_hash(tmp_path: Path) -> None:
    file = write(tmp_path, *(TEXT | {"prompt": f"Why {n % 40}?"} for n in range(80)))
    rows, _ = read_file(file, held_out_percent=25)
    held_out = {row.prompt_hash for row in rows if row.split == "held_out"}
    assert held_out
    assert not held_out & {row.prompt_hash for row in rows if row.split == "train"}
    assert {row.split for row in read_file(file, held_out_percent=0)[0]} == {"train"}


def test_a_completion_alone_is_enough_for_fine_tuning(tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": "Why?", "completion": "Because."})
    prepared = prepare(file, CONFIG, byte_tokenizer(), max_held_out=9, consumer="sft")
    [[response]] = [row.responses for row in prepared.rows]
    assert byte_tokenizer().decode(response.ids) == "Because.<|im_end|>\n"
    with pytest.raises(DataError, match="leaves no pair to train on"):
        prepare(file, CONFIG, byte_tokenizer(), max_held_out=9)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([TEXT, {"prompt": "Why?", "chosen": "x"}], r"line 2: the column 'rejected' is missing, it has chosen, prompt"),
        ([{"chosen": "x", "rejected": "y"}], "the column 'prompt' is missing"),
        ([TEXT | {"chosen": ""}, TEXT | {"chosen": ""}], "chosen is empty in all 2 rows"),
        ([TEXT | {"rejected": ""}], "rejected is empty in all 1 rows"),
        ([TEXT | {"rejected": "Because."}], "the same in all 1 rows: nothing is preferred"),
        ([], "has no rows"),
        ([TEXT | {"strength": 9}], "line 1: .*strength 9 is unknown"),
        ([TEXT | {"split": "train"}, TEXT | {"split": "held_out"}], "have the same prompt"),
        ([TEXT | {"weight": -1}], "weight must not be negative"),
    ],
)
def test_a_file_that_cannot_be_trained_on_says_why(tmp_path: Path, rows: list[Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_file(write(tmp_path, *rows), held_out_percent=0)


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT)
    file.write_text(file.read_text() + "{oops\n")
    with pytest.raises(DataError, match="line 2"):
        read_file(file, held_out_percent=0)
