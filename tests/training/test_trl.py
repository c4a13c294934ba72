"""`trainer = "trl"`: TRL's own trainers on the rows, with the events, states, checkpoint and card of every run."""

from __future__ import annotations

import inspect
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from trl import DPOTrainer

from tests.training.conftest import RunFile, events_of, make_row, make_rows
from training import dpo, evaluate, reward, sft
from training.evaluate import EvaluateConfig
from training.formats import checkpoints, trainers
from training.formats.errors import ConfigError
from training.formats.events import EventLog
from training.model import models
from training.run import config, runner, stages, tool
from training.run.backends import steps, trl
from training.run.progress import Progress

TRAIN: dict[Any, Any] = {"reward": reward.build_trainer, "dpo": dpo.build_trainer, "sft": sft.build_trainer}
# What both compute: one mask, one term.
CLASSES = {"reward": "RewardTrainer", "dpo": "DPOTrainer", "sft": "SFTTrainer"}
SAME = {"mask_format_tokens": False, "nll_weight": 0.0}
# A step of pairs in one pass, so that nothing depends on how it is cut.
WHOLE = {"dtype": "float32", "pack_tokens": 4096}


def run(kind: Any, path: Path) -> int:
    return runner.main(kind, TRAIN[kind], [str(path)])


def pairs(train: int = 14, held_out: int = 4) -> list[dict[str, Any]]:
    """One pair a prompt, so that a step of rows is a step of pairs; lengths differ, and the last step is a short one."""
    split = ["train"] * train + ["held_out"] * held_out
    return [
        make_row(number, question=f"Question {number}: {'and again ' * (number % 4)}what of it?", split=where)
        for number, where in enumerate(split)
    ]


def losses(path: Path) -> list[float]:
    return [event["metrics"]["loss"] for event in events_of(path, "step")]


def step_by_step(run_file: RunFile, kind: Any, **changes: Any) -> dict[str, tuple[list[float], dict[str, float]]]:
    """Losses and final metrics of the same run by both trainers: two epochs of four steps, the last of them short."""
    settings = {"model": WHOLE, "optim": {"max_steps": 8, "learning_rate": 3e-3}} | changes
    found = {}
    for trainer in ("corral", "trl"):
        path = run_file(kind, trainer, rows=pairs(), trainer=trainer, **settings)
        assert run(kind, path) == 0
        found[trainer] = losses(path), events_of(path, "final")[0]["metrics"]
    return found


@pytest.mark.parametrize(
    ("kind", "tables"),
    [
        ("reward", {}),
        ("reward", {"reward": {"center_rewards": 0.1, "margins": [0.0, 0.1, 0.2, 0.7]}}),
        ("dpo", {"dpo": SAME}),
        ("dpo", {"dpo": SAME, "model": WHOLE | {"trains": "all"}, "optim": {"max_steps": 8, "learning_rate": 1e-4}}),
        ("sft", {}),
    ],
)
def test_both_trainers_have_the_same_losses_step_by_step(run_file: RunFile, kind: Any, tables: dict[str, Any]) -> None:
    found = step_by_step(run_file, kind, **tables)
    (ours, mine), (theirs, its) = found["corral"], found["trl"]
    assert len(ours) == 8
    assert max(ours) - min(ours) > 0.01, "they learn"
    assert theirs == pytest.approx(ours, rel=2e-5)
    assert its == pytest.approx(mine, rel=1e-3, abs=1e-4)


def test_a_reward_model_is_scored_at_the_token_that_ends_a_turn_though_it_pads(
    run_file: RunFile, tiny_base: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "pads")
    tokenizer = models.load_tokenizer(str(base))
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(tokenizer("\n")["input_ids"])[0]
    tokenizer.save_pretrained(base)
    found = step_by_step(run_file, "reward", base_model=str(base))
    assert found["trl"][0] == pytest.approx(found["corral"][0], rel=1e-4)


