"""What a recipe says before a round is trained by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.rounds.models import RunKind
from app.rounds.recipes import RECIPES, recipe


@pytest.mark.parametrize("kind", [RunKind.REWARD, RunKind.DPO])
@pytest.mark.parametrize("file", sorted(RECIPES.glob("reward.*.toml")), ids=lambda file: file.name.split(".")[1])
def test_what_a_recipe_leaves_out_beside_length_is_counted_before(kind: RunKind, file: Path) -> None:
    data = recipe(kind, file.name.split(".")[1])["data"]
    assert (data["latest_rounds"], data["batches"]) == (0, []), "all rounds and batches are counted"
    assert data["conflicts"] in {"majority", "keep_all"}, "reliability is known only once everything is read"
