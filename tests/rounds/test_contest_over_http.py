"""A contest as annotators make it, without knowing: next, submit, correct and undo over the API; and looks in between."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Role
from app.loops.models import Round, Verdict
from app.rounds import contests
from app.rounds.models import Contest, ContestVote, Evaluation
from tests.factories import make_user, sign_in
from tests.rounds.balloting import Ballot, open_ballot


@pytest.fixture
def ballot(session: Session) -> Ballot:
    made = open_ballot(session)
    made.batch.annotators_per_prompt = 20
    session.commit()
    return made


@pytest.fixture
def contest(session: Session, ballot: Ballot) -> Contest:
    round_ = session.get_one(Round, ballot.batch.round_id)
    contest = contests.open_gate(session, round_, ballot.challenger)
    session.add(Round(number=round_.number + 1))
    session.commit()
    return contest


@pytest.fixture
def alice(client: TestClient, session: Session, ballot: Ballot) -> TestClient:
    """Alice's program, with a bearer token."""
    token = accounts.create_token(session, ballot.alice, "test", ["annotate"])
    session.commit()
    client.headers["authorization"] = f"Bearer {token}"
    return client


def judge(alice: TestClient, better: str, corrects: int | None = None, item: int | None = None) -> tuple[int, int]:
    """Submit that the answer with these words is better; returns the assignment and the annotation."""
    if item is None:
        held = alice.post("/api/v1/annotate/next", json={}).json()
    else:
        held = alice.get(f"/api/v1/assignments/{item}").json()
    ranking = sorted(([each["position"]] for each in held["responses"]), key=lambda group: group)
    ranking.sort(
        key=lambda group: better not in next(r["text"] for r in held["responses"] if r["position"] == group[0])
    )
    body = {"fencing_token": held["fencing_token"], "outcome": "ranked", "ranking": ranking, "strengths": [3]}
    key = {"idempotency-key": f"{held['id']}-{corrects}-{better}"}
    answer = alice.post(f"/api/v1/assignments/{held['id']}/submit", json=body | {"corrects": corrects}, headers=key)
    assert answer.status_code == 200, answer.text
    return held["id"], answer.json()["id"]


def test_what_is_said_over_the_api_makes_the_next_champion(
    alice: TestClient, session: Session, ballot: Ballot, contest: Contest
) -> None:
    for _ in range(16):
        ballot.ask()
    session.commit()
    looks = []
    for _ in range(16):
        judge(alice, "new one")
        looks.append(len(contests.look(session)))
        session.commit()
        if looks[-1]:
            break
    assert sum(looks) == 1
    assert contest.verdict is Verdict.PROMOTED
    assert contest.counted == len(looks) < 16


def test_a_correction_and_an_undo_are_in_the_next_look(
    alice: TestClient, session: Session, ballot: Ballot, contest: Contest
) -> None:
    for _ in range(3):
        ballot.ask()
    session.commit()
    item, first = judge(alice, "new one")
    judge(alice, "new one")
    undone, _ = judge(alice, "old one")
    contests.look(session)
    assert contest.counted == 3
    assert contest.score == pytest.approx(2 / 3)
    judge(alice, "old one", corrects=first, item=item)
    assert alice.post(f"/api/v1/assignments/{undone}/undo").status_code == 200
    session.commit()
    contests.look(session)
    assert (contest.counted, contest.score) == (2, 0.5)
    seqs = session.execute(select(ContestVote.seq, ContestVote.score).order_by(ContestVote.seq)).all()
    assert [tuple(row) for row in seqs] == [(1, 0.0), (2, 1.0)]


def test_the_contest_says_how_many_held_out_prompts_each_solves_by_the_checks(
    client: TestClient, session: Session, contest: Contest
) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    assert "Checked answers" not in client.get(f"/contests/{contest.id}").text
    rate = {"value": 0.25, "low": 0.125, "high": 0.375, "prompts": 40}
    metrics = {
        "before_metrics": {"verified/maths": rate | {"value": 0.2}},
        "after_metrics": {"verified/maths": rate},
        "compared": {"verified_gain/maths": rate | {"value": 0.05, "low": -0.01, "high": 0.11}},
    }
    policies = {"checkpoint_id": contest.challenger_id, "against_id": contest.champion_id}
    session.add(Evaluation(round_id=contest.round_id, passed=True, metrics=metrics, **policies))
    session.commit()
    words = " ".join(re.sub(r"<[^>]+>", " ", client.get(f"/contests/{contest.id}").text).split())
    assert "maths 40 25.0% [12.5%, 37.5%] 20.0% [12.5%, 37.5%] +5.0 points [-1.0, +11.0]" in words
    assert "checked by programs before the contest" in words
