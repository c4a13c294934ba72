"""What a training run is told: one TOML file, made of the run's stored configuration and of nothing else.

The file is written the same way each time the run starts. Training resumes a saved state only under the very settings
that it was saved with, so a resumed run must not differ in a byte.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from app.rounds.models import RunKind
from app.settings import ROOT, EngineKind, Settings
from training.formats import trainers
from training.formats.rankings import Rule

RECIPES = ROOT / "training" / "recipes"
SEED = 17
MIN_STRENGTH = 3
"""Reward model and policy learn from "better" and "significantly better" only (Llama 3, arXiv 2407.21783, 4.1.3)."""


def recipe_problem(settings: Settings) -> str | None:
    """Why no policy of the recipe could be trained or served, known before hours are spent on one; None when it can."""
    name, most = settings.training_recipe, settings.max_lora_rank
    file = RECIPES / f"{RunKind.DPO.value}.{name}.toml"
    if not file.is_file():
        known = ", ".join(sorted(found.name.split(".")[1] for found in RECIPES.glob(f"{RunKind.DPO.value}.*.toml")))
        return f"There is no recipe {name}. Set CORRAL_TRAINING_RECIPE to one of: {known}."
    rank = recipe(RunKind.DPO, name)["lora"]["r"]
    if settings.engine_kind is EngineKind.VLLM and rank > most:
        return (
            f"The recipe {name} (CORRAL_TRAINING_RECIPE) trains adapters of rank {rank}, and the engine takes {most} at "
            f"most (CORRAL_MAX_LORA_RANK). Raise that to {rank} and start the engine again, or choose another recipe."
        )
    return None


def max_length(kind: RunKind, config: Mapping[str, Any]) -> int:
    """The tokens of prompt and response together that a run trains on at most: its own setting, or its recipe's."""
    own: int | None = config.get("data", {}).get("max_length")
    if own is not None:
        return own
    of_recipe: int = recipe(kind, config.get("recipe", "laptop"))["data"]["max_length"]
    return of_recipe


def trained_by(kind: RunKind, config: Mapping[str, Any]) -> str:
    """Who trains a run, by its run file and its recipe, in words."""
    its = recipe(kind, config.get("recipe", "laptop"))
    loss = (its.get("dpo", {}) | config.get("dpo", {})).get("loss_type")
    said = config.get("trainer", its.get("trainer", "auto"))
    return trainers.words(trainers.chosen(said, loss), kind.value, loss)


def conflicts(kind: RunKind, name: str) -> Rule:
    """What the recipe of this name does where annotators of one prompt disagree; as the rest do where there is none."""
    try:
        rule: Rule = recipe(kind, name)["data"]["conflicts"]
    except FileNotFoundError:
        return "majority"
    return rule


@cache
def recipe(kind: RunKind, name: str) -> dict[str, Any]:
    """What the recipe of this name says for a run of ``kind``."""
    return tomllib.loads((RECIPES / f"{kind.value}.{name}.toml").read_text(encoding="utf-8"))


def to_toml(config: Mapping[str, Any]) -> str:
    """TOML of plain values and one level of tables.

    Raises:
        TypeError: a value is of a kind that a run file does not have.
    """
    tables = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_value(value)}" for key, value in config.items() if key not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError(f"{value!r} cannot stand in a run file")
    # JSON's strings, numbers and booleans are TOML's, but for the one control character that JSON leaves as it is
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def write_run_file(folder: Path, config: Mapping[str, Any]) -> Path:
    """Write ``run.toml`` into ``folder`` so that no reader ever sees half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / "run.toml", folder / ".run.toml.tmp"
    with draft.open("w", encoding="utf-8") as file:
        file.write(to_toml(config))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path
