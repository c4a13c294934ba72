"""The audit of runs, checkpoints, snapshots and contests: each broken promise by its row."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState
from app.preferences.models import Snapshot, SnapshotState
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind, Deployment
from app.rounds import contests
from app.rounds.models import Contest, RunKind, RunState, TrainingRun
from app.upkeep.audit import audit
from tests.factories import (
    make_batch,
    make_deployment,
    make_user,
)
from tests.generating import at_home
from tests.rounds.balloting import open_ballot
from tests.upkeep.auditing import only, spoil


def make_run(session: Session, checkpoint: Checkpoint | None = None, state: RunState = RunState.RUNNING) -> TrainingRun:
    round_id = make_batch(session).round_id
    snapshot = Snapshot(name="frozen", state=SnapshotState.BUILDING, filter={})
    session.add(snapshot)
    session.flush()
    run = TrainingRun(
        round_id=round_id,
        kind=RunKind.DPO,
        state=state,
        snapshot_id=snapshot.id,
        config={},
        checkpoint_id=checkpoint.id if checkpoint else None,
    )
    session.add(run)
    session.commit()
    return run


def test_a_training_run_of_which_nothing_was_heard(session: Session) -> None:
    run = make_run(session)
    session.get_one(Round, run.round_id).state = RoundState.TRAINING
    session.commit()
    only(session, f"training run {run.id}", "is running, but was last heard of")


def test_a_live_training_run_of_a_round_that_collects(session: Session) -> None:
    run = make_run(session, state=RunState.QUEUED)
    only(session, f"round {run.round_id}", "is collecting and has 1 live training runs")


def written(folder: Path, **files: str) -> str:
    """A checkpoint folder with a manifest; returns the manifest's SHA-256."""
    folder.mkdir(parents=True)
    entries = {}
    for name, content in files.items():
        file = folder / f"{name}.safetensors"
        file.write_text(content)
        entries[file.name] = {"sha256": hashlib.sha256(content.encode()).hexdigest(), "bytes": len(content)}
    body = json.dumps({"format": 1, "files": entries})
    (folder / "manifest.json").write_text(body)
    return hashlib.sha256(body.encode()).hexdigest()


def make_policy(
    session: Session, folder: Path, sha256: str, kind: CheckpointKind = CheckpointKind.POLICY
) -> Checkpoint:
    at_home(folder)
    checkpoint = Checkpoint(name=folder.name, kind=kind, path=folder.name, manifest_sha256=sha256)
    session.add(checkpoint)
    session.commit()
    return checkpoint


def test_a_checkpoint_whose_manifest_is_gone(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "policy-r1"
    checkpoint = make_policy(session, folder, written(folder, adapter="weights"))
    assert audit(session) == []
    (folder / "manifest.json").unlink()
    only(session, f"checkpoint {checkpoint.id}", "manifest.json cannot be read")
    assert audit(session, files=False) == []


def test_a_checkpoint_with_a_changed_byte(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "policy-r1"
    checkpoint = make_policy(session, folder, written(folder, adapter="weights"))
    (folder / "adapter.safetensors").write_text("weightz")
    only(session, f"checkpoint {checkpoint.id}", "has changed since it was written")


def test_a_run_that_succeeded_with_the_wrong_kind_of_checkpoint(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "reward-r1"
    reward = make_policy(session, folder, written(folder, adapter="weights"), CheckpointKind.REWARD)
    run = make_run(session, reward, RunState.SUCCEEDED)
    only(session, f"training run {run.id}", "which is a reward model")


def test_a_broken_checkpoint_that_is_still_in_rotation(session: Session) -> None:
    deployment = make_deployment(session)
    spoil(session, "UPDATE checkpoints SET state = 'broken'")
    only(session, f"deployment {deployment.id}", "is in rotation with checkpoint zebra-base, which is broken")


@pytest.fixture
def frozen(session: Session) -> Snapshot:
    """A ready snapshot with one row."""
    folder = get_settings().snapshots_dir / "audited"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preferences.jsonl").write_text("{}\n")
    sha256 = hashlib.sha256(b"{}\n").hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"sha256": sha256, "rows": 1}))
    snapshot = Snapshot(
        name="audited", state=SnapshotState.READY, filter={}, rows=1, train_rows=1, held_out_rows=0, sha256=sha256
    )
    snapshot.path = "audited"
    session.add(snapshot)
    session.commit()
    return snapshot


def test_a_snapshot_that_is_as_it_was_frozen(session: Session, frozen: Snapshot) -> None:
    assert audit(session) == []


def test_a_snapshot_whose_rows_changed(session: Session, frozen: Snapshot) -> None:
    (get_settings().snapshots_dir / "audited" / "preferences.jsonl").write_text("{ }\n")
    only(session, f"snapshot {frozen.id}", "differs from what was frozen")


