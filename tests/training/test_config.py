"""A run file says what it wants or is refused with the nearest thing that exists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.training.conftest import recipe
from training.formats.errors import ConfigError
from training.formats.settings import DpoSettings
from training.run import config

REQUIRED: dict[str, Any] = {"seed": 1, "snapshot": "s", "base_model": "org/model", "output": "o", "name": "n"}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps(REQUIRED | changes))
    return path


def test_the_laptop_recipe_fills_what_the_file_leaves_out(tmp_path: Path) -> None:
    run = config.load(write(tmp_path), "dpo")
    assert (run.lora.r, run.lora.alpha, run.data.max_length) == (16, 32, 512)
    assert (run.optim.batch_size, run.model.pack_tokens) == (4, 512)
    assert run.dpo == DpoSettings(beta=0.1, nll_weight=0.2, mask_format_tokens=True)


@pytest.mark.parametrize(("kind", "rate"), [("reward", 3e-4), ("dpo", 2e-4)])
def test_each_kind_has_its_learning_rate_on_a_laptop(tmp_path: Path, kind: Any, rate: float) -> None:
    assert config.load(write(tmp_path), kind).optim.learning_rate == rate


def test_the_llama3_recipe_has_the_numbers_of_the_paper(tmp_path: Path) -> None:
    run = config.load(write(tmp_path, recipe="llama3", model={"trains": "all"}), "dpo")
    assert (run.optim.learning_rate, run.dpo.beta, run.dpo.nll_weight, run.data.min_strength) == (1e-5, 0.1, 0.2, 3)


@pytest.mark.parametrize("recipe", ["laptop", "llama3"])
@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_an_adapter_is_not_trained_at_the_rate_of_a_full_fine_tuning_nor_the_other_way_round(
    tmp_path: Path, recipe: str, kind: Any
) -> None:
    adapter = config.load(write(tmp_path, recipe=recipe), kind).optim.learning_rate
    everything = config.load(write(tmp_path, recipe=recipe, model={"trains": "all"}), kind).optim.learning_rate
    assert everything == 1e-5, "the paper's"
    assert 10 * everything <= adapter <= 30 * everything
    said = config.load(write(tmp_path, recipe=recipe, optim={"learning_rate": 3e-5}), kind).to_json()
    assert said["optim"]["learning_rate"] == 3e-5, "what a run file says holds for both"


def test_what_the_file_says_goes_over_the_recipe_and_leaves_its_neighbours(tmp_path: Path) -> None:
    run = config.load(write(tmp_path, optim={"learning_rate": 1e-3}), "reward")
    assert (run.optim.learning_rate, run.optim.epochs) == (1e-3, 1.0)


def test_paths_are_relative_to_the_file_and_hub_ids_stay_as_they_are(tmp_path: Path) -> None:
    run = config.load(write(tmp_path, parent_adapter="../parent"), "dpo")
    assert (run.snapshot, run.base_model) == (tmp_path / "s", "org/model")
    assert run.parent_adapter == tmp_path.parent / "parent"
    (tmp_path / "model").mkdir()
    assert config.load(write(tmp_path, base_model="model"), "dpo").base_model == str(tmp_path / "model")


def test_a_run_has_the_table_of_its_kind_and_says_null_of_the_other_in_its_manifest(tmp_path: Path) -> None:
    told = {kind: config.load(write(tmp_path), kind).to_json() for kind in ("reward", "sft", "dpo")}
    assert {
        kind: [list(said)[-2:], [kind for kind in ("reward", "dpo") if said[kind]]] for kind, said in told.items()
    } == {
        "reward": [["reward", "dpo"], ["reward"]],
        "sft": [["reward", "dpo"], []],
        "dpo": [["reward", "dpo"], ["dpo"]],
    }
    assert {str(said["kind"]) for said in told.values()} == set(told)


def test_settings_survive_as_json(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path), "dpo").to_json()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["dpo"]["beta"] == 0.1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optim": {"learnin_rate": 1e-4}}, 'no setting "optim.learnin_rate", did you mean "optim.learning_rate"'),
        ({"snapshoot": "x"}, 'did you mean "snapshot"'),
        ({"recipe": "desktop"}, "use one of: laptop, llama3, trl"),
        ({"seed": "seventeen"}, "\"seed\" is 'seventeen', which is not of type int"),
        ({"seed": True}, "not of type int"),
        ({"optim": 3}, "optim must be a table"),
        ({"optim": {"schedule": "wavy"}}, "must be one of 'constant_with_warmup', 'cosine', 'linear'"),
        ({"optim": {"learning_rate": 0.0}}, '"optim.learning_rate" must be above 0'),
        ({"data": {"min_strength": 5}}, '"data.min_strength" must be between 1 and 4'),
        ({"checkpointing": {"keep": 1}}, '"checkpointing.keep" must be at least 2'),
        ({"lora": {"targets": [1, 2]}}, '"lora.targets" is 1, which is not of type str'),
        ({"lora": {"targets": 5}}, '"lora.targets" is 5, which is not of type str | list[str]'),
        ({"model": {"sharded": "true"}}, "\"model.sharded\" is 'true', which is not of type bool"),
        ({"lora": {"r": 8.0}}, '"lora.r" is 8.0, which is not of type int'),
        ({"reward": {"center_rewards": 0.1}}, "a dpo run has no table [reward]"),
        ({"kind": "reward"}, "run training.reward"),
        ({"data": {"conflicts": "loudest"}}, "must be one of 'keep_all', 'majority', 'reliability'"),
        ({"data": {"overlap": 0.0}}, '"data.overlap" must be above 0'),
        ({"dpo": {"loss_type": "simpo"}}, "must be one of 'sigmoid', 'sigmoid_norm', 'robust', 'ipo'"),
        ({"dpo": {"label_smoothing": 0.5}}, '"dpo.label_smoothing" must be at least 0 and at most 0.4'),
        ({"model": {"trains": "all"}, "parent_adapter": "p"}, "set base_model instead"),
        ({"model": {"trains": ["all"]}}, "\"model.trains\" is ['all'], but must be one of 'adapter', 'all'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.load(write(tmp_path, **changes), "dpo")
    assert sentence in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("seed = 1")
    with pytest.raises(ConfigError, match='"name" is missing: add it'):
        config.load(tmp_path / "run.toml", "dpo")


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        config.load(tmp_path / "none.toml", "dpo")
    (tmp_path / "run.toml").write_text("seed == 1")
    with pytest.raises(ConfigError, match="is not TOML"):
        config.load(tmp_path / "run.toml", "dpo")


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft", "grpo"])
def test_all_recipes_know_the_same_settings(kind: str) -> None:
    names = sorted(file.name.split(".")[1] for file in config.RECIPES.glob(f"{kind}.*.toml"))
    assert names == ["laptop", "llama3", "trl"]
    known = [
        {name: set(values) if isinstance(values, dict) else None for name, values in recipe(kind, each).items()}
        for each in names
    ]
    assert known[0] == known[1] == known[2]


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
def test_the_recipe_says_who_trains_and_the_file_goes_over_it(tmp_path: Path, kind: Any) -> None:
    assert config.load(write(tmp_path), kind).trainer == "corral"
    assert config.load(write(tmp_path, recipe="trl"), kind).trainer == "trl"
    assert config.load(write(tmp_path, recipe="trl", trainer="auto"), kind).trainer == "corral"
    assert config.load(write(tmp_path, recipe="llama3", trainer="trl"), kind).trainer == "trl"


def test_what_a_recipe_says_for_corral_alone_is_taken_back_where_trl_trains(tmp_path: Path) -> None:
    for loss, nll in (("sigmoid", 0.2), ("kto", 0.0), ("orpo", 0.0)):
        dpo = config.load(write(tmp_path, trainer="trl", dpo={"loss_type": loss}), "dpo").dpo
        assert (dpo.mask_format_tokens, dpo.nll_weight) == (False, nll)
