"""Prompts that nobody judged are known to training, and what is held out of them is not learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.conftest import RunFile, byte_tokenizer, make_asked, make_rows, write_snapshot
from training.data import asked
from training.data.rows import prepare
from training.formats.errors import DataError
from training.formats.settings import DataConfig
from training.run.config import load

DATA = DataConfig(min_strength=1, max_length=256)


def test_a_training_prompt_that_repeats_an_unjudged_held_out_one_is_left_out(tmp_path: Path) -> None:
    rows = make_rows(train=4, held_out=0)
    again = make_asked(str(rows[0]["prompt"][0]["content"]).upper(), split="held_out", reference="7")
    other = make_asked(str(rows[1]["prompt"][0]["content"]), split="train")
    before = prepare(write_snapshot(tmp_path / "old", rows), DATA, byte_tokenizer(), max_held_out=9)
    after = prepare(write_snapshot(tmp_path / "new", rows, [again, other]), DATA, byte_tokenizer(), max_held_out=9)
    assert (before.counts["dropped_contaminated"], after.counts["dropped_contaminated"]) == (0, 1)
    assert after.snapshot_sha256 == before.snapshot_sha256


def test_prompts_that_are_not_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    folder = write_snapshot(tmp_path / "snapshot", make_rows(2, 0), [make_asked("1 + 1?", reference="2")])
    assert [(each.reference, each.is_checked) for each in asked.read(folder)] == [("2", True)]
    (folder / "prompts.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"prompts\.jsonl has changed since it was exported"):
        asked.read(folder)


def test_a_file_and_an_earlier_snapshot_have_none(tmp_path: Path) -> None:
    folder = write_snapshot(tmp_path / "snapshot", make_rows(2, 0))
    assert asked.read(folder) == asked.read(folder / "preferences.jsonl") == []


def test_pairs_of_verifiers_stand_beside_those_of_people_and_have_no_vote_among_them(tmp_path: Path) -> None:
    row = make_rows(train=1, held_out=0)[0]
    other_way = {key: row[key] for key in ("prompt", "split")} | {"chosen": row["rejected"], "rejected": row["chosen"]}
    repeats = other_way | {"prompt": make_asked("3 + 4?")["prompt"]}
    file = tmp_path / "verified.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in (other_way, repeats)))
    folder = write_snapshot(tmp_path / "s", [row], [make_asked("3 + 4?", split="held_out", reference="7")])
    people = prepare(folder, DATA, byte_tokenizer(), max_held_out=9, consumer="dpo")
    both = prepare(folder, DATA, byte_tokenizer(), max_held_out=9, consumer="dpo", verified=file)
    assert both.rows[: len(people.rows)] == people.rows, "what people said is as it was"
    assert len(both.rows) == len(people.rows) + 1, "and one repeats a held-out prompt"
    assert (both.counts["verifier_pairs"], "verifier_pairs" in people.counts) == (1, False)
    assert both.snapshot_sha256 == people.snapshot_sha256
    file.write_text("")
    assert prepare(folder, DATA, byte_tokenizer(), max_held_out=9, consumer="dpo", verified=file).rows == people.rows


def test_they_are_learnt_from_only_where_a_recipe_says_so(run_file: RunFile, tmp_path: Path) -> None:
    (tmp_path / "verified.jsonl").touch()
    for dpo, found in (({}, None), ({"verifier_pairs": True}, tmp_path / "verified.jsonl")):
        config = load(run_file("dpo", dpo=dpo, verified="../verified.jsonl"), "dpo")
        assert config.pairs_of_verifiers == found
    assert load(run_file("reward"), "reward").pairs_of_verifiers is None
