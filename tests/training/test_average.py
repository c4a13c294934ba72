"""The mean of adapters is the mean of what they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from training import average
from training.average import AverageConfig
from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.measure import inference
from training.measure.inference import RewardModel
from training.model import models
from training.run import tool


def adapter(folder: Path, base: Path, seed: int, *, kind: str = "policy", accuracy: float = 0.7, **lora: Any) -> Path:
    """A checkpoint with a random adapter, which changes what the base says."""
    torch.manual_seed(seed)
    reward = kind in {"reward", "steps"}
    factory = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    options = {"num_labels": 1} if reward else {}
    settings = {"r": 3, "lora_alpha": 6, "target_modules": "all-linear"} | lora
    task = {"task_type": "SEQ_CLS", "modules_to_save": ["score"]} if reward else {"task_type": "CAUSAL_LM"}
    model = get_peft_model(factory.from_pretrained(base, **options), LoraConfig(**task, **settings))
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3 if "lora" in name else 0.05)
    manifest = Manifest(name=folder.name, kind=kind, base_model=str(base), metrics={"held_out/accuracy": accuracy})
    with checkpoints.write(folder, manifest) as draft:
        model.save_pretrained(draft)
    return folder


def run(folder: Path, *names: str, **settings: Any) -> int:
    table = {"name": "mean", "checkpoints": list(names), "output": "mean"} | settings
    (folder / "run.toml").write_text(tomli_w.dumps(table))
    return tool.main(average.__doc__ or "", AverageConfig, average.average, [str(folder / "run.toml")])


def logits(base: Path, adapter: Path | None) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(40)[None]).logits[0]
    return found


def deltas(folder: Path) -> dict[str, torch.Tensor]:
    """What an adapter adds to each weight."""
    settings, state = json.loads((folder / average.ADAPTER_SETTINGS).read_text()), load_file(folder / average.ADAPTER)
    scale = settings["lora_alpha"] / (settings["r"] ** 0.5 if settings["use_rslora"] else settings["r"])
    return {name: scale * state[name.replace("lora_A", "lora_B")] @ a for name, a in state.items() if "lora_A" in name}


def test_an_averaged_adapter_adds_the_mean_of_what_the_others_add(tmp_path: Path, tiny_base: Path) -> None:
    adapter(tmp_path / "one", tiny_base, 1)
    adapter(tmp_path / "two", tiny_base, 2, lora_alpha=12)
    adapter(tmp_path / "three", tiny_base, 3, use_rslora=True)
    assert run(tmp_path, "one", "two", "three") == 0
    mean, others = deltas(tmp_path / "mean"), [deltas(tmp_path / name) for name in ("one", "two", "three")]
    assert len(mean) == 14
    assert "the average of 3 checkpoints" in (tmp_path / "mean" / "README.md").read_text()
    for name, delta in mean.items():
        torch.testing.assert_close(delta, sum(other[name] for other in others) / 3, rtol=1e-4, atol=1e-5)


def test_the_averaged_model_is_the_base_plus_the_mean_and_not_the_product_of_mean_factors(
    tmp_path: Path, tiny_base: Path
) -> None:
    folders = [adapter(tmp_path / name, tiny_base, seed) for seed, name in enumerate(("one", "two"))]
    assert run(tmp_path, "one", "two") == 0
    by_hand = AutoModelForCausalLM.from_pretrained(tiny_base)
    added = [deltas(folder) for folder in folders]
    with torch.no_grad():
        for name in added[0]:
            weight = by_hand.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")).weight
            weight += (added[0][name] + added[1][name]) / 2
        wanted = by_hand(torch.arange(40)[None]).logits[0]
    torch.testing.assert_close(logits(tiny_base, tmp_path / "mean"), wanted, rtol=1e-3, atol=1e-3)

    states = [load_file(folder / average.ADAPTER) for folder in folders]
    naive = tmp_path / "naive"
    naive.mkdir()
    save_file({name: (states[0][name] + states[1][name]) / 2 for name in states[0]}, naive / average.ADAPTER)
    (naive / average.ADAPTER_SETTINGS).write_bytes((folders[0] / average.ADAPTER_SETTINGS).read_bytes())
    assert (logits(tiny_base, naive) - wanted).abs().max() > 0.1


def test_a_smaller_rank_is_the_nearest_matrix_and_says_what_it_lost(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("one", "two")):
        adapter(tmp_path / name, tiny_base, seed)
    assert run(tmp_path, "one", "two") == 0
    assert run(tmp_path, "one", "two", rank=4, output="small") == 0
    exact, small = deltas(tmp_path / "mean"), deltas(tmp_path / "small")
    worst = 0.0
    for name, delta in exact.items():
        u, values, v = torch.linalg.svd(delta.double())
        nearest = u[:, :4] @ torch.diag(values[:4]) @ v[:4]
        torch.testing.assert_close(small[name].double(), nearest, rtol=1e-3, atol=1e-4)
        worst = max(worst, float((nearest - delta.double()).norm() / delta.double().norm()))
    told = json.loads((tmp_path / "small" / "metrics.json").read_text())["average"]["relative_error_of_rank"]
    assert told == pytest.approx(worst, rel=1e-3)
    assert "largest relative error" in capsys.readouterr().out


def test_weights_by_held_out_score_count_what_is_above_chance_and_lineage_says_so(
    tmp_path: Path, tiny_base: Path
) -> None:
    adapter(tmp_path / "good", tiny_base, 1, kind="reward", accuracy=0.8)
    adapter(tmp_path / "fair", tiny_base, 2, kind="reward", accuracy=0.6)
    assert run(tmp_path, "good", "fair", weights="held_out") == 0
    manifest = checkpoints.verify(tmp_path / "mean", "reward")
    assert [one["weight"] for one in manifest.config["average_of"]] == pytest.approx([0.75, 0.25])
    assert manifest.config["average_of"][0]["manifest_sha256"] == checkpoints.manifest_sha256(tmp_path / "good")
    heads = [load_file(tmp_path / name / average.ADAPTER)["base_model.model.score.weight"] for name in ("good", "fair")]
    averaged = load_file(tmp_path / "mean" / average.ADAPTER)["base_model.model.score.weight"]
    torch.testing.assert_close(averaged, 0.75 * heads[0] + 0.25 * heads[1])
    tokenizer = models.load_tokenizer(str(tiny_base))
    [reward] = RewardModel(inference.served(tmp_path / "mean"), tokenizer, 1).score([[1, 2, 3]])
    assert reward != 0.0


def test_whole_models_are_averaged_in_float32(tmp_path: Path, tiny_base: Path) -> None:
    for name, shift in (("one", 0.0), ("two", 1 / 256)):
        model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.bfloat16)
        with torch.no_grad():
            model.model.norm.weight += shift
        manifest = Manifest(name=name, kind="policy", base_model=str(tiny_base))
        with checkpoints.write(tmp_path / name, manifest) as draft:
            model.save_pretrained(draft)
            (draft / "metrics.json").write_text("{}")
    assert run(tmp_path, "one", "two") == 0
    mean = load_file(tmp_path / "mean" / "model.safetensors")
    sources = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    name = "model.norm.weight"
    assert mean[name].dtype == torch.float32
    torch.testing.assert_close(mean[name], (sources[0][name].float() + sources[1][name].float()) / 2)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "mean").config.num_hidden_layers == 2
    assert not (tmp_path / "mean" / "metrics.json").exists(), "the average was not measured"


def test_strangers_are_refused_by_name(tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter(tmp_path / "one", tiny_base, 1)
    adapter(tmp_path / "wide", tiny_base, 2, r=4)
    adapter(tmp_path / "few", tiny_base, 2, target_modules=["q_proj"])
    adapter(tmp_path / "reward", tiny_base, 3, kind="reward")
    adapter(tmp_path / "dora", tiny_base, 4, use_dora=True)

    def refusal(*names: str, **settings: Any) -> str:
        assert run(tmp_path, *names, **settings) == 2
        assert not (tmp_path / "mean").exists()
        return capsys.readouterr().err

    assert "wide and one differ in r (4 and 3)" in refusal("one", "wide")
    assert "few and one differ in target_modules" in refusal("one", "few")
    assert "reward is of kind reward, one of kind policy" in refusal("one", "reward")
    assert "dora is an adapter with use_dora" in refusal("dora", "one")
    assert "at least two, each once" in refusal("one", "one")
    with (tmp_path / "one" / average.ADAPTER).open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    assert "has changed since it was written" in refusal("one", "few")


def test_checkpoints_without_a_score_above_chance_cannot_be_weighed(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("one", "two")):
        adapter(tmp_path / name, tiny_base, seed, accuracy=0.5)
    assert run(tmp_path, "one", "two", weights="held_out") == 2
    assert 'no checkpoint has "held_out/accuracy" above 0.5' in capsys.readouterr().err
    assert run(tmp_path, "one", "two", weights="held_out", metric="held_out/beauty") == 2
    assert 'one has no metric "held_out/beauty"' in capsys.readouterr().err


def test_a_round_is_told_whether_its_policies_could_be_averaged(tmp_path: Path, tiny_base: Path) -> None:
    for name, seed, rank in (("one", 1, 3), ("two", 2, 3), ("wide", 3, 4)):
        adapter(tmp_path / name, tiny_base, seed, r=rank)
    assert run(tmp_path, "one", "wide", report="average.json") == 0
    said = json.loads((tmp_path / "average.json").read_text())
    assert "wide and one differ in r" in said["left_out"]
    assert not (tmp_path / "mean").exists()
    for _ in range(2):  # who was killed between the checkpoint and the report finds the one, and writes the other
        (tmp_path / "average.json").unlink(missing_ok=True)
        assert run(tmp_path, "one", "two", rank=3, report="average.json") == 0
        assert json.loads((tmp_path / "average.json").read_text()) == {"name": "mean", "left_out": None}
    checkpoints.verify(tmp_path / "mean", "policy")
