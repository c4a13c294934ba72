"""A run from its file to its checkpoint, and everything that may interrupt it.

One run of each kind is quick enough for every day; those that try a variation of it are slow.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.training.conftest import RunFile, events_of, make_row, make_rows, turn, write_snapshot
from training import checkpoints, dpo, inference, models, reward, runner, sft, stages
from training.errors import CheckpointError
from training.progress import trainer_dir

TRAIN: dict[Any, Any] = {"reward": reward.train, "dpo": dpo.train, "sft": sft.train}
DEADLINE = 240.0  # of a process on a busy machine; a hang is what it is for


def run(kind: Any, path: Path) -> int:
    return runner.main(kind, TRAIN[kind], [str(path)])


def start(kind: str, path: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"training.{kind}", str(path)]
    root = Path(runner.__file__).parents[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=root, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options
    )


def wait_for_step(path: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        if (path.parent / "events.jsonl").exists() and len(whole_steps(path)) >= step:
            return
        time.sleep(0.002)
    pytest.fail(f"step {step} was not reached in {DEADLINE} s")


def whole_steps(path: Path) -> list[int]:
    lines = (path.parent / "events.jsonl").read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event["step"] for event in events if event["event"] == "step"]


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_run_reports_its_data_its_baseline_every_step_and_its_result(run_file: RunFile, kind: str) -> None:
    path = run_file(kind)
    assert run(kind, path) == 0
    assert len(events_of(path, "reference")) == (1 if kind == "dpo" else 0)
    names = [event["event"] for event in events_of(path) if event["event"] != "reference"]
    assert names == ["data", "baseline", *["step"] * 3, "evaluation", *["step"] * 3, "final", "checkpoint"]
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
def test_a_run_killed_between_its_rename_and_its_report_reports_later(run_file: RunFile) -> None:
    path = run_file("dpo")
    assert run("dpo", path) == 0
    log = path.parent / "events.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if '"checkpoint"' not in line))
    assert run("dpo", path) == 0
    assert len(events_of(path, "checkpoint")) == 1


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
    assert "adapter_model.safetensors is not what was written" in capsys.readouterr().err


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_killed_run_goes_on_from_its_newest_whole_state(run_file: RunFile, kind: str) -> None:
    length = {"optim": {"max_steps": 40, "learning_rate": 1e-3}, "evaluation": {"every_steps": 0}}
    undisturbed = run_file(kind, "undisturbed", **length)
    assert run(kind, undisturbed) == 0

    path = run_file(kind, "killed", **length)
    process = start(kind, path)
    wait_for_step(path, 7, process)
    process.kill()
    process.communicate()
    assert not (path.parent / "final").exists()

    saved = sorted(
        (state for state in trainer_dir(path.parent).glob("checkpoint-*") if (state / "manifest.json").exists()),
        key=lambda state: int(state.name.split("-")[1]),
    )
    newest, older = saved[-1], saved[-2]
    weights = newest / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    assert run(kind, path) == 0
    [resumed] = events_of(path, "resumed")
    assert resumed["step"] == int(older.name.split("-")[1]), "a state with a flipped byte must not be used"
    after = [event for event in events_of(path, "step") if event["time"] > resumed["time"]]
    assert [event["step"] for event in after] == list(range(resumed["step"] + 1, 41)), "steps go on, none is repeated"
    # The same data in the same order: the losses are those of the run that nobody killed.
    expected = {event["step"]: event["metrics"]["loss"] for event in events_of(undisturbed, "step")}
    assert {event["step"]: event["metrics"]["loss"] for event in after} == {
        step: pytest.approx(loss, abs=1e-5) for step, loss in expected.items() if step > resumed["step"]
    }
    [final], [undisturbed_final] = events_of(path, "final"), events_of(undisturbed, "final")
    assert final["metrics"] == pytest.approx(undisturbed_final["metrics"], abs=1e-4)
    assert len(events_of(path, "baseline")) == 1


def run_until_it_would_publish(kind: Any, path: Path) -> None:
    """A run that is stopped at the last moment: everything is trained and saved, nothing is published."""

    def stopped(*_: Any) -> None:
        raise SystemExit(143)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "publish", stopped)
        with pytest.raises(SystemExit):
            run(kind, path)


@pytest.mark.slow
def test_a_state_of_other_settings_is_refused_by_name_and_kept(
    run_file: RunFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    states = sorted(trainer_dir(path.parent).iterdir())
    assert run("reward", run_file("reward", optim={"max_steps": 4, "learning_rate": 1e-3})) == 2
    assert "other settings (optim.learning_rate was 0.01, is 0.001)" in capsys.readouterr().err
    write_snapshot(path.parents[1] / "snapshot", make_rows(train=15))
    assert run("reward", run_file("reward", optim={"max_steps": 4})) == 2
    assert "the data is another" in capsys.readouterr().err
    assert sorted(trainer_dir(path.parent).iterdir()) == states


@pytest.mark.slow
def test_how_often_a_run_measures_may_change_while_it_is_interrupted(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    assert run("reward", run_file("reward", optim={"max_steps": 4}, evaluation={"every_steps": 0})) == 0
    assert len(events_of(path, "resumed")) == 1


def test_a_finished_run_is_not_taken_for_one_with_other_settings(
    run_file: RunFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file("reward", optim={"max_steps": 1})
    assert run("reward", path) == run("reward", path) == 0
    assert "is finished already: there is nothing to do" in capsys.readouterr().err
    assert run("reward", run_file("reward", optim={"max_steps": 1}, seed=18)) == 2
    assert "was trained with other settings (seed was 17, is 18): choose another output" in capsys.readouterr().err


@pytest.mark.slow
def test_a_state_without_its_manifest_is_not_resumed(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    for state in trainer_dir(path.parent).glob("checkpoint-*"):
        (state / "manifest.json").unlink()
    assert run("reward", path) == 0
    assert events_of(path, "resumed") == []


@pytest.mark.slow
def test_a_run_stopped_before_it_published_publishes_without_training_again(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    assert run("reward", path) == 0
    assert [event["step"] for event in events_of(path, "step")] == [1, 2, 3, 4]
    first, second = events_of(path, "final")
    assert first["step"] == second["step"] == 4
    assert second["metrics"] == pytest.approx(first["metrics"], abs=1e-6)
    assert not trainer_dir(path.parent).exists(), "a finished run keeps its checkpoint only"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_run_continues_its_parent_and_names_it(run_file: RunFile, kind: str) -> None:
    first = run_file(kind, "first")
    assert run(kind, first) == 0
    parent = first.parent / "final"
    second = run_file(kind, "second", parent_adapter="../first/final", name=f"{kind}-r2")
    assert run(kind, second) == 0
    manifest = checkpoints.verify(second.parent / "final")
    assert manifest.parent == {"name": f"{kind}-r1", "manifest_sha256": checkpoints.manifest_sha256(parent)}
    assert set(manifest.files) == set(checkpoints.read(parent).files), "the frozen reference is not saved again"
    [baseline], [ended] = events_of(second, "baseline"), events_of(first, "final")
    if kind == "reward":
        assert baseline["metrics"] == pytest.approx(ended["metrics"], abs=1e-5), "it starts where its parent ended"
    else:
        assert baseline["metrics"]["held_out/rewards/margins"] == 0.0, "the parent is the reference now"
        key = "held_out/logp_accuracy"
        assert baseline["metrics"][key] == ended["metrics"][key]


@pytest.mark.slow
def test_a_continued_policy_can_be_interrupted_too(run_file: RunFile) -> None:
    assert run("dpo", run_file("dpo", "first")) == 0
    second = run_file("dpo", "second", parent_adapter="../first/final")
    run_until_it_would_publish("dpo", second)
    shutil.rmtree(trainer_dir(second.parent) / "checkpoint-6")
    assert run("dpo", second) == 0
    assert events_of(second, "resumed")[0]["step"] == 4
    first, again = events_of(second, "final")
    assert again["metrics"] == pytest.approx(first["metrics"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["all of it", "a part"])
def test_a_run_of_all_weights_can_be_interrupted_and_still_knows_its_reference(run_file: RunFile, kept: str) -> None:
    path = run_file("dpo", model={"trains": "all"}, optim={"learning_rate": 1e-3})
    run_until_it_would_publish("dpo", path)
    if kept == "a part":
        shutil.rmtree(trainer_dir(path.parent) / "checkpoint-6")
    assert run("dpo", path) == 0
    assert events_of(path, "resumed")[0]["step"] == (4 if kept == "a part" else 6)
    first, again = events_of(path, "final")
    assert again["metrics"] == pytest.approx(first["metrics"], abs=1e-5)
    assert events_of(path, "reference")[-1]["missing"] == 0


@pytest.mark.slow
def test_a_damaged_parent_is_refused_by_file(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    first = run_file("dpo", "first", optim={"max_steps": 1})
    assert run("dpo", first) == 0
    weights = first.parent / "final" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert run("dpo", run_file("dpo", "second", parent_adapter="../first/final")) == 2
    assert "adapter_model.safetensors is not what was written" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_parent_of_another_rank_is_refused(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dpo", run_file("dpo", "first", optim={"max_steps": 1})) == 0
    assert run("dpo", run_file("dpo", "second", parent_adapter="../first/final", lora={"r": 8})) == 2
    assert "set lora.r = 4" in capsys.readouterr().err


def test_a_base_model_that_is_missing_or_pickled_is_refused(
    run_file: RunFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("dpo", run_file("dpo", base_model=str(tmp_path / "none"))) == 2
    assert "does not exist" in capsys.readouterr().err
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    torch.save({}, pickled / "pytorch_model.bin")
    assert run("dpo", run_file("dpo", base_model=str(pickled))) == 2
    assert "pytorch_model.bin, a pickle" in capsys.readouterr().err


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
    assert runner.main("dpo", dpo.train, []) == 2
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


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_run_that_is_told_to_stop_stops_with_143_and_leaves_no_output(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 5000})
    process = start("reward", path)
    wait_for_step(path, 3, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 143
    assert not (path.parent / "final").exists()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_full_disk_ends_the_run_with_one_sentence(run_file: RunFile) -> None:
    path = run_file("reward")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = start("reward", path, preexec_fn=small_files)
    errors = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 4, errors
    assert "free some space" in errors.splitlines()[-1]
    assert not (path.parent / "final").exists()


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


@pytest.mark.slow
def test_a_parent_adapter_of_another_base_model_is_refused(
    run_file: RunFile, tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("dpo", run_file("dpo", "first", optim={"max_steps": 1})) == 0
    other = shutil.copytree(tiny_base, tmp_path / "other")
    second = run_file("dpo", "second", parent_adapter="../first/final", base_model=str(other), optim={"max_steps": 1})
    assert run("dpo", second) == 0, "the same weights in another folder"
    model = AutoModelForCausalLM.from_pretrained(other)
    model.get_input_embeddings().weight.data += 0.1
    model.save_pretrained(other)
    third = run_file("dpo", "third", parent_adapter="../first/final", base_model=str(other))
    assert run("dpo", third) == 2
    assert "set base_model to the model that it belongs to" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(CheckpointError, match="holds other weights: set base_model"):
        inference.served(tmp_path / "first" / "final", base_model=str(other))


@pytest.mark.parametrize(
    ("kind", "changes", "what"),
    [
        ("dpo", {"lora": {"alpha": 64}}, "lora.alpha 8, the run asks for 64: set lora.alpha = 8"),
        ("dpo", {"lora": {"r": 2}}, "lora.r 4, the run asks for 2: set lora.r = 4"),
        ("reward", {"reward": {"heads": 3}}, "reward.heads 1, the run asks for 3: set reward.heads = 1"),
    ],
)
def test_a_parent_adapter_of_another_shape_is_refused(
    run_file: RunFile, kind: Any, changes: dict[str, Any], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(kind, run_file(kind, "first", optim={"max_steps": 1})) == 0
    assert run(kind, run_file(kind, "second", parent_adapter="../first/final", **changes)) == 2
    assert what in capsys.readouterr().err.splitlines()[-1]


def test_what_would_fail_after_hours_is_said_at_once(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file("reward", output="file/final")
    (path.parent / "file").write_text("in the way")
    assert run("reward", path) == 4
    assert "file cannot be made (File exists): choose another output" in capsys.readouterr().err
    assert run("reward", run_file("reward", output="file")) == 2
    assert "file is a file: choose another output" in capsys.readouterr().err
    assert run("reward", run_file("reward", lora={"targets": ["q_porj"]})) == 2
    assert "lora.targets ['q_porj'] are in no layer of" in capsys.readouterr().err
