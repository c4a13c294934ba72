"""What the recipes of ``training/recipes`` say: how long rows may be, who trains, and whether the engine can serve the result."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

from app.kernel.locales import gettext as _
from app.kernel.settings import ROOT, EngineKind, Settings
from app.rounds.models import RunKind
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
        return _("There is no recipe {name}. Set CORRAL_TRAINING_RECIPE to one of: {known}.", name=name, known=known)
    if settings.training_checked_steps and not (RECIPES / f"{RunKind.GRPO.value}.{name}.toml").is_file():
        return _(
            "The recipe {name} (CORRAL_TRAINING_RECIPE) does not say how to learn from checks. Set "
            "CORRAL_TRAINING_CHECKED_STEPS to 0, or choose another recipe.",
            name=name,
        )
    rank = recipe(RunKind.DPO, name)["lora"]["r"]
    if settings.engine_kind is EngineKind.VLLM and rank > most:
        return _(
            "The recipe {name} (CORRAL_TRAINING_RECIPE) trains adapters of rank {rank}, and the engine accepts at most "
            "{most} (CORRAL_MAX_LORA_RANK). Raise it to {rank} and restart the engine, or choose another recipe.",
            name=name,
            rank=rank,
            most=most,
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
    if kind is RunKind.GRPO:
        return trainers.words("trl", kind.value)
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
