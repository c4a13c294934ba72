"""What is trained on is said by capability, language and source, beside what a recipe asks for and what the paper had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import RunFile, byte_tokenizer, events_of, make_row, turn, write_snapshot
from training import mix as command
from training import sft
from training.data.rows import prepare
from training.formats import mix
from training.formats.errors import ConfigError
from training.formats.mix import Portion
from training.formats.settings import DataConfig
from training.run import runner

ENGLISH = "What is the best way to learn about the history of bread and of that river?"
PORTIONS = [
    Portion("maths", "english", "rejection_sampling", 3, 60),
    Portion("maths", "german", "translated", 1, 20),
    Portion("maths", "english", "rejection_sampling", 1, 20),
    Portion("unknown", "english", "human_edit", 5, 100),
]


def group(report: dict[str, Any], dimension: str, name: str) -> dict[str, Any]:
    [found] = [each for each in report["groups"] if (each["dimension"], each["name"]) == (dimension, name)]
    return dict(found)


def test_rows_tokens_and_shares_add_up_and_what_is_missing_is_said() -> None:
    report = mix.report(PORTIONS, {"capability:maths": 0.4, "language:german": 0.25, "source:written": 0.2})
    assert (report["rows"], report["tokens"]) == (10, 200)
    assert [(each["source"], each["tokens"], each["share"]) for each in report["portions"]] == [
        ("human_edit", 100, 0.5),
        ("rejection_sampling", 80, 0.4),
        ("translated", 20, 0.1),
    ]
    assert group(report, "capability", "maths")["missing_tokens"] == 0, "there is more than was asked for"
    german, written = group(report, "language", "german"), group(report, "source", "written")
    assert (german["share"], german["target"], german["missing_tokens"]) == (0.1, 0.25, 40)
    assert (20 + 40) / (200 + 40) == 0.25
    assert (written["rows"], written["missing_tokens"]) == (0, 50)
    assert report["missing"] == [
        "The recipe asks for 25% of language german, and it is 10.0%: about 40 tokens are missing.",
        "The recipe asks for 20% of source written, and it is 0.0%: about 50 tokens are missing.",
    ]
    assert {each["kind"]: (each["share"], each["paper"]) for each in report["paper"]} == {
        "human": (0.5, 0.024),
        "other tasks": (0.0, 0.442),
        "rejection sampled": (0.4, 0.188),
        "translated": (0.1, 0.346),
    }


def test_nothing_at_all_is_a_mix_of_nothing() -> None:
    report = mix.report([], {"capability:maths": 0.4})
    assert (report["rows"], report["portions"], report["missing"]) == (0, [], [])


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"maths": 0.3}, "must say capability:NAME, language:NAME, source:NAME"),
        ({"capability:": 0.3}, "must say"),
        ({"topic:maths": 0.3}, "must say"),
        ({"capability:maths": 1.0}, "above 0 and below 1"),
        ({"capability:maths": 0.0}, "above 0 and below 1"),
        ({"capability:maths": 0.6, "capability:code": 0.5}, "more than all"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused(wanted: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        DataConfig(min_strength=1, max_length=64, mix=wanted)
    DataConfig(min_strength=1, max_length=64, mix={"capability:maths": 0.6, "language:german": 0.5})


def test_a_snapshot_is_of_people_and_a_file_says_its_sources(tmp_path: Path) -> None:
    limits, tokenizer = DataConfig(min_strength=1, max_length=512), byte_tokenizer()
    rows = [
        make_row(0, question=ENGLISH, capability="advice"),
        make_row(1, question="七足す八は何ですか。教えてください。"),
    ]
    counts = prepare(write_snapshot(tmp_path / "s", rows), limits, tokenizer, max_held_out=0).counts
    found = {(each["capability"], each["language"], each["source"]): each for each in counts["mix"]}
    assert set(found) == {("advice", "en", "human"), ("unknown", "ja", "human")}
    texts = [rows[0][side][0]["content"] for side in ("chosen", "rejected")]
    assert found["advice", "en", "human"]["tokens"] == sum(len(text) + 2 for text in texts), "with the end of the turn"
    line = {"prompt": rows[0]["prompt"], "completion": turn("By baking."), "split": "train"}
    file = tmp_path / "sft.jsonl"
    file.write_text(json.dumps(line | {"source": "correction", "language": "en", "capability": "maths"}) + "\n")
    [only] = prepare(file, limits, tokenizer, max_held_out=0, consumer="sft").counts["mix"]
    assert only == {"capability": "maths", "language": "en", "source": "correction", "rows": 1, "tokens": 12}


def test_a_run_says_its_mix_and_warns_of_what_its_recipe_misses(run_file: RunFile) -> None:
    path = run_file("sft", data={"max_length": 256, "mix": {"source:translated": 0.5}}, optim={"max_steps": 1})
    assert runner.main("sft", sft.build_trainer, [str(path)]) == 0
    [said] = events_of(path, "mix")
    assert said["rows"] == sum(each["rows"] for each in said["portions"]) > 0
    [warning] = [each["message"] for each in events_of(path, "warning") if "asks for" in each["message"]]
    assert warning == said["missing"][0]
    assert "50% of source translated" in warning


def test_the_command_prints_it_as_json(tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_snapshot(tmp_path / "s", [make_row(0, capability="advice")])
    assert command.main([str(folder), "--base-model", str(tiny_base)]) == 0
    [portion] = json.loads(capsys.readouterr().out)["portions"]
    assert (portion["capability"], portion["rows"], portion["share"]) == ("advice", 1, 1.0)
    assert command.main([str(tmp_path / "nowhere"), "--base-model", str(tiny_base)]) == 2
    assert "name a snapshot or a JSON Lines file" in capsys.readouterr().err