def measure(folder: Path, **settings: Any) -> dict[str, Any]:
    """What `training.evaluate` says of a checkpoint as it lies on the disk."""
    (folder / "evaluation").mkdir()
    path = folder / "evaluation" / "run.toml"
    path.write_text(tomli_w.dumps({"data": "../snapshot", "output": "report", "resamples": 50} | settings))
    assert tool.main("", EvaluateConfig, evaluate.evaluate, [str(path)]) == 0
    report: dict[str, Any] = json.loads((folder / "evaluation" / "report" / "report.json").read_text())
    return report


@pytest.mark.parametrize("kind", TRAIN)
def test_a_run_of_trls_reports_publishes_and_says_who_trained(run_file: RunFile, kind: Any) -> None:
    path = run_file(kind, trainer="trl")  # the mask and the second term are the recipe's
    assert run(kind, path) == 0
    names = [event["event"] for event in events_of(path) if event["event"] != "reference"]
    assert names == ["data", "mix", "baseline", *["step"] * 3, "evaluation", *["step"] * 3, "final", "checkpoint"]
    metrics = [step["metrics"] for step in events_of(path, "step")]
    assert all(step["tokens_per_second"] > 0 for step in metrics)
    if kind != "sft":
        assert {"rewards/accuracies", "rewards/margins"} <= metrics[0].keys()
    final = path.parent / "final"
    manifest = checkpoints.verify(final)
    assert manifest.config["trainer"] == "trl"
    assert manifest.metrics == events_of(path, "final")[0]["metrics"]
    assert manifest.metrics["held_out/pairs"] == 6
    card = (final / "README.md").read_text()
    assert f"TRL ({CLASSES[kind]}) 1.16" in card
    assert '| `trainer` | `"trl"` |' in card
    assert {file.name for file in final.iterdir()} >= {"adapter_model.safetensors", "curves.svg", "metrics.json"}
    assert not (path.parent / "trainer").exists()
    assert not (final / "ref").exists(), "one adapter, and not a frozen copy of it"


def test_what_trl_trained_is_measured_from_the_disk_as_it_was_in_memory(run_file: RunFile) -> None:
    for kind in ("reward", "dpo"):
        path = run_file(kind, kind, trainer="trl")
        assert run(kind, path) == 0
    settings = {"checkpoint": "../dpo/final", "reward_model": "../reward/final", "max_new_tokens": 4}
    found = measure(path.parents[1], kind="policy", **settings)
    assert found["after_metrics"]["kl_per_token"]["value"] > 0
    assert "win_rate" in found["compared"]
    shutil.rmtree(path.parents[1] / "evaluation")
    found = measure(path.parents[1], kind="reward", checkpoint="../reward/final")
    told = json.loads((path.parents[1] / "reward" / "final" / "metrics.json").read_text())["final"]
    assert found["after_metrics"]["held_out/accuracy"]["value"] == pytest.approx(told["held_out/accuracy"])


@pytest.mark.parametrize(
    ("loss", "trains"),
    [("hinge", "DPOTrainer"), ("kto", "KTOTrainer"), ("apo_zero_unpaired", "KTOTrainer"), ("orpo", "ORPOTrainer")],
)
def test_a_loss_that_ours_has_not_falls_to_trl(run_file: RunFile, loss: str, trains: str) -> None:
    path = run_file("dpo", dpo={"loss_type": loss}, model=WHOLE)  # the file says nothing of a trainer
    assert run("dpo", path) == 0
    found = [event["metrics"] for event in events_of(path, "step")]
    assert len(found) == 6
    assert all(step["tokens_per_second"] > 0 and step["grad_norm"] > 0 for step in found)
    assert len(events_of(path, "reference")) == (0 if loss == "orpo" else 1)
    final = path.parent / "final"
    manifest = checkpoints.verify(final)
    assert (manifest.config["trainer"], manifest.config["dpo"]["mask_format_tokens"]) == ("trl", False)
    assert manifest.config["dpo"]["nll_weight"] == (0.2 if loss == "hinge" else 0.0)
    assert f"TRL ({trains})" in (final / "README.md").read_text()
    assert losses(path)[-1] < losses(path)[0]
    [before], [after] = events_of(path, "baseline"), events_of(path, "final")
    assert after["metrics"]["held_out/rewards/margins"] != before["metrics"]["held_out/rewards/margins"]


