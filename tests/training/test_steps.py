"""A stepwise reward model finds the steps that are wrong, and nothing where nothing is to be found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from benchmarks import planted_steps
from training import steps
from training.data import stepwise
from training.formats import checkpoints
from training.formats import steps as form
from training.formats.errors import CheckpointError, DataError
from training.measure.step_values import auc
from training.model import models
from training.run import tool
from training.steps import StepsConfig

pytestmark = [pytest.mark.xdist_group("steps")]  # what is learnt once serves all of them

PROMPT = [{"role": "user", "content": "Problem 7: how many apples?"}]  # as the planted ones are
TINY: dict[str, Any] = {"count": 400, "learning_rate": 2e-2, "rank": 8, "epochs": 3.0, "batch_size": 8}


def start(folder: Path, **table: Any) -> int:
    (folder / "run.toml").write_text(tomli_w.dumps(table))
    return tool.main(steps.__doc__ or "", StepsConfig, steps.run, [str(folder / "run.toml")])


@pytest.fixture(scope="module")
def planted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("planted")
    return folder, planted_steps.learn(folder, str(tiny_base), shuffled=False, **TINY)


def test_a_planted_rule_is_found(planted: tuple[Path, dict[str, float]]) -> None:
    _, metrics = planted

    assert metrics["held_out/step_auc"] >= 0.95
    assert metrics["held_out/solution_auc"] >= 0.95


def test_labels_drawn_without_looking_teach_nothing(tiny_base: Path, tmp_path: Path) -> None:
    metrics = planted_steps.learn(tmp_path, str(tiny_base), shuffled=True, **TINY)

    assert 0.45 <= metrics["held_out/step_auc"] <= 0.55


def test_answers_with_a_wrong_step_are_dropped_and_counted(
    planted: tuple[Path, dict[str, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = planted
    right, wrong = (
        "She gains 24 apples.\n\nShe gains 37 apples.",
        "She gains 24 apples.\nShe drops 37 apples.\nShe gains 51 apples.",
    )
    row = {
        "prompt_id": "1",
        "prompt": PROMPT,
        "tools": None,
        "checkpoint": "base",
        "samples": [
            {"text": text, "finish_reason": "stop"} for text in (right, wrong, " ", "She gains 2 coins.\n" * 400)
        ],
    }
    (tmp_path / "samples.jsonl").write_text(json.dumps(row) + "\n")

    assert (
        start(tmp_path, kind="filter", checkpoint=str(folder / "final"), data="samples.jsonl", output="kept.jsonl") == 0
    )

    [kept] = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [sample["text"][:20] for sample in kept["samples"]] == [right[:20], " ", "She gains 2 coins.\nS"]
    assert len(kept["samples"][0]["step_values"]) == 2
    report = json.loads((tmp_path / "kept.report.json").read_text())
    assert report["counts"] == {"samples": 4, "failed/steps": 1, "unmeasured": 2}
    assert "1 of 4 answers have a step below 0.5" in capsys.readouterr().out


def test_the_checkpoint_says_what_it_is_and_is_no_reward_model(planted: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = planted
    manifest = checkpoints.verify(folder / "final", "steps")

    assert manifest.metrics == metrics
    assert manifest.snapshot_sha256 == checkpoints.sha256(folder / "steps.jsonl")
    with pytest.raises(CheckpointError):
        checkpoints.verify(folder / "final", "reward")


def test_every_value_stands_at_the_last_token_of_its_step(tiny_base: Path) -> None:
    tokenizer = models.load_tokenizer(str(tiny_base))
    sequence = stepwise.encode(tokenizer, PROMPT, ["3 + 4 = 7", "<|im_end|> is text here", "So 7."])

    assert [tokenizer.decode(sequence.ids[: end + 1]).splitlines()[-1] for end in sequence.ends] == [
        "3 + 4 = 7",
        "<|im_end|> is text here",
        "So 7.",
    ]
    assert len(sequence.ids) == sequence.ends[-1] + 1


def test_a_response_is_cut_into_the_lines_that_show_something() -> None:
    response = "3 + 4 = 7\n\n  So: 7.  \n\u200b\nThat is all.\n"

    assert form.cut(response) == ["3 + 4 = 7", "So: 7.", "That is all."]
    assert [response[begins:ends] for begins, ends in form.spans(response)] == form.cut(response)
    assert form.cut(" \n") == []


def test_labels_become_trls_stepwise_form_up_to_the_first_wrong_step() -> None:
    lines = ["one", "two", "three", "four"]

    assert form.stepwise(PROMPT, lines, [1, 0, -1]) == {
        "prompt": PROMPT[0]["content"],
        "completions": ["one", "two", "three"],
        "labels": [True, True, False],
    }
    assert form.stepwise(PROMPT, lines, [1, -1, 1, 1]) == form.stepwise(PROMPT, lines, [1, -1])
    assert form.stepwise(PROMPT, lines, []) is None
    for labels in ([2], [1] * 5):
        with pytest.raises(ValueError, match="labels are -1, 0 or 1"):
            form.stepwise(PROMPT, lines, labels)


def test_who_speaks_is_said_where_several_do() -> None:
    assert form.text_of([{"role": "system", "content": "Be brief."}, *PROMPT]) == f"Be brief.\n\n{PROMPT[0]['content']}"
    turns = [*PROMPT, {"role": "assistant", "content": "7"}, {"role": "user", "content": "Sure?"}]
    assert form.text_of(turns).endswith("\n\nassistant: 7\n\nuser: Sure?")


def test_rows_are_read_to_their_first_wrong_step_and_split_by_their_prompt(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Why?", "completions": ["a", "b", "c"], "labels": [True, False, True]},
        {"prompt": PROMPT, "completions": ["a"], "labels": [1], "split": "held_out"},
    ]
    (tmp_path / "steps.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = stepwise.read(tmp_path / "steps.jsonl", 0)

    assert (first.steps, first.right, first.held_out) == (("a", "b"), (True, False), False)
    assert (second.prompt[0]["content"], second.held_out) == (PROMPT[0]["content"], True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": None}, "prompt"),
        ({"completions": "a"}, "completions must be a list"),
        ({"completions": ["a", " "]}, "completions must be a list"),
        ({"labels": ["yes"]}, "labels must be a list"),
        ({"labels": [True, True]}, "1 completions have 2 labels"),
        ({"completions": [], "labels": []}, "0 completions"),
    ],
)
def test_a_row_that_says_no_steps_is_refused_by_its_line(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    rows = [{"prompt": "Why?", "completions": ["a"], "labels": [True]}] * 2
    (tmp_path / "steps.jsonl").write_text("\n".join(map(json.dumps, [rows[0], rows[1] | changes])))

    with pytest.raises(DataError, match="line 2") as refused:
        stepwise.read(tmp_path / "steps.jsonl", 10)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"data": "missing.jsonl"}, "missing.jsonl does not exist"),
        ({"base_model": ""}, "base_model"),
        ({"kind": "filter"}, "checkpoint"),
        ({"floor": 2.0}, "floor"),
        ({"epochs": 0.0}, "epochs"),
    ],
)
def test_a_run_file_that_asks_for_nothing_sensible_is_refused_in_one_sentence(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: dict[str, Any], says: str
) -> None:
    settings = {"data": "steps.jsonl", "output": "final", "base_model": str(tiny_base)} | table

    assert start(tmp_path, **settings) == 2
    assert says in capsys.readouterr().err


def test_steps_that_are_all_right_teach_nothing_and_a_dry_run_writes_nothing(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"prompt": "Why?", "completions": ["a"], "labels": [True], "split": "train"}
    (tmp_path / "steps.jsonl").write_text(json.dumps(row))

    assert start(tmp_path, data="steps.jsonl", output="final", base_model=str(tiny_base)) == 2
    assert "no right and wrong steps" in capsys.readouterr().err
    (tmp_path / "steps.jsonl").write_text("\n".join([json.dumps(row), json.dumps(row | {"labels": [False]})]))
    config = StepsConfig(data=tmp_path / "steps.jsonl", output=tmp_path / "final", base_model=str(tiny_base))
    steps.run(config, dry_run=True)
    assert not (tmp_path / "final").exists()


def test_the_area_under_the_curve_counts_equal_values_half() -> None:
    assert auc([0.9, 0.8, 0.1], [True, True, False]) == 1.0
    assert auc([0.5, 0.5], [True, False]) == 0.5
    assert auc([0.1, 0.9], [True, False]) == 0.0
    assert auc([0.1, 0.9], [True, True]) is None
