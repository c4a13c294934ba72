"""Train a stepwise reward model, which says of each step of a solution whether it is right, and drop answers by it.

    python -m training.steps run.toml

`run.toml` of a training::

    name = "steps-1"
    data = "steps.jsonl"                 # TRL's stepwise form: {"prompt", "completions", "labels"}, to the first wrong step
    base_model = "../models/base"
    output = "final"                     # the adapter and its head, a checkpoint of kind "steps"

`run.toml` of a filter::

    kind = "filter"
    checkpoint = "../steps/final"
    data = "samples.jsonl"               # K answers to each prompt, as `python -m training.selection` reads them
    output = "kept.jsonl"                # those with no step below `floor`; kept.report.json counts the others
    floor = 0.5

A value is read at the last token of each step, which is a line; the loss is binary cross-entropy, averaged over all steps of a
batch (Lightman et al., arXiv 2305.20050; Llama 3, arXiv 2407.21783, 4.3.3). An answer is as good as its worst step. A run has no
saved states: it takes minutes, and begins again where it was killed.

Left out: packing and several processes (training/run/trainer.py has them), because labelled steps are few.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import get_scheduler, set_seed

from training.data import conversations, lines, stepwise
from training.data.chat import Tokenizer
from training.data.left_out import UnusableError
from training.data.stepwise import Solution, Stepped
from training.formats import checkpoints, files
from training.formats.checkpoints import Manifest
from training.formats.errors import ConfigError, DataError, NonFiniteError
from training.formats.settings import (
    CheckpointingConfig,
    DataConfig,
    EvaluationConfig,
    LoraSettings,
    ModelConfig,
    OptimConfig,
    RewardRun,
    RewardSettings,
)
from training.measure import inference
from training.measure.step_values import StepModel, at_ends, auc
from training.model import models
from training.model.precision import training_dtype
from training.run import tool


@dataclass(frozen=True)
class StepsConfig:
    """A run file, see the module docstring. What a filter does not read has its default there."""

    data: Path
    output: Path
    kind: Literal["train", "filter"] = "train"
    name: str = "steps"
    base_model: str | None = None
    checkpoint: Path | None = None
    floor: float = 0.5  # an answer with a step that is less probably right is dropped
    max_length: int = 1024  # tokens of prompt and solution together
    held_out_percent: int = 10
    seed: int = 17
    epochs: float = 2.0
    batch_size: int = 8
    learning_rate: float = 3e-4
    rank: int = 16

    def __post_init__(self) -> None:
        if self.kind == "train" and self.base_model is None:
            raise ConfigError('a training needs "base_model": the folder of a model, or its id on the hub')
        if self.kind == "filter" and self.checkpoint is None:
            raise ConfigError('a filter needs "checkpoint": the output of a training of steps')
        if self.kind == "filter" and self.output.suffix != ".jsonl":
            raise ConfigError('"output" of a filter must be a file that ends with .jsonl')
        if not 0 <= self.floor <= 1:
            raise ConfigError('"floor" must be at least 0 and at most 1')
        for name in ("max_length", "batch_size", "rank"):
            if getattr(self, name) < 1:
                raise ConfigError(f'"{name}" must be at least 1')
        if self.epochs <= 0 or self.learning_rate <= 0:
            raise ConfigError('"epochs" and "learning_rate" must be above 0')
        if not 0 <= self.held_out_percent < 100:
            raise ConfigError('"held_out_percent" must be at least 0 and below 100')


def run(config: StepsConfig, dry_run: bool) -> None:  # noqa: FBT001  what `tool.main` calls
    """Train or filter; a dry run only says on what."""
    if config.kind == "filter":
        sift(config, dry_run=dry_run)
    else:
        train(config, dry_run=dry_run)


def train(config: StepsConfig, *, dry_run: bool) -> None:
    """From labelled steps to a checkpoint with its held-out metrics.

    Raises:
        TrainingError: what is wrong with the data or the model, or that training diverged.
    """
    # 1. The data.
    base = str(config.base_model)
    models.check_base(base)
    tokenizer = models.load_tokenizer(base)
    found = [(one, _encoded(tokenizer, one)) for one in stepwise.read(config.data, config.held_out_percent)]
    fitting = [(one, ids) for one, ids in found if len(ids.ids) <= config.max_length]
    learnt, held_out = ([pair for pair in fitting if pair[0].held_out is side] for side in (False, True))
    counts = {
        "solutions": len(found),
        "too_long": len(found) - len(fitting),
        "train_steps": sum(len(one.right) for one, _ in learnt),
        "train_wrong": sum(not all(one.right) for one, _ in learnt),
        "held_out_steps": sum(len(one.right) for one, _ in held_out),
        "held_out_wrong": sum(not all(one.right) for one, _ in held_out),
    }
    tool.say("  ".join(f"{name}: {value}" for name, value in counts.items()))
    if not counts["train_wrong"] or counts["train_wrong"] == counts["train_steps"]:
        raise DataError(f"{config.data} has no right and wrong steps to tell apart: label more solutions")
    if dry_run:
        return
    # 2. The model, and what it learns.
    settings = _reward_run(config)
    set_seed(config.seed)
    model = models.load_reward_model(settings, tokenizer.pad_token_id)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    loss = _fit(model, learnt, config, tokenizer.pad_token_id)
    # 3. The result.
    metrics = {"train/loss": loss} | _measured(model, held_out, config.batch_size, tokenizer.pad_token_id)
    with checkpoints.write(config.output, _manifest(config, settings, metrics)) as folder:
        models.save(model, tokenizer, folder)
        files.write_json(folder / "metrics.json", {"final": metrics, "data": counts})
    tool.say("  ".join(f"{name}: {value:.3f}" for name, value in metrics.items()))
    tool.say(f"{config.output} is written")


def sift(config: StepsConfig, *, dry_run: bool) -> None:
    """Drop the answers whose worst step lies below the floor, and write the others in the same form, with their values.

    Raises:
        TrainingError: the checkpoint or the samples will not do, and why.
    """
    if config.checkpoint is None:  # the settings refuse that already
        raise ConfigError('a filter needs "checkpoint"')
    source = inference.served(config.checkpoint, "steps", base_model=config.base_model)
    tokenizer = models.load_tokenizer(source.base_model)
    rows = list(lines.read(config.data, "sample again")) if config.data.is_file() else []
    if not rows:
        raise DataError(f"{config.data} has no samples: sample first")
    asked: list[tuple[int, int, Stepped]] = []
    counts = {"samples": 0, "failed/steps": 0, "unmeasured": 0}
    for number, (where, row) in enumerate(rows):
        for place, text in enumerate(_texts(row, f"{config.data}, {where}")):
            counts["samples"] += 1
            prompt = conversations.messages(row["prompt"])
            sequence = stepwise.encode_text(tokenizer, prompt, text, config.max_length)
            if sequence is not None:
                asked.append((number, place, sequence))
    counts["unmeasured"] = counts["samples"] - len(asked)  # kept: what could not be measured is not wrong
    tool.say("  ".join(f"{name}: {value}" for name, value in counts.items()))
    if dry_run:
        return
    values = StepModel(source, tokenizer, config.batch_size).values([sequence for _, _, sequence in asked])
    told = {(number, place): each for (number, place, _), each in zip(asked, values, strict=True)}
    kept = []
    for number, (_, row) in enumerate(rows):
        samples = [
            sample | ({"step_values": told[number, place]} if (number, place) in told else {})
            for place, sample in enumerate(row["samples"])
            if min(told.get((number, place), [1.0])) >= config.floor
        ]
        counts["failed/steps"] += len(row["samples"]) - len(samples)
        kept.append(row | {"samples": samples})
    files.write_text(config.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    report = {"counts": counts, "checkpoint": source.to_json(), "floor": config.floor}
    files.write_json(config.output.with_suffix(".report.json"), report)
    tool.say(f"{counts['failed/steps']} of {counts['samples']} answers have a step below {config.floor}")


def _fit(model: Any, learnt: Sequence[tuple[Solution, Stepped]], config: StepsConfig, pad: int) -> float:
    """Train in place; returns the mean loss of the last epoch.

    Raises:
        NonFiniteError: the loss is not a number.
    """
    dice = torch.Generator().manual_seed(config.seed)
    batches = -(-len(learnt) // config.batch_size)
    total = max(1, round(config.epochs * batches))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0)
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=min(5, total // 10), num_training_steps=total)
    order: list[int] = []
    losses: list[float] = []
    model.train()
    for _ in range(total):
        if not order:
            order = torch.randperm(len(learnt), generator=dice).tolist()
        some, order = [learnt[index] for index in order[: config.batch_size]], order[config.batch_size :]
        logits = at_ends(model, [sequence for _, sequence in some], pad)  # [S]
        right = torch.tensor([float(each) for one, _ in some for each in one.right], device=logits.device)
        loss = binary_cross_entropy_with_logits(logits, right)
        if not torch.isfinite(loss):
            raise NonFiniteError("the loss is not a number, nothing was saved: lower learning_rate")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return sum(losses[-batches:]) / len(losses[-batches:])


def _measured(model: Any, held_out: Sequence[tuple[Solution, Stepped]], batch_size: int, pad: int) -> dict[str, float]:
    """How well right and wrong are told apart on held-out prompts: of steps, and of solutions by their worst step."""
    values: list[list[float]] = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(held_out), batch_size):
            some = [sequence for _, sequence in held_out[start : start + batch_size]]
            each = iter(at_ends(model, some, pad).sigmoid().tolist())
            values += [[next(each) for _ in sequence.ends] for sequence in some]
    found = {
        "held_out/step_auc": auc([v for some in values for v in some], [r for one, _ in held_out for r in one.right]),
        "held_out/solution_auc": auc([min(some) for some in values], [all(one.right) for one, _ in held_out]),
    }
    return {name: value for name, value in found.items() if value is not None}


def _encoded(tokenizer: Tokenizer, solution: Solution) -> Stepped:
    return stepwise.encode(tokenizer, solution.prompt, solution.steps)


def _texts(row: dict[str, Any], where: str) -> list[str]:
    try:
        conversations.messages(row["prompt"])
        return [str(sample["text"]) for sample in row["samples"]]
    except UnusableError as error:
        raise DataError(f"{where}: {error}: sample again") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: {error!r}: sample again") from error


def _reward_run(config: StepsConfig) -> RewardRun:
    """The settings in the form in which a reward model is loaded: one head, a fresh adapter."""
    return RewardRun(
        recipe="steps",
        name=config.name,
        seed=config.seed,
        snapshot=config.data,
        base_model=str(config.base_model),
        output=config.output,
        data=DataConfig(
            min_strength=1, max_length=max(16, config.max_length), held_out_percent=config.held_out_percent
        ),
        model=ModelConfig(dtype=training_dtype(), gradient_checkpointing=False),
        lora=LoraSettings(r=config.rank, alpha=2 * config.rank, dropout=0.0, targets="all-linear"),
        optim=OptimConfig(
            learning_rate=config.learning_rate,
            epochs=config.epochs,
            max_steps=-1,
            batch_size=config.batch_size,
            warmup_steps=0,
            schedule="linear",
            weight_decay=0.0,
            max_grad_norm=1.0,
        ),
        evaluation=EvaluationConfig(every_steps=0, max_pairs=1),
        checkpointing=CheckpointingConfig(save_steps=1, keep=2),
        cache=config.output.parent / "cache",
        reward=RewardSettings(center_rewards=0.0),
    )


def _manifest(config: StepsConfig, settings: RewardRun, metrics: dict[str, float]) -> Manifest:
    told = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()}
    return Manifest(
        name=config.name,
        kind="steps",
        base_model=settings.base_model,
        snapshot_sha256=checkpoints.sha256(config.data),
        seed=config.seed,
        config=told | {"kind": "steps", "reward": {"heads": 1}},
        versions={package: version(package) for package in ("torch", "transformers", "peft")},
        metrics=metrics,
        base_sha256=models.weights_sha256(settings.base_model),
    )


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", StepsConfig, run, sys.argv[1:]))
