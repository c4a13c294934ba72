"""Any file in TRL's format is read as a snapshot is, and what is wrong with it is said with the line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import byte_tokenizer, turn
from training.data import snapshot
from training.data.left_out import LeftOut
from training.data.rows import prepare
from training.data.snapshot import read_file
from training.formats.errors import DataError
from training.formats.prompts import content_hash, split_of
from training.formats.settings import DataConfig
from training.measure import judged

ALL_TRAIN = DataConfig(min_strength=3, max_length=256, held_out_percent=0)


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


TEXT: dict[str, Any] = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
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
    prepared = prepare(file, ALL_TRAIN, byte_tokenizer(), max_held_out=9)
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
    prepared = prepare(file, ALL_TRAIN, byte_tokenizer(), max_held_out=9, consumer="sft")
    [[response]] = [row.responses for row in prepared.rows]
    assert byte_tokenizer().decode(response.ids) == "Because.<|im_end|>\n"
    with pytest.raises(DataError, match=r"which only training\.sft can train on"):
        prepare(file, ALL_TRAIN, byte_tokenizer(), max_held_out=9)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([TEXT, {"prompt": "Why?", "chosen": "x"}], r"line 2: the column 'rejected' is missing, it has chosen, prompt"),
        ([{"chosen": "x", "rejected": "y"}], "the column 'prompt' is missing"),
        ([TEXT | {"chosen": ""}, TEXT | {"chosen": ""}], "chosen is empty in all 2 rows"),
        ([TEXT | {"rejected": ""}], "rejected is empty in all 1 rows"),
        ([TEXT | {"rejected": "Because."}], "the same in all 1 rows: no response is preferred"),
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


TALK: list[dict[str, Any]] = [{"role": "user", "content": "Why?"}]


def whole(*turns: dict[str, Any], answer: str) -> list[dict[str, Any]]:
    return [*turns, *turn(answer)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "chosen": whole(*TALK, answer="Because."), "rejected": whole(*TALK, answer="No.")},
        {"prompt": TALK, "chosen": whole(*TALK, answer="Because."), "rejected": whole(*TALK, answer="No.")},
        {"chosen": "\n\nHuman: Why?\n\nAssistant: Because.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
        {"prompt": "\n\nHuman: Why?\n\nAssistant:", "chosen": "Because.", "rejected": "No."},
        TEXT | {"weight": None, "tools": "", "split": None, "strength": None, "outcome": None, "id": None},
        TEXT | {"tools": "[]", "edited": " \u200b"},
    ],
)
def test_every_way_of_trl_to_write_a_pair_is_the_same_preference(tmp_path: Path, row: dict[str, Any]) -> None:
    [plainly], _ = read_file(write(tmp_path, TEXT), held_out_percent=50)
    [preference], _ = read_file(write(tmp_path, row), held_out_percent=50)
    assert preference == plainly


def test_a_turn_of_a_dialogue_stands_behind_all_that_was_said_before(tmp_path: Path) -> None:
    talk = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
    [row], _ = read_file(write(tmp_path, {"chosen": f"{talk} Because.", "rejected": f"{talk} No."}), 0)
    assert [message["content"] for message in row.prompt] == ["Hi", "Hello", "Why?"]
    system = {"role": "system", "content": "Be brief."}
    sides = {"chosen": whole(*TALK, answer="Because."), "rejected": whole(*TALK, answer="No.")}
    [row], _ = read_file(write(tmp_path, {"prompt": [system, *TALK], **sides}), 0)
    assert [message["role"] for message in row.prompt] == ["system", "user"]


@pytest.mark.parametrize("form", ["gzip", "array", "gzipped array"])
def test_a_file_may_be_compressed_or_one_array(tmp_path: Path, form: str) -> None:
    rows = [TEXT, TEXT | {"prompt": "How?"}]
    body = json.dumps(rows, indent=1) if "array" in form else "".join(json.dumps(row) + "\n" for row in rows)
    file = tmp_path / "pairs.data"
    file.write_bytes(gzip.compress(body.encode()) if "gzip" in form else body.encode())
    assert [row.prompt[0]["content"] for row in read_file(file, 0)[0]] == ["Why?", "How?"]


def test_an_archive_that_was_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl.gz").write_bytes(gzip.compress(json.dumps(TEXT).encode())[:-9])
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_file(tmp_path / "pairs.jsonl.gz", 0)


UNUSABLE_ROWS: dict[str, dict[str, Any]] = {
    "different_prompts": {"prompt": None, "chosen": whole(*TALK, answer="a"), "rejected": whole(answer="b")},
    "no_answer": TEXT | {"chosen": [*turn("a"), *TALK]},
    "tool_call_answers": TEXT | {"chosen": [turn("")[0] | {"tool_calls": [1]}]},
    "broken_text": TEXT | {"rejected": "\ud800"},
    "unknown_prompt": TEXT | {"prompt": [{"role": "wizard", "content": "x"}]},
}


@pytest.mark.parametrize("reason", UNUSABLE_ROWS)
def test_a_row_that_nothing_can_be_learnt_from_is_left_out_counted_and_named(tmp_path: Path, reason: str) -> None:
    left_out = LeftOut()
    rows, _ = read_file(write(tmp_path, TEXT, UNUSABLE_ROWS[reason], TEXT), 0, left_out)
    assert (len(rows), left_out.named) == (2, {reason: ["line 2"]})
    with pytest.raises(DataError, match="line 1: "):
        read_file(write(tmp_path, UNUSABLE_ROWS[reason]), 0)


def test_the_outcome_of_a_row_is_believed(tmp_path: Path) -> None:
    outcomes = ("tie", "all_unacceptable", "ranked", None)
    rows = [TEXT | {"prompt": f"Why {n}?", "outcome": each, "edited": "Better."} for n, each in enumerate(outcomes)]
    rows.append(TEXT | {"outcome": "all_unacceptable", "chosen": None})
    file = write(tmp_path, *rows)
    counts = prepare(file, ALL_TRAIN, byte_tokenizer(), max_held_out=9).counts
    assert (counts["ties"], counts["all_unacceptable"], counts["prompts"], counts["pairs"]) == (1, 2, 2, 6)
    judgements = judged.read(file)
    assert (len(judgements.held_out), judgements.left_out["ties"]) == (2, 1)
    with pytest.raises(DataError, match="outcome is 'draw', but must be one of ranked, tie, all_unacceptable, written"):
        read_file(write(tmp_path, TEXT | {"outcome": "draw"}), 0)


def test_an_answer_written_from_scratch_is_read_from_a_file_and_compared_by_nobody(tmp_path: Path) -> None:
    row = {"prompt": "Why not?", "chosen": None, "rejected": None, "edited": "Because.", "outcome": "written"}
    file = write(tmp_path, TEXT, row)
    found = read_file(file, 0)[0][1]
    assert (found.chosen, found.rejected, found.edited) == (None, None, "Because.")
    assert judged.read(file).left_out["written"] == 1
    with pytest.raises(DataError, match="a written answer needs a text in edited"):
        read_file(write(tmp_path, row | {"edited": " "}), 0)
    with pytest.raises(DataError, match="the column 'edited' is missing"):
        read_file(write(tmp_path, {name: row[name] for name in row if name != "edited"}), 0)


@pytest.mark.parametrize("silence", ["", " \n", "\u3000", "\u200b\u2060"])
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_response_that_says_nothing_is_left_out_and_counted(tmp_path: Path, side: str, silence: str) -> None:
    file = write(tmp_path, TEXT, TEXT | {"prompt": "How?", side: silence})
    prepared = prepare(file, ALL_TRAIN, byte_tokenizer(), max_held_out=9)
    assert (prepared.counts["pairs"], prepared.counts["empty_responses"]) == (1, 1)
    taught = prepare(file, ALL_TRAIN, byte_tokenizer(), max_held_out=9, consumer="sft")
    assert len(taught.rows) == 1
    assert judged.read(file).left_out["empty_responses"] == 1


def test_a_prompt_that_corral_holds_out_is_held_out_of_its_file_too(tmp_path: Path) -> None:
    """The two sides were decided by two hashes: of twelve held-out prompts eleven became training rows."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lyon"}}}
    calls: list[Any] = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    ]
    prompts = [[*before, {"role": "user", "content": f"{n}?"}] for n in range(60) for before in ([], calls)]
    tools = [{"type": "function", "function": {"name": "weather"}}]
    rows = [TEXT | {"prompt": prompt, "tools": json.dumps(tools)} for prompt in prompts]
    found, _ = read_file(write(tmp_path, *rows), held_out_percent=30)
    assert [row.split for row in found] == [split_of(content_hash(prompt, tools), 30) for prompt in prompts]
    assert {row.split for row in found} == {"train", "held_out"}
    said = [row | {"split": "held_out"} for row in rows]
    assert {row.split for row in read_file(write(tmp_path, *said), 30)[0]} == {"held_out"}
