"""What a run was trained on, by capability, language and source, as pages and the API say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.kernel.locales import gettext as _
from app.kernel.locales import number, percent
from app.loops.models import Round
from app.rounds.models import TrainingEvent, TrainingRun
from training.formats.mix import MISSING

EVENT = "mix"
"""What a training says before its first step (``training.formats.mix``)."""
MOST = 50
"""Combinations that a page lists; the JSON has all."""


@dataclass(frozen=True)
class Mix:
    """The mix of one run: ``portions`` the combinations, ``asked`` what its recipe wants, ``paper`` what Llama 3 had."""

    run_id: int
    rows: int
    tokens: int
    portions: list[dict[str, Any]]
    asked: list[dict[str, Any]]
    paper: list[dict[str, Any]]
    missing: list[str]
    more: int
    """Combinations that are not listed."""


def of(run_id: int, said: Sequence[TrainingEvent]) -> Mix | None:
    """By what a run said; None before it has read its data."""
    last = next((event.values for event in reversed(said) if event.event == EVENT), None)
    return None if last is None else _read(run_id, last)


def of_round(session: Session, found: Round) -> list[tuple[TrainingRun, Mix]]:
    """Of the newest run of each kind, in the order of training."""
    return _newest(session, TrainingRun.round_id == found.id)


def of_snapshot(session: Session, snapshot_id: int) -> list[tuple[TrainingRun, Mix]]:
    """What runs read of a snapshot: of the newest run of each kind, in the order of training."""
    return _newest(session, TrainingRun.snapshot_id == snapshot_id)


def _newest(session: Session, which: ColumnElement[bool]) -> list[tuple[TrainingRun, Mix]]:
    query = (
        select(TrainingRun, TrainingEvent)
        .join(TrainingEvent, TrainingEvent.run_id == TrainingRun.id)
        .where(which, TrainingEvent.event == EVENT)
        .order_by(TrainingRun.id, TrainingEvent.seq)
    )
    newest = {run.kind: (run, _read(run.id, event.values)) for run, event in session.execute(query)}
    return list(newest.values())


def raw(said: Sequence[TrainingEvent]) -> dict[str, Any]:
    """The report as JSON; without any rows where the run has not read its data."""
    return next((dict(event.values) for event in reversed(said) if event.event == EVENT), {"rows": 0, "portions": []})


def _read(run_id: int, said: Mapping[str, Any]) -> Mix:
    portions, groups = said.get("portions", []), said.get("groups", [])
    return Mix(
        run_id=run_id,
        rows=said.get("rows", 0),
        tokens=said.get("tokens", 0),
        portions=portions[:MOST],
        asked=[each for each in groups if each.get("target") is not None],
        paper=said.get("paper", []),
        missing=[_missing(each) for each in groups if each.get("missing_tokens")],
        more=max(0, len(portions) - MOST),
    )


def _missing(group: Mapping[str, Any]) -> str:
    return _(
        MISSING,
        target=percent(group["target"]),
        dimension=_(group["dimension"]),
        name=group["name"],
        share=percent(group["share"], 1),
        tokens=number(group["missing_tokens"]),
    )
