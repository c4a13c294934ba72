"""For each purpose, what a page counts for Alice and for Dora is what claims then give them."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, literal, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service as annotating
from app.annotations import verification
from app.annotations.queries import visible_batches
from app.batches.queries import batch_progress
from app.comparisons import claims
from app.comparisons.models import GOLD_SEATS, Comparison, Purpose
from app.comparisons.purposes import PURPOSES, Asked, count_fresh
from app.prompts.models import Batch
from app.quality import service as quality
from tests.factories import (
    make_annotation,
    make_batch,
    make_comparison,
    make_labelling,
    make_labels,
    make_user,
    make_writing,
)


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def dora(session: Session) -> User:
    return make_user(session, name="Dora")


def collected(session: Session, bob: User, alice: User, dora: User) -> tuple[Batch, int, int]:
    """Four items: one that Alice has judged, one whose seats others took, one that Dora has read of, and a fresh one."""
    batch = make_batch(session, annotators_per_prompt=2)
    full = make_comparison(session, batch=batch)
    for name in ("Gwen", "Hugo"):
        make_annotation(session, make_user(session, name=name), full)
    make_annotation(session, alice, make_comparison(session, batch=batch))
    claims.mark_read(session, dora.id, [make_comparison(session, batch=batch).prompt_id])
    make_comparison(session, batch=batch)
    session.commit()
    return batch, 2, 2


def known(session: Session, bob: User, alice: User, dora: User) -> tuple[Batch, int, int]:
    """Five known answers: made of what Alice said, one retired, one that Dora has answered, one of what she read, a fresh one."""
    batch = make_batch(session)
    made = []
    for author in (alice, *(make_user(session, name="Gwen") for _ in range(4))):
        said = make_annotation(session, author, make_comparison(session, batch=batch))
        made.append(quality.make_gold(session, bob, said, "Plain."))
    session.commit()
    quality.set_gold(session, bob, made[1], retired=True)
    held = claims.claim(session, dora.id, batch.id, Asked.KNOWN_ANSWER)
    assert held is not None
    not_hers = next(each for each in made[2:] if each.id != held.comparison_id)  # which one she holds is drawn
    claims.mark_read(session, dora.id, [not_hers.prompt_id])
    session.commit()
    return batch, 3, 2


def verified(session: Session, bob: User, alice: User, dora: User) -> tuple[Batch, int, int]:
    """Three edits to be verified: two of Alice's, one of Dora's."""
    batch = make_batch(session)
    said = [
        make_annotation(session, author, make_comparison(session, batch=batch), edited_text="Better.")
        for author in (alice, alice, dora)
    ]
    for annotation in said:
        verification.after(session, annotation.id, 100)
    session.commit()
    return batch, 1, 2


def written(session: Session, bob: User, alice: User, dora: User) -> tuple[Batch, int, int]:
    """Four items: one that Alice has written, one that others have, one of which Dora has read an answer, and a fresh one."""
    items = make_writing(session, "Why?", "How?", "When?", "Where?", wanted=2)
    make_annotation(session, alice, items[0])
    gwen, hugo = (make_user(session, name=name) for name in ("Gwen", "Hugo"))
    for user in (gwen, gwen, hugo):  # the first that each may have: Gwen the first two, Hugo the second
        make_annotation(session, user, items[0])
    claims.mark_read(session, dora.id, [items[2].prompt_id])
    session.commit()
    return session.get_one(Batch, items[0].batch_id), 2, 1


def labelled(session: Session, bob: User, alice: User, dora: User) -> tuple[Batch, int, int]:
    """Four responses: one that Alice has labelled, one that others have, one whose labels Dora has read, and a fresh one."""
    items = make_labelling(session, "One.", "Two.", "Three.", "Four.", wanted=2)
    make_labels(session, alice, items[0], 1)
    gwen, hugo = (make_user(session, name=name) for name in ("Gwen", "Hugo"))
    for user in (gwen, gwen, hugo):  # the first that each may have: Gwen the first two, Hugo the second
        make_labels(session, user, items[0], 1)
    claims.mark_read(session, dora.id, [items[2].prompt_id])
    session.commit()
    return session.get_one(Batch, items[0].batch_id), 2, 1


MADE = {
    Purpose.COLLECT: collected,
    Purpose.GOLD: known,
    Purpose.VERIFY_EDIT: verified,
    Purpose.WRITE: written,
    Purpose.STEPS: labelled,
}


def counted(session: Session, user: User, batch: Batch, asked: Asked) -> int:
    count = count_fresh(literal(batch.id, BigInteger), literal(user.id, BigInteger), asked, up_to=50)
    return session.execute(select(count)).scalar_one()


def claimed(session: Session, user: User, batch: Batch, asked: Asked) -> list[Purpose]:
    """The purposes of all that claims give, in turn, until nothing is left; taken back then."""
    found = []
    with session.begin_nested() as trying:
        while (held := claims.claim(session, user.id, batch.id, asked)) is not None:
            found.append(session.scalars(select(Comparison.purpose).where(Comparison.id == held.comparison_id)).one())
        trying.rollback()
    return found


def test_every_purpose_has_an_entry() -> None:
    assert list(PURPOSES) == list(Purpose) == list(MADE)
    assert [purpose for purpose, entry in PURPOSES.items() if entry.trains] == [Purpose.COLLECT, Purpose.WRITE]
    assert [purpose for purpose, entry in PURPOSES.items() if entry.compares] == [Purpose.COLLECT]


@pytest.mark.parametrize("purpose", Purpose)
def test_what_is_counted_is_what_claims_give(
    session: Session, bob: User, alice: User, dora: User, purpose: Purpose
) -> None:
    batch, for_alice, for_dora = MADE[purpose](session, bob, alice, dora)
    asked = PURPOSES[purpose].claimed_as
    for user, expected in ((alice, for_alice), (dora, for_dora)):
        for each in Asked:
            given = claimed(session, user, batch, each)
            assert counted(session, user, batch, each) == len(given)
            assert given == ([purpose] * expected if each is asked else [])


@pytest.mark.parametrize("purpose", Purpose)
def test_what_waits_is_what_the_next_item_comes_from(
    session: Session, bob: User, alice: User, dora: User, purpose: Purpose
) -> None:
    batch, *_ = MADE[purpose](session, bob, alice, dora)
    for user in (alice, dora):
        waiting = next(each.waiting for each in visible_batches(session, user) if each.id == batch.id)
        done = 0
        while annotating.next_assignment(session, user, batch.id) is not None:
            make_annotation(session, user, session.get(Comparison, _held(session, user, batch)))
            done += 1
        assert done == waiting


def _held(session: Session, user: User, batch: Batch) -> int:
    held = annotating.next_assignment(session, user, batch.id)
    assert held is not None
    return held.comparison_id


def test_a_retired_answer_that_somebody_gives_back_counts_no_more_than_it_is_given(
    session: Session, bob: User, dora: User
) -> None:
    batch = make_batch(session)
    said = make_annotation(session, make_user(session, name="Gwen"), make_comparison(session, batch=batch))
    made = quality.make_gold(session, bob, said, "Plain.")
    session.commit()
    assert made.annotators_wanted == GOLD_SEATS
    held = claims.claim(session, dora.id, batch.id, Asked.KNOWN_ANSWER)
    assert held is not None
    quality.set_gold(session, bob, made, retired=True)
    annotating.release(session, dora, held.id)
    session.commit()
    rita = make_user(session, name="Rita")
    assert session.scalars(select(Comparison.seats_free).where(Comparison.id == made.id)).one() == 1
    assert claimed(session, rita, batch, Asked.KNOWN_ANSWER) == []
    assert counted(session, rita, batch, Asked.KNOWN_ANSWER) == 0
    assert batch_progress(session, [batch.id])[batch.id].known_answers == 0