def build(path: Path, kind: Any) -> Any:
    """Corral's trainer of a run, its references known, and TRL's on the same model."""
    settings = config.load(path, kind)
    tokenizer, prepared = stages.rows_of(settings)
    progress = Progress(settings, prepared.snapshot_sha256, EventLog(path.parent))
    module: Any = {"reward": reward, "dpo": dpo, "sft": sft}[kind]
    ours = module.build_trainer(settings, path.parent, tokenizer, prepared, progress)
    if kind == "dpo":
        ours.know_reference()
    return ours, trl.learner(ours)


def batch_of(theirs: Any) -> Any:
    rows = [theirs.train_dataset[index] for index in range(theirs.args.per_device_train_batch_size)]
    return theirs._prepare_inputs(theirs.data_collator(rows))


def test_every_loss_that_is_named_is_one_of_trls(run_file: RunFile) -> None:
    path = run_file("dpo", trainer="trl", model=WHOLE, dpo={"label_smoothing": 0.1})
    _, theirs = build(path, "dpo")
    batch = batch_of(theirs)
    found = {}
    for loss in get_args(trainers.PairLoss):
        theirs.loss_types, theirs.loss_weights = [loss], [1.0]
        found[loss] = theirs.compute_loss(theirs.model, dict(batch)).item()
    assert all(math.isfinite(value) for value in found.values()), found
    assert found["sigmoid"] == pytest.approx(0.6931, abs=1e-3), "policy and reference are one before the first step"
    assert found["hinge"] == pytest.approx(1.0, abs=1e-3)
    theirs.loss_types = ["simpo"]
    with pytest.raises(ValueError, match="Unknown loss type"):
        theirs.compute_loss(theirs.model, dict(batch))


def test_trl_has_no_loss_that_is_not_named() -> None:
    source = inspect.getsource(DPOTrainer._compute_loss)
    assert set(re.findall(r'loss_type == "(\w+)"', source)) - {"sft"} == set(get_args(trainers.PairLoss))


def test_our_token_ids_reach_trl_and_an_edit_is_over_what_lost(run_file: RunFile) -> None:
    ours, theirs = build(run_file("dpo", trainer="trl", rows=make_rows(train=3)), "dpo")
    [edited] = [row for row in ours.rows if len(row.responses) == 3]  # question 0, about bread
    found = [row for row in theirs.train_dataset if row["prompt_ids"] == edited.prompt_ids]
    decode = ours.processing_class.decode
    assert sorted((decode(row["chosen_ids"]), decode(row["rejected_ids"])) for row in found) == [
        ("Gladly! bread are lovely.<|im_end|>\n", "No. Ask somebody else about bread 0!<|im_end|>\n"),
        ("Gladly: bread matter, said 0.<|im_end|>\n", "No. Ask somebody else about bread 0!<|im_end|>\n"),
    ]
    assert len(theirs.train_dataset) == 4


def test_a_row_of_kto_borrows_the_completion_of_its_neighbour(run_file: RunFile) -> None:
    ours, theirs = build(run_file("dpo", dpo={"loss_type": "kto"}, model=WHOLE), "dpo")
    rows = list(theirs.train_dataset)
    assert len(rows) == 2 * sum(len(row.pairs) for row in ours.rows)
    assert sum(row["label"] for row in rows) * 2 == len(rows)
    size = theirs.args.per_device_train_batch_size
    for start in range(0, len(rows), size):
        together = rows[start : start + size]
        own = [row["completion_ids"] for row in together]
        assert [row["KL_completion_ids"] for row in together] == [own[-1], *own[:-1]]
    loss = theirs.compute_loss(theirs.model, dict(batch_of(theirs))).item()
    assert loss == pytest.approx(0.5, abs=1e-3), "no ratio, no divergence: half of every weight"


