"""A run that goes on from the checkpoint of another, and what it refuses to go on from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.training.conftest import RunFile, events_of
from tests.training.test_runs import run
from training.formats import checkpoints
from training.formats.errors import CheckpointError
from training.measure import inference


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
def test_a_damaged_parent_is_refused_by_file(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    first = run_file("dpo", "first", optim={"max_steps": 1})
    assert run("dpo", first) == 0
    weights = first.parent / "final" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert run("dpo", run_file("dpo", "second", parent_adapter="../first/final")) == 2
    assert "adapter_model.safetensors has changed since it was written" in capsys.readouterr().err.splitlines()[-1]


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
    assert "set base_model to the model it was trained on" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(CheckpointError, match="has other weights: set base_model"):
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
