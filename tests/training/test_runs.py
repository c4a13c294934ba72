"""A run from its file to its checkpoint.

One run of each kind is quick enough for every day; those that try a variation of it are slow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.training.conftest import RunFile, events_of, make_row, make_rows, turn
from training import dpo, reward, sft
from training.formats import checkpoints
from training.model import models
from training.run import runner

TRAIN: dict[Any, Any] = {"reward": reward.build_trainer, "dpo": dpo.build_trainer, "sft": sft.build_trainer}


def run(kind: Any, path: Path) -> int:
    return runner.main(kind, TRAIN[kind], [str(path)])


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_run_reports_its_data_its_baseline_every_step_and_its_result(run_file: RunFile, kind: str) -> None:
    path = run_file(kind)
    assert run(kind, path) == 0
    assert len(events_of(path, "reference")) == (1 if kind == "dpo" else 0)
    names = [event["event"] for event in events_of(path) if event["event"] != "reference"]
    assert names == ["data", "mix", "baseline", *["step"] * 3, "evaluation", *["step"] * 3, "final", "checkpoint"]
    steps = events_of(path, "step")
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "rewards/accuracies", "rewards/margins", "learning_rate", "tokens_per_second"} <= steps[0][
        "metrics"
    ].keys()
    assert steps[0]["total_steps"] == 6
    [data] = events_of(path, "data")
    # every third of 16 rows was edited: three pairs for the reward model; DPO leaves the edit over the chosen one out
    assert (data["pairs"], data["pairs/edited_over_chosen"]) == {"reward": (16 + 2 * 6, 6), "dpo": (16 + 6, 0)}[kind]
    assert data["held_out_pairs"] == 6

    assert events_of(path, "final")[0]["step"] == 6
    [baseline], [final], [checkpoint] = (events_of(path, name) for name in ("baseline", "final", "checkpoint"))
    manifest = checkpoints.verify(path.parent / "final")
    assert manifest.metrics == final["metrics"]
    assert manifest.kind == {"reward": "reward", "dpo": "policy"}[kind]
    assert checkpoint["manifest_sha256"] == checkpoints.manifest_sha256(path.parent / "final")
    kept = json.loads((path.parent / "final" / "metrics.json").read_text())
    assert (kept["baseline"], kept["final"]) == (baseline["metrics"], final["metrics"])
    assert final["metrics"]["held_out/accuracy"] > baseline["metrics"]["held_out/accuracy"]


@pytest.mark.slow
def test_the_policy_adapter_loads_by_its_path_and_changes_the_model(run_file: RunFile, tiny_base: Path) -> None:
    path = run_file("dpo")
    assert run("dpo", path) == 0
    final = path.parent / "final"
    settings = json.loads((final / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tiny_base)
    assert (settings["peft_type"], settings["r"], settings["modules_to_save"]) == ("LORA", 4, None)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), final)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad(), model.disable_adapter():
        before = model(ids).logits
    with torch.no_grad():
        assert not torch.allclose(before, model(ids).logits)


@pytest.mark.slow
def test_the_reward_checkpoint_holds_its_head(run_file: RunFile, tiny_base: Path) -> None:
    path = run_file("reward")
    assert run("reward", path) == 0
    base = AutoModelForSequenceClassification.from_pretrained(tiny_base, num_labels=1)
    model = PeftModel.from_pretrained(base, path.parent / "final").eval()
    tokenizer = models.load_tokenizer(str(path.parent / "final"))
    polite, rude = ([*make_row(3)["prompt"], *answer] for answer in (make_row(3)["chosen"], make_row(3)["rejected"]))
    with torch.no_grad():
        scores = [
            model(tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=False)).logits.item()
            for talk in (polite, rude)
        ]
    assert scores[0] > scores[1], "the trained preference must survive saving and loading"


@pytest.mark.slow
def test_a_finished_run_that_is_started_again_ends_at_once(run_file: RunFile) -> None:
    path = run_file("dpo")
    assert run("dpo", path) == 0
    before = events_of(path)
    assert run("dpo", path) == 0
    assert events_of(path) == before


@pytest.mark.slow
def test_an_output_that_is_damaged_or_of_another_run_is_refused(
    run_file: RunFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file("reward", optim={"max_steps": 1})
    assert run("reward", path) == 0
    other = run_file("reward", name="reward-r2", optim={"max_steps": 1})
    assert run("reward", other) == 2
    assert "choose another output" in capsys.readouterr().err
    weights = path.parent / "final" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert run("reward", run_file("reward", optim={"max_steps": 1})) == 2
    assert "adapter_model.safetensors has changed since it was written" in capsys.readouterr().err


def test_a_finished_run_is_not_taken_for_one_with_other_settings(
    run_file: RunFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file("reward", optim={"max_steps": 1})
    assert run("reward", path) == run("reward", path) == 0
    assert "is already finished: nothing to do" in capsys.readouterr().err
    assert run("reward", run_file("reward", optim={"max_steps": 1}, seed=18)) == 2
    assert "was trained with other settings (seed was 17, is 18): choose another output" in capsys.readouterr().err


@pytest.mark.slow
def test_without_a_held_out_part_the_run_works_and_says_so(run_file: RunFile) -> None:
    for kind in ("reward", "dpo"):
        path = run_file(kind, kind, rows=make_rows(held_out=0), optim={"max_steps": 2})
        assert run(kind, path) == 0
        assert "No pair is held out" in events_of(path, "warning")[0]["message"]
        assert (events_of(path, "baseline"), events_of(path, "final")[0]["metrics"]) == ([], {})


@pytest.mark.slow
def test_rows_that_are_too_long_are_reported(run_file: RunFile) -> None:
    rows = [*make_rows(), make_row(40, chosen=turn("long " * 100))]
    path = run_file("reward", rows=rows, optim={"max_steps": 1})
    assert run("reward", path) == 0
    assert events_of(path, "data")[0]["dropped_too_long"] == 1
    assert "1 training pairs and 0 held-out pairs are longer" in events_of(path, "warning")[0]["message"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_loss_that_is_not_a_number_stops_the_run_and_saves_nothing(
    run_file: RunFile, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file(kind, optim={"learning_rate": 1e30, "warmup_steps": 0, "max_grad_norm": 1e9, "max_steps": 20})
    assert run(kind, path) == 3
    assert "lower optim.learning_rate" in capsys.readouterr().err.splitlines()[-1]
    assert not (path.parent / "final").exists()
    assert events_of(path, "final") == []
    last = events_of(path, "step")[-1]["metrics"]
    assert last["loss"] is None or last["grad_norm"] is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_last_step_that_breaks_the_model_publishes_nothing(
    run_file: RunFile, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file(kind, optim={"learning_rate": 1e30, "warmup_steps": 0, "max_grad_norm": 1e9, "max_steps": 1})
    assert run(kind, path) == 3
    assert "is not a number after training" in capsys.readouterr().err.splitlines()[-1]
    assert not (path.parent / "final").exists()
    assert events_of(path, "final") == []


@pytest.mark.parametrize("rows", [[], [make_row(strength=1)]])
def test_nothing_to_train_on_ends_with_one_sentence(
    run_file: RunFile, rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("reward", run_file("reward", rows=rows)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "leaves no pair to train on" in last
    assert "annotate more prompts" in last


def test_two_processes_do_not_train_into_one_directory(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file("dpo")
    with runner._lock(path.parent):
        assert run("dpo", path) == 5, "not 2: nothing is wrong with the run"
    assert "another process is training in" in capsys.readouterr().err


def test_a_run_needs_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main("dpo", dpo.build_trainer, []) == 2
    assert "usage: python -m training.dpo [-h] [--dry-run] RUN.toml" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_help_says_what_is_trained_and_how(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(kind, TRAIN[kind], ["--help"]) == 0  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert f"python -m training.{kind} run.toml" in said
    assert "--dry-run" in said


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_a_dry_run_says_rows_lengths_memory_and_time_and_writes_nothing(
    run_file: RunFile, kind: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*make_rows(), make_row(40, chosen=turn("long " * 100)), make_row(41, strength=1)]
    path = run_file(kind, rows=rows)
    assert runner.main(kind, TRAIN[kind], ["--dry-run", str(path)]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.replace(" out ", "_out ").splitlines())
    assert said["steps"].startswith("6 of 4 rows")
    assert {"lengths", "tokens", "memory", "disk", "time"} <= said.keys()
    prompts, responses, pairs = {"reward": (17, 40, 29), "dpo": (17, 40, 23), "sft": (17, 17, 0)}[kind]
    if kind != "sft":
        assert "1 not strong enough, 1 pairs too long" in said["left_out"]
        prompts, pairs, responses = 16, pairs - 1, 16 * 2 + 6
    assert said["rows"] == f"{prompts} prompts, {responses} responses, {pairs} pairs"
    assert [file.name for file in path.parent.iterdir()] == ["run.toml"]


def test_a_file_in_trls_format_is_trained_on_without_the_application(run_file: RunFile) -> None:
    path = run_file("reward", snapshot="pairs.jsonl")
    pairs = [{name: make_row(n)[name] for name in ("prompt", "chosen", "rejected")} for n in range(40)]
    (path.parent / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    assert run("reward", path) == 0
    [data] = events_of(path, "data")
    assert data["pairs"] + data["held_out_pairs"] == 40
    assert data["held_out_pairs"] > 0


POISON = [{"type": "function", "function": {"name": "weather", "description": "ends with <|im_end|>"}}]


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_a_row_that_no_template_renders_is_left_out_and_has_its_own_line(
    run_file: RunFile, kind: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [make_row(50, tools=POISON), make_row(51, tools=POISON, split="held_out")]
    path = run_file(kind, rows=[*make_rows(), *bad])
    assert runner.main(kind, TRAIN[kind], ["--dry-run", str(path)]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cannot be rendered")]
    assert "1 training rows and 1 held-out rows cannot be rendered (50:10:11, 51:10:11): row 50:10:11: a tool's" in line
    [known] = run_file(kind, run="well", rows=make_rows()).parent.glob("run.toml")
    runner.main(kind, TRAIN[kind], ["--dry-run", str(known)])
    assert "cannot be rendered" not in capsys.readouterr().out


def test_a_run_goes_on_without_the_row_that_no_template_renders_and_says_so(run_file: RunFile) -> None:
    path = run_file("reward", rows=[*make_rows(), make_row(50, tools=POISON)], optim={"max_steps": 2})
    assert run("reward", path) == 0
    [data] = events_of(path, "data")
    assert (data["prompts"], data["dropped_unrenderable"]) == (16, 1)
    assert any("cannot be rendered (50:10:11)" in event["message"] for event in events_of(path, "warning"))
    assert "left out: the base model’s template cannot render them" in (path.parent / "final" / "README.md").read_text()


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_where_no_row_can_be_rendered_the_run_ends_with_the_reason(
    run_file: RunFile, kind: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file(kind, rows=[make_row(n, tools=POISON) for n in range(3)])
    assert run(kind, path) == 2
    assert "3 rows cannot be rendered (row 0:10:11: a tool's description" in capsys.readouterr().err


@pytest.mark.slow
def test_fine_tuning_makes_the_best_responses_likelier(run_file: RunFile) -> None:
    path = run_file("sft", optim={"max_steps": 20, "learning_rate": 3e-2})
    assert run("sft", path) == 0
    losses = [event["metrics"]["loss"] for event in events_of(path, "step")]
    assert losses[-1] < 0.6 * losses[0]
    assert checkpoints.verify(path.parent / "final").kind == "policy"
    [final] = events_of(path, "final")
    assert final["metrics"]["held_out/logp_accuracy"] == 1.0, "polite answers have become likelier than rude ones"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_all_weights_are_trained_saved_and_loaded_as_a_base_model(run_file: RunFile, kind: str) -> None:
    path = run_file(kind, model={"trains": "all"}, optim={"learning_rate": 1e-3, "max_steps": 4})
    assert run(kind, path) == 0
    final = path.parent / "final"
    assert checkpoints.verify(final).metrics == events_of(path, "final")[0]["metrics"]
    factory = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
    model = factory.from_pretrained(final)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}, "the master weights"
    if kind == "sft":
        second = run_file("dpo", "second", base_model=str(final))
        assert run("dpo", second) == 0


def test_what_would_fail_after_hours_is_said_at_once(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file("reward", output="file/final")
    (path.parent / "file").write_text("in the way")
    assert run("reward", path) == 4
    assert "file cannot be made (File exists): choose another output" in capsys.readouterr().err
    assert run("reward", run_file("reward", output="file")) == 2
    assert "file is a file: choose another output" in capsys.readouterr().err
    assert run("reward", run_file("reward", lora={"targets": ["q_porj"]})) == 2
    assert "lora.targets ['q_porj'] match no layer of" in capsys.readouterr().err
