"""Any file in TRL's format is read as a snapshot is, and what is wrong with it is said with the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import byte_tokenizer, turn
from training import snapshot
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
    with pytest.raises(DataError, match="from which only"):
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
        ([TEXT | {"strength": 9}], "line 1: strength is 9, but must be a number from 1 to 4"),
        ([TEXT | {"split": "train"}, TEXT | {"split": "held_out"}], "have the same prompt"),
        ([TEXT | {"weight": -1}], "weight is -1.0, but must be a number that is not negative"),
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


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    body = json.dumps(TEXT)
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + f"{body}\n\n{body}\n  \n".encode())
    assert len(snapshot.read(tmp_path / "rows.jsonl", 0)[0]) == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"prompt": "\xe9"}', "line 1: byte 13 is not UTF-8"),
        (b"[1, 2]", "line 1: a line must be one JSON object"),
        (b"{", r"line 1: not JSON \(Expecting property name"),
        (b'{"prompt": 7, "chosen": "a", "rejected": "b"}', "line 1: prompt must be text or a list of messages"),
        (
            b'{"prompt": "x", "chosen": [], "rejected": "b"}',
            "a response must be text or a list of one assistant message",
        ),
        (b'{"prompt": "x", "chosen": "\\ud800", "rejected": "b"}', "half of a surrogate pair"),
        (b'{"prompt": "x", "chosen": "a", "rejected": "b", "weight": NaN}', "weight is nan, but must be"),
        (
            b'{"prompt": "x", "chosen": "a", "rejected": "b", "split": "test"}',
            "split is 'test', but must be train or held_out",
        ),
        (
            b'{"prompt": "x", "rejected": "b", "chosen": [{"role": "assistant", "content": "", "tool_calls": [1]}]}',
            "its call would be lost",
        ),
    ],
)
def test_a_line_that_makes_no_sense_is_named_with_what_it_must_be(tmp_path: Path, line: bytes, sentence: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(line + b"\n")
    with pytest.raises(DataError, match=sentence):
        snapshot.read(tmp_path / "rows.jsonl", 0)


def test_rounds_and_batches_of_a_file_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT | {"round": 3, "batch": "everyday"})
    [row], _ = snapshot.read(file, 0)
    assert (row.round, row.batch) == (3, "everyday")
