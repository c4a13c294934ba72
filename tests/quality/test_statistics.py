"""The numbers about people's work, and how sure they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import verification
from app.annotations.models import Annotation
from app.comparisons.models import Comparison
from app.judgements.vocabulary import Outcome
from app.kernel.intervals import wilson
from app.prompts.models import Batch
from app.quality import measuring, service
from app.quality.statistics import Share, Statistics, in_tens
from tests.factories import make_annotation, make_batch, make_comparison, make_user

counts = st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_the_interval_holds_the_share_and_stays_a_share(count: tuple[int, int]) -> None:
    k, n = count
    low, high = wilson(k, n)
    assert 0 <= low <= high <= 1
    if n:
        assert low - 1e-12 <= k / n <= high + 1e-12


@given(counts)
def test_the_interval_of_the_others_is_its_mirror(count: tuple[int, int]) -> None:
    k, n = count
    low, high = wilson(k, n)
    other_low, other_high = wilson(n - k, n)
    assert (other_low, other_high) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(st.integers(1, 500))
def test_more_of_the_same_is_surer(n: int) -> None:
    low, high = wilson(n, 2 * n)
    low_of_more, high_of_more = wilson(10 * n, 20 * n)
    assert high_of_more - low_of_more < high - low


def test_the_interval_is_the_one_in_the_books() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)


def test_few_say_nothing_and_chance_is_no_leaning() -> None:
    assert not Share(9, 9).enough
    assert not Share(9, 9).leans()
    assert Share(10, 10).leans()
    assert not Share(6, 10).leans()
    assert Share(0, 0).percent == 0


@given(answers=st.lists(st.booleans(), max_size=60), last=st.booleans())
def test_a_single_answer_cannot_be_read_off_the_count(*, answers: list[bool], last: bool) -> None:
    before, after = in_tens(answers), in_tens([*answers, last])
    assert before.n % 10 == 0
    if (len(answers) + 1) % 10:
        assert before == after


def of(session: Session, user: User, *, exact: bool = True) -> Statistics:
    return measuring.measure(session, [user.id], exact=exact)[user.id]


def test_leanings_are_counted_in_pairs_that_were_ranked(session: Session) -> None:
    alice, batch = make_user(session), make_batch(session)
    for texts in (["short", "a longer one"], ["same size", "size same"]):
        said = make_annotation(session, alice, make_comparison(session, batch=batch, texts=texts))
        assert said.ranking[0] == [min(said.order_shown)]
    first = sum(row.order_shown[0] == row.ranking[0][0] for row in _annotations(session, alice))
    make_annotation(session, alice, make_comparison(session, batch=batch), outcome=Outcome.TIE)
    make_annotation(session, alice, make_comparison(session, 3))
    found = of(session, alice)
    assert found.annotations == found.timed == 4
    assert found.median_seconds == 12.5
    assert found.first_preferred == Share(first, 2)
    assert found.longer_preferred == Share(0, 1), "the shorter one of the two that differ"


def _annotations(session: Session, user: User) -> list[Annotation]:
    return list(session.query(Annotation).filter_by(annotator_id=user.id))


def test_known_answers_are_exact_for_staff_and_in_tens_for_oneself(session: Session) -> None:
    rita, gwen, alice = make_user(session, Role.REVIEWER), make_user(session), make_user(session)
    batch = make_batch(session)
    made = []
    for _ in range(2):
        said = make_annotation(session, gwen, make_comparison(session, batch=batch))
        made.append(service.make_gold(session, rita, said, "Plain."))
    session.get_one(Batch, batch.id).qualification_items = 2
    session.commit()
    make_annotation(session, alice)
    assert of(session, alice).gold == Share(0, 0)
    for item, outcome in zip(made, [Outcome.RANKED, Outcome.TIE], strict=True):
        make_annotation(session, alice, item, outcome=outcome)
    assert of(session, alice).gold == Share(1, 2)
    assert of(session, alice, exact=False).gold == Share(0, 0)
    assert of(session, alice, exact=False).annotations == 3, "known answers count like other work"


@pytest.mark.parametrize("preferred", [True, False])
def test_an_edit_counts_for_who_made_it(session: Session, *, preferred: bool) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    said = make_annotation(session, alice, edited_text="Better.")
    verification.after(session, said.id, 100)
    session.commit()
    made = session.query(Comparison).filter_by(verifies_id=said.id).one()
    original, edit = said.edited_candidate_id or 0, 0
    held = make_annotation(
        session, charlie, made, ranking=None if not preferred else [[_edit_of(session, made)], [original]]
    )
    edit = next(each for each in held.order_shown if each != original)
    assert (held.ranking[0] == [edit]) is preferred
    assert of(session, alice).edits_preferred == Share(int(preferred), 1)
    assert of(session, charlie).edits_preferred == Share(0, 0)
    (row,) = measuring.edits_by_batch(session)
    assert row.preferred == Share(int(preferred), 1)
    assert [each.user_id for each in measuring.annotators(session).rows] == [alice.id, charlie.id]


def _edit_of(session: Session, comparison: Comparison) -> int:
    session.refresh(comparison, ["candidates"])
    return next(each.id for each in comparison.candidates if each.edited_from_id is not None)