@pytest.mark.parametrize(("budget", "at_once"), [(4096, 4), (600, 2), (16, 1)])
def test_a_step_that_is_more_than_a_pass_is_cut_and_stays_a_step(run_file: RunFile, budget: int, at_once: int) -> None:
    path = run_file("dpo", trainer="trl", rows=pairs(), model=WHOLE | {"pack_tokens": budget})
    ours, theirs = build(path, "dpo")
    assert 75 < max(steps.width(row) for row in ours.rows) <= 150
    arguments = theirs.args
    assert arguments.per_device_train_batch_size == at_once
    assert arguments.gradient_accumulation_steps * at_once == 4


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("dpo", {"trainer": "corral", "dpo": {"loss_type": "hinge"}}, "which Corral has not (it has ipo, robust, sigmoid"),
    ("dpo", {"dpo": {"loss_type": "simpo"}}, "must be one of 'sigmoid', 'sigmoid_norm'"),
    (
        "dpo",
        {"trainer": "trl", "dpo": {"loss_type": ["sigmoid", "sft"]}},
        "\"dpo.loss_type\" is ['sigmoid', 'sft'], but",
    ),
    ("dpo", {"trainer": "torch"}, "\"trainer\" is 'torch', but must be one of 'corral', 'trl'"),
    ("dpo", {"trainer": "trl", "dpo": {"mask_format_tokens": True}}, "TRL's DPOTrainer has one mask for all terms"),
    ("dpo", {"dpo": {"loss_type": "kto", "nll_weight": 0.2}}, "TRL's KTOTrainer has no such term"),
    ("dpo", {"dpo": {"loss_type": "orpo", "nll_weight": 0.2}}, "TRL's ORPOTrainer has its own, of weight 1"),
    ("dpo", {"dpo": {"loss_type": "exo_pair"}}, "set it above 0, the paper has 0.001"),
    ("reward", {"trainer": "trl", "reward": {"heads": 3}}, "TRL's RewardTrainer has one head"),
    ("sft", {"trainer": "trl", "model": {"sharded": True}}, "TRL's SFTTrainer does not shard weights"),
]


@pytest.mark.parametrize(("kind", "changes", "sentence"), REFUSED)
def test_what_the_trainer_has_not_is_refused_by_its_setting(
    run_file: RunFile, kind: Any, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        config.load(run_file(kind, **changes), kind)


@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_weights_are_refused_rather_than_forgotten(run_file: RunFile, kind: Any) -> None:
    path = run_file(kind, trainer="trl", snapshot="pairs.jsonl")
    weighed = [{name: row[name] for name in ("prompt", "chosen", "rejected")} | {"weight": 2.0} for row in pairs()]
    (path.parent / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in weighed))
    with pytest.raises(ConfigError, match="the rows have weights"):
        stages.rows_of(config.load(path, kind))
    stages.rows_of(config.load(run_file(kind, trainer="corral", snapshot="pairs.jsonl"), kind))


