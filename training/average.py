"""Average checkpoints: variants of one model that were trained on other data or with other settings become one.

    python -m training.average run.toml

`run.toml`::

    name = "policy-average"
    checkpoints = ["../a/final", "../b/final"]
    output = "final"
    weights = "uniform"          # or "held_out": by what each scored above chance on held-out prompts
    rank = 0                     # of an averaged adapter; 0: exact, the ranks of all together
    report = "average.json"      # for rounds: what cannot be averaged is said there instead of refused

Llama 3 averages at each stage (arXiv 2407.21783, 4.1.5; Izmailov et al., arXiv 1803.05407). An adapter adds
D = s * B A to a weight. The mean of the B times the mean of the A is not the mean of the D: it has cross terms B_i A_j
that nobody trained. The mean of the D is exactly the product of stacked factors,

    sum_i w_i s_i B_i A_i  =  [c_1 B_1 ... c_n B_n] [c_1 A_1; ...; c_n A_n]        with c_i = sqrt(w_i s_i)

of the ranks of all together, which an engine has to allow (`--max-lora-rank`). A smaller `rank` keeps the largest
singular values of it, the nearest matrix of that rank (Eckart and Young, 1936), and reports what that loses. Heads that
are saved whole, and whole models, are averaged weight by weight. All in float32, and written so.

Left out: weights by search, and methods that trim or align (TIES, DARE): ours share their start, a few hundred steps away.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.formats import checkpoints, files
from training.formats.checkpoints import Manifest
from training.formats.errors import CheckpointError, ConfigError
from training.measure import model_card
from training.run import tool

ADAPTER, ADAPTER_SETTINGS = "adapter_model.safetensors", "adapter_config.json"
INDEX = "model.safetensors.index.json"
FACTORS = ("lora_A", "lora_B")
# What must be the same for two adapters to add to the same places of the same model in the same way.
SHARED = ("peft_type", "task_type", "r", "target_modules", "modules_to_save", "bias", "fan_in_fan_out")
UNKNOWN = ("use_dora", "rank_pattern", "alpha_pattern", "lora_bias", "trainable_token_indices", "target_parameters")
OWN_FILES = frozenset(
    {checkpoints.MANIFEST, "metrics.json", model_card.CARD, model_card.CURVES, ADAPTER_SETTINGS, INDEX}
)


@dataclass(frozen=True)
class AverageConfig:
    """A run file, see the module docstring. `metric` of the manifests is what is above `chance`."""

    name: str
    checkpoints: list[Path]
    output: Path
    weights: Literal["uniform", "held_out"] = "uniform"
    metric: str = "held_out/accuracy"
    chance: float = 0.5
    rank: int = 0
    report: Path | None = None

    def __post_init__(self) -> None:
        if len(self.checkpoints) < 2 or len(set(self.checkpoints)) < len(self.checkpoints):
            raise ConfigError('"checkpoints" must name at least two, each once')
        if self.rank < 0:
            raise ConfigError('"rank" must be at least 0')


def average(config: AverageConfig, dry_run: bool) -> None:  # noqa: FBT001  what `tool.main` calls
    """Verify the checkpoints, average them, and write the result as a checkpoint with its lineage."""
    if config.report is None or dry_run:
        _average(config, dry_run=dry_run)
        return
    report: dict[str, str | None] = {"name": config.name, "left_out": None}
    try:
        if not (config.output / checkpoints.MANIFEST).exists():  # a killed run may have written it already
            _average(config, dry_run=False)
    except (CheckpointError, ConfigError) as error:
        tool.say(str(error))
        report["left_out"] = str(error)
    files.write_json(config.report, report)


def _average(config: AverageConfig, *, dry_run: bool) -> None:
    folders = config.checkpoints
    manifests = [checkpoints.verify(folder, "reward", "policy", "sft", "base") for folder in folders]
    _refuse_strangers(folders, manifests)
    weights = weigh(config, manifests)
    for manifest, weight in zip(manifests, weights, strict=True):
        tool.say(f"{weight:.4f}  {manifest.name}")
    if dry_run:
        return
    adapters = (folders[0] / ADAPTER_SETTINGS).exists()
    manifest = _manifest(config, folders, manifests, weights)
    with checkpoints.write(config.output, manifest) as draft:
        for file in folders[0].iterdir():
            if file.is_file() and file.suffix != ".safetensors" and file.name not in OWN_FILES:
                shutil.copyfile(file, draft / file.name)
        if adapters:
            lost = _write_adapter(folders, weights, config.rank, draft)
            files.write_json(draft / "metrics.json", {"average": {"relative_error_of_rank": lost}})
        else:
            _write_model(folders, weights, draft)
        model_card.write(draft, manifest, {})
    tool.say(f"{config.output} is written; measure it with python -m training.evaluate")


def weigh(config: AverageConfig, manifests: Sequence[Manifest]) -> list[float]:
    """The weight of each checkpoint; they add up to 1.

    Raises:
        CheckpointError: the score of one is not known, or none is above chance.
    """
    if config.weights == "uniform":
        return [1 / len(manifests)] * len(manifests)
    above = []
    for manifest in manifests:
        score = manifest.metrics.get(config.metric)
        if not isinstance(score, int | float):
            raise CheckpointError(f'{manifest.name} has no metric "{config.metric}": use weights = "uniform"')
        above.append(max(float(score) - config.chance, 0.0))
    if not sum(above):
        raise CheckpointError(f'no checkpoint has "{config.metric}" above {config.chance}: nothing to average')
    return [value / sum(above) for value in above]


def average_adapters(
    states: Sequence[dict[str, Tensor]], scales: Sequence[float], weights: Sequence[float]
) -> dict[str, Tensor]:
    """Stacked factors whose product is the weighted mean of the products, with scale 1; the rest weight by weight.

    Args:
        states: The tensors of each adapter. `lora_A` is [rank, inputs], `lora_B` [outputs, rank].
        scales: What each multiplies its B A with, lora_alpha / r.
        weights: They add up to 1.
    """
    averaged: dict[str, Tensor] = {}
    for name in states[0]:
        tensors = [state[name].float() for state in states]
        if any(factor in name for factor in FACTORS):
            shares = [(weight * scale) ** 0.5 for weight, scale in zip(weights, scales, strict=True)]
            scaled = [share * tensor for share, tensor in zip(shares, tensors, strict=True)]
            averaged[name] = torch.cat(scaled, dim=0 if FACTORS[0] in name else 1).contiguous()
        else:
            averaged[name] = _mean(tensors, weights)
    return averaged


def shrink(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """The factors of the nearest matrix to `b @ a` that has this rank, and the relative error (Frobenius) of it.

    The product itself, [outputs, inputs], is never made: two thin QR decompositions leave a square of the stacked rank.
    """
    q_b, r_b = torch.linalg.qr(b.double())
    q_a, r_a = torch.linalg.qr(a.double().T)
    u, values, v = torch.linalg.svd(r_b @ r_a.T)
    root = values[:rank].sqrt()
    shrunk_a, shrunk_b = root[:, None] * (q_a @ v[:rank].T).T, (q_b @ u[:, :rank]) * root
    whole = float(values.square().sum().sqrt())
    lost = float(values[rank:].square().sum().sqrt()) / whole if whole else 0.0
    return shrunk_a.float().contiguous(), shrunk_b.float().contiguous(), lost


def _write_adapter(folders: Sequence[Path], weights: Sequence[float], rank: int, draft: Path) -> float:
    """Fill `draft`; returns the largest relative error of a matrix, 0 where nothing was cut off."""
    settings = [json.loads((folder / ADAPTER_SETTINGS).read_text(encoding="utf-8")) for folder in folders]
    states = [dict(_tensors(folder)) for folder in folders]
    averaged = average_adapters(states, [_scale(one) for one in settings], weights)
    stacked = settings[0]["r"] * len(folders)
    lost = 0.0
    if 0 < rank < stacked:
        for name in [name for name in averaged if FACTORS[0] in name]:
            other = name.replace(*FACTORS)
            averaged[name], averaged[other], error = shrink(averaged[name], averaged[other], rank)
            lost = max(lost, error)
        stacked = rank
        tool.say(f"rank {rank}: the largest relative error of a matrix is {lost:.2e}")
    save_file(averaged, draft / ADAPTER, metadata={"format": "pt"})
    settled = settings[0] | {"r": stacked, "lora_alpha": stacked, "use_rslora": False}  # the scale is in the factors
    files.write_json(draft / ADAPTER_SETTINGS, settled)
    return lost


def _write_model(folders: Sequence[Path], weights: Sequence[float], draft: Path) -> None:
    """Whole models, one tensor of each in memory at a time, in the files of the first."""
    total = 0
    for file in sorted(folders[0].glob("*.safetensors")):
        averaged = {}
        for name in _names(file):
            averaged[name] = _mean([_tensor(folder, name).float() for folder in folders], weights)
            total += averaged[name].numel() * averaged[name].element_size()
        save_file(averaged, draft / file.name, metadata={"format": "pt"})
    if (folders[0] / INDEX).exists():
        index = json.loads((folders[0] / INDEX).read_text(encoding="utf-8"))
        files.write_json(draft / INDEX, index | {"metadata": index.get("metadata", {}) | {"total_size": total}})


def _mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = torch.zeros_like(tensors[0])
    for tensor, weight in zip(tensors, weights, strict=True):
        total += weight * tensor
    return total


def _scale(settings: dict[str, Any]) -> float:
    rank = settings["r"] ** 0.5 if settings.get("use_rslora") else settings["r"]
    return float(settings["lora_alpha"] / rank)


def _refuse_strangers(folders: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    """Only variants of one model have a meaningful mean.

    Raises:
        CheckpointError: naming the one that differs from the first, and in what.
    """
    first = _shape_of(folders[0])
    for folder, manifest in zip(folders, manifests, strict=True):
        for what, mine, theirs in (
            ("of kind", manifest.kind, manifests[0].kind),
            ("on the base model", *(one.base_sha256 or one.base_model for one in (manifest, manifests[0]))),
            ("answering with", _heads(manifest), _heads(manifests[0])),
        ):
            if mine != theirs:
                raise CheckpointError(
                    f"{manifest.name} is {what} {mine}, {manifests[0].name} {what} {theirs}: leave one out"
                )
        found = _shape_of(folder)
        odd = next((name for name in {**first, **found} if first.get(name) != found.get(name)), None)
        if odd is not None:
            raise CheckpointError(
                f"{manifest.name} and {manifests[0].name} differ in {odd} ({found.get(odd, 'none')} and "
                f"{first.get(odd, 'none')}): only equal ones can be averaged"
            )


def _heads(manifest: Manifest) -> dict[str, Any]:
    """How the heads of a reward model become one reward; empty for a policy."""
    settings = manifest.config.get("reward") or {}
    return {name: settings[name] for name in ("aggregate", "std_weight") if name in settings}


def _shape_of(folder: Path) -> dict[str, Any]:
    """What has to agree: the settings of an adapter, and the shapes of all tensors."""
    shape: dict[str, Any] = {}
    if (folder / ADAPTER_SETTINGS).exists():
        settings = json.loads((folder / ADAPTER_SETTINGS).read_text(encoding="utf-8"))
        unknown = next((name for name in UNKNOWN if settings.get(name)), None)
        if unknown is not None:
            raise CheckpointError(f"{folder} is an adapter with {unknown}, which cannot be averaged")
        for name in SHARED:
            value = settings.get(name)
            shape[name] = sorted(value) if isinstance(value, list) else value
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            shape |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return shape


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as tensors:
        return list(tensors.keys())


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  no mapping
                yield name, tensors.get_tensor(name)


def _tensor(folder: Path, wanted: str) -> Tensor:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if wanted in tensors.keys():  # noqa: SIM118  no mapping
                tensor: Tensor = tensors.get_tensor(wanted)
                return tensor
    raise CheckpointError(f"{folder} has no tensor {wanted}")


def _manifest(
    config: AverageConfig, folders: Sequence[Path], manifests: Sequence[Manifest], weights: Sequence[float]
) -> Manifest:
    snapshots = {manifest.snapshot_sha256 for manifest in manifests}
    lineage = [
        {"name": manifest.name, "manifest_sha256": checkpoints.manifest_sha256(folder), "weight": weight}
        for folder, manifest, weight in zip(folders, manifests, weights, strict=True)
    ]
    return Manifest(
        name=config.name,
        kind=manifests[0].kind,
        base_model=manifests[0].base_model,
        snapshot_sha256=snapshots.pop() if len(snapshots) == 1 else None,
        config={
            "kind": "average",
            "weights": config.weights,
            "rank": config.rank,
            "average_of": lineage,
            "reward": _heads(manifests[0]) or None,
            **_what_was_held_out(manifests),
        },
        versions={package: version(package) for package in ("torch", "safetensors")},
    )


def _what_was_held_out(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The snapshots that any of them learnt from, and what all of them held out of a file that does not say its splits.

    The split is by a hash below a percentage, so the smallest percentage is what all have in common.
    """
    known = [manifest.config["data"]["held_out_percent"] for manifest in manifests if "data" in manifest.config]
    learnt = {sha for one in manifests for sha in (one.snapshot_sha256, *one.config.get("snapshots", ())) if sha}
    return {"snapshots": sorted(learnt)} | ({"data": {"held_out_percent": min(known)}} if known else {})


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", AverageConfig, average, sys.argv[1:]))
