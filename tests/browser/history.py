"""Rounds that came to something: one promoted, one refused, one promoted, and one whose policy is in contest."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session

from app.loops.models import FIRST_LOOP, Round, RoundState, Verdict
from app.preferences.models import Snapshot, SnapshotState
from app.registry.models import Appointment, Checkpoint, CheckpointKind, LoopRole
from app.rounds import evidence
from app.rounds.models import Contest, ContestKind, Evaluation, RunKind, RunState, TrainingRun
from tests import factories

PASSED = {
    "step": 1,
    "level": "passed",
    "words": "The reward model is as good as the one before, on 112 held-out pairs.",
}
LONGER = {"step": 2, "level": "warns", "words": "Answers are 1.2 times as long as the champion’s."}
REPEATS = {"step": 2, "level": "refuses", "words": "It repeats itself in 9% of answers, the champion in 2%."}


@dataclass(frozen=True)
class Past:
    """What a round came to; in its contest the challenger really wins so often."""

    accuracy: float
    findings: list[dict[str, Any]]
    verdict: Verdict | None
    wins: float | None = None
    seed: int = 0


PASTS = (
    Past(0.64, [PASSED], Verdict.PROMOTED, 0.66, 15),
    Past(0.67, [REPEATS, PASSED], Verdict.REFUSED),
    Past(0.66, [PASSED], Verdict.REFUSED, 0.46, 38),
    Past(0.71, [LONGER, PASSED], Verdict.PROMOTED, 0.63, 49),
    Past(0.73, [LONGER, PASSED], None, 0.6, 55),
)
OPEN_AT = 84
"""Prompts judged so far in the contest that is open."""


def make_history(session: Session) -> list[Contest]:
    """The rounds of ``PASTS`` and their contests, the newest of which is open."""
    champion = factories.make_checkpoint(session, "base-smollm2", CheckpointKind.BASE)
    contests = []
    start = datetime.now(UTC) - timedelta(days=3 * len(PASTS))
    for number, past in enumerate(PASTS, 1):
        at = start + timedelta(days=3 * number)
        state = RoundState.COMPLETE if past.verdict else RoundState.CHALLENGING
        found = Round(
            number=number, state=state, verdict=past.verdict, verdict_reason=_said(past),
            completed_at=at if past.verdict else None,
        )  # fmt: skip
        session.add(found)
        session.flush()
        _measure(session, found, past.accuracy, at)
        challenger = factories.make_checkpoint(session, f"policy-r{number}-{number:08x}")
        session.add(
            Evaluation(
                round_id=found.id, checkpoint_id=challenger.id, against_id=champion.id,
                passed=past.findings[0]["level"] != "refuses", findings=past.findings,
            )
        )  # fmt: skip
        if past.wins is not None:
            contests.append(_contest(session, found, challenger, champion, past, at))
        if past.verdict is Verdict.PROMOTED:
            champion = challenger
    session.add(Appointment(loop_id=FIRST_LOOP, role=LoopRole.CHAMPION, checkpoint_id=champion.id))
    session.commit()
    return contests


def _said(past: Past) -> str:
    if past.wins is None:
        return "It repeats itself more than the champion."
    return _reason(looks(past.wins, past.verdict, seed=past.seed), past)


def _measure(session: Session, found: Round, accuracy: float, at: datetime) -> None:
    """The reward model of a round."""
    name = f"r{found.number}"
    snapshot = Snapshot(
        name=f"snapshot-{name}", state=SnapshotState.READY, filter={"until": 0}, rows=400, train_rows=300, held_out_rows=100,
        sha256="0" * 64, path="/nowhere",
    )  # fmt: skip
    made = factories.make_checkpoint(session, f"reward-{name}-{found.number:08x}", CheckpointKind.REWARD)
    session.add(snapshot)
    session.flush()
    key = "held_out/accuracy"
    session.add(
        TrainingRun(
            round_id=found.id, kind=RunKind.REWARD, state=RunState.SUCCEEDED, snapshot_id=snapshot.id,
            config={"scope": "all rounds", "run": {}}, checkpoint_id=made.id, started_at=at, finished_at=at,
            metrics={key: accuracy, f"{key}/low": accuracy - 0.08, f"{key}/high": accuracy + 0.07, "held_out/pairs": 112},
        )
    )  # fmt: skip


def _contest(
    session: Session, found: Round, challenger: Checkpoint, champion: Checkpoint, past: Past, at: datetime
) -> Contest:
    assert past.wins is not None
    path = looks(past.wins, past.verdict, seed=past.seed)
    counted, score, low, high, log_e, log_e_worse = path[-1]
    return factories.make_contest(
        session, challenger, champion, kind=ContestKind.GATE, of=found, counted=counted, score=score, low=low, high=high,
        log_e=log_e, log_e_worse=log_e_worse, people=4, details=details([look[:5] for look in path]), opened_at=at,
        verdict=past.verdict, reason=_reason(path, past), closed_at=at + timedelta(days=2) if past.verdict else None,
        counted_at=at,
    )  # fmt: skip


def _reason(path: Sequence[Sequence[float]], past: Past) -> str:
    counted, *_, log_e, log_e_worse = path[-1]
    if past.verdict is Verdict.PROMOTED:
        return f"Evidence {math.exp(log_e):.1f} that it is better, after {counted} prompts judged by 4 people."
    refused = f"Evidence {math.exp(log_e_worse):.1f} that its score is below 57.5%, after {counted} prompts."
    return refused if past.verdict else ""


@lru_cache
def looks(wins: float, verdict: Verdict | None, *, seed: int) -> list[list[float]]:
    """A path to the verdict as counting writes it, every third look, with the evidence against the challenger behind."""
    draw = random.Random(seed)
    votes = [0.5 if draw.random() < 0.2 else float(draw.random() < wins) for _ in range(400)]
    better = evidence.evidence(votes)
    worse = evidence.evidence(votes, 0.575, better=False)
    decided = {Verdict.PROMOTED: (better, math.log(20)), Verdict.REFUSED: (worse, math.log(10))}
    end = OPEN_AT
    if verdict:
        series, enough = decided[verdict]
        end = next(n for n, each in enumerate(series, 1) if each >= enough)
    found = []
    at = [*range(3, end, 3), end]
    for n, within in zip(at, evidence.band(votes, at), strict=True):
        low, high = within or (0.0, 1.0)
        found.append([n, sum(votes[:n]) / n, low, high, max(0.0, *better[:n]), max(0.0, *worse[:n])])
    return found


def details(path: list[list[float]]) -> dict[str, Any]:
    """What stands beside the sums of a contest."""
    counted, score, low, high, _ = path[-1]
    names = ("annotator-5d3f0c9a1b2e", "annotator-77aa01c3de54", "annotator-a1c2e3f40516", "annotator-f0f1e2d3c4b5")
    shares = (0.36, 0.28, 0.22, 0.14)
    parts = {"coding": 0.3, "explaining": 0.45, "mathematics": 0.25}
    return {
        "path": path,
        "capabilities": {
            name: {"counted": int(counted * share), "score": score + move, "low": low - 0.1, "high": high + 0.09}
            for (name, share), move in zip(parts.items(), (0.03, -0.01, 0.02), strict=True)
        },
        "people": {
            name: {"counted": int(counted * share), "score": score + move, "without": score - move / 3}
            for name, share, move in zip(names, shares, (0.02, -0.03, 0.05, 0.0), strict=True)
        },
        "length_controlled": {"score": score - 0.012, "low": low - 0.01, "high": high - 0.01},
    }