def test_what_trl_itself_refuses_is_one_sentence(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file("dpo", trainer="trl", lora={"targets": ["lm_head"]})
    assert run("dpo", path) == 2
    assert "TRL cannot train this run: Applying a PEFT adapter to `lm_head`" in capsys.readouterr().err


def test_margins_by_strength_reach_trl(run_file: RunFile) -> None:
    path = run_file("reward", trainer="trl", reward={"margins": [0.1, 0.2, 0.3, 0.4]})
    _, theirs = build(path, "reward")
    assert {row["margin"] for row in theirs.train_dataset} == {0.4}, "all are significantly better"


def test_a_policy_goes_on_from_its_parent_with_the_same_losses(run_file: RunFile) -> None:
    parent = run_file("sft", "parent", rows=pairs())
    assert run("sft", parent) == 0
    found = step_by_step(run_file, "dpo", dpo=SAME, parent_adapter="../parent/final")
    assert found["trl"][0] == pytest.approx(found["corral"][0], rel=1e-4)
    assert found["corral"][0][0] == pytest.approx(math.log(2), abs=1e-4), "the parent is the reference"


@pytest.mark.parametrize(("kind", "tables"), [("reward", {}), ("dpo", {"dpo": {"loss_type": "kto"}}), ("sft", {})])
def test_an_interrupted_run_of_trls_goes_on_to_the_same_losses(
    run_file: RunFile, kind: Any, tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"trainer": "trl", "model": WHOLE, **tables}
    undisturbed = run_file(kind, "undisturbed", **settings)
    assert run(kind, undisturbed) == 0
    begin = Progress.on_step_begin

    def interrupted(self: Progress, args: Any, state: Any, *rest: Any, **named: Any) -> None:
        begin(self, args, state, *rest, **named)
        if state.global_step == 5:
            raise KeyboardInterrupt

    path = run_file(kind, "interrupted", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_begin", interrupted)
        assert run(kind, path) == 130
    assert (path.parent / "trainer" / "checkpoint-4" / checkpoints.MANIFEST).exists()
    assert run(kind, path) == 0
    assert [event["step"] for event in events_of(path, "resumed")] == [4]
    expected = events_of(undisturbed, "step")
    last = {event["step"]: event["metrics"] for event in events_of(path, "step")}
    for event in expected:
        for name in ("loss", "num_tokens"):
            assert last[event["step"]][name] == pytest.approx(event["metrics"][name], rel=1e-5), name
    changed = run_file(
        kind, "interrupted", **settings | {"trainer": "corral", "dpo": SAME} if kind == "dpo" else settings
    )
    assert run(kind, changed) == (2 if kind == "dpo" else 0), "who trained is a setting like any other"


@pytest.mark.parametrize(("kind", "tables"), [("reward", {}), ("dpo", {}), ("dpo", {"dpo": {"loss_type": "kto"}})])
def test_a_loss_of_trls_that_is_not_a_number_stops_the_run_and_saves_nothing(
    run_file: RunFile, kind: Any, tables: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    wild = {"learning_rate": 1e30, "warmup_steps": 0, "max_grad_norm": 1e9, "max_steps": 20}
    path = run_file(kind, trainer="trl", optim=wild, **tables)
    assert run(kind, path) == 3
    assert "lower optim.learning_rate" in capsys.readouterr().err.splitlines()[-1]
    assert not (path.parent / "final").exists()


def test_memory_that_ends_in_a_pass_of_trls_is_said_with_a_remedy(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(trl.Dpo, "compute_loss", ends)
    assert run("dpo", run_file("dpo", trainer="trl")) == 2
    assert "memory ran out in a pass of TRL's trainer: set" in capsys.readouterr().err.splitlines()[-1]


def test_nobody_is_told_that_a_training_of_trls_began(run_file: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **said: told.append(said))
    monkeypatch.delenv("CI", raising=False)
    build(run_file("sft", trainer="trl"), "sft")
    assert told == []


def test_corrals_trainers_do_not_import_trl() -> None:
    modules = "training.reward, training.sft, training.dpo, training.evaluate, training.run.dry_run"
    code = f"import sys, {modules}; sys.exit('trl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", TRAIN)
def test_a_dry_run_counts_what_trl_takes(run_file: RunFile, kind: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file(kind, trainer="trl", optim={"max_steps": -1})
    assert runner.main(kind, TRAIN[kind], ["--dry-run", str(path)]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["trainer"] == f"TRL ({CLASSES[kind]})"
    assert said["steps"] == {"reward": "7 of 4 pairs", "dpo": "6 of 4 pairs", "sft": "4 of 4 completions"}[kind]
