"""What lies in the folder from which engines load by themselves: adapters that verified, whole, under names that are no paths."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.registry import served
from app.registry.manifest import BrokenCheckpoint
from tests.generating import write_adapter

BASE = "/models/base"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "served"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "checkpoints" / "policy-r1")
    return tmp_path / "checkpoints" / "policy-r1"


def publish(folder: Path, checkpoint: Path, *, base: str = BASE, sha256: str | None = None) -> dict[str, object]:
    served.publish(folder, "policy-r1", checkpoint, manifest_sha256=sha256, base=base)
    return dict(json.loads((folder / "policy-r1" / "adapter_config.json").read_text()))


def test_it_names_the_base_as_the_engines_do_and_the_checkpoint_stays_as_it_was(folder: Path, checkpoint: Path) -> None:
    before = (checkpoint / "adapter_config.json").read_text()
    assert publish(folder, checkpoint)["base_model_name_or_path"] == BASE
    assert (checkpoint / "adapter_config.json").read_text() == before
    assert sorted(each.name for each in folder.iterdir()) == ["policy-r1"], "no draft is left"
    assert served.published(folder) == {"policy-r1"}


def test_done_twice_it_is_the_same_and_another_base_replaces_it(folder: Path, checkpoint: Path) -> None:
    publish(folder, checkpoint)
    made = (folder / "policy-r1").stat().st_ino
    publish(folder, checkpoint)
    assert (folder / "policy-r1").stat().st_ino == made
    assert publish(folder, checkpoint, base="/moved")["base_model_name_or_path"] == "/moved"


def test_a_disk_without_links_gets_a_copy(folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    publish(folder, checkpoint)
    weights = folder / "policy-r1" / "adapter_model.safetensors"
    assert weights.read_bytes() == (checkpoint / "adapter_model.safetensors").read_bytes()
    weights.write_bytes(b"")
    publish(folder, checkpoint)
    assert weights.read_bytes() == b"weights", "one that was cut off is made again"


def test_what_no_longer_verifies_is_withdrawn(folder: Path, checkpoint: Path) -> None:
    publish(folder, checkpoint)
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weighus")
    with pytest.raises(BrokenCheckpoint, match=r"adapter_model\.safetensors has changed"):
        publish(folder, checkpoint)
    assert served.published(folder) == set()


@pytest.mark.parametrize(
    "name", ["../policy-r1", "/policy-r1", "a/b", "", ".", "..", ".policy-r1.tmp", "x" * 81, "ü", "a\n"]
)
def test_a_name_that_could_be_a_path_is_refused(folder: Path, checkpoint: Path, name: str) -> None:
    with pytest.raises(served.NotPublished, match="cannot be served"):
        served.publish(folder, name, checkpoint, manifest_sha256=None, base=BASE)
    served.withdraw(folder, name)
    assert not folder.exists()


def test_a_draft_that_a_killed_worker_left_is_in_nobodys_way(folder: Path, checkpoint: Path) -> None:
    (folder / ".policy-r1.tmp").mkdir(parents=True)
    (folder / ".policy-r1.tmp" / "adapter_model.safetensors").write_bytes(b"half")
    assert served.published(folder) == set()
    publish(folder, checkpoint)
    assert sorted(each.name for each in folder.iterdir()) == ["policy-r1"]
