"""A contest from its opening to its one verdict, and what two policies, a round and its watch become by it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.annotations.models import RetractionScope
from app.kernel.db import session_scope
from app.kernel.errors import BadInput, Conflict
from app.lineage import service as lineage
from app.loops.models import Round, RoundState, Verdict
from app.prompts.models import BatchState
from app.registry import service as registry
from app.registry.appointments import appointed
from app.registry.models import CheckpointState, EngineState, LoopRole
from app.rounds import contests, counting
from app.rounds.models import Contest, ContestKind, Evaluation
from tests.factories import make_checkpoint, make_user
from tests.rounds.balloting import Ballot, begin, champion, open_ballot


@pytest.fixture
def ballot(session: Session) -> Ballot:
    return open_ballot(session)


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def contest(session: Session, ballot: Ballot) -> Contest:
    return begin(session, ballot)


def challenger(session: Session) -> str | None:
    found = appointed(session, LoopRole.CHALLENGER)
    return found.name if found else None


def round_of(session: Session, contest: Contest) -> Round:
    return session.get_one(Round, contest.round_id, populate_existing=True)


def watch_of(session: Session) -> Contest | None:
    query = select(Contest).where(Contest.kind == ContestKind.WATCH).order_by(Contest.id.desc()).limit(1)
    return session.scalar(query.execution_options(populate_existing=True))


def actions(session: Session) -> list[str]:
    return list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


# ── Open ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_contest_is_opened_once(session: Session, ballot: Ballot, contest: Contest) -> None:
    round_ = round_of(session, contest)
    assert contests.open_gate(session, round_, ballot.challenger).id == contest.id
    assert (contest.kind, contest.budget, contest.verdict) == (ContestKind.GATE, 400, None)
    assert round_.state is RoundState.CHALLENGING
    assert (champion(session), challenger(session)) == ("okapi-champion", "okapi-new")
    assert contests.look(session) == []


def test_the_champion_is_not_its_own_challenger(session: Session, ballot: Ballot) -> None:
    with pytest.raises(Conflict, match="is the champion already"):
        contests.open_gate(session, session.get_one(Round, ballot.batch.round_id), ballot.champion)


# ── Verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_people_prefer_becomes_champion_and_is_watched(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(*[1, 1, 0.5, 1] * 6)
    assert contests.look(session) == [contest]
    round_ = round_of(session, contest)
    assert (contest.verdict, round_.verdict, round_.state) == (Verdict.PROMOTED, Verdict.PROMOTED, RoundState.COMPLETE)
    assert "judged by 1 person" in contest.reason
    assert round_.verdict_reason == contest.reason
    assert round_.completed_at is not None
    assert (champion(session), challenger(session)) == ("okapi-new", None)
    watch = watch_of(session)
    assert watch is not None
    assert (watch.challenger_id, watch.champion_id) == (ballot.challenger.id, ballot.champion.id)
    assert actions(session)[-4:] == ["contest.open", "contest.close", "round.complete", "contest.open"]
    assert contests.look(session) == []
    assert watch.counted == 0  # those votes have had their say


@pytest.mark.parametrize(
    ("scores", "budget", "verdict", "words"),
    [
        ([0, 0, 0.5] * 12, 400, Verdict.REFUSED, "not clearly better"),
        ([1, 0] * 6, 12, Verdict.INCONCLUSIVE, "do not show"),
    ],
)
def test_what_people_do_not_prefer_leaves_and_the_champion_stays(
    session: Session,
    ballot: Ballot,
    contest: Contest,
    scores: list[float],
    budget: int,
    verdict: Verdict,
    words: str,
) -> None:
    contest.budget = budget
    ballot.vote(*scores)
    assert contests.look(session) == [contest]
    assert (contest.verdict, round_of(session, contest).verdict) == (verdict, verdict)
    assert words in contest.reason
    assert (champion(session), challenger(session)) == ("okapi-champion", None)
    assert watch_of(session) is None


def test_worse_in_a_capability_names_it(session: Session, ballot: Ballot, contest: Contest) -> None:
    for _ in range(10):
        ballot.vote(1, 1, 0.5, capability="chat")
        ballot.vote(0, capability="math")
    contests.look(session)
    assert contest.verdict is Verdict.REFUSED
    assert "worse in math, where it scored 0% on 10 prompts" in contest.reason


def test_undecided_it_goes_on(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(1, 0, 1, 0.5)
    assert contests.look(session) == []
    assert (contest.counted, round_of(session, contest).state) == (4, RoundState.CHALLENGING)


# ── Watch ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_champion_that_proves_worse_is_rolled_back(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(*[1] * 20)
    contests.look(session)
    ballot.vote(*[0, 0, 0.5] * 12)
    watch = watch_of(session)
    assert watch is not None
    assert contests.look(session) == [watch]
    assert watch.verdict is Verdict.REFUSED
    assert "okapi-champion is the champion again" in watch.reason
    assert champion(session) == "okapi-champion"
    assert round_of(session, contest).verdict is Verdict.PROMOTED  # what the votes said then
    assert "contest.roll_back" in actions(session)
    assert contests.look(session) == []


def test_the_next_champion_ends_the_watch_of_the_last(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(*[1] * 20)
    contests.look(session)
    first_watch = watch_of(session)
    assert first_watch is not None
    ballot.champion, ballot.challenger = ballot.challenger, make_checkpoint(session, "okapi-newer")
    ballot.batch.round_id = session.scalars(select(Round.id).where(Round.state == RoundState.COLLECTING)).one()
    second = begin(session, ballot)
    ballot.vote(*[1] * 20)
    contests.look(session)
    assert (second.verdict, first_watch.verdict) == (Verdict.PROMOTED, Verdict.INCONCLUSIVE)
    assert first_watch.reason == "okapi-newer is the champion now."
    assert champion(session) == "okapi-newer"


def test_a_contest_ends_when_its_champion_is_rolled_back(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(*[1] * 20)
    contests.look(session)
    bad, old = ballot.challenger, ballot.champion
    ballot.champion, ballot.challenger = bad, make_checkpoint(session, "okapi-newer")
    ballot.batch.round_id = session.scalars(select(Round.id).where(Round.state == RoundState.COLLECTING)).one()
    second = begin(session, ballot)
    ballot.champion, ballot.challenger = old, bad
    ballot.vote(*[0] * 40)
    watch = watch_of(session)
    assert contests.look(session) == [watch, second]
    assert second.verdict is Verdict.INCONCLUSIVE
    assert "okapi-new, which it was compared with, is no longer the champion" in second.reason
    assert (champion(session), challenger(session)) == ("okapi-champion", None)


# ── What admins do ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_bob_withdraws_a_challenger_once(session: Session, ballot: Ballot, contest: Contest, bob: User) -> None:
    ballot.vote(1, 0)
    contests.withdraw(session, bob, contest, " It swears. ")
    assert (contest.verdict, contest.reason, contest.closed_by_id) == (Verdict.WITHDRAWN, "It swears.", bob.id)
    assert (contest.counted, round_of(session, contest).verdict) == (2, Verdict.WITHDRAWN)
    assert (champion(session), challenger(session)) == ("okapi-champion", None)
    with pytest.raises(Conflict, match="already ended: withdrawn"):
        contests.withdraw(session, bob, contest, "Again.")


@pytest.mark.parametrize("reason", ["", "  \n", "\0", "x" * 2_001])
def test_an_act_against_the_gate_says_why(session: Session, contest: Contest, bob: User, reason: str) -> None:
    for act in (contests.withdraw, contests.override):
        with pytest.raises(BadInput):
            act(session, bob, contest, reason)
    assert contest.verdict is None


def test_bob_overrides_an_open_contest(session: Session, ballot: Ballot, contest: Contest, bob: User) -> None:
    ballot.vote(0, 0)
    contests.override(session, bob, contest, "We need its tone today.")
    round_ = round_of(session, contest)
    assert (contest.verdict, round_.verdict) == (Verdict.OVERRIDDEN, Verdict.OVERRIDDEN)
    assert round_.verdict_reason == "We need its tone today."
    assert champion(session) == "okapi-new"
    assert watch_of(session) is not None
    said = session.scalars(select(AuditEvent).where(AuditEvent.action == "round.complete")).one()
    assert (said.actor_id, said.details["reason"]) == (bob.id, "We need its tone today.")


def test_bob_overrides_a_refusal_later(session: Session, ballot: Ballot, contest: Contest, bob: User) -> None:
    ballot.vote(*[0] * 30)
    contests.look(session)
    contests.override(session, bob, round_of(session, contest), "The batch was wrong.")
    assert contest.verdict is Verdict.REFUSED  # what the votes said stays
    assert round_of(session, contest).verdict is Verdict.OVERRIDDEN
    assert champion(session) == "okapi-new"
    with pytest.raises(Conflict, match="already been promoted"):
        contests.override(session, bob, contest, "Twice.")


def test_bob_overrides_what_was_refused_before_people_saw_it(session: Session, ballot: Ballot, bob: User) -> None:
    round_ = session.get_one(Round, ballot.batch.round_id)
    session.add(
        Evaluation(round_id=round_.id, checkpoint_id=ballot.challenger.id, against_id=ballot.champion.id, passed=False)
    )
    round_.state, round_.verdict, round_.verdict_reason = RoundState.COMPLETE, Verdict.REFUSED, "Too long."
    session.flush()
    contests.override(session, bob, round_, "Long is fine.")
    assert champion(session) == "okapi-new"
    assert round_.verdict is Verdict.OVERRIDDEN


def test_nobody_overrides_past_an_open_contest_or_with_what_cannot_serve(
    session: Session, ballot: Ballot, contest: Contest, bob: User
) -> None:
    before = Round(number=77, state=RoundState.COMPLETE, verdict=Verdict.REFUSED)
    session.add(before)
    session.flush()
    with pytest.raises(Conflict, match="in contest"):
        contests.override(session, bob, before, "Please.")
    contests.withdraw(session, bob, contest, "Later.")
    with pytest.raises(Conflict, match="made no policy"):
        contests.override(session, bob, before, "Please.")
    ballot.challenger.state = CheckpointState.BROKEN
    session.flush()
    with pytest.raises(Conflict):
        contests.override(session, bob, contest, "Please.")
    assert champion(session) == "okapi-champion"


def test_a_round_that_has_no_policy_yet_cannot_be_overridden(session: Session, ballot: Ballot, bob: User) -> None:
    with pytest.raises(Conflict, match="collecting"):
        contests.override(session, bob, session.get_one(Round, ballot.batch.round_id), "Now.")


# ── Bad luck ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_challenger_whose_files_are_gone_is_refused(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(*[1] * 20)
    registry.mark_broken(session, ballot.challenger.id, "adapter_model.safetensors is missing.")
    assert contests.look(session) == [contest]
    assert contest.verdict is Verdict.REFUSED
    assert "adapter_model.safetensors is missing" in contest.reason
    assert round_of(session, contest).verdict is Verdict.REFUSED
    assert champion(session) == "okapi-champion"


def test_a_champion_whose_files_are_gone_leaves_nothing_to_compare_with(
    session: Session, ballot: Ballot, contest: Contest
) -> None:
    registry.mark_broken(session, ballot.champion.id, "It is empty.")
    contests.look(session)
    assert contest.verdict is Verdict.INCONCLUSIVE
    assert challenger(session) is None


def test_a_watched_champion_whose_files_are_gone(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(*[1] * 20)
    contests.look(session)
    registry.mark_broken(session, ballot.challenger.id, "It is empty.")
    contests.look(session)
    watch = watch_of(session)
    assert watch is not None
    assert watch.verdict is Verdict.INCONCLUSIVE
    assert champion(session) == "okapi-champion"


def test_another_base_model_ends_a_contest(session: Session, ballot: Ballot, contest: Contest) -> None:
    ballot.vote(*[1] * 20)
    registry.ensure_base(session, "/models/other-base")
    contests.look(session)
    assert contest.verdict is Verdict.REFUSED
    assert "base model" in contest.reason
    assert champion(session) == "other-base"


def _away(session: Session, ballot: Ballot) -> None:
    registry.note_engine(session, "http://127.0.0.1:1/v1", EngineState.AWAY)


def _closed(session: Session, ballot: Ballot) -> None:
    ballot.batch.state = BatchState.CLOSED


def _left(session: Session, ballot: Ballot) -> None:
    ballot.alice.disabled_at = func.now()


@pytest.mark.parametrize("event", [_away, _closed, _left])
def test_what_happens_meanwhile_takes_no_vote_away(
    session: Session, ballot: Ballot, contest: Contest, event: Callable[[Session, Ballot], None]
) -> None:
    ballot.vote(*[1] * 5)
    event(session, ballot)
    session.flush()
    assert contests.look(session) == []
    assert contest.counted == 5
    ballot.vote(*[1] * 15, by=make_user(session, name="Bea"))
    assert contests.look(session) == [contest]
    assert contest.verdict is Verdict.PROMOTED


def test_what_is_retracted_after_the_end_is_said_and_not_undone(
    session: Session, ballot: Ballot, contest: Contest, bob: User
) -> None:
    said = ballot.vote(*[1] * 20)
    contests.look(session)
    session.commit()
    taken = [lineage.retract(session, bob, RetractionScope.ANNOTATION, each.id, "A slip.") for each in said[:15]]
    assert contests.look(session) == []
    assert (contest.counted, contest.verdict) == (5, Verdict.PROMOTED)
    assert contest.details["at_verdict"]["counted"] == 20
    assert champion(session) == "okapi-new"
    for retraction in taken:
        lineage.restore(session, bob, retraction)
    contests.look(session)
    assert (contest.counted, contest.details["at_verdict"]["counted"]) == (20, 20)


def test_of_two_looks_at_once_one_finds_it_and_a_look_that_dies_changes_nothing(
    committed: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session_scope() as session:
        ballot = open_ballot(session)
        begin(session, ballot)
        ballot.vote(*[1] * 20)

    def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched, session_scope() as session:
        patched.setattr(registry, "crown", dies)
        with pytest.raises(SystemExit):
            contests.look(session)
        session.rollback()
    found: list[int] = []
    both_count = threading.Barrier(2, timeout=30)
    real = counting.count

    def slowly(session: Session, contest: Contest) -> object:
        monkeypatch.setattr(counting, "count", real)
        both_count.wait()  # the other one is about to ask for the lock
        return real(session, contest)

    monkeypatch.setattr(counting, "count", slowly)

    def looks(first: bool) -> None:  # noqa: FBT001 - a thread's argument
        if not first:
            both_count.wait()
        with session_scope() as session:
            found.append(len(contests.look(session)))

    threads = [threading.Thread(target=looks, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(found) == [0, 1]
    with session_scope() as session:
        assert session.scalars(select(Contest.verdict).where(Contest.kind == ContestKind.GATE)).all() == ["promoted"]
        assert (
            session.scalar(select(func.count()).select_from(AuditEvent).where(AuditEvent.action == "round.complete"))
            == 1
        )
        assert session.scalar(text("SELECT count(*) FROM contest_votes")) == 20
        assert champion(session) == "okapi-new"
