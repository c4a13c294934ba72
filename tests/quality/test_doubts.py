"""The disagreement queue: who contradicts a confident reward model is not believed less, a second person is asked."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service as judging
from app.comparisons.models import Comparison, ComparisonCandidate, Drawn
from app.prompts.models import Batch, BatchState
from app.quality.queries import Show, Wanted, review_page
from app.registry.models import CheckpointKind
from app.rounds import bounds
from app.upkeep.audit import audit
from tests.factories import make_annotation, make_checkpoint, make_comparison, make_user
from workers.selection import doubts

SURE = 4.0
"""A difference of rewards at which one response is preferred with a probability of 0.98."""


@pytest.fixture(autouse=True)
def everything_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "SHARE", 1.0)


@pytest.fixture
def judge(session: Session) -> int:
    return make_checkpoint(session, "reward-r1", CheckpointKind.REWARD).id


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, Role.ANNOTATOR, "Alice")


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ANNOTATOR, "Bob")


def judged(session: Session, who: User, *, drawn: Drawn = Drawn.SELECTED) -> Comparison:
    """An item of a batch of its own, of which ``who`` prefers the first response."""
    item = make_comparison(session, texts=("The preferred one", "The other one"))
    item.drawn = drawn
    batch_of(session, item).overlap_percent = 10
    make_annotation(session, who, item, strengths=[3])
    return item


def batch_of(session: Session, item: Comparison) -> Batch:
    return session.get_one(Batch, item.batch_id)


def rewards(session: Session, item: Comparison, margin: float) -> dict[int, float]:
    """What a model says of it that finds the second response better by ``margin``."""
    of_item = select(ComparisonCandidate.candidate_id).where(ComparisonCandidate.comparison_id == item.id)
    first, second = sorted(session.scalars(of_item))
    return {first: 0.0, second: margin}


def test_a_second_person_is_asked_where_a_confident_model_contradicts_the_first(
    session: Session, alice: User, bob: User, judge: int
) -> None:
    against, agrees, unsure = (judged(session, alice) for _ in range(3))
    scored = {**rewards(session, against, SURE), **rewards(session, agrees, -SURE), **rewards(session, unsure, 0.5)}
    assert doubts.ask_again(session, judge, scored) == 1
    session.expire_all()
    assert [each.annotators_wanted for each in (against, agrees, unsure)] == [2, 1, 1]
    session.refresh(against)
    assert (against.seats_free, against.doubted_by_id) == (1, judge)
    assert doubts.ask_again(session, judge, scored) == 0, "nobody is asked a third time"
    assert audit(session, files=False) == []


def test_staff_read_of_it_once_both_have_judged(session: Session, alice: User, bob: User, judge: int) -> None:
    item = judged(session, alice)
    doubts.ask_again(session, judge, rewards(session, item, SURE))
    session.refresh(item)
    reader = make_user(session, Role.REVIEWER, "Rita")
    wanted = Wanted(show=Show.DOUBTED)
    assert review_page(session, reader, wanted).rows == [], "it would sway whoever is asked"
    make_annotation(session, bob, item, strengths=[2])
    assert len(review_page(session, reader, wanted).rows) == 2


def test_the_second_person_is_another_one(session: Session, alice: User, bob: User, judge: int) -> None:
    item = judged(session, alice)
    assert judging.next_assignment(session, bob) is None
    doubts.ask_again(session, judge, rewards(session, item, SURE))
    assert judging.next_assignment(session, alice) is None
    held = judging.next_assignment(session, bob)
    assert held is not None
    assert held.comparison_id == item.id


def test_what_counts_in_gate_and_board_is_asked_once(session: Session, alice: User, bob: User, judge: int) -> None:
    drawn_at_random = judged(session, alice, drawn=Drawn.RANDOM)
    assert doubts.ask_again(session, judge, rewards(session, drawn_at_random, SURE)) == 0


def test_nobody_is_asked_where_nobody_can_be(session: Session, alice: User, judge: int) -> None:
    alone = judged(session, alice)
    assert doubts.ask_again(session, judge, rewards(session, alone, SURE)) == 0, "there is no second person"
    make_user(session, Role.ANNOTATOR, "Bob")
    batch = batch_of(session, alone)
    batch.overlap_percent = 0
    session.flush()
    assert doubts.ask_again(session, judge, rewards(session, alone, SURE)) == 0, "the batch asks nobody twice"
    batch.overlap_percent, batch.state = 10, BatchState.CLOSED
    session.flush()
    assert doubts.ask_again(session, judge, rewards(session, alone, SURE)) == 0, "the batch is closed"


def test_the_worst_contradictions_are_asked_first_and_few_of_them(
    session: Session, alice: User, bob: User, judge: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "SHARE", 0.5)
    little, much = judged(session, alice), judged(session, alice)
    assert doubts.ask_again(session, judge, {**rewards(session, little, 3.0), **rewards(session, much, 9.0)}) == 1
    session.refresh(much)
    assert much.doubted_by_id == judge


def test_the_gate_says_how_many_were_asked() -> None:
    share = {"value": 0.8, "low": 0.7, "high": 0.9, "prompts": 40}
    report = {"pairs": 40, "head": share, "reward_model": share, "above": {**share, "value": 0.0, "low": -0.1}}
    words = [finding.words for finding in bounds.of_head({**report, "asked_again": 3})]
    assert any("3 items" in each for each in words)
    assert len(list(bounds.of_head({**report, "asked_again": 0}))) == 1
