"""A loop that has gone round: what Alice and Charlie judged is in snapshots, models, contests, and in what those models wrote."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Annotation
from app.loops.models import Round
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds.models import Contest, ContestVote, InputRole, RunInput, RunKind, RunState, TrainingRun
from tests.factories import (
    current_round,
    make_annotation,
    make_batch,
    make_checkpoint,
    make_comparison,
    make_contest,
    make_deployment,
    make_user,
)


def make_snapshot(session: Session, *annotations: Annotation, name: str | None = None) -> Snapshot:
    """A ready snapshot of these annotations; its files are nowhere."""
    name = name or f"snapshot-{secrets.token_hex(4)}"
    made = Snapshot(
        name=name,
        state=SnapshotState.READY,
        filter={},
        sha256=secrets.token_hex(32),
        path=name,
        rows=len(annotations),
        train_rows=len(annotations),
        held_out_rows=0,
    )
    session.add(made)
    session.flush()
    session.add_all(SnapshotAnnotation(snapshot_id=made.id, annotation_id=each.id) for each in annotations)
    session.flush()
    return made


def make_run(
    session: Session,
    of: Round,
    snapshot: Snapshot,
    kind: RunKind,
    made: Checkpoint | None,
    after: TrainingRun | None = None,
    **inputs: Checkpoint,
) -> TrainingRun:
    """A run on ``snapshot`` that ended in ``made``, or is queued; ``inputs`` are named by their roles."""
    run = TrainingRun(
        round_id=of.id,
        kind=kind,
        snapshot_id=snapshot.id,
        after_run_id=after.id if after else None,
        state=RunState.SUCCEEDED if made else RunState.QUEUED,
        checkpoint_id=made.id if made else None,
        config={},
    )
    session.add(run)
    session.flush()
    session.add_all(
        RunInput(run_id=run.id, role=InputRole(role), checkpoint_id=used.id) for role, used in inputs.items()
    )
    session.flush()
    return run


@dataclass
class Gone:
    """A loop after two rounds and an unrelated one."""

    alice: User
    charlie: User
    of_alice: list[Annotation]
    of_charlie: list[Annotation]
    hers: Snapshot
    """Alice's and Charlie's."""
    his: Snapshot
    """Charlie's alone."""
    base: Checkpoint
    reward: Checkpoint
    imitates: Checkpoint
    """Chosen by a model that never saw Alice, on Charlie's snapshot."""
    policy: Checkpoint
    clean: Checkpoint
    contest: Contest
    runs: dict[str, TrainingRun]


@pytest.fixture
def gone(session: Session) -> Gone:
    """Alice's two annotations are in one snapshot, which trained a reward model and a policy; Charlie's are in both snapshots."""
    batch = make_batch(session, name="Letters")
    base = session.get_one(Checkpoint, make_deployment(session).checkpoint_id)
    alice, charlie = make_user(session, name="Alice"), make_user(session, name="Charlie")
    of_alice = [make_annotation(session, alice, make_comparison(session, batch=batch)) for _ in range(2)]
    of_charlie = [make_annotation(session, charlie, make_comparison(session, batch=batch)) for _ in range(2)]
    hers, his = make_snapshot(session, *of_alice, *of_charlie), make_snapshot(session, *of_charlie)
    now = current_round(session)
    reward = make_checkpoint(session, "reward-r1", CheckpointKind.REWARD)
    imitates = make_checkpoint(session, "sft-r1", CheckpointKind.SFT)
    policy, clean = make_checkpoint(session, "policy-r1"), make_checkpoint(session, "policy-clean")
    runs = {"reward": make_run(session, now, hers, RunKind.REWARD, reward)}
    runs["policy"] = make_run(session, now, hers, RunKind.DPO, policy)
    runs["imitates"] = make_run(session, now, his, RunKind.SFT, imitates, chose=reward)
    runs["clean"] = make_run(session, now, his, RunKind.DPO, clean)
    contest = make_contest(session, policy, clean, counted=3)
    session.add_all(
        ContestVote(contest_id=contest.id, annotation_id=each.id, seq=seq, score=1.0)
        for seq, each in enumerate((of_charlie[0], of_alice[1], of_charlie[1]), start=1)
    )
    session.commit()
    return Gone(alice, charlie, of_alice, of_charlie, hers, his, base, reward, imitates, policy, clean, contest, runs)


@pytest.fixture
def bob(session: Session) -> User:
    """The admin."""
    return make_user(session, Role.ADMIN, "Bob")
