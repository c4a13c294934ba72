"""How many held-out prompts each policy solves, by capability, as the checks of rounds measured it: for the board.

A round's check lets the new policy and the champion answer the same held-out prompts, once each, and asks verifiers. Of a
policy that was measured several times the newest measurement counts, as what was trained before one as what stood against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.loops.models import Round
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import bounds, findings
from app.rounds.models import Evaluation

MOST = 30
"""Policies that are listed, the newest ones."""
HOW = N_(
    "In the check of its round a policy answers each held-out prompt that says what an answer must come to once, at "
    "temperature 1, and verifiers say which pass. What could not be checked is left out. Intervals are by bootstrap "
    "over prompts, 95%. Rounds ask as many prompts as they are set to, so compare policies of one round first."
)


@dataclass(frozen=True)
class Rate:
    """The share of ``prompts`` that are solved, with its interval; without ends where one prompt alone was asked."""

    rate: float
    low: float | None
    high: float | None
    prompts: int


@dataclass(frozen=True)
class Solver:
    """One policy: the round whose check measured it, and its rates by capability."""

    checkpoint_id: int
    name: str
    round: int
    rates: Mapping[str, Rate]


@dataclass(frozen=True)
class Solved:
    """Policies, the newest first, by the capabilities that any of them was measured at."""

    capabilities: list[str]
    policies: list[Solver]

    @property
    def how(self) -> str:
        """How it was measured."""
        return _(HOW)


def of_policies(session: Session, user: User) -> Solved:
    """What ``user`` may see: a reviewer nothing of rounds that have no verdict yet."""
    one, other = aliased(Checkpoint), aliased(Checkpoint)
    query = (
        select(Evaluation, Round, one, other)
        .join(Round, Round.id == Evaluation.round_id)
        .join(one, one.id == Evaluation.checkpoint_id)
        .outerjoin(other, other.id == Evaluation.against_id)
        .where(one.kind == CheckpointKind.POLICY)
        .order_by(Evaluation.id.desc())
        .limit(MOST)
    )
    found: dict[int, Solver] = {}
    rows: Select[*tuple[Any, ...]] = query
    for evaluation, of, measured, against in session.execute(rows):
        if not findings.shown(user, of):
            continue
        for checkpoint, side in ((measured, "after_metrics"), (against, "before_metrics")):
            rates = dict(_rates(evaluation.metrics.get(side, {})))
            if checkpoint is not None and rates:
                found.setdefault(checkpoint.id, Solver(checkpoint.id, checkpoint.name, of.number, rates))
    capabilities = sorted({name for solver in found.values() for name in solver.rates})
    return Solved(capabilities, sorted(found.values(), key=lambda solver: -solver.checkpoint_id))


def _rates(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Rate]]:
    for name, rate in metrics.items():
        kind, _, capability = name.partition("/")
        if kind == bounds.VERIFIED and capability:
            yield capability, Rate(rate["value"], rate["low"], rate["high"], rate["prompts"])
