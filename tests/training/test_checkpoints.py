"""A checkpoint is whole, or it is refused by the name of the file that is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.formats.errors import CheckpointError

POLICY = Manifest(name="policy-r1", kind="policy", base_model="base", seed=17)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy-r1"
    with checkpoints.write(path, POLICY) as draft:
        save_file({"lora_A": torch.ones(4)}, draft / "adapter_model.safetensors")
        (draft / "adapter_config.json").write_text("{}")
    return path


def test_what_was_written_is_verified_and_described(policy: Path) -> None:
    manifest = checkpoints.verify(policy, "policy")
    assert (manifest.name, manifest.kind, manifest.seed) == ("policy-r1", "policy", 17)
    assert set(manifest.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert manifest.created_at


def test_the_directory_appears_only_when_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "policy-r1"
    with checkpoints.write(path, POLICY) as draft:
        (draft / "adapter_config.json").write_text("{}")
        assert not path.exists()
    assert path.is_dir()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(draft: Path) -> None:
        (draft / "adapter_config.json").write_text("{}")
        raise RuntimeError

    with pytest.raises(RuntimeError), checkpoints.write(tmp_path / "policy-r1", POLICY) as draft:
        fail(draft)
    assert list(tmp_path.iterdir()) == []


def test_the_draft_of_a_killed_process_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".policy-r1.tmp-99").mkdir()
    with checkpoints.write(tmp_path / "policy-r1", POLICY) as draft:
        (draft / "adapter_config.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["policy-r1"]


def test_a_checkpoint_is_never_overwritten(policy: Path) -> None:
    with pytest.raises(CheckpointError, match="never overwritten"), checkpoints.write(policy, POLICY):
        pass
    checkpoints.verify(policy)


@pytest.mark.parametrize("position", [0, 20, -1])
def test_a_flipped_byte_is_refused_by_name(policy: Path, position: int) -> None:
    file = policy / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors has changed since it was written"):
        checkpoints.verify(policy)


def test_a_missing_shard_is_refused_by_name(policy: Path) -> None:
    (policy / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is missing"):
        checkpoints.verify(policy)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "deep/model.ckpt"])
def test_pickled_weights_are_refused_by_name(policy: Path, name: str) -> None:
    (policy / name).parent.mkdir(exist_ok=True)
    torch.save({"w": torch.ones(1)}, policy / name)
    with pytest.raises(CheckpointError, match=f"{name} is a pickle, which can run code"):
        checkpoints.verify(policy)


def test_pickled_weights_are_not_written_either(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"model\.pt is a pickle"),
        checkpoints.write(tmp_path / "policy-r1", POLICY) as draft,
    ):
        torch.save({}, draft / "model.pt")
    assert not (tmp_path / "policy-r1").exists()


def test_weights_in_another_format_are_not_written(tmp_path: Path) -> None:
    refused = pytest.raises(CheckpointError, match=r"model\.gguf contains weights that are not safetensors")
    with refused, checkpoints.write(tmp_path / "policy-r1", POLICY) as draft:
        (draft / "model.gguf").write_bytes(b"GGUF")
    assert not (tmp_path / "policy-r1").exists()


def test_weights_that_the_manifest_does_not_know_are_refused(policy: Path) -> None:
    save_file({"x": torch.ones(1)}, policy / "extra.safetensors")
    with pytest.raises(CheckpointError, match=r"extra\.safetensors contains weights that the manifest does not name"):
        checkpoints.verify(policy)


def test_a_manifest_cannot_point_outside_its_directory(policy: Path) -> None:
    (policy.parent / "secret").write_text("x")
    manifest = json.loads((policy / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"sha256": checkpoints.sha256(policy.parent / "secret"), "bytes": 1}
    (policy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="lies outside the checkpoint"):
        checkpoints.verify(policy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"surprise": 1}'])
def test_a_manifest_that_cannot_be_read_is_refused(policy: Path, text: str) -> None:
    (policy / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json cannot be read"):
        checkpoints.verify(policy)


def test_a_folder_without_a_manifest_is_not_a_checkpoint(policy: Path) -> None:
    (policy / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="is not a finished checkpoint"):
        checkpoints.read(policy)


def test_a_format_of_the_future_is_refused(policy: Path) -> None:
    manifest = json.loads((policy / "manifest.json").read_text())
    (policy / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(CheckpointError, match="this version reads 1"):
        checkpoints.verify(policy)


def test_a_reward_model_is_not_taken_for_a_policy(tmp_path: Path) -> None:
    with checkpoints.write(tmp_path / "r", replace(POLICY, kind="reward")) as draft:
        (draft / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="of kind reward, but must be policy"):
        checkpoints.verify(tmp_path / "r", "policy")


def test_a_foreign_model_folder_needs_safetensors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        checkpoints.refuse_unsafe_weights(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only pytorch_model\.bin, a pickle"):
        checkpoints.refuse_unsafe_weights(tmp_path)
