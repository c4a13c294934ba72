"""Claims, leases, drafts, submissions: one story each, in one transaction. Races are in test_concurrency.py."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.annotations import recording, service
from app.annotations.forms import Submission
from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.comparisons import service as comparing
from app.comparisons.models import AssignmentState
from app.judgements.judgement import Draft
from app.judgements.vocabulary import EditPolicy, Outcome
from app.kernel.errors import BadInput, Conflict, NotFound
from app.prompts.models import Batch, BatchState, PromptState
from tests.annotations.submitting import ranked, seats, stored
from tests.factories import (
    make_assignment,
    make_batch,
    make_candidate,
    make_comparison,
    make_prompt,
    make_user,
)


def test_a_comparison_shows_each_distinct_text_once(session: Session) -> None:
    prompt = make_prompt(session, make_batch(session, candidates_per_prompt=4), state=PromptState.READY)
    for answer in ["one", "two", " one\n", "three"]:
        make_candidate(session, prompt, answer)
    comparison = comparing.create_comparison(session, prompt)
    assert comparison is not None
    session.refresh(comparison, ["candidates"])
    assert sorted(candidate.text for candidate in comparison.candidates) == ["one", "three", "two"]


def test_a_comparison_shows_no_more_than_its_batch_asks_for(session: Session) -> None:
    prompt = make_prompt(session, make_batch(session, candidates_per_prompt=2), state=PromptState.READY)
    for answer in ["one", "one", "two", "three"]:
        make_candidate(session, prompt, answer)
    comparison = comparing.create_comparison(session, prompt)
    assert comparison is not None
    session.refresh(comparison, ["candidates"])
    assert sorted(candidate.text for candidate in comparison.candidates) == ["one", "two"]


def test_there_is_nothing_to_compare_where_all_texts_are_the_same(session: Session) -> None:
    prompt = make_prompt(session, make_batch(session), state=PromptState.READY)
    for _ in range(3):
        make_candidate(session, prompt, "the same")
    assert comparing.create_comparison(session, prompt) is None


def test_creating_a_comparison_twice_gives_the_first(session: Session) -> None:
    comparison = make_comparison(session)
    session.refresh(comparison, ["prompt"])
    again = comparing.create_comparison(session, comparison.prompt)
    assert again is not None
    assert again.id == comparison.id


def test_alice_keeps_the_item_that_she_holds(session: Session) -> None:
    alice = make_user(session)
    batch = make_batch(session)
    make_comparison(session, batch=batch)
    make_comparison(session, batch=batch)
    first = service.next_assignment(session, alice)
    second = service.next_assignment(session, alice)
    assert first is not None
    assert second is not None
    assert first.id == second.id


def test_a_claim_takes_one_seat_and_draws_an_order_of_all_responses(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session, n=4, wanted=2)
    assignment = make_assignment(session, alice, comparison)
    session.refresh(comparison, ["candidates"])
    assert sorted(assignment.order_shown) == sorted(candidate.id for candidate in comparison.candidates)
    assert seats(session, comparison) == (1, 0)


def test_orders_differ_between_annotators(session: Session) -> None:
    comparison = make_comparison(session, n=4, wanted=12)
    orders = {tuple(make_assignment(session, make_user(session), comparison).order_shown) for _ in range(12)}
    assert len(orders) > 1


def test_alice_never_meets_a_comparison_twice(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session, wanted=2)
    first = make_assignment(session, alice, comparison)
    recording.submit(session, alice, first.id, ranked(first), "k1")
    assert service.next_assignment(session, alice) is None
    assert seats(session, comparison) == (1, 1)


@pytest.mark.parametrize("state", [BatchState.PREPARING, BatchState.PAUSED, BatchState.CLOSED])
def test_nothing_is_claimed_from_a_batch_that_is_not_open(session: Session, state: BatchState) -> None:
    alice, batch = make_user(session), make_batch(session, state=state)
    make_comparison(session, batch=batch)
    assert service.next_assignment(session, alice) is None


def test_alice_can_ask_for_one_batch(session: Session) -> None:
    alice = make_user(session)
    make_comparison(session)
    wanted = make_comparison(session)
    assignment = service.next_assignment(session, alice, wanted.batch_id)
    assert assignment is not None
    assert assignment.comparison_id == wanted.id


def test_a_submission_is_stored_as_candidates_in_their_groups(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session, n=4)
    assignment = make_assignment(session, alice, comparison)
    a, b, c, d = assignment.order_shown
    annotation = stored(
        session,
        alice,
        assignment.id,
        ranked(assignment, ranking=[["C"], ["A", "D"], ["B"]], strengths=[1, 4], comment="B invents a source"),
        "k1",
    )
    assert annotation.ranking == [[c], [a, d], [b]]
    assert annotation.strengths == [1, 4]
    assert annotation.order_shown == [a, b, c, d]
    assert annotation.comment == "B invents a source"
    assert seats(session, comparison) == (0, 1)
    session.refresh(assignment)
    assert assignment.state is AssignmentState.SUBMITTED


@pytest.mark.parametrize("outcome", [Outcome.TIE, Outcome.ALL_UNACCEPTABLE])
def test_a_tie_and_all_unacceptable_have_one_group(session: Session, outcome: Outcome) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    given = Submission(fencing_token=1, outcome=outcome)
    annotation = stored(session, alice, assignment.id, given, "k1")
    assert annotation.ranking == [assignment.order_shown]
    assert annotation.strengths == []


def test_an_edit_belongs_to_the_chosen_response(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    given = ranked(assignment, ranking=[["B"], ["A"]], edited_text="A better answer.")
    annotation = stored(session, alice, assignment.id, given, "k1")
    assert annotation.edited_candidate_id == assignment.order_shown[1]
    assert annotation.edited_text == "A better answer."


BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "a response twice": ({"ranking": [["A"], ["A"]]}, "exactly once"),
    "a response left out": ({"ranking": [["A"]]}, "exactly once"),
    "an empty group": ({"ranking": [["A", "B"], []]}, "exactly once"),
    "a response that is not shown": ({"ranking": [["A"], ["C"]]}, "not in this comparison"),
    "no ranking": ({"ranking": [], "strengths": []}, "exactly once"),
    "ranked with one group": ({"ranking": [["A", "B"]], "strengths": []}, "at least two groups"),
    "too few strengths": ({"strengths": []}, "1 strength"),
    "too many strengths": ({"strengths": [1, 2]}, "1 strength"),
    "a tie with strengths": ({"outcome": "tie", "ranking": [["A", "B"]]}, "no strengths"),
    "all unacceptable, yet ranked": ({"outcome": "all_unacceptable", "strengths": []}, "one group"),
    "a blank edit": ({"edited_text": " \n"}, "is empty"),
    "an unchanged edit": ({"edited_text": "SAME"}, "same as the response"),
    "an edit of a tie": ({"outcome": "tie", "ranking": [], "strengths": [], "edited_text": "x"}, "Only a chosen"),
    "an edit of the second": ({"edited_text": "x", "edited_position": "B"}, "first place"),
    "an edited position without text": ({"edited_position": "A"}, "no edited text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_refused_and_nothing_is_stored(session: Session, name: str) -> None:
    values, says = BROKEN[name]
    alice, comparison = make_user(session), make_comparison(session, texts=["SAME\r\n", "other"])
    assignment = make_assignment(session, alice, comparison)
    if values.get("edited_text") == "SAME":
        first = session.get_one(Candidate, assignment.order_shown[0]).text
        values = values | {"edited_text": first.replace("\r\n", "\n")}
    with pytest.raises(BadInput, match=says) as refused:
        recording.submit(session, alice, assignment.id, ranked(assignment, **values), "k1")
    assert refused.value.extra["errors"][0]["loc"]
    assert session.scalar(select(func.count()).select_from(Annotation)) == 0
    assert seats(session, comparison) == (0, 0)


def test_where_two_share_the_first_place_the_edit_names_one(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice, make_comparison(session, n=3))
    fields = {"ranking": [["A", "C"], ["B"]], "strengths": [2], "edited_text": "Better."}
    with pytest.raises(BadInput, match="choose which one"):
        recording.submit(session, alice, assignment.id, ranked(assignment, **fields), "k1")
    annotation = stored(session, alice, assignment.id, ranked(assignment, **fields, edited_position="C"), "k1")
    assert annotation.edited_candidate_id == assignment.order_shown[2]


def test_a_batch_without_edits_refuses_one(session: Session) -> None:
    alice, batch = make_user(session), make_batch(session, edit_policy=EditPolicy.NONE)
    assignment = make_assignment(session, alice, make_comparison(session, batch=batch))
    with pytest.raises(BadInput, match="does not allow edits"):
        recording.submit(session, alice, assignment.id, ranked(assignment, edited_text="x"), "k1")


def test_a_batch_that_requires_edits_asks_for_one_unless_nothing_was_chosen(session: Session) -> None:
    alice, batch = make_user(session), make_batch(session, edit_policy=EditPolicy.REQUIRED)
    first = make_assignment(session, alice, make_comparison(session, batch=batch))
    with pytest.raises(BadInput, match="requires an improved text"):
        recording.submit(session, alice, first.id, ranked(first), "k1")
    tie = Submission(fencing_token=1, outcome=Outcome.TIE)
    assert recording.submit(session, alice, first.id, tie, "k1").outcome is Outcome.TIE


def test_the_same_key_and_judgement_give_the_same_annotation(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    first = recording.submit(session, alice, assignment.id, ranked(assignment, active_seconds=3), "k1")
    again = recording.submit(session, alice, assignment.id, ranked(assignment, active_seconds=9), "k1")
    assert again.id == first.id


def test_the_same_key_with_another_judgement_is_refused(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    recording.submit(session, alice, assignment.id, ranked(assignment), "k1")
    with pytest.raises(BadInput, match="Idempotency-Key"):
        recording.submit(session, alice, assignment.id, ranked(assignment, strengths=[1]), "k1")


def test_a_key_serves_one_item_only(session: Session) -> None:
    alice = make_user(session)
    first = make_assignment(session, alice)
    recording.submit(session, alice, first.id, ranked(first), "k1")
    second = make_assignment(session, alice)
    with pytest.raises(BadInput, match="send a new key"):
        recording.submit(session, alice, second.id, ranked(second), "k1")


def test_submitting_again_under_a_new_key_is_a_conflict(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    recording.submit(session, alice, assignment.id, ranked(assignment), "k1")
    with pytest.raises(Conflict, match="already"):
        recording.submit(session, alice, assignment.id, ranked(assignment), "k2")


def test_charlie_cannot_tell_that_alices_assignment_exists(session: Session) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    assignment = make_assignment(session, alice)
    with pytest.raises(NotFound):
        recording.submit(session, charlie, assignment.id, ranked(assignment), "k1")
    with pytest.raises(NotFound):
        service.save_draft(session, charlie, assignment.id, Draft(), 0)
    with pytest.raises(NotFound):
        service.skip(session, charlie, assignment.id, "no")
    with pytest.raises(NotFound):
        service.extend_lease(session, charlie, assignment.id)


@pytest.mark.parametrize("state", [BatchState.PAUSED, BatchState.CLOSED])
def test_a_batch_that_is_not_open_takes_no_submission_and_keeps_the_text(session: Session, state: BatchState) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    session.execute(update(Batch).where(Batch.id == comparison.batch_id).values(state=state))
    with pytest.raises(Conflict, match=state.value):
        recording.submit(session, alice, assignment.id, ranked(assignment, edited_text="mine"), "k1")
    kept = ranked(assignment, edited_text="mine")
    service.keep_draft(session, alice, assignment.id, kept.draft(), kept.fencing_token)
    session.refresh(assignment)
    assert assignment.draft is not None
    assert assignment.draft["edits"] == {"A": "mine"}
