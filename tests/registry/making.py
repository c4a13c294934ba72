"""A base model of one layer, and adapters of it as others train them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy.orm import Session

from app.registry import service
from app.registry.served import WEIGHTS

LAYER = "model.layers.0.mlp.down_proj"
MADE = {"peft_type": "LORA", "r": 4, "bias": "none", "peft_version": "0.17", "base_model_name_or_path": "theirs/model"}


def make_base(session: Session, folder: Path) -> Path:
    """The base model of the installation, in ``folder``."""
    folder.mkdir()
    save_file({f"{LAYER}.weight": np.zeros((8, 16), np.float32)}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text("{}")
    service.ensure_base(session, str(folder))
    return folder


def make_adapter(folder: Path, config: dict[str, Any] | None = None, **tensors: Any) -> Path:
    """An adapter that fits it, but for what is given."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(MADE | (config or {})))
    fits = {
        f"base_model.model.{LAYER}.lora_A.weight": np.ones((4, 16), np.float32),
        f"base_model.model.{LAYER}.lora_B.weight": np.ones((8, 4), np.float32),
    }
    save_file(fits | tensors, folder / WEIGHTS)
    return folder
