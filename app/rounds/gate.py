"""The gate between a training run and the rotation.

For now it is minimal: the manifest verifies file by file and says that it is this run's product, every loss on the way was
a finite number, and a reward model has not surely learnt the opposite of what annotators judged, since it chooses what is
imitated next. Whether people prefer the new policy's answers is what the next round's annotations show.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import AppError
from app.preferences.models import Snapshot
from app.registry.manifest import MANIFEST, BrokenCheckpoint, verify
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState
from app.rounds.models import RunKind, TrainingEvent, TrainingRun
from app.settings import get_settings

KINDS = {RunKind.REWARD: CheckpointKind.REWARD, RunKind.SFT: CheckpointKind.SFT, RunKind.DPO: CheckpointKind.POLICY}
CHOSEN_FILE = "sft.jsonl"
"""In the folder of a run that imitates: what it is trained on, chosen of the samples."""
REMEDY = "Set CORRAL_TRAINING_RECIPE to a recipe with a lower learning rate, then start a new training."
BASE_GONE = "The base model was replaced by another one, and what was trained on the old one fits no other."
WORDS = "Its files match their manifest, every loss was a finite number, and a reward model is not surely worse than chance."
ENOUGH_PROMPTS = 10
"""Held-out prompts from which on an interval is believed: where all of two are lost it has no width (``training.bootstrap``)."""


class NotPromotable(AppError):
    """What was trained does not pass the gate; the message says what is wrong and what to do."""

    slug, title = "not-promotable", "This checkpoint does not pass the gate"


def set_aside(output: Path, attempt: int) -> Path | None:
    """Move what was refused out of the way, or None where nothing is.

    A run that finds its output takes itself for finished, so a retry would only be refused again.
    """
    aside = output.with_name(f"{output.name}.refused-{attempt}")
    try:
        return output.rename(aside)
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class Product:
    """A checkpoint that passed."""

    name: str
    kind: CheckpointKind
    path: Path
    manifest_sha256: str
    metrics: dict[str, Any]


def judge(session: Session, run: TrainingRun, output: Path) -> Product:
    """Let what ``run`` wrote into ``output`` through, or not.

    Raises:
        NotPromotable: its base is not the current one any more, a file is missing or was changed, it is another run's
            checkpoint, a loss was not finite, or a reward model is surely worse than chance.
    """
    if base_is_gone(session, run):
        raise NotPromotable(f"{BASE_GONE} Start a new training.")
    try:
        verify(output, manifest_sha256=None)
        raw = (output / MANIFEST).read_bytes()
    except (BrokenCheckpoint, OSError) as error:
        raise NotPromotable(f"{error} Retry the run: it is trained again.") from error
    body = json.loads(raw, parse_constant=lambda _: None)  # NaN is no JSON: as null it fails the check of the losses
    kind, data = KINDS[run.kind], _trained_on(session, run)
    is_policy = kind in {CheckpointKind.SFT, CheckpointKind.POLICY}  # training knows one kind of both
    said = (body.get("name"), body.get("kind"), body.get("snapshot_sha256"))
    if said != (output.name, CheckpointKind.POLICY.value if is_policy else kind.value, data):
        raise NotPromotable(f"{output.name} says that it is another run's checkpoint. Start a new training.")
    metrics = body.get("metrics") or {}
    _refuse_infinite(session, run, metrics)
    if kind is CheckpointKind.REWARD:
        _refuse_reversed(metrics)
    return Product(output.name, kind, output, hashlib.sha256(raw).hexdigest(), metrics)


def _trained_on(session: Session, run: TrainingRun) -> str | None:
    """The hash of the run's data: of its snapshot, or of what was chosen of the samples, which lies in its folder."""
    if run.kind is not RunKind.SFT:
        return session.get_one(Snapshot, run.snapshot_id).sha256
    chosen = get_settings().runs_dir / f"run-{run.id}" / CHOSEN_FILE
    return hashlib.sha256(chosen.read_bytes()).hexdigest() if chosen.is_file() else None


def base_is_gone(session: Session, run: TrainingRun) -> bool:
    """Whether the installation has another base model than the one that ``run`` was queued for."""
    state = session.scalar(select(Checkpoint.state).where(Checkpoint.id == run.config["base_id"]))
    return state is not CheckpointState.READY


def _refuse_infinite(session: Session, run: TrainingRun, metrics: dict[str, Any]) -> None:
    steps = session.execute(
        select(TrainingEvent.step, TrainingEvent.values)
        .where(TrainingEvent.run_id == run.id, TrainingEvent.event == "step")
        .order_by(TrainingEvent.seq)
    )
    losses = [(f"The loss of step {step}", values.get("metrics", {}).get("loss")) for step, values in steps]
    losses += [(f"{name} of the result", value) for name, value in metrics.items() if "loss" in name]
    for name, value in losses:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise NotPromotable(f"{name} is not a finite number. {REMEDY}")


def _refuse_reversed(metrics: dict[str, Any]) -> None:
    """Refuse a reward model whose accuracy lies below one half with all of its interval; without an interval it passes."""
    high, prompts = metrics.get("held_out/accuracy/high"), metrics.get("held_out/prompts")
    if not isinstance(high, int | float) or not isinstance(prompts, int | float):
        return
    if high < 0.5 and prompts >= ENOUGH_PROMPTS:
        raise NotPromotable(
            f"It has learnt the opposite of what annotators judged: on held-out prompts it is right in at most {high:.1%} "
            "of the pairs, where chance is right in half. Look for judgements the wrong way round, return them, then start "
            "a new training."
        )
