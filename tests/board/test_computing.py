"""From judgements to a board: which votes count, by which filters, and when it is computed anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Annotation, Decision, Retraction, RetractionScope, Review
from app.board import queries, service
from app.board.models import ALL, ALL_ROUNDS, Board, BoardSlice, BoardState
from app.board.queries import Wanted
from app.board.results import Agreement, Strengths
from app.comparisons.models import Comparison, ComparisonCandidate, Drawn
from app.judgements.vocabulary import Outcome
from app.registry.models import Checkpoint
from tests.board.conftest import Vote, cast_all, make_item
from tests.factories import make_annotation, make_batch, make_contest, make_user
from training.formats.votes import votes


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def rita(session: Session) -> User:
    return make_user(session, Role.REVIEWER, "Rita")


def numbers(session: Session, user: User, board: Board, **filters: str | int) -> Strengths:
    found = queries.strengths(session, user, board, Wanted(**filters))  # type: ignore[arg-type]
    assert found is not None
    return found


def count(session: Session, board: Board) -> int:
    return (
        session.scalars(
            select(BoardSlice.votes).where(
                BoardSlice.board_id == board.id, BoardSlice.capability == ALL, BoardSlice.round == ALL_ROUNDS
            )
        ).first()
        or 0
    )


# ── A judgement as votes ─────────────────────────────────────────────────────────────────────────────────────────────
def test_a_ranking_says_of_each_two_responses_which_is_better() -> None:
    said = list(votes("ranked", [[7], [3, 5]], [2], [3, 5, 7]))
    assert said == [(3, 5, 0.5, 0), (3, 7, 0.0, -2), (5, 7, 0.0, -2)]


def test_the_order_in_which_responses_were_shown_changes_no_vote() -> None:
    assert list(votes("tie", [], [], [9, 4])) == list(votes("tie", [], [], [4, 9])) == [(4, 9, 0.5, 0)]


def test_two_that_are_both_unacceptable_are_a_tie() -> None:
    assert list(votes("all_unacceptable", [], [], [1, 2])) == [(1, 2, 0.5, 0)]


def test_groups_that_are_not_neighbours_differ_by_the_largest_strength_between_them() -> None:
    assert list(votes("ranked", [[1], [2], [3]], [1, 4], [1, 2, 3])) == [(1, 2, 1.0, 1), (1, 3, 1.0, 4), (2, 3, 1.0, 4)]


# ── Which votes count ────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_base_is_what_others_are_compared_with(
    session: Session, vote: Vote, compute: Callable[[], Board], bob: User
) -> None:
    cast_all(vote, [("zebra-base", "okapi", 3), ("okapi", "zebra-base", 9), ("okapi", "gnu", 4), ("gnu", "okapi", 4)])
    found = numbers(session, bob, compute())
    by_name = {policy.name: policy for policy in found.policies}
    assert found.reference == by_name["zebra-base"].checkpoint_id
    assert by_name["zebra-base"].win_rate is None
    assert by_name["okapi"].win_rate is not None
    assert by_name["okapi"].win_rate.rate == pytest.approx(9 / 12, abs=1e-3)
    assert by_name["gnu"].win_rate is not None  # through okapi: it never met the base
    assert by_name["gnu"].win_rate.rate == pytest.approx(9 / 12, abs=1e-3)
    assert by_name["gnu"].votes == 8
    assert (found.votes, found.people, found.prompts) == (20, 1, 20)


def test_two_responses_of_one_policy_are_no_vote(session: Session, vote: Vote, compute: Callable[[], Board]) -> None:
    vote("okapi", "okapi")
    vote("okapi", "zebra-base")
    assert count(session, compute()) == 1


def test_a_ranking_of_four_is_a_vote_for_each_two_policies(
    session: Session, compute: Callable[[], Board], bob: User
) -> None:
    alice = make_user(session)
    item = make_item(session, "zebra-base", "okapi", "gnu", "gnu")
    make_annotation(session, alice, item)
    found = numbers(session, bob, compute())
    assert found.votes == 5
    assert {(pair.wins, pair.ties, pair.losses) for pair in found.pairs} == {(1, 0, 0), (2, 0, 0)}


def corrected(session: Session, said: Annotation) -> None:
    said.withdrawn_at = func.now()


def returned(session: Session, said: Annotation) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    session.add(
        Review(annotation_id=said.id, reviewer_id=rita.id, verdict=Decision.RETURNED, note="B invents its source.")
    )


def retracted(session: Session, said: Annotation) -> None:
    made = Retraction(scope=RetractionScope.ANNOTATION, target_id=said.id, reason="A test.", annotations=1)
    session.add(made)
    session.flush()
    # past the trigger: which act may write this is another room's test
    session.execute(text("SET LOCAL session_replication_role = replica"))
    session.execute(update(Annotation).where(Annotation.id == said.id).values(retraction_id=made.id))
    session.execute(text("SET LOCAL session_replication_role = origin"))


def selected(session: Session, said: Annotation) -> None:
    session.execute(
        update(Comparison).where(Comparison.id == said.comparison_id).values(drawn=Drawn.SELECTED, propensity=0.5)
    )


@pytest.mark.parametrize("undo", [corrected, returned, retracted, selected])
def test_what_does_not_count_is_no_vote(
    session: Session, vote: Vote, compute: Callable[[], Board], undo: Callable[[Session, Annotation], None]
) -> None:
    vote("okapi", "zebra-base")
    said = vote("zebra-base", "okapi")
    assert count(session, compute()) == 2
    undo(session, said)
    session.commit()
    assert count(session, compute()) == 1


# ── Filters ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_capability_and_a_round_have_numbers_of_their_own(
    session: Session, vote: Vote, compute: Callable[[], Board], bob: User
) -> None:
    for _ in range(3):
        vote("okapi", "zebra-base", capability="math")
    vote("zebra-base", "okapi", capability="poems")
    board = compute()
    assert numbers(session, bob, board).votes == 4
    assert numbers(session, bob, board, capability="math").votes == 3
    assert numbers(session, bob, board, capability="poems").votes == 1
    assert numbers(session, bob, board, round=1).votes == 4
    assert queries.strengths(session, bob, board, Wanted("math", 1)) is None  # too few to be computed apart
    assert {(each.capability, each.round) for each in queries.slices(session, bob, board)} == {
        ("", 0),
        ("math", 0),
        ("poems", 0),
        ("", 1),
    }


def test_reviewers_see_the_numbers_of_settled_items_alone(
    session: Session, vote: Vote, compute: Callable[[], Board], bob: User, rita: User
) -> None:
    vote("okapi", "zebra-base")
    make_annotation(session, make_user(session), make_item(session, "okapi", "zebra-base", wanted=2))
    board = compute()
    assert numbers(session, bob, board).votes == 2
    assert numbers(session, rita, board).votes == 1


def test_what_a_contest_waits_for_is_not_settled(
    session: Session, vote: Vote, compute: Callable[[], Board], bob: User, rita: User
) -> None:
    vote("okapi", "zebra-base")
    vote("gnu", "zebra-base")
    by_name = {each.name: each for each in session.scalars(select(Checkpoint))}
    make_contest(session, by_name["okapi"], by_name["zebra-base"])
    board = compute()
    assert numbers(session, bob, board).votes == 2
    assert [policy.name for policy in numbers(session, rita, board).policies] == ["gnu", "zebra-base"]


def test_policies_that_no_votes_link_to_the_base_have_no_strength(
    session: Session, vote: Vote, compute: Callable[[], Board], bob: User
) -> None:
    cast_all(vote, [("okapi", "zebra-base", 2), ("gnu", "eland", 2)])
    found = {policy.name: policy for policy in numbers(session, bob, compute()).policies}
    assert found["gnu"].strength is None
    assert found["gnu"].win_rate is None
    assert found["okapi"].strength is not None


# ── Agreement ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_agreement_is_known_over_all_by_batch_by_two_people_and_by_week(
    session: Session, compute: Callable[[], Board]
) -> None:
    people = [make_user(session, name=name) for name in ("Alice", "Anna", "Amir")]
    batch = make_batch(session, name="Twice", annotators_per_prompt=3)
    for number in range(12):
        item = make_item(session, "zebra-base", "okapi", batch=batch)
        for person in people:
            says(session, person, item, first=person.name != "Amir" or number % 2 == 1)
    found = Agreement.model_validate(compute().agreement)
    assert found.overall is not None
    assert found.overall.nominal is not None
    assert (found.overall.items, found.overall.judgements) == (12, 36)
    assert found.overall.nominal.low <= found.overall.nominal.rate <= found.overall.nominal.high
    assert [each.name for each in found.batches] == ["Twice"]
    assert len(found.people) == 3
    agreeing = {each.name: each.nominal.rate for each in found.people if each.nominal}
    alice, anna, amir = (person.pseudonym for person in people)
    assert agreeing[" and ".join(sorted([alice, anna]))] == 1.0
    assert agreeing[" and ".join(sorted([alice, amir]))] < 0.1
    assert [each.items for each in found.weeks] == [12]


def says(session: Session, person: User, item: Comparison, *, first: bool) -> None:
    """That the first response of two is better, or the second."""
    query = select(ComparisonCandidate.candidate_id).where(ComparisonCandidate.comparison_id == item.id)
    ids = sorted(session.scalars(query), reverse=not first)
    make_annotation(session, person, item, ranking=[[each] for each in ids])


# ── When ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_board_is_due_with_the_first_vote_then_with_enough_new_ones(
    session: Session, vote: Vote, compute: Callable[[], Board]
) -> None:
    assert not service.is_due(session)
    vote("okapi", "zebra-base")
    assert service.is_due(session)
    board = compute()
    assert not service.is_due(session)
    for _ in range(service.ENOUGH):
        assert not service.is_due(session)
        vote("okapi", "zebra-base")
    assert service.is_due(session)
    assert queries.new_since(session, board) == service.ENOUGH


def test_a_day_later_one_new_vote_is_enough(session: Session, vote: Vote, compute: Callable[[], Board]) -> None:
    vote("okapi", "zebra-base")
    board = compute()
    board.created_at -= timedelta(days=2)
    session.commit()
    assert not service.is_due(session)
    vote("okapi", "zebra-base")
    assert service.is_due(session)


def test_a_second_request_is_the_one_that_waits(session: Session, bob: User) -> None:
    assert service.request(session, bob).id == service.request(session, None).id
    assert session.scalar(select(func.count()).select_from(Board)) == 1


def test_a_failure_says_why_and_the_last_numbers_stay(
    session: Session, vote: Vote, compute: Callable[[], Board], bob: User
) -> None:
    vote("okapi", "zebra-base")
    board = compute()
    asked = service.request(session, bob)
    service.fail(session, asked.id, "ValueError: no")
    session.commit()
    assert queries.latest(session, bob) is board
    assert asked.state is BoardState.FAILED
    assert not service.is_due(session)


def test_old_boards_are_forgotten(session: Session, vote: Vote, compute: Callable[[], Board]) -> None:
    vote("okapi", "zebra-base")
    for _ in range(service.KEPT + 2):
        compute()
    assert session.scalar(select(func.count()).select_from(Board)) == service.KEPT


def test_nobody_has_voted(session: Session, compute: Callable[[], Board], bob: User) -> None:
    make_annotation(session, make_user(session), outcome=Outcome.TIE)
    found = numbers(session, bob, compute())
    assert (found.votes, found.policies, found.reference) == (0, [], None)


def test_a_policy_that_is_always_longer_cannot_be_told_from_its_length(
    session: Session, compute: Callable[[], Board], bob: User
) -> None:
    for number in range(24):  # the second text of an item is always the longer one
        item = make_item(session, "zebra-base", "okapi")
        says(session, make_user(session, name=f"A{number % 4}"), item, first=number % 3 > 0)
    okapi = next(each for each in numbers(session, bob, compute()).policies if each.name == "okapi")
    assert okapi.win_rate is not None
    assert okapi.length_controlled is None
