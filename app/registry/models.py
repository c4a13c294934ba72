"""What can be sampled: checkpoints, their place in the rotation and in the loop, and the last probe of the engine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.kernel.worded import Worded


class CheckpointKind(Worded):
    """What a checkpoint is for."""

    BASE = N_("base")
    REWARD = N_("reward")
    SFT = N_("sft")
    POLICY = N_("policy")
    EXTERNAL = N_("external")
    """A model that somebody else serves, or whose answers were imported: a rival, a teacher, an expert. It is compared and never
    trained."""


class CheckpointState(Worded):
    """``ready``: its manifest verified. ``broken``: a file no longer matches the manifest; never served or resumed from."""

    READY = N_("ready")
    BROKEN = N_("broken")
    RETIRED = N_("retired")


class Checkpoint(Base):
    """Saved state on disk with its manifest. ``name`` is immutable and is what the engine serves it as."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        CheckConstraint("kind IN ('base', 'external') OR manifest_sha256 IS NOT NULL", name="manifest_known"),
        Index("uq_checkpoints_base", "kind", unique=True, postgresql_where=text("kind = 'base' AND state = 'ready'")),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(80), unique=True)
    kind: Mapped[CheckpointKind] = mapped_column(enum_column(CheckpointKind, "kind"))
    state: Mapped[CheckpointState] = mapped_column(enum_column(CheckpointState, "state"), default=CheckpointState.READY)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    path: Mapped[str]
    """Of a base the name of its folder (``DataFolder.name_of``) or a hub id; of an external model the name of its endpoint, if
    any serves it. What was trained is found by its own name (:attr:`folder`): what stands here of it is not read."""
    manifest_sha256: Mapped[str | None] = mapped_column(String(64))
    weights_mark: Mapped[str | None] = mapped_column(String(64))
    """Of a base in a folder: two models may have one name, and the adapters of one fit no other."""
    metrics: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    broken_reason: Mapped[str | None]
    created_at: Mapped[Created]

    external: Mapped[External | None] = relationship(lazy="raise")

    @property
    def folder(self) -> Path:
        """Where its files lie on this host, or will (:mod:`app.registry.files`)."""
        settings = get_settings()
        return settings.checkpoints_dir / self.name if self.is_adapter else Path(settings.place_of(self.path))

    @property
    def is_adapter(self) -> bool:
        """Whether our engine serves it under its name, beside the base."""
        return self.kind not in {CheckpointKind.BASE, CheckpointKind.EXTERNAL}

    @property
    def is_imported(self) -> bool:
        """Whether it is known by imported responses alone: an external model that no endpoint serves."""
        return self.kind is CheckpointKind.EXTERNAL and not self.path


class External(Base):
    """Where an external checkpoint is asked, and what may be done with its answers."""

    __tablename__ = "externals"

    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), primary_key=True)
    endpoint: Mapped[str] = mapped_column(String(40))
    """Its name in ``CORRAL_ENDPOINTS``, which holds address and key; empty where its answers were imported: nobody is asked."""
    model: Mapped[str] = mapped_column(String(200))
    """What the endpoint, or the imported file, calls it."""
    may_train: Mapped[bool]
    """Whether its owner's terms allow training on its answers. Where they do not, every training leaves them out."""
    note: Mapped[str] = mapped_column(String(500), server_default="", default="")


class LoadState(StrEnum):
    """The state of a deployment in the engine: its row is the desired state, which the reconciler brings about."""

    PENDING = "pending"
    LOADED = "loaded"
    FAILED = "failed"

    @property
    def label(self) -> str:
        """What pages call it."""
        return _(_LOADING[self])


_LOADING = {
    LoadState.PENDING: N_("waiting to load"),
    LoadState.LOADED: N_("loaded"),
    LoadState.FAILED: N_("not loaded"),
}


class Deployment(Base):
    """A checkpoint with its sampling in the rotation, from ``since`` until ``ended_at``; candidates name it."""

    __tablename__ = "deployments"
    __table_args__ = (
        CheckConstraint("share > 0", name="share_positive"),
        Index(
            "uq_deployments_in_rotation",
            "checkpoint_id",
            "label",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[Key]
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"))
    label: Mapped[str] = mapped_column(String(40))
    """Tells two samplings of one checkpoint apart, e.g. ``focused`` and ``varied``."""
    sampling: Mapped[Json]
    """``temperature``, ``top_p``; what a batch does not override."""
    share: Mapped[float] = mapped_column(server_default="1")
    """Of a challenger: on which part of the prompts it stands. Of others: their weight in what is left beside the champion,
    which is on every prompt (:class:`app.registry.rotation.Rotation`)."""
    load_state: Mapped[LoadState] = mapped_column(enum_column(LoadState, "load_state"), default=LoadState.PENDING)
    load_error: Mapped[str | None]
    replaces: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"), default=list)
    """Deployments that leave the rotation once this one is loaded: until then, and if it never loads, they stay."""
    since: Mapped[Created]
    ended_at: Mapped[Time | None]

    checkpoint: Mapped[Checkpoint] = relationship(lazy="raise")


class LoopRole(StrEnum):
    """A checkpoint's role in a loop: the base that it trains from, the champion, the previous champion, the challenger."""

    BASE = "base"
    CHAMPION = "champion"
    PREVIOUS = "previous"
    CHALLENGER = "challenger"

    @property
    def label(self) -> str:
        """What pages call it."""
        return _(_ROLES[self])


_ROLES = {
    LoopRole.BASE: N_("base"),
    LoopRole.CHAMPION: N_("champion"),
    LoopRole.PREVIOUS: N_("previous champion"),
    LoopRole.CHALLENGER: N_("challenger"),
}


class Appointment(Base):
    """A checkpoint in its role in a loop, which verdicts change (:mod:`app.registry.appointments`)."""

    __tablename__ = "appointments"

    loop_id: Mapped[int] = mapped_column(ForeignKey("loops.id"), primary_key=True)
    role: Mapped[LoopRole] = mapped_column(enum_column(LoopRole, "role"), primary_key=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    since: Mapped[Created]


class EngineState(StrEnum):
    """What the last probe (a one-token completion, since ``/health`` answers even when the engine hangs) found."""

    STARTING = "starting"
    READY = "ready"
    AWAY = "away"

    @property
    def label(self) -> str:
        """What pages call it."""
        return _(_ENGINE_STATES[self])


_ENGINE_STATES = {
    EngineState.STARTING: N_("starting"),
    EngineState.READY: N_("ready"),
    EngineState.AWAY: N_("unavailable"),
}


class EngineStatus(Base):
    """One row per engine URL: what the last probe found. Pages say so when the engine is away."""

    __tablename__ = "engine_status"

    url: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[EngineState] = mapped_column(enum_column(EngineState, "state"))
    version: Mapped[str | None]
    models: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    error: Mapped[str | None]
    changed_at: Mapped[Created]
    checked_at: Mapped[Created]
