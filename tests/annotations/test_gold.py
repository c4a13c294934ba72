"""Known answers: who is given them, what they decide, and that nothing of them is trained on."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import gold, recording, service
from app.annotations.models import Annotation, Qualification
from app.annotations.queries import visible_batches
from app.comparisons.models import GOLD_SEATS, Assignment, Comparison, Purpose
from app.judgements.vocabulary import Outcome
from app.kernel.errors import BadInput, Conflict
from app.preferences import queries as preferences
from app.preferences.forms import ExportFilter
from app.prompts.models import Batch, BatchKind, PromptState
from app.quality import service as quality
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


def make_gold(session: Session, staff: User, batch: Batch, outcome: Outcome = Outcome.RANKED) -> Comparison:
    """A known answer of ``batch``, made of what Gwen said; its own comparison wants nobody else."""
    prompt = make_prompt(session, batch, state=PromptState.READY)
    comparison = make_comparison(session, prompt=prompt)
    asked, batch.qualification_items = batch.qualification_items, 0
    session.commit()
    said = make_annotation(session, make_user(session, name="Gwen"), comparison, outcome=outcome)
    batch.qualification_items = asked
    made = quality.make_gold(session, staff, said, "The first one answers the question.")
    session.commit()
    return made


def ask(session: Session, batch: Batch, **values: int) -> Batch:
    for name, value in values.items():
        setattr(batch, name, value)
    session.commit()
    return batch


def purpose_of_next(session: Session, user: User, batch: Batch) -> Purpose | None:
    held = service.next_assignment(session, user, batch.id)
    return session.get_one(Comparison, held.comparison_id).purpose if held else None


def answer(session: Session, user: User, *, right: bool = True) -> Annotation:
    """Judge the next item as it is known, or the other way round."""
    held = service.next_assignment(session, user)
    assert held is not None
    ids = sorted(held.order_shown)
    comparison = session.get_one(Comparison, held.comparison_id)
    assert comparison.purpose is Purpose.GOLD
    return make_annotation(session, user, comparison, ranking=[[each] for each in (ids if right else reversed(ids))])


def test_a_known_answer_is_never_handed_out_as_work(session: Session, bob: User, alice: User) -> None:
    batch = make_batch(session)
    make_gold(session, bob, batch)
    assert service.next_assignment(session, alice, batch.id) is None
    assert [each.waiting for each in visible_batches(session, alice)] == [0]


def test_a_known_answer_comes_first_when_it_is_drawn(
    session: Session, bob: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ask(session, make_batch(session), gold_percent=50)
    make_gold(session, bob, batch)
    make_comparison(session, prompt=make_prompt(session, batch, state=PromptState.READY))
    monkeypatch.setattr(gold, "is_due", lambda percent: percent == 50)
    assert purpose_of_next(session, alice, batch) is Purpose.GOLD
    answer(session, alice)
    assert purpose_of_next(session, alice, batch) is Purpose.COLLECT


def test_known_answers_do_not_go_on_when_the_work_is_done(
    session: Session, bob: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ask(session, make_batch(session), gold_percent=50)
    make_gold(session, bob, batch)
    monkeypatch.setattr(gold, "is_due", lambda percent: True)
    assert service.next_assignment(session, alice, batch.id) is None


def test_the_number_of_waiting_items_does_not_tell_which_have_a_known_answer(
    session: Session, bob: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ask(session, make_batch(session), gold_percent=50)
    make_gold(session, bob, batch)
    for _ in range(2):
        make_comparison(session, prompt=make_prompt(session, batch, state=PromptState.READY))
    seen = [visible_batches(session, alice)[0].waiting]
    for due in (True, False):
        monkeypatch.setattr(gold, "is_due", lambda _percent, due=due: due)
        held = service.next_assignment(session, alice, batch.id)
        assert held is not None
        seen.append(visible_batches(session, alice)[0].waiting)
        make_annotation(session, alice, session.get_one(Comparison, held.comparison_id))
        seen.append(visible_batches(session, alice)[0].waiting)
    assert seen == [3, 3, 2, 2, 1]


def test_none_is_drawn_where_none_is_asked_for() -> None:
    assert not any(gold.is_due(0) for _ in range(100))
    assert all(gold.is_due(100) for _ in range(100))


def test_nobody_meets_a_prompt_with_and_without_its_known_answer(
    session: Session, bob: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ask(session, make_batch(session, annotators_per_prompt=5), gold_percent=50)
    made = make_gold(session, bob, batch)
    monkeypatch.setattr(gold, "is_due", lambda percent: True)
    gwen = session.get_one(User, made.not_for_id)
    make_comparison(session, 2, prompt=make_prompt(session, batch, state=PromptState.READY))
    assert purpose_of_next(session, gwen, batch) is Purpose.COLLECT, "she wrote the known answer"
    answer(session, alice)
    met = session.scalar(select(Comparison.prompt_id).where(Comparison.id == made.id))
    held = service.next_assignment(session, alice, batch.id)
    assert held is not None
    assert session.get_one(Comparison, held.comparison_id).prompt_id != met
    charlie = make_user(session, name="Charlie")
    monkeypatch.setattr(gold, "is_due", lambda percent: False)
    make_annotation(session, charlie, session.get_one(Comparison, held.comparison_id))
    monkeypatch.setattr(gold, "is_due", lambda percent: True)
    assert purpose_of_next(session, charlie, batch) in {Purpose.COLLECT, None}, "he has judged that prompt already"


def test_a_retired_answer_is_given_to_nobody_until_it_is_brought_back(session: Session, bob: User, alice: User) -> None:
    batch = ask(session, make_batch(session), qualification_items=1)
    made = make_gold(session, bob, batch)
    held = service.next_assignment(session, alice, batch.id)
    assert held is not None
    quality.set_gold(session, bob, made, retired=True)
    service.release(session, alice, held.id)  # its seat must not open the item to others again
    charlie = make_user(session, name="Charlie")
    assert service.next_assignment(session, charlie, batch.id) is None
    quality.set_gold(session, bob, made, retired=False)
    assert purpose_of_next(session, charlie, batch) is Purpose.GOLD
    session.refresh(made)
    assert made.seats_free == GOLD_SEATS - 1


def test_a_retired_answer_may_be_finished_by_who_has_it(session: Session, bob: User, alice: User) -> None:
    batch = ask(session, make_batch(session), qualification_items=1)
    made = make_gold(session, bob, batch)
    service.next_assignment(session, alice, batch.id)
    quality.set_gold(session, bob, made, retired=True)
    answer(session, alice)
    session.refresh(made)
    assert (made.annotators_wanted, made.annotators_done, made.seats_free) == (1, 1, 0)


def test_dialogues_are_no_items(session: Session, alice: User) -> None:
    comparison = make_comparison(session)
    session.get_one(Batch, comparison.batch_id).kind = BatchKind.DIALOGUE
    session.commit()
    assert service.next_assignment(session, alice) is None
    assert [each for each in visible_batches(session, alice) if each.waiting] == []


# ── Qualification ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def batch(session: Session, bob: User) -> Batch:
    """Two known answers come first, both have to be met, and one real item waits."""
    batch = ask(session, make_batch(session), qualification_items=2, qualification_percent=100)
    for _ in range(2):
        make_gold(session, bob, batch)
    make_comparison(session, prompt=make_prompt(session, batch, state=PromptState.READY))
    return batch


def test_who_answers_right_goes_on_to_the_work(session: Session, alice: User, batch: Batch) -> None:
    assert gold.standing(session, alice.id, batch).state is gold.State.ANSWERING
    first, second = answer(session, alice), answer(session, alice)
    assert gold.standing(session, alice.id, batch).state is gold.State.PASSED
    assert session.get_one(Qualification, (batch.id, alice.id)).passed
    assert purpose_of_next(session, alice, batch) is Purpose.COLLECT
    told = [gold.feedback(session, each.id) for each in (first, second)]
    assert [each.right for each in told if each] == [True, True]
    assert [each.standing.answered for each in told if each] == [1, 2]


def test_who_does_not_gets_nothing_more_of_the_batch(session: Session, alice: User, batch: Batch) -> None:
    wrong = answer(session, alice, right=False)
    answer(session, alice)
    assert gold.standing(session, alice.id, batch) == gold.Standing(gold.State.FAILED, 2, 2, 1)
    assert service.next_assignment(session, alice, batch.id) is None
    told = gold.feedback(session, wrong.id)
    assert told is not None
    assert not told.right
    assert told.said != told.known
    assert "answers the question" in told.explanation
    best = "AB"[wrong.order_shown.index(min(wrong.order_shown))]
    assert told.known == f"response {best} is best"


def test_the_first_answer_counts(session: Session, alice: User, batch: Batch) -> None:
    wrong = answer(session, alice, right=False)
    recording.undo(session, alice, wrong.assignment_id)
    again = answer(session, alice)
    assert again.assignment_id == wrong.assignment_id
    assert gold.feedback(session, again.id) is None
    answer(session, alice)
    assert gold.standing(session, alice.id, batch).correct == 1


def test_too_few_known_answers_are_said_to_be_too_few(session: Session, alice: User, bob: User, batch: Batch) -> None:
    ask(session, batch, qualification_items=3)
    assert gold.standing(session, alice.id, batch).state is gold.State.NOT_READY
    assert service.next_assignment(session, alice, batch.id) is None
    make_gold(session, bob, batch)
    assert purpose_of_next(session, alice, batch) is Purpose.GOLD


def test_staff_qualify_like_everybody_once_there_is_something_to_qualify_with(
    session: Session, bob: User, batch: Batch
) -> None:
    assert purpose_of_next(session, bob, batch) is Purpose.GOLD
    rita = make_user(session, Role.REVIEWER, "Rita")
    ask(session, batch, qualification_items=3)
    assert purpose_of_next(session, rita, batch) is Purpose.COLLECT, "or nobody could make the known answers"


def test_another_attempt_counts_only_what_comes_after_it(
    session: Session, alice: User, bob: User, batch: Batch
) -> None:
    for _ in range(2):
        answer(session, alice, right=False)
    quality.reset_qualification(session, bob, batch, alice.id)
    assert gold.standing(session, alice.id, batch).state is gold.State.NOT_READY
    for _ in range(2):
        make_gold(session, bob, batch)
    assert gold.standing(session, alice.id, batch) == gold.Standing(gold.State.ANSWERING, 2, 0, 0)
    for _ in range(2):
        answer(session, alice)
    assert gold.standing(session, alice.id, batch).state is gold.State.PASSED
    charlie = make_user(session, name="Charlie")
    with pytest.raises(Conflict):
        quality.reset_qualification(session, bob, batch, charlie.id)


def test_a_decision_stands_when_the_batch_asks_for_more(session: Session, alice: User, batch: Batch) -> None:
    answer(session, alice)
    answer(session, alice)
    ask(session, batch, qualification_items=5)
    assert purpose_of_next(session, alice, batch) is Purpose.COLLECT


def test_nothing_is_said_of_an_answer_that_was_mixed_in(
    session: Session, alice: User, bob: User, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(session, alice)
    answer(session, alice)
    make_gold(session, bob, batch)
    monkeypatch.setattr(gold, "is_due", lambda percent: True)
    assert gold.feedback(session, answer(session, alice).id) is None


@pytest.mark.parametrize(
    ("outcome", "ranking", "known", "best", "right"),
    [
        (Outcome.RANKED, [[1], [2]], Outcome.RANKED, 1, True),
        (Outcome.RANKED, [[2], [1]], Outcome.RANKED, 1, False),
        (Outcome.RANKED, [[1, 2], [3]], Outcome.RANKED, 1, False),
        (Outcome.TIE, [[1, 2]], Outcome.RANKED, 1, False),
        (Outcome.TIE, [[1, 2]], Outcome.TIE, None, True),
        (Outcome.ALL_UNACCEPTABLE, [[1, 2]], Outcome.TIE, None, False),
        (Outcome.ALL_UNACCEPTABLE, [[1, 2]], Outcome.ALL_UNACCEPTABLE, None, True),
    ],
)
def test_what_is_right(
    outcome: Outcome, ranking: list[list[int]], known: Outcome, best: int | None, *, right: bool
) -> None:
    assert gold.is_right(outcome, ranking, known, best) is right


# ── Making them ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_known_answer_needs_an_explanation_and_one_best_response(session: Session, alice: User, bob: User) -> None:
    comparison = make_comparison(session, 3, wanted=2)
    said = make_annotation(session, alice, comparison)
    with pytest.raises(BadInput):
        quality.make_gold(session, bob, said, "  ")
    ids = sorted(said.order_shown)
    shared = make_annotation(session, make_user(session), comparison, ranking=[ids[:2], ids[2:]])
    with pytest.raises(BadInput):
        quality.make_gold(session, bob, shared, "Both are good.")
    quality.make_gold(session, bob, said, "The first is true.")
    with pytest.raises(Conflict):
        quality.make_gold(session, bob, said, "Again.")


def test_nothing_of_it_is_exported(session: Session, alice: User, bob: User, batch: Batch) -> None:
    known = {answer(session, alice).id, answer(session, alice).id}
    real = make_annotation(session, alice, edited_text="Better.")
    exported = {each.annotation_id for each in preferences.sources(session, ExportFilter(), 10)}
    assert real.id in exported
    assert not exported & known


def test_the_page_of_a_known_answer_shows_no_difference(session: Session, alice: User, bob: User, batch: Batch) -> None:
    held = service.next_assignment(session, alice, batch.id)
    assert held is not None
    columns = session.execute(text("SELECT * FROM assignments WHERE id = :id"), {"id": held.id}).mappings().one()
    assert columns["draft"] is None
    assert session.get_one(Assignment, held.id).fencing_token == 1
