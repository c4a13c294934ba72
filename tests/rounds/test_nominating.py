"""A policy from elsewhere meets the champion in one act, and people decide."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.errors import Conflict
from app.loops.models import Round, RoundState, Verdict
from app.preferences.models import Snapshot, SnapshotState
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState
from app.rounds import contests, nominating
from app.rounds.models import Contest, RunKind, RunState, TrainingRun
from app.upkeep.audit import audit
from tests.factories import current_round, make_checkpoint, make_user, sign_in
from tests.rounds.balloting import Ballot, champion, open_ballot


@pytest.fixture
def ballot(session: Session) -> Ballot:
    return open_ballot(session)


@pytest.fixture
def bob(session: Session) -> User:
    bob = make_user(session, Role.ADMIN, "Bob")
    session.commit()
    return bob


def states(session: Session) -> list[RoundState]:
    return list(session.scalars(select(Round.state).order_by(Round.number)))


def test_it_meets_the_champion_and_becomes_it_when_people_prefer_it(
    session: Session, client: TestClient, ballot: Ballot, bob: User
) -> None:
    page = sign_in(client, bob)
    url = f"/checkpoints/{ballot.challenger.id}"
    assert "Challenge the champion" in page.get(url).text
    opened = page.post(f"{url}/challenge")
    contest = session.scalars(select(Contest)).one()
    assert opened.headers["location"] == f"/contests/{contest.id}"
    assert (contest.challenger_id, contest.champion_id) == (ballot.challenger.id, ballot.champion.id)
    assert states(session) == [RoundState.CHALLENGING, RoundState.COLLECTING]
    for path in ("/", "/rounds", "/rounds/1", f"/contests/{contest.id}", url):
        assert page.get(path).status_code == 200, path
    assert "Challenge the champion" not in page.get(url).text
    assert page.post(f"{url}/challenge").status_code == 409
    ballot.vote(*[1.0] * 60)
    contests.look(session)
    session.commit()
    assert champion(session) == ballot.challenger.name
    assert session.scalars(select(Round).where(Round.number == 1)).one().verdict is Verdict.PROMOTED
    assert not audit(session, files=False)


def test_a_program_nominates_once(session: Session, client: TestClient, ballot: Ballot, bob: User) -> None:
    page = sign_in(client, bob)
    url = f"/api/v1/checkpoints/{ballot.challenger.id}/challenge"
    first, again = (page.post(url, headers={"idempotency-key": "one"}) for _ in range(2))
    assert (first.status_code, first.json()["challenger"]) == (201, ballot.challenger.name)
    assert again.json() == first.json()
    assert session.scalars(select(Contest)).one().id == first.json()["id"]
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    session.commit()
    assert client.post(url).status_code == 403
    assert "Challenge the champion" not in client.get(f"/checkpoints/{ballot.challenger.id}").text


def test_what_may_not_challenge_is_refused_with_the_reason(session: Session, ballot: Ballot, bob: User) -> None:
    reward = make_checkpoint(session, "scores", CheckpointKind.REWARD)
    broken = make_checkpoint(session, "torn")
    broken.state = CheckpointState.BROKEN
    trained = make_checkpoint(session, "ours")
    session.commit()

    def refused(checkpoint: Checkpoint, why: str) -> None:
        assert not nominating.offered(session, checkpoint)
        with pytest.raises(Conflict, match=why):
            nominating.challenge(session, bob, checkpoint)
        session.rollback()

    refused(reward, "no policy")
    refused(broken, "cannot be served")
    refused(ballot.champion, "champion already")
    made_by_a_run(session, trained)
    refused(trained, "was trained here")
    session.get_one(Round, ballot.batch.round_id).state = RoundState.TRAINING
    session.commit()
    refused(ballot.challenger, "already training")
    assert states(session) == [RoundState.TRAINING]


def made_by_a_run(session: Session, checkpoint: Checkpoint) -> None:
    taken = Snapshot(name="taken", state=SnapshotState.READY, filter={"until": 0}, sha256="0" * 64)
    session.add(taken)
    session.flush()
    run = TrainingRun(
        round_id=current_round(session).id,
        kind=RunKind.DPO,
        state=RunState.SUCCEEDED,
        snapshot_id=taken.id,
        config={},
        checkpoint_id=checkpoint.id,
    )
    session.add(run)
    session.commit()
