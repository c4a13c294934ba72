from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.registry.manifest import BrokenCheckpoint, verify
from tests.generating import write_adapter
from training.formats import checkpoints
from training.formats.checkpoints import DamagedError, Manifest


def test_a_folder_that_is_what_was_written_verifies(tmp_path: Path) -> None:
    verify(tmp_path / "policy", manifest_sha256=write_adapter(tmp_path / "policy"))


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    sha256 = write_adapter(tmp_path / "policy", b"weights")
    (tmp_path / "policy" / "adapter_model.safetensors").write_bytes(b"weighus")
    with pytest.raises(BrokenCheckpoint, match=r"adapter_model\.safetensors has changed"):
        verify(tmp_path / "policy", manifest_sha256=sha256)


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    sha256 = write_adapter(tmp_path / "policy")
    (tmp_path / "policy" / "adapter_config.json").unlink()
    with pytest.raises(BrokenCheckpoint, match=r"adapter_config\.json is missing"):
        verify(tmp_path / "policy", manifest_sha256=sha256)


@pytest.mark.parametrize(
    "manifest", ["", "{", "[]", "{}", '{"format": 1, "files": {}}', '{"format": 9, "files": {"a": {}}}']
)
def test_a_manifest_that_says_nothing_is_refused(tmp_path: Path, manifest: str) -> None:
    write_adapter(tmp_path / "policy")
    (tmp_path / "policy" / "manifest.json").write_text(manifest)
    with pytest.raises(BrokenCheckpoint, match=r"manifest\.json"):
        verify(tmp_path / "policy", manifest_sha256=None)


def test_no_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match="not a finished checkpoint"):
        verify(tmp_path / "nothing", manifest_sha256=None)


def test_another_manifest_than_the_registered_one_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "policy")
    with pytest.raises(BrokenCheckpoint, match="has changed since it was registered"):
        verify(tmp_path / "policy", manifest_sha256="0" * 64)


@pytest.mark.parametrize("name", ["adapter_model.bin", "extra.safetensors", "optimizer.pt"])
def test_weights_that_the_manifest_does_not_name_are_refused(tmp_path: Path, name: str) -> None:
    sha256 = write_adapter(tmp_path / "policy")
    (tmp_path / "policy" / name).write_bytes(b"hidden")
    with pytest.raises(BrokenCheckpoint, match=name):
        verify(tmp_path / "policy", manifest_sha256=sha256)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    write_adapter(tmp_path / "policy")
    (tmp_path / "secret").write_text("secret")
    manifest = {"format": 1, "files": {"../secret": {"sha256": "0" * 64}}}
    (tmp_path / "policy" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BrokenCheckpoint, match="outside"):
        verify(tmp_path / "policy", manifest_sha256=None)


def change(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"weighus")


def remove(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def add_a_pickle(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "optimizer.pt").write_bytes(b"hidden")


def add_weights(folder: Path) -> None:
    (folder / "extra.gguf").write_bytes(b"hidden")


def forget_the_files(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": {}}))


@pytest.mark.parametrize("damage", [change, remove, add_a_pickle, add_weights, forget_the_files])
def test_the_site_and_training_refuse_the_same_for_the_same_reason(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "policy"
    with checkpoints.write(folder, Manifest(name="policy", kind="policy", base_model="base")) as draft:
        (draft / "adapter_model.safetensors").write_bytes(b"weights")
        (draft / "adapter_config.json").write_text("{}")
    verify(folder, manifest_sha256=checkpoints.manifest_sha256(folder))
    damage(folder)
    with pytest.raises(DamagedError) as of_training:
        checkpoints.verify(folder)
    with pytest.raises(BrokenCheckpoint) as of_the_site:
        verify(folder, manifest_sha256=None)
    assert str(of_the_site.value) == f"policy/{of_training.value.file} {of_training.value.what}."
    assert str(tmp_path) not in str(of_the_site.value), "a page tells no path of the server"
