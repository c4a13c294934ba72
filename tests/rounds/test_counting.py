"""Which annotations a contest counts, as what, in which order, and what it makes of them."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.annotations.models import Annotation, Decision, Retraction, RetractionScope, Review
from app.comparisons.models import Comparison, Drawn, Purpose
from app.judgements.vocabulary import Outcome
from app.loops.models import Round
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from app.rounds import cards, counting
from app.rounds.models import Contest, ContestKind, ContestVote, InputRole, RunInput, RunKind, RunState, TrainingRun
from tests.factories import make_batch, make_checkpoint, make_contest, make_user
from tests.rounds.balloting import Ballot, open_ballot
from training.formats.votes import score


@pytest.fixture
def ballot(session: Session) -> Ballot:
    return open_ballot(session)


@pytest.fixture
def contest(session: Session, ballot: Ballot) -> Contest:
    return make_contest(session, ballot.challenger, ballot.champion)


def votes(session: Session, contest: Contest) -> list[tuple[int | None, float, str | None]]:
    """What is written down of each vote, in the order of their annotations."""
    query = select(ContestVote.seq, ContestVote.score, ContestVote.left_out).where(ContestVote.contest_id == contest.id)
    rows = session.execute(query.order_by(ContestVote.annotation_id))
    return [(seq, score, left_out) for seq, score, left_out in rows]


# ── Which ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_wins_ties_and_losses_are_counted_in_their_order(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(1, 0.5, 0, 1)
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 1.0, None), (2, 0.5, None), (3, 0.0, None), (4, 1.0, None)]
    assert (contest.counted, contest.score, contest.people) == (4, 0.625, 1)
    assert contest.counted_at is not None
    assert contest.low is not None
    assert contest.high is not None
    assert contest.low < 0.625 < contest.high
    assert [point[0] for point in contest.details["path"]] == [1, 2, 3, 4]
    card = cards.card_of(session, contest)
    assert [look.rate.value for look in card.looks] == pytest.approx([1.0, 0.75, 0.5, 0.625])
    assert [(part.name, part.counted) for part in card.people] == [(ballot.alice.pseudonym, 4)]
    assert card.length_controlled is not None


def test_nothing_is_counted_of_other_policies_purposes_and_draws(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    ballot.vote(1)
    ballot.judge(ballot.ask(drawn=Drawn.SELECTED), 1)
    ballot.say(ballot.ask(ours=["One.", "Two."], theirs=[]), None)
    known = ballot.ask()
    known.purpose = Purpose.GOLD
    ballot.judge(known, 1)
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 1.0, None), (None, 1.0, "selected")]
    assert contest.details["left_out"] == {"selected": 1}


def test_all_unacceptable_is_no_win_for_either(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.say(ballot.ask(), None, outcome=Outcome.ALL_UNACCEPTABLE)
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 0.5, None)]


def test_of_four_answers_each_pair_across_is_a_part_of_the_vote(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    asked = ballot.ask(ours=["a", "b"], theirs=["c", "d"])
    a, b, c, d = ballot.shown(asked)
    ballot.say(asked, [[a], [c, b], [d]])  # a beats both, b ties with c and beats d
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 0.875, None)]


def test_length_is_what_the_board_calls_length_tokens(session: Session, ballot: Ballot, contest: Contest) -> None:
    # as many characters on both sides, and twice as many words (each of which the ballot calls a token)
    ballot.say(ballot.ask(ours=["a b c d"], theirs=["abc def"]), None)
    assert [vote.longer for vote in counting.read_votes(session, contest)] == [2.0]


def test_the_score_of_a_side_is_the_mean_of_its_votes_whatever_else_was_shown() -> None:
    assert score("ranked", [[3], [4], [1], [2]], [1, 2], [3, 4]) == 0.0
    assert score("ranked", [[1], [3, 2], [4]], [1, 2], [3, 4]) == 0.875
    assert score("ranked", [[9], [1, 9], [8], [3]], [1], [3]) == 1.0, "what is of neither side has no part in it"
    assert score("ranked", [[1, 3]], [1], [3]) == 0.5
    assert score("all_unacceptable", [], [1, 2], [3]) == 0.5
    for ranking in ([[1], [3, 2], [4]], [[4, 1], [2], [3]]):
        assert score("ranked", ranking, [1, 2], [3, 4]) == 1 - score("ranked", ranking, [3, 4], [1, 2])


def learn(session: Session, ballot: Ballot, said: Annotation, checkpoint_id: int) -> None:
    """A run that made ``checkpoint_id`` has learnt from ``said``."""
    number = session.scalar(select(func.count()).select_from(Snapshot)) or 0
    taken = Snapshot(name=f"taken {number}", state=SnapshotState.READY, filter={}, sha256="0" * 64)
    session.add(taken)
    session.flush()
    session.add(SnapshotAnnotation(snapshot_id=taken.id, annotation_id=said.id))
    session.add(
        TrainingRun(
            round_id=ballot.batch.round_id,
            kind=RunKind.DPO,
            state=RunState.SUCCEEDED,
            snapshot_id=taken.id,
            config={},
            checkpoint_id=checkpoint_id,
        )
    )
    session.flush()


@pytest.mark.parametrize("through", ["itself", "what it started from", "a member of its average"])
def test_what_the_challenger_learnt_from_is_not_what_it_is_measured_by(
    session: Session, ballot: Ballot, contest: Contest, through: str
) -> None:
    asked = ballot.ask(content=b"\x07" * 32)
    learnt = ballot.judge(asked, 1)
    teacher = ballot.challenger
    if through != "itself":
        teacher = make_checkpoint(session, "okapi-ancestor")
        if through == "what it started from":
            ballot.challenger.parent_id = teacher.id
        else:
            learn(session, ballot, ballot.vote(1)[0], ballot.challenger.id)
            made_by = session.scalars(select(TrainingRun)).one()
            session.add(RunInput(run_id=made_by.id, role=InputRole.AVERAGED, checkpoint_id=teacher.id))
    learn(session, ballot, learnt, teacher.id)
    ballot.batch = make_batch(session)
    again = ballot.judge(ballot.ask(content=b"\x07" * 32), 1)  # the same content in another prompt
    fresh = ballot.vote(0)[0]
    counting.count(session, contest)
    found = {vote.annotation_id: vote.left_out for vote in session.scalars(select(ContestVote))}
    assert (found[learnt.id], found[again.id], found[fresh.id]) == ("learnt", "learnt", None)


def test_prompts_that_the_champion_learnt_from_count(session: Session, ballot: Ballot, contest: Contest) -> None:
    learn(session, ballot, ballot.vote(1)[0], ballot.champion.id)
    counting.count(session, contest)
    assert contest.counted == 1


def test_several_judgements_of_one_prompt_are_one_observation(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    bea = make_user(session, name="Bea")
    asked = ballot.ask()
    ballot.judge(asked, 1)
    ballot.vote(0)
    ballot.judge(asked, 0.5, by=bea)
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 1.0, None), (2, 0.0, None), (1, 0.5, None)]
    assert (contest.counted, contest.score, contest.people) == (2, 0.375, 2)
    assert contest.details["votes"] == 3


# ── When something changes ───────────────────────────────────────────────────────────────────────────────────────────
def test_a_correction_keeps_the_place_of_what_it_corrects(session: Session, ballot: Ballot, contest: Contest) -> None:
    first, _ = ballot.vote(1, 0.5)
    counting.count(session, contest)
    asked = session.get_one(Comparison, first.comparison_id)
    ours, theirs = ballot.shown(asked)
    ballot.say(asked, [[theirs], [ours]], corrects=first)
    counting.count(session, contest)
    assert votes(session, contest) == [(2, 0.5, None), (1, 0.0, None)]


def test_what_is_undone_returned_or_retracted_leaves_no_vote(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    undone, returned, retracted, _ = ballot.vote(1, 1, 1, 0)
    counting.count(session, contest)
    assert contest.counted == 4
    undone.withdrawn_at = func.now()
    session.add(Review(annotation_id=returned.id, reviewer_id=rita.id, verdict=Decision.RETURNED, note="Look again."))
    act = Retraction(scope=RetractionScope.ANNOTATION, target_id=retracted.id, reason="A slip.", annotations=1)
    session.add(act)
    session.flush()
    session.execute(text("SET LOCAL session_replication_role = replica"))
    session.execute(update(Annotation).where(Annotation.id == retracted.id).values(retraction_id=act.id))
    session.execute(text("SET LOCAL session_replication_role = origin"))
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 0.0, None)]
    assert (contest.counted, contest.score) == (1, 0.0)


def test_an_undone_submission_takes_its_place_when_it_is_made_again(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    undone, _ = ballot.vote(1, 0.5)
    undone.withdrawn_at = func.now()
    session.flush()
    session.refresh(undone)
    asked = session.get_one(Comparison, undone.comparison_id)
    again = ballot.say(asked, [ballot.shown(asked)[:1], ballot.shown(asked)[1:]], corrects=undone)
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 0.5, None), (2, 1.0, None)]
    assert again.id > undone.id


def test_what_was_returned_comes_back_to_its_place_when_it_is_corrected(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    returned, _ = ballot.vote(1, 0.5)
    session.add(Review(annotation_id=returned.id, reviewer_id=rita.id, verdict=Decision.RETURNED, note="Look again."))
    session.flush()
    counting.count(session, contest)
    assert votes(session, contest) == [(1, 0.5, None)]
    asked = session.get_one(Comparison, returned.comparison_id)
    ballot.say(asked, [ballot.shown(asked)[1:], ballot.shown(asked)[:1]], corrects=returned)
    counting.count(session, contest)
    assert votes(session, contest) == [(2, 0.5, None), (1, 0.0, None)]


def test_counting_again_writes_nothing_that_is_there_already(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    ballot.vote(1, 0, 1)
    counting.count(session, contest)
    version = select(text("ctid::text")).select_from(ContestVote).order_by(ContestVote.annotation_id)
    written = session.scalars(version).all()
    counting.count(session, contest)
    assert session.scalars(version).all() == written


def test_a_watch_does_not_count_what_the_policy_was_promoted_by(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    spent, _ = ballot.vote(1, 1)
    counting.count(session, contest)
    watch = make_contest(session, ballot.challenger, ballot.champion, kind=ContestKind.WATCH)
    asked = session.get_one(Comparison, spent.comparison_id)
    ballot.say(asked, [ballot.shown(asked)[1:], ballot.shown(asked)[:1]], corrects=spent)  # after the verdict
    ballot.vote(0)
    counting.count(session, watch)
    assert votes(session, watch) == [(None, 1.0, "gate"), (None, 0.0, "gate"), (1, 0.0, None)]


def test_people_are_shown_by_pseudonym_with_what_the_others_say(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    bea = make_user(session, name="Bea")
    ballot.vote(1, 1, 0)
    ballot.vote(0, by=bea)
    counting.count(session, contest)
    said = contest.details["people"]
    assert {name: (each["counted"], each["score"], each["without"]) for name, each in said.items()} == {
        ballot.alice.pseudonym: (3, 0.6667, 0.0),
        bea.pseudonym: (1, 0.0, 0.6667),
    }


def test_capabilities_are_those_of_the_prompt_or_its_batch(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.batch.capability = "chat"
    ballot.vote(1, 1, 0)
    ballot.vote(0, 0.5, capability="math")
    counting.count(session, contest)
    said = {name: (each["counted"], each["score"]) for name, each in contest.details["capabilities"].items()}
    assert said == {"chat": (3, 0.6667), "math": (2, 0.25)}


def test_the_team_is_who_judged_since_the_round_began(session: Session, ballot: Ballot) -> None:
    bea = make_user(session, name="Bea")
    ballot.vote(*[1] * 5)
    ballot.vote(*[1] * 4, by=bea)
    assert counting.team(session, session.get_one(Round, ballot.batch.round_id)) == [ballot.alice.id]


def test_whoever_has_left_is_not_waited_for(session: Session, ballot: Ballot) -> None:
    left = [make_user(session, name=name) for name in ("Bea", "Cleo")]
    known = [ballot.alice.id, *(person.id for person in left)]
    contest = make_contest(session, ballot.challenger, ballot.champion, details={"team": known})
    ballot.vote(*[1] * 12)
    assert len(counting.count(session, contest).observations) == 5
    for person in left:
        person.disabled_at = func.now()
    session.flush()
    assert len(counting.count(session, contest).observations) == 12
    assert contest.details["team"] == known
