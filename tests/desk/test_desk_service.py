"""Many at once: all that are as they were, none of the others, and each of those by name. One judgement that holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.annotations import recording
from app.annotations import service as annotating
from app.annotations.forms import Submission
from app.annotations.models import (
    COUNTS,
    Adjudication,
    Annotation,
    AnnotationChange,
    Decision,
    Retraction,
    RetractionScope,
    Review,
)
from app.comparisons.models import Comparison
from app.desk import queries, service
from app.desk.models import DeskView
from app.desk.service import Act, Pick
from app.judgements.vocabulary import Outcome
from app.kernel.errors import BadInput, Conflict, Forbidden, NotFound
from app.lineage import service as lineage
from app.prompts.models import Batch, BatchState
from app.quality import service as quality
from app.upkeep.audit import audit
from tests.factories import make_annotation, make_comparison, make_user


def pick(*said: Annotation) -> list[Pick]:
    return [Pick(each.id, 0) for each in said]


def correct(session: Session, said: Annotation) -> None:
    given = Submission(fencing_token=1, outcome=Outcome.TIE, ranking=[], strengths=[], corrects=said.id)
    user = session.get_one(User, said.annotator_id)
    recording.submit(session, user, said.assignment_id, given, key=f"correct {said.id}")
    session.commit()


def counting(session: Session) -> list[int]:
    session.flush()
    return list(session.scalars(select(Annotation.id).where(COUNTS).order_by(Annotation.id)))


def test_many_are_accepted_at_once_and_each_is_in_the_log(session: Session, rita: User, alice: User) -> None:
    said = [make_annotation(session, alice) for _ in range(3)]
    done = service.review_many(session, rita, Act.ACCEPT, pick(*said))
    assert (done.done, done.left, done.said()) == ([each.id for each in said], {}, "Accepted 3 annotations.")
    assert set(session.scalars(select(Review.verdict))) == {Decision.ACCEPTED}
    events = session.scalars(select(AuditEvent.subject_id).where(AuditEvent.action == "annotation.accepted"))
    assert list(events) == done.done


def test_many_are_returned_with_one_note(session: Session, rita: User, alice: User) -> None:
    said = [make_annotation(session, alice) for _ in range(2)]
    with pytest.raises(BadInput):
        service.review_many(session, rita, Act.RETURN, pick(*said), "  ")
    service.review_many(session, rita, Act.RETURN, pick(*said), " Check the year. ")
    assert list(session.scalars(select(Review.note))) == ["Check the year."] * 2
    assert counting(session) == []


def corrected(session: Session, said: Annotation, _: User) -> None:
    correct(session, said)


def retracted(session: Session, said: Annotation, bob: User) -> None:
    lineage.retract(session, bob, RetractionScope.ANNOTATION, said.id, "Swapped sides.")


def reviewed(session: Session, said: Annotation, bob: User) -> None:
    quality.review(session, bob, said, Decision.ACCEPTED)


@pytest.mark.parametrize("act", [Act.ACCEPT, Act.RETURN, Act.RETRACT])
@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [(corrected, service.CHANGED), (retracted, service.RETRACTED), (reviewed, service.REVIEWED)],
)
def test_what_changed_meanwhile_is_left_as_it_is_and_named(
    session: Session,
    bob: User,
    alice: User,
    act: Act,
    meanwhile: Callable[[Session, Annotation, User], None],
    why: str,
) -> None:
    kept, changed = make_annotation(session, alice), make_annotation(session, alice)
    meanwhile(session, changed, make_user(session, Role.ADMIN, "Ben"))
    before = session.scalar(select(func.count()).select_from(Review)) or 0
    picks = pick(kept, changed)
    done = (
        service.retract_many(session, bob, picks, "Swapped sides.")
        if act is Act.RETRACT
        else service.review_many(session, bob, act, picks, "Check.")
    )
    assert (done.done, done.left) == ([kept.id], {changed.id: why})
    assert done.said() == f"{act.done(1)} Left as they were: {changed.id} ({why})."
    after = session.scalar(select(func.count()).select_from(Review)) or 0
    assert after - before == (act is not Act.RETRACT)


def test_the_same_act_twice_does_nothing_twice(session: Session, rita: User, alice: User) -> None:
    said = make_annotation(session, alice)
    for _ in range(2):
        assert service.review_many(session, rita, Act.RETURN, pick(said), "Check.").said() == "Returned 1 annotation."
    assert session.scalar(select(func.count()).select_from(Review)) == 1


def test_ones_own_ones_work_and_closed_batches_are_left(session: Session, rita: User, alice: User) -> None:
    own = make_annotation(session, rita)
    item = make_comparison(session, wanted=2)
    said = make_annotation(session, alice, item)
    assert annotating.next_assignment(session, rita, item.batch_id) is not None
    closed = make_annotation(session, alice)
    batch = session.get_one(Batch, session.get_one(Comparison, closed.comparison_id).batch_id)
    batch.state = BatchState.CLOSED
    session.commit()
    accepted = service.review_many(session, rita, Act.ACCEPT, [*pick(own, said), Pick(2**40, 0)])
    assert accepted.left == {own.id: service.OWN, said.id: service.WORKED_ON, 2**40: service.GONE}
    assert service.review_many(session, rita, Act.RETURN, pick(closed), "Check.").left == {closed.id: service.CLOSED}


def test_whoever_acts_on_a_judgement_is_not_given_its_item(session: Session, rita: User, alice: User) -> None:
    item = make_comparison(session, wanted=2)
    service.review_many(session, rita, Act.ACCEPT, pick(make_annotation(session, alice, item)))
    assert annotating.next_assignment(session, rita, item.batch_id) is None


def test_many_that_are_left_are_counted_after_the_first(session: Session, rita: User) -> None:
    done = service.review_many(session, rita, Act.ACCEPT, [Pick(2**40 + each, 0) for each in range(25)])
    assert done.said().endswith(f"{2**40 + 19} and 5 more ({service.GONE}).")


@pytest.mark.parametrize("number", [0, queries.AT_ONCE + 1])
def test_none_and_too_many_are_refused(session: Session, rita: User, number: int) -> None:
    with pytest.raises(BadInput):
        service.review_many(session, rita, Act.ACCEPT, [Pick(each + 1, 0) for each in range(number)])


def test_many_are_retracted_with_all_their_versions_and_can_be_restored(
    session: Session, bob: User, rita: User, alice: User
) -> None:
    first, other = make_annotation(session, alice), make_annotation(session, alice)
    correct(session, first)
    (second,) = session.scalars(select(Annotation).where(Annotation.id > other.id))
    with pytest.raises(Forbidden):
        service.retract_many(session, rita, pick(second), "Swapped sides.")
    with pytest.raises(BadInput):
        service.retract_many(session, bob, pick(second), " ")
    assert (
        service.retract_many(session, bob, pick(second, other), "Swapped sides.").said() == "Retracted 2 annotations."
    )
    assert counting(session) == []
    made = session.scalars(select(Retraction).order_by(Retraction.id)).all()
    assert [(each.target_id, each.annotations) for each in made] == [(second.id, 2), (other.id, 1)]
    assert not [each for each in audit(session) if "retraction" in str(each)]
    lineage.restore(session, bob, made[0])
    assert counting(session) == [second.id]


def test_a_judgement_that_holds_is_the_only_one_of_its_item_that_counts(
    session: Session, rita: User, bob: User
) -> None:
    item = make_comparison(session, wanted=3)
    said = [make_annotation(session, make_user(session), item) for _ in range(3)]
    elsewhere = make_annotation(session, make_user(session))
    session.execute(delete(AnnotationChange))
    service.adjudicate(session, rita, said[1], "B gives the source.")
    assert counting(session) == [said[1].id, elsewhere.id]
    service.adjudicate(session, bob, said[2], "The source is wrong.")
    assert counting(session) == [said[2].id, elsewhere.id]
    assert session.scalar(select(func.count()).select_from(Adjudication)) == 2, "the first stays, as history"
    assert service.end_adjudication(session, bob, item.id)
    assert not service.end_adjudication(session, bob, item.id)
    assert counting(session) == [*(each.id for each in said), elsewhere.id]
    noted = set(session.scalars(select(AnnotationChange.annotation_id)))
    assert noted == {each.id for each in said}, "an export of what changed says it"


def test_once_what_held_is_corrected_the_others_count_again(session: Session, rita: User) -> None:
    item = make_comparison(session, wanted=2)
    first, second = (make_annotation(session, make_user(session), item) for _ in range(2))
    service.adjudicate(session, rita, first, "It is right.")
    correct(session, first)
    assert second.id in counting(session)


def test_what_cannot_hold(session: Session, rita: User, bob: User, alice: User) -> None:
    said, own = make_annotation(session, alice), make_annotation(session, rita)
    with pytest.raises(BadInput):
        service.adjudicate(session, rita, said, " ")
    with pytest.raises(Conflict, match="your own"):
        service.adjudicate(session, rita, own, "I am right.")
    retracted(session, said, bob)
    with pytest.raises(Conflict, match="retracted"):
        service.adjudicate(session, rita, said, "It is right.")
    known = quality.make_gold(session, bob, make_annotation(session, make_user(session)), "Plain.")
    batch = session.get_one(Batch, known.batch_id)
    batch.qualification_items = 1
    session.commit()
    with pytest.raises(Conflict, match="known answer"):
        service.adjudicate(session, rita, make_annotation(session, alice, known), "It is right.")
    other = make_annotation(session, alice)
    correct(session, other)
    with pytest.raises(Conflict, match="corrected"):
        service.adjudicate(session, rita, other, "It is right.")


def test_views_are_ones_own_and_have_a_name(session: Session, rita: User, bob: User) -> None:
    view = service.keep_view(session, rita, "  To  look at ", "reviewed=not-reviewed")
    assert (view.name, view.filters) == ("To look at", "reviewed=not-reviewed")
    assert service.keep_view(session, rita, "To look at", "edited=1").id == view.id
    assert service.keep_view(session, bob, "To look at", "").id != view.id
    for name in ("", " ", "x" * 81):
        with pytest.raises(BadInput):
            service.keep_view(session, rita, name, "")
    with pytest.raises(BadInput):
        service.keep_view(session, rita, "Long", "q=" + "x" * 2_000)
    with pytest.raises(NotFound):
        service.delete_view(session, bob, view.id)
    service.delete_view(session, rita, view.id)
    assert list(session.scalars(select(DeskView.user_id))) == [bob.id]
