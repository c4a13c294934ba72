"""A run that would fill the disk does not start."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import transformers

from tests.training.conftest import RunFile, events_of
from training import dpo, reward
from training.formats import checkpoints
from training.formats.errors import ConfigError
from training.formats.events import EventLog
from training.model import models
from training.run import config, room, runner, stages
from training.run.progress import Progress, trainer_dir

MODULES: dict[Any, Any] = {"reward": reward, "dpo": dpo}


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_disk_without_room_for_the_run_stops_it_before_the_model_is_loaded(
    run_file: RunFile, kind: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_file(kind)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 10**9 - 5000, 5000))
    monkeypatch.setattr(MODULES[kind], "build_trainer", lambda *_: pytest.fail("the model is loaded"))
    assert runner.main(kind, MODULES[kind].build_trainer, [str(path)]) == 4
    said = capsys.readouterr().err.splitlines()[-1]
    assert "has 0.0 MB free, and this run writes about" in said
    assert "(3 saved states and the checkpoint): free some space" in said
    assert [event["event"] for event in events_of(path)] == ["data", "mix"]


def test_what_a_resumed_run_has_written_already_needs_no_room_again(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_file("dpo")
    settings = config.load(path, "dpo")
    tokenizer = models.load_tokenizer(settings.base_model)
    needed = room.bytes_of(settings, tokenizer)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 10**9, needed - 100))
    with pytest.raises(Exception, match="free some space"):
        room.check(settings, path.parent, tokenizer)
    (trainer_dir(path.parent) / "checkpoint-2").mkdir(parents=True)
    (trainer_dir(path.parent) / "checkpoint-2" / "adapter_model.safetensors").write_bytes(bytes(100))
    room.check(settings, path.parent, tokenizer)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
def test_the_estimate_counts_the_weights_that_are_trained(run_file: RunFile, targets: Any) -> None:
    path = run_file("dpo", lora={"targets": targets})
    settings = config.load(path, "dpo")
    model = models.load_policy(settings)
    assert room.shape_of(settings).trained == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.slow
def test_a_run_writes_no_more_than_its_estimate(run_file: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run_file("dpo", lora={"r": 256})  # large enough to outweigh the small files
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # so that the states stay to be counted
    assert runner.main("dpo", dpo.build_trainer, [str(path)]) == 0
    settings = config.load(path, "dpo")
    estimate = room.bytes_of(settings, models.load_tokenizer(settings.base_model))
    states = list(trainer_dir(path.parent).glob("checkpoint-*"))
    assert len(states) == 3
    written = sum(file.stat().st_size for folder in (*states, settings.output) for file in folder.iterdir())
    assert written <= estimate < 1.5 * written


def test_a_base_model_of_an_unknown_kind_is_refused_in_a_sentence(
    run_file: RunFile, tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "strange")
    written = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(written | {"model_type": "abacus"}))
    assert runner.main("dpo", dpo.build_trainer, [str(run_file("dpo", base_model=str(base)))]) == 2
    assert "strange cannot be loaded" in capsys.readouterr().err.splitlines()[-1]


def test_packs_are_halved_until_they_fit_and_then_activations_computed_twice(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config.load(run_file("dpo", model={"pack_tokens": 2048}), "dpo")
    shape = room.Shape(10**9, 10**7, layers=32, hidden=2048, intermediate=8192, vocabulary=50_000)

    def fitted(free: float) -> tuple[int, bool]:
        monkeypatch.setattr(room, "available", lambda: int(free * room.memory(settings, shape)))
        model = room.fit(settings, shape).model
        return model.pack_tokens, bool(model.gradient_checkpointing)

    assert fitted(1.3) == (2048, False)
    assert fitted(1.2) == (1024, False)
    halves = [fitted(share / 20) for share in range(26, 0, -1)]
    assert halves == sorted(halves, key=lambda given: (given[1], -given[0])), "first smaller, then twice"
    assert halves[-1] == (256, True), "the smallest there is"
    never = replace(settings, model=replace(settings.model, gradient_checkpointing=False))
    assert not room.fit(never, shape).model.gradient_checkpointing


def test_the_longest_row_counts_because_it_is_never_cut(run_file: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load(run_file("dpo", model={"pack_tokens": 512}), "dpo")
    shape = room.Shape(10**9, 10**7, layers=32, hidden=2048, intermediate=8192, vocabulary=50_000)
    assert room.memory(settings, shape, longest=100) == room.memory(settings, shape)
    assert room.memory(settings, shape, longest=4096) == room.memory(
        replace(settings, model=replace(settings.model, pack_tokens=4096)), shape
    )
    monkeypatch.setattr(room, "available", lambda: int(1.3 * room.memory(settings, shape)))
    assert not room.fit(settings, shape, longest=512).model.gradient_checkpointing
    fitted = room.fit(settings, shape, longest=4096).model
    assert (fitted.pack_tokens, fitted.gradient_checkpointing) == (512, True), "smaller packs would not make it shorter"


def runs_out_of_memory_above(tokens: int, monkeypatch: pytest.MonkeyPatch, *, on_a_processor: bool = False) -> None:
    """A device whose memory takes passes of so many tokens."""
    whole = reward.RewardTrainer.rewards
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    def rewards(trainer: Any, model: Any, batch: Any) -> Any:
        found = whole(trainer, model, batch)
        if batch.input_ids.numel() > tokens:
            raise error if on_a_processor else torch.OutOfMemoryError("CUDA out of memory.")
        return found

    monkeypatch.setattr(reward.RewardTrainer, "rewards", rewards)


@pytest.mark.parametrize("on_a_processor", [False, True])
def test_a_run_whose_memory_ends_after_all_goes_on_in_smaller_packs_and_learns_the_same(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch, *, on_a_processor: bool
) -> None:
    ample, short = (run_file("reward", name, model={"pack_tokens": 1024}) for name in ("ample", "short"))
    assert runner.main("reward", reward.build_trainer, [str(ample)]) == 0
    runs_out_of_memory_above(512, monkeypatch, on_a_processor=on_a_processor)
    assert runner.main("reward", reward.build_trainer, [str(short)]) == 0
    [warning] = events_of(short, "warning")
    assert "a pass takes 512 tokens instead of 1024" in warning["message"]
    for name in ("loss", "rewards/accuracies", "num_tokens"):
        ample_s, short_s = ([step["metrics"][name] for step in events_of(path, "step")] for path in (ample, short))
        assert short_s == pytest.approx(ample_s, rel=1e-4), name


def test_memory_that_ends_in_the_smallest_packs_is_said_with_what_to_set(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_out_of_memory_above(0, monkeypatch)
    assert runner.main("reward", reward.build_trainer, [str(run_file("reward"))]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "memory ran out in a pass of 256 tokens: set model.gradient_checkpointing = true" in said


def test_several_gpus_in_sight_of_one_process_are_not_used_at_once(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        transformers.TrainingArguments, "n_gpu", property(lambda given: given.__dict__.get("_n_gpu") or 2)
    )
    settings = config.load(run_file("reward"), "reward")
    tokenizer, prepared = stages.rows_of(settings)
    watched = Progress(settings, "s", EventLog(settings.output.parent))
    trainer = reward.build_trainer(settings, settings.output.parent, tokenizer, prepared, watched)
    assert trainer.args.n_gpu == 1


@pytest.mark.slow
def test_a_run_that_is_short_of_memory_learns_the_same_and_says_so(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ample, short = run_file("dpo", "ample"), run_file("dpo", "short")
    assert runner.main("dpo", dpo.build_trainer, [str(ample)]) == 0
    monkeypatch.setattr(room, "available", lambda: 10**6)
    assert runner.main("dpo", dpo.build_trainer, [str(short)]) == 0
    [warning] = events_of(short, "warning")
    assert "a pass takes 256 tokens instead of 512, and activations are computed twice" in warning["message"]
    losses = [[event["metrics"]["loss"] for event in events_of(path, "step")] for path in (ample, short)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert checkpoints.verify(short.parent / "final").config["model"]["pack_tokens"] == 512, "what was asked for"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sliding_window": 64}, "layers of sliding_attention, which do not attend to a whole row"),
        ({"sliding_window": 4096}, None),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layers of linear_attention"),
        ({"layer_types": ["full_attention", "full_attention"], "sliding_window": 64}, None),
    ],
)
def test_a_base_model_that_does_not_see_a_whole_row_is_refused(
    run_file: RunFile, changes: dict[str, Any], sentence: str | None
) -> None:
    settings = config.load(run_file("dpo"), "dpo")  # rows of up to 256 tokens
    base = SimpleNamespace(get_text_config=lambda: SimpleNamespace(**changes))
    if sentence is None:
        models.check_attention(base, settings)
    else:
        with pytest.raises(ConfigError, match=sentence):
            models.check_attention(base, settings)
