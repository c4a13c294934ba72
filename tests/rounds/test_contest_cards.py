"""The card and the page of a contest: what they show, to whom, and what they foresee."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.loops.models import Round, Verdict
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import cards
from app.rounds.models import ContestKind, ContestVote
from tests.factories import (
    make_annotation,
    make_checkpoint,
    make_comparison,
    make_contest,
    make_user,
    sign_in,
)
from tests.rounds.history import challenge, crown, settle


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def rita(session: Session) -> User:
    return make_user(session, Role.REVIEWER, "Rita")


@pytest.fixture
def base(session: Session) -> Checkpoint:
    return make_checkpoint(session, "zebra-base", CheckpointKind.BASE)


# ── The card ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_card_of_an_open_contest_asks_for_itself_and_a_settled_one_no_more(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    contest = challenge(session, 1, base)
    sign_in(client, bob)
    paths = (f"/contests/{contest.id}/card", f"/contests/{contest.id}", "/", "/rounds/1")
    assert all(f'hx-get="/contests/{contest.id}' in client.get(path).text for path in paths)
    assert client.get(paths[1]).text.count(f'hx-get="/contests/{contest.id}') == 1, "not twice for the same numbers"
    contest.verdict, contest.closed_at = Verdict.INCONCLUSIVE, contest.opened_at
    session.commit()
    assert all(f'hx-get="/contests/{contest.id}' not in client.get(path).text for path in paths)


def test_the_page_of_a_contest_shows_all_that_was_counted(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    contest = challenge(session, 1, base)
    page = sign_in(client, bob).get(f"/contests/{contest.id}").text
    for words in (
        "judged by 2 people",
        "62% [40, 80]",
        "annotator-aa",
        "55%",
        "59% [43, 74]",
        "3.3 of 20",
        "neither applies",
    ):
        assert words in page, words
    exchanged = client.get(f"/contests/{contest.id}", headers={"hx-request": "true"}).text
    assert exchanged.lstrip().startswith('<div id="contest"')


def test_a_contest_without_a_vote_says_so(session: Session, client: TestClient, bob: User, base: Checkpoint) -> None:
    contest = challenge(session, 1, base, counted=0, score=None, low=None, high=None, log_e=0.0, people=0, details={})
    sign_in(client, bob)
    for path in ("/", "/rounds/1", f"/contests/{contest.id}"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "no vote yet" in answer.text.lower(), path
    assert "At most 400 more judgements" in client.get("/").text


def test_days_left_are_counted_at_the_pace_of_the_last_day(session: Session, bob: User, base: Checkpoint) -> None:
    contest = challenge(session, 1, base, counted=200, score=0.5, log_e=0.1)
    alice = make_user(session, name="Alice")
    for seq in (1, 2):
        said = make_annotation(session, alice, make_comparison(session))
        session.add(ContestVote(contest_id=contest.id, annotation_id=said.id, seq=seq, score=1.0))
    session.commit()
    forecast = cards.card_of(session, contest).forecast
    assert forecast
    assert forecast.last_day == 2
    assert forecast.more <= 200
    assert forecast.time == f"about {-(-forecast.more // 2)} days"


@pytest.mark.parametrize(
    ("sums", "more"),
    [
        ({"counted": 5, "score": 1.0}, 395),
        ({"counted": 400, "score": 0.52}, 0),
        ({"counted": 390, "score": 0.55, "log_e": 0.4}, 10),
    ],
)
def test_no_forecast_goes_beyond_the_budget(
    session: Session, base: Checkpoint, sums: dict[str, Any], more: int
) -> None:
    forecast = cards.card_of(session, challenge(session, 1, base, **sums)).forecast
    assert forecast
    assert forecast.more == more


def test_a_watch_speaks_of_the_champion_and_the_one_before(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    champion = settle(session, 1, base, Verdict.PROMOTED, 0.6)
    watch = make_contest(session, champion, base, kind=ContestKind.WATCH, of=session.query(Round).one(), budget=2000)
    crown(session, champion)
    page = sign_in(client, bob).get(f"/contests/{watch.id}").text
    assert "Watch of round 1" in page
    assert "the previous one is restored" in page
    assert "Evidence that it is worse than the previous one" in client.get("/").text


# ── Who sees what ────────────────────────────────────────────────────────────────────────────────────────────────────
DOORS = ("/contests/{id}", "/contests/{id}/card")


@pytest.mark.parametrize("door", DOORS)
def test_an_open_contest_is_for_admins_and_a_settled_one_for_reviewers_too(
    session: Session, client: TestClient, bob: User, rita: User, base: Checkpoint, door: str
) -> None:
    contest = challenge(session, 1, base)
    alice = make_user(session, name="Alice")
    path = door.format(id=contest.id)
    expected = {bob: 200, rita: 404, alice: 404}
    assert {user: sign_in(client, user).get(path).status_code for user in expected} == expected
    contest.verdict, contest.closed_at = Verdict.REFUSED, contest.opened_at
    session.commit()
    expected = {bob: 200, rita: 200, alice: 404}
    assert {user: sign_in(client, user).get(path).status_code for user in expected} == expected
