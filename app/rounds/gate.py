"""The gates between what a run made and the rotation; the plan says which stage has to pass which (``app.rounds.plan``).

For now they are few: the manifest verifies file by file and says that it is this run's product, every loss on the way was
a finite number, and a reward model has not surely learnt the opposite of what annotators judged, since it chooses what is
imitated next. Whether people prefer the new policy's answers is what the next round's annotations show.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kernel.errors import AppError
from app.kernel.locales import N_
from app.preferences.models import Snapshot
from app.registry.manifest import MANIFEST, BrokenCheckpoint, verify
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState
from app.rounds.models import RunKind, TrainingEvent, TrainingRun

KINDS = {
    RunKind.REWARD: CheckpointKind.REWARD,
    RunKind.SFT: CheckpointKind.SFT,
    RunKind.DPO: CheckpointKind.POLICY,
    RunKind.GRPO: CheckpointKind.POLICY,
    RunKind.CHECK: CheckpointKind.POLICY,
}
REMEDY = N_("Set CORRAL_TRAINING_RECIPE to a recipe with a lower learning rate, then start a new training.")
AGAIN = N_("Retry the run: it trains again.")
ANEW = N_("Start a new training.")
BASE_GONE = N_("The base model was replaced. Adapters trained on the old base cannot be used with the new one.")
WORDS = N_(
    "Files verified; no loss was NaN or infinite; the reward model is not significantly below 50% held-out accuracy."
)
ENOUGH_PROMPTS = 10
"""Held-out prompts from which on an interval is believed: where all of two are lost it has no width."""


class NotPromotable(AppError):
    """What was trained does not pass the gate; the message says what is wrong and what to do."""

    slug, title = "not-promotable", "This checkpoint does not pass the gate"
    made: Path | None = None
    """What was refused."""


@dataclass(frozen=True)
class Made:
    """What a stage of ``run`` has made, and is to pass its gates."""

    session: Session
    run: TrainingRun
    path: Path
    learnt_from: Path
    """The data that the run file names: a snapshot's folder, or a file that an earlier stage wrote."""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Of a checkpoint."""
        raw = _read_manifest(self.path)
        body: dict[str, Any] = json.loads(raw, parse_constant=lambda _: None)  # NaN is no JSON: null is refused later
        return body

    @property
    def metrics(self) -> dict[str, Any]:
        """What a checkpoint says of itself."""
        return self.manifest.get("metrics") or {}


Gate = Callable[[Made], None]
"""Returns, or raises :class:`NotPromotable`."""


@dataclass(frozen=True)
class Product:
    """A checkpoint that passed."""

    name: str
    kind: CheckpointKind
    path: Path
    manifest_sha256: str
    metrics: dict[str, Any]


def judge(gates: Sequence[Gate], made: Made) -> None:
    """Let what was made through all ``gates``, or not.

    Raises:
        NotPromotable: one of them refuses; ``made`` on it says what.
    """
    try:
        for passes in gates:
            passes(made)
    except NotPromotable as refused:
        refused.made = made.path
        raise


def product(made: Made) -> Product:
    """A checkpoint that passed its gates, as it is registered."""
    sha256 = hashlib.sha256(_read_manifest(made.path)).hexdigest()
    return Product(made.path.name, KINDS[made.run.kind], made.path, sha256, made.metrics)


def set_aside(refused: Path, attempt: int) -> Path | None:
    """Move what was refused out of the way, or None where nothing is.

    A run that finds what it makes takes itself for finished, so a retry would only be refused again.
    """
    aside = refused.with_name(f"{refused.name}.refused-{attempt}")
    try:
        return refused.rename(aside)
    except FileNotFoundError:
        return None


# ── The gates ────────────────────────────────────────────────────────────────────────────────────────────────────────
def on_the_current_base(made: Made) -> None:
    """The installation has the base model that the run was queued for."""
    if base_is_gone(made.session, made.run):
        raise NotPromotable(f"{BASE_GONE} {ANEW}")


def unchanged(made: Made) -> None:
    """Every file is as the manifest says."""
    try:
        verify(made.path, manifest_sha256=None)
    except (BrokenCheckpoint, OSError) as error:
        raise NotPromotable(f"{error} {AGAIN}") from error


def its_own(made: Made) -> None:
    """The checkpoint is this run's, and was trained on this run's data."""
    kind = KINDS[made.run.kind]
    is_policy = kind in {CheckpointKind.SFT, CheckpointKind.POLICY}  # training knows one kind of both
    said = tuple(made.manifest.get(key) for key in ("name", "kind", "snapshot_sha256"))
    if said != (made.path.name, CheckpointKind.POLICY.value if is_policy else kind.value, _data_sha256(made)):
        belongs = N_("{name} says that it belongs to another run.").format(name=made.path.name)
        raise NotPromotable(f"{belongs} {ANEW}")


def finite_losses(made: Made) -> None:
    """Every loss, of each step and of the result, is a number."""
    steps = made.session.execute(
        select(TrainingEvent.step, TrainingEvent.values)
        .where(TrainingEvent.run_id == made.run.id, TrainingEvent.event == "step")
        .order_by(TrainingEvent.seq)
    )
    losses = [
        (N_("The loss of step {step}").format(step=step), values.get("metrics", {}).get("loss"))
        for step, values in steps
    ]
    losses += [
        (N_("{name} of the result").format(name=name), value) for name, value in made.metrics.items() if "loss" in name
    ]
    for name, value in losses:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise NotPromotable(f"{N_('{name} is not a finite number.').format(name=name)} {REMEDY}")


def not_reversed(made: Made) -> None:
    """The accuracy does not lie below one half with all of its interval; without an interval it passes."""
    high, prompts = made.metrics.get("held_out/accuracy/high"), made.metrics.get("held_out/prompts")
    if not isinstance(high, int | float) or not isinstance(prompts, int | float):
        return
    if high < 0.5 and prompts >= ENOUGH_PROMPTS:
        message = N_(
            "It has learnt the opposite of what annotators judged: on held-out prompts it is right on at most {share} of the "
            "pairs, where chance is right on half. Check for annotations with the ranking reversed, return them to their "
            "annotators, then retrain."
        )
        raise NotPromotable(message.format(share=f"{high:.1%}"))


EVERY_CHECKPOINT: tuple[Gate, ...] = (on_the_current_base, unchanged, its_own, finite_losses)


def base_is_gone(session: Session, run: TrainingRun) -> bool:
    """Whether the installation has another base model than the one that ``run`` was queued for."""
    state = session.scalar(select(Checkpoint.state).where(Checkpoint.id == run.config["base_id"]))
    return state is not CheckpointState.READY


def _data_sha256(made: Made) -> str | None:
    """The hash of the run's data: of its snapshot, or of the file that an earlier stage chose."""
    data = made.learnt_from
    if data.suffix == ".jsonl":
        return hashlib.sha256(data.read_bytes()).hexdigest() if data.is_file() else None
    return made.session.get_one(Snapshot, made.run.snapshot_id).sha256


def _read_manifest(checkpoint: Path) -> bytes:
    try:
        return (checkpoint / MANIFEST).read_bytes()
    except OSError as error:
        raise NotPromotable(f"{error} {AGAIN}") from error
