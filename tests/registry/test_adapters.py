"""An adapter of others comes in whole and checked, or is refused with what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.kernel.errors import BadInput, Conflict
from app.kernel.settings import get_settings
from app.registry import adapters, manifest, service
from app.registry.models import CheckpointKind
from app.registry.served import WEIGHTS
from tests.factories import make_user
from tests.registry.making import LAYER, make_adapter, make_base

Make = Callable[..., Path]


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def base(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORRAL_DATA_DIR", str(tmp_path / "data"))
    get_settings.cache_clear()
    return make_base(session, tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path) -> Make:
    return partial(make_adapter, tmp_path / "theirs")


def test_it_comes_in_with_a_manifest_and_waits_to_be_served(
    session: Session, bob: User, base: Path, adapter: Make
) -> None:
    made = adapters.add(session, bob, adapter(), "theirs-1")
    assert (made.kind, made.name, made.metrics) == (CheckpointKind.POLICY, "theirs-1", {})
    folder = made.folder
    manifest.verify(folder, manifest_sha256=made.manifest_sha256)
    said = json.loads((folder / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == str(base)
    assert (folder / "tokenizer.json").exists()
    assert made.id not in {each.checkpoint_id for each in service.in_rotation(session)}
    service.deploy(session, made)
    assert made.id in {each.checkpoint_id for each in service.in_rotation(session)}
    assert session.scalars(select(AuditEvent.action)).all()[-1] == "checkpoint.imported"
    with pytest.raises(Conflict, match="theirs-1 already exists"):
        adapters.add(session, bob, adapter(), "theirs-1")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "of the kind IA3"),
        ({"r": 64}, "raise CORRAL_MAX_LORA_RANK to 64"),
        ({"rank_pattern": {"q_proj": 128}}, "rank 128"),
        ({"r": "four"}, "not whole numbers"),
        ({"use_dora": True}, "uses use_dora"),
        ({"modules_to_save": ["lm_head"]}, "uses modules_to_save"),
        ({"bias": "all"}, "trains biases"),
    ],
)
def test_what_the_engine_does_not_serve_is_refused(
    session: Session, bob: User, base: Path, adapter: Make, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        adapters.add(session, bob, adapter(config), "theirs-1")
    assert not (get_settings().checkpoints_dir / "theirs-1").exists()


NAN = np.full((8, 4), np.nan, np.float32)
ENDLESS = np.full((8, 4), np.inf, np.float16)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({f"base_model.model.{LAYER}.lora_B.weight": np.ones((9, 4), np.float32)}, "trained on another model"),
        ({f"base_model.model.{LAYER}.lora_A.weight": np.ones((4, 17), np.float32)}, "trained on another model"),
        (
            {"base_model.model.model.layers.7.q_proj.lora_A.weight": np.ones((4, 16), np.float32)},
            "no layer model.layers.7",
        ),
        ({"base_model.model.lm_head.weight": np.ones((2, 2), np.float32)}, "no matrix of LoRA"),
        ({f"base_model.model.{LAYER}.lora_B.weight": NAN}, "not numbers"),
        ({f"base_model.model.{LAYER}.lora_B.weight": ENDLESS}, "not numbers"),
        ({f"base_model.model.{LAYER}.lora_B.weight": np.ones((8, 4), np.int8)}, "is I8"),
    ],
)
def test_what_is_no_adapter_of_this_base_is_refused(
    session: Session, bob: User, base: Path, adapter: Make, tensors: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        adapters.add(session, bob, adapter(**tensors), "theirs-1")


def test_a_folder_that_is_something_else_is_named(
    session: Session, bob: User, base: Path, adapter: Make, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="CORRAL_BASE_MODEL"):
        adapters.add(session, bob, base, "theirs-1")
    with pytest.raises(BadInput, match="save_pretrained"):
        adapters.add(session, bob, tmp_path / "nowhere", "theirs-1")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(BadInput, match="could run code"):
        adapters.add(session, bob, pickled, "theirs-1")
    cut = adapter()
    whole = (cut / WEIGHTS).read_bytes()
    for size in (0, 7, 40, len(whole) - 1):
        (cut / WEIGHTS).write_bytes(whole[:size])
        with pytest.raises(BadInput, match="no whole safetensors file"):
            adapters.add(session, bob, cut, "theirs-1")
    (cut / WEIGHTS).write_bytes(b"\xff" * 200)
    with pytest.raises(BadInput, match="no whole safetensors file"):
        adapters.add(session, bob, cut, "theirs-1")
