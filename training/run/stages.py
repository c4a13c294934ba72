"""The stages that every run has, whatever it trains: report the data, measure, fit, measure, publish."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from transformers import Trainer

from training.data.beside import Beside
from training.data.chat import Tokenizer
from training.data.left_out import UNUSABLE
from training.data.rows import Prepared, prepare, unrenderable
from training.formats import checkpoints, mix
from training.formats.checkpoints import Manifest
from training.formats.errors import NonFiniteError
from training.formats.events import EventLog
from training.formats.mix import Portion
from training.formats.settings import RunConfig
from training.measure import model_card
from training.measure.metrics import Metrics
from training.model import models, processes
from training.run import room
from training.run.backends.rows import refuse_weights
from training.run.trainer import RowTrainer


def data(config: RunConfig, run_dir: Path, events: EventLog) -> tuple[Tokenizer, Prepared]:
    """The rows that the run trains on and is measured on, and a look at whether there is room for it.

    Raises:
        TrainingError: the base model, the snapshot or the disk will not do, and why.
    """
    tokenizer, prepared = rows_of(config)
    _describe(events, prepared, config.data.mix)
    room.check(config, run_dir, tokenizer)
    return tokenizer, prepared


def rows_of(config: RunConfig) -> tuple[Tokenizer, Prepared]:
    """The tokenizer and the rows of a run, nothing heavy being loaded.

    Raises:
        TrainingError: the base model or the snapshot will not do, and why.
    """
    models.check_base(config.base_model)
    tokenizer = models.load_tokenizer(config.base_model)
    most = config.evaluation.max_pairs
    prepared = prepare(
        config.snapshot,
        config.data,
        tokenizer,
        max_held_out=most,
        consumer=config.kind,
        verified=config.pairs_of_verifiers,
        beside=Beside(config.sources, config.unseen),
    )
    refuse_weights(config, prepared.rows)
    return tokenizer, prepared


def _describe(events: EventLog, prepared: Prepared, targets: Mapping[str, float]) -> None:
    """Report what the run trains on and is measured on, before anything slow starts."""
    counts = prepared.counts
    events.emit("data", **{name: value for name, value in counts.items() if name != "mix"})
    mixed = mix.report((Portion(**each) for each in counts["mix"]), targets)
    events.emit("mix", **mixed)
    for message in mixed["missing"]:
        events.emit("warning", message=message)
    if not prepared.held_out:
        events.emit(
            "warning",
            message="No pair is held out, so whether this model is better cannot be measured: collect more prompts.",
        )
    train, held_out = counts["dropped_too_long"], counts["held_out_dropped_too_long"]
    if train or held_out:
        message = (
            f"{train} training pairs and {held_out} held-out pairs are longer than data.max_length and were left out."
        )
        events.emit("warning", message=message)
    if counts["refusal"]:
        events.emit("warning", message=f"Left out: {unrenderable(counts)}.")
    unusable = [f"{counts[reason]} {words}" for reason, words in UNUSABLE.items() if counts[reason]]
    if unusable:
        events.emit("warning", message=f"Of the rows of the file, {', '.join(unusable)}: they were left out.")


def baseline(settings: RunConfig, events: EventLog, prepared: Prepared, evaluate: Callable[[], Metrics]) -> Metrics:
    """Held-out metrics before training; a resumed run has them already.

    They hold for the very settings and data that a saved state is resumed under (`progress.resume_point`).
    """
    of = {
        "snapshot_sha256": prepared.snapshot_sha256,
        "config_sha256": hashlib.sha256(json.dumps(settings.to_json(), sort_keys=True).encode()).hexdigest(),
    }
    known = events.last("baseline")
    if known is not None and of.items() <= known.items():
        metrics: Metrics = known["metrics"]
        return metrics
    metrics = evaluate()
    if metrics:
        events.emit("baseline", metrics=metrics, **of)
    return metrics


def fit(trainer: RowTrainer, events: EventLog, resume_from: Path | None) -> None:
    """Train to the end, skipping the steps and the data that the saved state has behind it.

    Where TRL trains, it trains the model of `trainer`, which measures and saves it in either case.
    """
    learner = _learner(trainer)
    if resume_from is None:
        learner.train()
    else:
        state = json.loads((resume_from / "trainer_state.json").read_text(encoding="utf-8"))
        events.emit("resumed", step=state["global_step"])
        if state["global_step"] < state["max_steps"]:
            learner.train(resume_from_checkpoint=str(resume_from))
        else:  # all steps are done; the trainer would take one more before it looks
            learner._load_from_checkpoint(str(resume_from))  # noqa: SLF001
            learner.state.global_step = state["global_step"]
    trainer.state = learner.state


def _learner(trainer: RowTrainer) -> Trainer:
    if trainer.config.trainer == "corral":
        return trainer
    from training.run.backends import trl  # brings TRL, which Corral's trainers do not need

    return trl.learner(trainer)


def result(events: EventLog, evaluate: Callable[[], Metrics], step: int) -> Metrics:
    """Held-out metrics after training, which ended with `step`.

    Raises:
        NonFiniteError: one is not a number. The loss of a step is taken before its update, so a last update that breaks
            the model shows only here.
    """
    metrics = evaluate()
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise NonFiniteError(
            f"{broken[0]} is not a number after training, nothing was saved: lower optim.learning_rate"
        )
    events.emit("final", step=step, metrics=metrics)
    return metrics


def publish(
    settings: RunConfig,
    events: EventLog,
    prepared: Prepared,
    metrics: dict[str, dict[str, float]],
    trainer: RowTrainer,
) -> None:
    """Write the final checkpoint, its last step being a rename, and report it.

    Args:
        settings: The run's settings.
        events: Where to report.
        prepared: The data that was trained on.
        metrics: `baseline` and `final` held-out metrics.
        trainer: What has trained.
    """
    parent = settings.parent_adapter
    manifest = Manifest(
        name=settings.name,
        kind="reward" if settings.kind == "reward" else "policy",
        base_model=settings.base_model,
        parent={"name": checkpoints.read(parent).name, "manifest_sha256": checkpoints.manifest_sha256(parent)}
        if parent
        else None,
        snapshot_sha256=prepared.snapshot_sha256,
        seed=settings.seed,
        config=settings.to_json(),
        versions={package: version(package) for package in ("torch", "transformers", "trl", "peft")},
        metrics=metrics["final"],
        base_sha256=models.weights_sha256(settings.base_model),
    )
    weights = trainer.weights()  # sharded ones come together on all processes
    if processes.is_main():
        with checkpoints.write(settings.output, manifest) as draft:
            trainer.save(draft, weights)
            body = json.dumps(metrics | {"data": prepared.counts}, indent=2, sort_keys=True)
            (draft / "metrics.json").write_text(body + "\n", encoding="utf-8")
            model_card.write(draft, manifest, metrics | {"data": prepared.counts}, events.every())
        report(settings, events)
    trainer.accelerator.wait_for_everyone()


def report(settings: RunConfig, events: EventLog) -> None:
    """Say that the checkpoint exists, and which it is."""
    events.emit("checkpoint", path=str(settings.output), manifest_sha256=checkpoints.manifest_sha256(settings.output))