def test_a_snapshot_whose_rows_are_gone(session: Session, frozen: Snapshot) -> None:
    (get_settings().snapshots_dir / "audited" / "preferences.jsonl").unlink()
    only(session, f"snapshot {frozen.id}", "cannot be read")


def test_a_snapshot_with_another_manifest(session: Session, frozen: Snapshot) -> None:
    (get_settings().snapshots_dir / "audited" / "manifest.json").write_text('{"sha256": "0", "rows": 1}')
    only(session, f"snapshot {frozen.id}", "manifest.json for other rows")


def test_a_snapshot_whose_prompts_changed(session: Session, frozen: Snapshot) -> None:
    folder = get_settings().snapshots_dir / "audited"
    body = json.loads((folder / "manifest.json").read_text())
    (folder / "prompts.jsonl").write_text("{}\n")
    (folder / "manifest.json").write_text(json.dumps(body | {"prompts_sha256": hashlib.sha256(b"{}\n").hexdigest()}))
    assert audit(session) == []
    (folder / "prompts.jsonl").write_text("{ }\n")
    only(session, f"snapshot {frozen.id}", "prompts.jsonl that differs from what was frozen")
    (folder / "prompts.jsonl").unlink()
    only(session, f"snapshot {frozen.id}", "cannot be read")


# ── Contests ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def contest(session: Session) -> Contest:
    """A contest with four votes, counted."""
    ballot = open_ballot(session)
    made = contests.open_gate(session, session.get_one(Round, ballot.batch.round_id), ballot.challenger)
    session.add(Round(number=2))
    ballot.vote(1, 0, 0.5, 1)
    contests.look(session)
    registry.mark_loaded(session, session.scalars(select(Deployment.id).order_by(Deployment.id.desc()).limit(1)).one())
    session.commit()
    return made


def test_a_contest_and_its_round_are_well_open_and_closed(session: Session, contest: Contest) -> None:
    assert [found for found in audit(session, files=False) if found.row.startswith(("contest", "round"))] == []
    contests.withdraw(session, make_user(session, Role.ADMIN, "Bob"), contest, "It swears.")
    assert [found for found in audit(session, files=False) if found.row.startswith(("contest", "round"))] == []


@pytest.mark.parametrize(
    ("statement", "row", "words"),
    [
        ("UPDATE contests SET counted = 3", "contest {contest}", "counts 3 observations, but its votes are of 4"),
        ("UPDATE contest_votes SET seq = 9 WHERE seq = 2", "contest {contest}", "numbered up to 9"),
        ("UPDATE contests SET score = 0.9", "contest {contest}", "a score of 0.9 by 1 people, but its votes say 0.625"),
        ("UPDATE contests SET people = 2", "contest {contest}", "by 2 people"),
        (
            "UPDATE annotations SET withdrawn_at = now() - interval '1 hour' WHERE id = (SELECT min(id) FROM annotations)",
            "contest {contest}",
            "corrected, undone, returned or retracted",
        ),
        (
            "UPDATE comparisons SET drawn = 'selected' WHERE id = (SELECT min(id) FROM comparisons)",
            "contest {contest}",
            "not drawn at random",
        ),
        (
            "UPDATE contests SET champion_id = (SELECT min(id) FROM checkpoints) WHERE id = :contest AND counted = 4",
            "contest {contest}",
            "does not show both policies",
        ),
        ("UPDATE contests SET counted_at = now() - interval '1 hour'", "contest {contest}", "was last counted at"),
        ("UPDATE rounds SET state = 'complete' WHERE id = :round", "round {round}", "its contest is open"),
        (
            "UPDATE contests SET verdict = 'refused', closed_at = now()",
            "round {round}",
            "is challenging, and its contest is refused",
        ),
        (
            """WITH closed AS (UPDATE contests SET verdict = 'refused', closed_at = now())
               UPDATE rounds SET state = 'complete', verdict = 'promoted' WHERE id = :round""",
            "round {round}",
            "is promoted, but its contest ended refused",
        ),
        (
            """INSERT INTO contests (round_id, kind, challenger_id, champion_id, budget, verdict, closed_at)
               SELECT round_id, kind, challenger_id, champion_id, budget, 'refused', now() FROM contests""",
            "round {round}",
            "has 2 contests",
        ),
    ],
)
def test_a_contest_that_is_not_what_its_votes_and_its_round_say(
    session: Session, contest: Contest, statement: str, row: str, words: str
) -> None:
    names = {"contest": contest.id, "round": contest.round_id}
    spoil(session, statement, **{name: value for name, value in names.items() if f":{name}" in statement})
    found = [problem for problem in audit(session, files=False) if problem.row == row.format(**names)]
    assert any(words in problem.what for problem in found), found
