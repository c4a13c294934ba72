"""Items are given in a drawn order, not in that of the file, whatever they are for."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, literal, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service as annotating
from app.annotations import verification
from app.comparisons import claims
from app.comparisons.models import Comparison, Drawn, Purpose
from app.comparisons.purposes import Asked, count_fresh
from app.comparisons.service import create_comparison
from app.prompts.models import Batch, PromptState
from app.quality import service as quality
from tests.factories import make_annotation, make_batch, make_candidate, make_prompt, make_user

ITEMS = 30


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def batch(session: Session) -> Batch:
    """A file of two topics, the one after the other."""
    made = make_batch(session)
    for number in range(ITEMS):
        prompt = make_prompt(
            session, made, f"Topic {number // (ITEMS // 2)}, question {number}?", state=PromptState.READY
        )
        for text in ("One.", "Two."):
            make_candidate(session, prompt, text)
        assert create_comparison(session, prompt) is not None
    session.commit()
    return made


def rows(session: Session, batch: Batch) -> list[Comparison]:
    query = select(Comparison).where(Comparison.batch_id == batch.id)
    return list(session.scalars(query.order_by(Comparison.position, Comparison.id)))


def given(session: Session, user: User, batch: Batch) -> list[int]:
    """Every item that claims give, in their order."""
    found = []
    while (held := annotating.next_assignment(session, user, batch.id)) is not None:
        found.append(held.comparison_id)
        annotating.skip(session, user, held.id, "next")
    return found


def test_items_are_claimed_in_shuffled_order_and_none_is_left_out(session: Session, alice: User, batch: Batch) -> None:
    made = rows(session, batch)
    assert {each.drawn for each in made} == {Drawn.RANDOM}
    waits = session.scalar(select(count_fresh(literal(batch.id), literal(alice.id, BigInteger), up_to=200)))
    order = given(session, alice, batch)
    assert order == [each.id for each in made]
    assert order != sorted(order), "once in 30! times it is"
    assert waits == len(set(order)) == ITEMS


def test_everybody_meets_the_same_order(session: Session, alice: User, batch: Batch) -> None:
    dora = make_user(session, name="Dora")
    for each in rows(session, batch):
        each.annotators_wanted = each.seats_free = 2
    session.commit()
    assert given(session, alice, batch) == given(session, dora, batch)


def test_an_edit_that_waits_for_its_verification_is_not_pushed_in_front(
    session: Session, alice: User, batch: Batch
) -> None:
    first = rows(session, batch)[0]
    said = make_annotation(session, make_user(session, name="Gwen"), first, edited_text="Better.")
    verification.after(session, said.id, percent=100)
    session.commit()
    verifies = next(each for each in rows(session, batch) if each.purpose is Purpose.VERIFY_EDIT)
    assert verifies.position > 0
    assert given(session, alice, batch) == [each.id for each in rows(session, batch) if each.id != first.id]


def test_known_answers_are_given_one_after_the_other_until_none_is_left(
    session: Session, alice: User, batch: Batch
) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    for each in rows(session, batch)[:3]:
        quality.make_gold(session, bob, make_annotation(session, bob, each), "Plain.")
    session.commit()
    met = []
    while (held := claims.claim(session, alice.id, batch.id, Asked.KNOWN_ANSWER)) is not None:
        met.append(held.comparison_id)
    known = [each.id for each in rows(session, batch) if each.purpose is Purpose.GOLD]
    assert met == known
    assert len(known) == 3
