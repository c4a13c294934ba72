"""The bundled model's template for tools comes with every folder, also with one that an earlier release unpacked."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import base_model
from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.formats.templates import TOOL_USE, read
from training.model.models import weights_sha256


def unpacked_earlier(folder: Path, name: str = base_model.NAME) -> Path:
    """A base checkpoint as it was written when there was no template for tools."""
    with checkpoints.write(folder, Manifest(name=name, kind="base", base_model="x")) as draft:
        (draft / "model.safetensors").write_bytes(b"weights")
        (draft / "chat_template.jinja").write_text("own")
    return folder


def test_a_folder_of_an_earlier_release_gets_the_template_and_stays_the_base_of_its_adapters(tmp_path: Path) -> None:
    folder = unpacked_earlier(tmp_path / "base")
    known_as = weights_sha256(str(folder))

    for _ in range(2):
        assert base_model.main([str(folder)]) == 0

    assert read(folder, {}) == {"default": "own", "tool_use": base_model.FOR_TOOLS.read_text()}
    assert weights_sha256(str(folder)) == known_as
    assert checkpoints.verify(folder, "base").name == base_model.NAME
    assert [file.name for file in (folder / TOOL_USE).parent.iterdir()] == ["tool_use.jinja"]


def test_a_template_that_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = unpacked_earlier(tmp_path / "base")
    (folder / TOOL_USE).parent.mkdir()
    (folder / TOOL_USE).write_text("the operator's")
    base_model.convert(folder)
    assert (folder / TOOL_USE).read_text() == "the operator's"


def test_another_model_gets_no_template_of_ours(tmp_path: Path) -> None:
    folder = unpacked_earlier(tmp_path / "base", name="another")
    base_model.convert(folder)
    assert not (folder / TOOL_USE).exists()


def test_a_folder_that_cannot_be_written_serves_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Read-only file system", str(self))

    folder = unpacked_earlier(tmp_path / "base")
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert base_model.main([str(folder)]) == 0
