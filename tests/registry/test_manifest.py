from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.registry.manifest import BrokenCheckpoint, verify
from tests.generating import write_adapter


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
    with pytest.raises(BrokenCheckpoint, match="no finished checkpoint"):
        verify(tmp_path / "nothing", manifest_sha256=None)


def test_another_manifest_than_the_registered_one_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "policy")
    with pytest.raises(BrokenCheckpoint, match="not the one that was registered"):
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
