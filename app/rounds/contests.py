"""Contests: opened for a challenger, counted at every look, and ended once.

A contest ends by a rule that its votes meet (:mod:`app.rounds.tally`), because one of the two policies is gone, or by an admin.
Whoever changes one holds the locks on all that are open, then on its round; what waited for them finds the verdict and leaves. A
look that dies changes nothing, and the next one counts again from the annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.annotations.models import Annotation, Retraction
from app.kernel.errors import Conflict, refused
from app.kernel.locales import N_, in_english, number
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.kernel.storable import flaw
from app.loops.models import Round, RoundState, Verdict
from app.registry import service as registry
from app.registry.appointments import appointed
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState, LoopRole
from app.rounds import counting
from app.rounds.models import Contest, ContestKind, ContestVote, Evaluation, RunKind, TrainingRun
from app.rounds.tally import Found, Rule, Tally

log = structlog.get_logger()

WATCH_BUDGET = 2_000
"""Observations after which a champion is no longer watched: one that wins 45% has been rolled back long before."""
REASON_CHARS = 2_000
ENDED = {
    Verdict.PROMOTED: N_("promoted"),
    Verdict.REFUSED: N_("refused"),
    Verdict.INCONCLUSIVE: N_("inconclusive"),
    Verdict.WITHDRAWN: N_("withdrawn"),
    Verdict.OVERRIDDEN: N_("overridden"),
}
CHAMPION_NOW = N_("{name} is the champion now.")


# ── Open ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def open_gate(session: Session, round_: Round, challenger: Checkpoint) -> Contest:
    """Let people compare ``challenger`` with the champion. Asked for twice, it is the same contest.

    Raises:
        Conflict: the challenger cannot be served, there is no champion, or it is the champion.
    """
    _lock_round(session, round_.id)
    known = session.scalar(select(Contest).where(Contest.round_id == round_.id, Contest.kind == ContestKind.GATE))
    if known is not None:
        return known
    champion = appointed(session, LoopRole.CHAMPION)
    if champion is None:
        raise Conflict(_("There is no champion to compare a new policy with."))
    if champion.id == challenger.id:
        raise Conflict(_("{name} is the champion already.", name=challenger.name))
    registry.challenge(session, challenger)
    budget, team = get_settings().contest_budget, counting.team(session, round_)
    contest = _add(session, round_, ContestKind.GATE, challenger, champion, budget, team)
    round_.state = RoundState.CHALLENGING
    session.flush()
    return contest


def _add(
    session: Session,
    round_: Round,
    kind: ContestKind,
    challenger: Checkpoint,
    champion: Checkpoint,
    budget: int,
    team: Sequence[int],
) -> Contest:
    made = Contest(
        loop_id=round_.loop_id,
        round_id=round_.id,
        kind=kind,
        challenger_id=challenger.id,
        champion_id=champion.id,
        budget=budget,
        details={"team": list(team)},
    )
    session.add(made)
    session.flush()
    accounts.audit(
        session, None, "contest.open", "contest", made.id, kind=kind, challenger=challenger.name, champion=champion.name
    )
    log.info("contest_opened", contest=made.id, kind=kind.value, challenger=challenger.name, champion=champion.name)
    return made


# ── Look ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def look(session: Session) -> list[Contest]:
    """Count every open contest and end those that are decided; returns these. May be called at any time."""
    found = _lock_open(session)
    for contest in found:
        if contest.verdict is None:  # the verdict of one may end the other
            _settle(session, contest, counting.count(session, contest))
    recount(session, session.scalars(_outdated()).all())
    return [contest for contest in found if contest.verdict is not None]


def _settle(session: Session, contest: Contest, tally: Tally) -> None:
    gate = contest.kind is ContestKind.GATE
    void = _void_gate(session, contest) if gate else _void_watch(session, contest)
    if void is not None:
        verdict, reason = void
    elif tally.found is not None:
        verdict, reason = _verdict(tally.found), _reason(contest, tally.found)
    else:
        return
    if gate:
        _end_gate(session, contest, verdict, reason)
    elif verdict is Verdict.REFUSED:
        _roll_back(session, contest, reason)
    else:
        _close(session, contest, verdict, reason)


def _void_gate(session: Session, contest: Contest) -> tuple[Verdict, str] | None:
    """Why there is nothing left to compare."""
    challenger = session.get_one(Checkpoint, contest.challenger_id, populate_existing=True)
    if challenger.state is not CheckpointState.READY:
        return Verdict.REFUSED, _unservable(challenger)
    champion = appointed(session, LoopRole.CHAMPION)
    if champion is not None and champion.id != contest.champion_id:
        was = session.get_one(Checkpoint, contest.champion_id)
        words = N_("{was}, which it was compared with, is no longer the champion: {name} is.")
        return Verdict.INCONCLUSIVE, words.format(was=was.name, name=champion.name)
    return None


def _void_watch(session: Session, contest: Contest) -> tuple[Verdict, str] | None:
    before = session.get_one(Checkpoint, contest.champion_id, populate_existing=True)
    if before.state is not CheckpointState.READY:
        return Verdict.INCONCLUSIVE, f"{N_('The previous champion cannot be restored.')} {_unservable(before)}"
    champion = appointed(session, LoopRole.CHAMPION)
    if champion is not None and champion.id != contest.challenger_id:
        return Verdict.INCONCLUSIVE, CHAMPION_NOW.format(name=champion.name)
    return None


def _unservable(checkpoint: Checkpoint) -> str:
    if checkpoint.state is CheckpointState.RETIRED:
        return N_("{name} was trained on a base model that has since been replaced.").format(name=checkpoint.name)
    why = checkpoint.broken_reason or N_("its files do not match their manifest.")
    return N_("{name} cannot be served: {why}").format(name=checkpoint.name, why=why)


def _verdict(found: Found) -> Verdict:
    if found.rule is Rule.BETTER:
        return Verdict.PROMOTED
    return Verdict.INCONCLUSIVE if found.rule is Rule.SPENT else Verdict.REFUSED


def _reason(contest: Contest, found: Found) -> str:
    worse = contest.details["capabilities"].get(found.capability, {})
    said = {
        Rule.BETTER: N_("People prefer it."),
        Rule.NOT_USEFUL: N_("It is not clearly better than the champion."),
        Rule.WORSE: N_("People prefer the previous champion."),
        Rule.WORSE_IN_CAPABILITY: N_("It is worse in {capability}, where it scored {score} on {n} prompts."),
        Rule.SPENT: N_("The votes do not show that it is better."),
    }[found.rule]
    filled = said.format(capability=found.capability, score=f"{worse.get('score', 0):.0%}", n=worse.get("counted", 0))
    return f"{filled} {_standing(contest)}"


def _standing(contest: Contest) -> str:
    """What was counted, in a sentence."""
    if not contest.counted or contest.score is None:
        return N_("No vote was counted.")
    people = N_("1 person") if contest.people == 1 else N_("{n} people").format(n=contest.people)
    prompts = N_("1 prompt") if contest.counted == 1 else N_("{n} prompts").format(n=contest.counted)
    counted = {"score": f"{contest.score:.1%}", "prompts": prompts, "people": people}
    if contest.low is None:
        return N_("It scored {score} on {prompts}, a tie counting half, judged by {people}.").format(**counted)
    return N_(
        "It scored {score} (95% interval {low} to {high}) on {prompts}, a tie counting half, judged by {people}."
    ).format(low=f"{contest.low:.0%}", high=f"{contest.high:.0%}", **counted)


# ── End ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _end_gate(session: Session, contest: Contest, verdict: Verdict, reason: str, user: User | None = None) -> None:
    """Give contest and round their one verdict, and the two policies their places."""
    round_ = _lock_round(session, contest.round_id)
    challenger = session.get_one(Checkpoint, contest.challenger_id)
    champion = session.get_one(Checkpoint, contest.champion_id)
    if verdict.promotes:
        try:
            with in_english() if user is None else nullcontext():  # why it cannot is kept
                registry.crown(session, challenger)
        except Conflict as conflict:
            if user is not None:
                raise
            but = N_("People prefer it, but it cannot become the champion.")
            verdict, reason = Verdict.REFUSED, f"{but} {conflict.message}"
    if not verdict.promotes and not _in_charge(session, challenger):
        registry.dismiss(session, challenger)
    _close(session, contest, verdict, reason, user)
    _complete(session, round_, challenger, verdict, reason, user)
    if verdict.promotes:
        _watch(session, round_, challenger, champion, contest.details.get("team", []))


def _in_charge(session: Session, checkpoint: Checkpoint) -> bool:
    champion = appointed(session, LoopRole.CHAMPION)
    return champion is not None and champion.id == checkpoint.id


def _close(session: Session, contest: Contest, verdict: Verdict, reason: str, user: User | None = None) -> None:
    contest.verdict, contest.reason, contest.closed_at = verdict, reason, func.now()
    contest.closed_by_id = user.id if user else None
    session.flush()
    accounts.audit(session, user, "contest.close", "contest", contest.id, verdict=verdict, reason=reason)
    log.info("contest_closed", contest=contest.id, kind=contest.kind.value, verdict=verdict.value, reason=reason)


def _complete(
    session: Session, round_: Round, policy: Checkpoint, verdict: Verdict, reason: str, user: User | None
) -> None:
    if round_.state is not RoundState.COMPLETE:
        round_.state, round_.completed_at = RoundState.COMPLETE, func.now()
    round_.verdict, round_.verdict_reason = verdict, reason
    session.flush()
    accounts.audit(
        session, user, "round.complete", "round", round_.id, policy=policy.name, verdict=verdict, reason=reason
    )


def _watch(
    session: Session, round_: Round, champion: Checkpoint, previous: Checkpoint, team: Sequence[int] = ()
) -> None:
    """Keep comparing the new champion with the previous one; older watches end, their champion is no longer champion."""
    for contest in _lock_open(session, ContestKind.WATCH):
        _close(session, contest, Verdict.INCONCLUSIVE, CHAMPION_NOW.format(name=champion.name))
    _add(session, round_, ContestKind.WATCH, champion, previous, WATCH_BUDGET, team)


def _roll_back(session: Session, contest: Contest, reason: str) -> None:
    restored = registry.roll_back(session)
    if restored is None:
        nobody = N_("There is no previous champion to restore.")
        _close(session, contest, Verdict.INCONCLUSIVE, f"{reason} {nobody}")
        return
    again = N_("{name} is the champion again.").format(name=restored.name)
    _close(session, contest, Verdict.REFUSED, f"{reason} {again}")
    accounts.audit(session, None, "contest.roll_back", "contest", contest.id, champion=restored.name)


# ── What admins may do ───────────────────────────────────────────────────────────────────────────────────────────────
def withdraw(session: Session, user: User, contest: Contest, reason: str) -> None:
    """End a contest before its votes do. The champion stays; of a watch, it is no longer watched.

    Raises:
        BadInput: no reason is given.
        Conflict: it has ended already.
    """
    reason = _said(reason)
    contest = _reopened(session, contest.id)
    if contest.kind is ContestKind.GATE:
        _end_gate(session, contest, Verdict.WITHDRAWN, reason, user)
    else:
        _close(session, contest, Verdict.WITHDRAWN, reason, user)


def override(session: Session, user: User, of: Contest | Round, reason: str) -> None:
    """Make a round's policy the champion despite the gate, or before it has decided. The policy's card keeps the reason.

    Raises:
        BadInput: no reason is given.
        Conflict: it is the champion already or cannot be served, or another policy is in contest.
    """
    reason = _said(reason)
    _lock_open(session)
    round_id = of.round_id if isinstance(of, Contest) else of.id
    contest = _gate_of(session, round_id)
    if contest is not None and contest.verdict is None:
        _end_gate(session, _reopened(session, contest.id), Verdict.OVERRIDDEN, reason, user)
        return
    round_ = _lock_round(session, round_id)
    if round_.state is not RoundState.COMPLETE:
        raise Conflict(
            _(
                "Round {round} has no policy to promote yet: it is {state}.",
                round=round_.number,
                state=round_.state.label,
            )
        )
    if round_.verdict is None or round_.verdict.promotes:
        raise Conflict(_("The policy of round {round} has already been promoted.", round=round_.number))
    if _other_gate(session):
        raise Conflict(_("Another policy is in contest. Withdraw it first."))
    policy = _policy(session, round_, contest)
    champion = appointed(session, LoopRole.CHAMPION)
    if champion is not None and champion.id == policy.id:
        raise Conflict(_("{name} is the champion already.", name=policy.name))
    registry.crown(session, policy)
    _complete(session, round_, policy, Verdict.OVERRIDDEN, reason, user)
    if champion is not None:
        _watch(session, round_, policy, champion)


def _said(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise refused("reason", _("Give a reason: it stays with the round."))
    held = flaw(reason)
    if held:
        raise refused("reason", _("The reason holds {what}, which cannot be stored: remove it.", what=held))
    if len(reason) > REASON_CHARS:
        raise refused("reason", _("The reason is longer than {n} characters: shorten it.", n=number(REASON_CHARS)))
    return reason


def _reopened(session: Session, contest_id: int) -> Contest:
    """An open contest, locked and counted; its round is locked when it ends."""
    _lock_open(session)
    contest = session.get_one(Contest, contest_id, populate_existing=True)
    if contest.verdict is not None:
        raise Conflict(_("This contest has already ended: {verdict}.", verdict=_(ENDED[contest.verdict])))
    counting.count(session, contest)
    return contest


def _gate_of(session: Session, round_id: int) -> Contest | None:
    query = select(Contest).where(Contest.round_id == round_id, Contest.kind == ContestKind.GATE)
    return session.scalar(query.execution_options(populate_existing=True))


def _other_gate(session: Session) -> bool:
    query = select(Contest.id).where(Contest.kind == ContestKind.GATE, Contest.verdict.is_(None))
    return session.scalar(query) is not None


def _policy(session: Session, round_: Round, contest: Contest | None) -> Checkpoint:
    """What a round made: what was in contest, or what was measured and refused before, or what was trained last."""
    if contest is not None:
        return session.get_one(Checkpoint, contest.challenger_id)
    policies = select(Checkpoint).where(Checkpoint.kind == CheckpointKind.POLICY)
    measured = policies.join(Evaluation, Evaluation.checkpoint_id == Checkpoint.id).where(
        Evaluation.round_id == round_.id
    )
    trained = policies.join(TrainingRun, TrainingRun.checkpoint_id == Checkpoint.id).where(
        TrainingRun.round_id == round_.id, TrainingRun.kind.in_([kind for kind in RunKind if kind.makes_policy])
    )
    found = session.scalar(measured.order_by(Evaluation.id.desc()).limit(1)) or session.scalar(
        trained.order_by(TrainingRun.id.desc()).limit(1)
    )
    if found is None:
        raise Conflict(_("Round {round} made no policy.", round=round_.number))
    return found


# ── Again ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def recount(session: Session, contest_ids: Sequence[int]) -> None:
    """Recount these. One that has ended keeps its verdict, and the old count beside the new one."""
    if not contest_ids:
        return
    for contest in _lock(session, select(Contest).where(Contest.id.in_(contest_ids)).order_by(Contest.id)):
        if contest.verdict is not None and "at_verdict" not in contest.details:
            then = {"counted": contest.counted, "score": contest.score, "log_e": contest.log_e}
            contest.details = {**contest.details, "at_verdict": then}
        counting.count(session, contest)


def _outdated() -> Select[int]:
    """Contests that have ended and count something that was retracted since, or do not count what was restored."""
    retracted = (
        select(ContestVote.contest_id)
        .join(Annotation, Annotation.id == ContestVote.annotation_id)
        .where(Annotation.retraction_id.isnot(None), ContestVote.seq.isnot(None))
    )
    # a minute more: whoever restored may have committed after the count that began later
    restored = select(Retraction.id).where(Retraction.restored_at + timedelta(minutes=1) > Contest.counted_at)
    return select(Contest.id).where(Contest.verdict.isnot(None), Contest.id.in_(retracted) | restored.exists())


def _lock_open(session: Session, *kinds: ContestKind) -> list[Contest]:
    """Lock the open contests, always in one order, so that no two transactions wait for each other."""
    query = select(Contest).where(Contest.verdict.is_(None), Contest.kind.in_(kinds or tuple(ContestKind)))
    return _lock(session, query.order_by(Contest.id))


def _lock(session: Session, query: Select[Contest]) -> list[Contest]:
    return list(session.scalars(query.with_for_update(), execution_options={"populate_existing": True}))


def _lock_round(session: Session, round_id: int) -> Round:
    query = select(Round).where(Round.id == round_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()
