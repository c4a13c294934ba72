"""Is it better? What each round's policy is worth against the one before and against the base. Pure reads, of a few rows each.

Against the one before stands the score of the round's contest. Against the base stands what follows from all contests on the
way there (:func:`app.rounds.rates.chained`): each policy met the champion of its time, and that one the champion before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.kernel.locales import gettext as _
from app.loops.models import FIRST_LOOP, Round, RoundState, Verdict
from app.registry.models import Appointment, Checkpoint, CheckpointKind, LoopRole
from app.rounds import cards, findings, rates, timeline
from app.rounds.cards import Card
from app.rounds.findings import Measured
from app.rounds.models import Contest, ContestKind, RunKind, RunState, TrainingRun
from app.rounds.rates import Rate

SHOWN = 12
"""Rounds in the chart and in its table; the list of rounds has them all."""

SAID = 3
"""Rounds of which the page repeats what the gate said."""


@dataclass(frozen=True)
class Entry:
    """The result of a round."""

    round: Round
    contest: Contest | None
    """That of its gate; None where there was none, and for a reader who may not see it yet."""
    over_before: Rate | None
    over_base: Rate | None
    accuracy: Rate | None
    """Held-out accuracy of its reward model."""
    measured: list[Measured]

    @property
    def promoted(self) -> bool:
        """Whether its policy became the champion."""
        return self.round.verdict is not None and self.round.verdict.promotes


@dataclass(frozen=True)
class Answer:
    """Yes, no, or why not, and the sentence that says of what."""

    word: str
    words: str


@dataclass(frozen=True)
class Better:
    """The whole answer; ``entries`` are in the order of the rounds."""

    answer: Answer
    entries: list[Entry]
    gate: Card | None
    """What is in contest now, for those who may see it."""
    watch: Card | None
    in_contest: bool
    """Whether something is, whoever asks."""

    @property
    def gate_said(self) -> list[Entry]:
        """The newest rounds that the gate said something of, the newest first."""
        return [entry for entry in reversed(self.entries) if entry.round.verdict or entry.measured][:SAID]


def better(session: Session, user: User) -> Better:
    """Read it for ``user``, who is a reviewer or an admin."""
    rounds = timeline.list_rounds(session, SHOWN)[::-1]
    contests = _contests(session)
    champion = _champion(session)
    worth = over_base(contests)
    gates = [contest for contest in contests if contest.kind is ContestKind.GATE]
    by_round = {contest.round_id: contest for contest in gates}
    accuracies = _accuracies(session, [found.id for found in rounds])
    measured = findings.of_rounds(session, [found.id for found in rounds if findings.shown(user, found)])
    entries = []
    for found in rounds:
        contest = by_round.get(found.id)
        visible = contest if contest and cards.shows(user, contest) else None
        entries.append(
            Entry(
                round=found,
                contest=visible,
                over_before=cards.rate_of(visible) if visible else None,
                over_base=worth.get(visible.challenger_id) if visible else None,
                accuracy=accuracies.get(found.id),
                measured=measured.get(found.id, []),
            )
        )
    opened = {
        contest.kind: cards.card_of(session, contest)
        for contest in contests
        if contest.verdict is None and cards.shows(user, contest)
    }
    return Better(
        answer=_answer(champion, gates, worth, rounds),
        entries=entries,
        gate=opened.get(ContestKind.GATE),
        watch=opened.get(ContestKind.WATCH),
        in_contest=any(contest.verdict is None for contest in gates),
    )


def over_base(contests: Sequence[Contest]) -> dict[int, Rate]:
    """The win rate of each policy over the base, by the id of its checkpoint; ``contests`` in the order of their ids.

    A policy whose champion's own way to the base is unknown has none: it was promoted without a contest.
    """
    worth: dict[int, Rate] = {}
    for contest in contests:
        score = cards.rate_of(contest)
        if contest.kind is not ContestKind.GATE or score is None:
            continue
        at_base = contest.champion.kind is CheckpointKind.BASE
        champion = rates.EVEN if at_base else worth.get(contest.champion_id)
        if champion is not None:
            worth[contest.challenger_id] = rates.chained(score, champion)
    return worth


def _contests(session: Session) -> Sequence[Contest]:
    query = cards.with_policies().where(Contest.loop_id == FIRST_LOOP).order_by(Contest.id)
    return session.scalars(query).all()


def _champion(session: Session) -> Checkpoint | None:
    return session.scalar(
        select(Checkpoint)
        .join(Appointment, Appointment.checkpoint_id == Checkpoint.id)
        .where(Appointment.loop_id == FIRST_LOOP, Appointment.role == LoopRole.CHAMPION)
    )


def _accuracies(session: Session, rounds: Sequence[int]) -> dict[int, Rate]:
    """Of the newest reward model of each round that was trained."""
    query = (
        select(TrainingRun.round_id, TrainingRun.metrics)
        .where(
            TrainingRun.round_id.in_(rounds),
            TrainingRun.kind == RunKind.REWARD,
            TrainingRun.state == RunState.SUCCEEDED,
        )
        .order_by(TrainingRun.id)
    )
    name = "held_out/accuracy"
    read = (
        (found, rates.read(metrics, name, f"{name}/low", f"{name}/high")) for found, metrics in session.execute(query)
    )
    return {found: rate for found, rate in read if rate is not None}


def _answer(
    champion: Checkpoint | None, contests: Sequence[Contest], worth: Mapping[int, Rate], rounds: Sequence[Round]
) -> Answer:
    if champion is None or champion.kind is CheckpointKind.BASE:
        return _without_policy(contests, rounds)
    rate = worth.get(champion.id)
    if rate is not None:
        shown = rate.better or champion.id in _shown(contests)
        word = _("No.") if rate.worse else _("Yes.") if shown else _("Not shown.")
        return Answer(word, _("{name} wins {rate} against the base model.", name=champion.name, rate=rate))
    own = [cards.rate_of(each) for each in contests if each.verdict and each.challenger_id == champion.id]
    if own and own[-1] is not None:
        words = _(
            "{name} wins {rate} against a champion that was never compared with the base model.",
            name=champion.name,
            rate=own[-1],
        )
        return Answer(_("Not known."), words)
    return Answer(_("Not known."), _("{name} became the champion without a contest.", name=champion.name))


def _shown(contests: Sequence[Contest]) -> set[int]:
    """Policies that evidence promoted, over the base or over one that evidence promoted: each step was shown.

    Evidence for one side is less than an interval for both leaves out, which may still touch one half.
    """
    shown: set[int] = set()
    for contest in contests:
        if contest.verdict is Verdict.PROMOTED and (
            contest.champion.kind is CheckpointKind.BASE or contest.champion_id in shown
        ):
            shown.add(contest.challenger_id)
    return shown


def _without_policy(contests: Sequence[Contest], rounds: Sequence[Round]) -> Answer:
    states = {found.state for found in rounds}
    if any(contest.verdict for contest in contests):
        return Answer(_("Not yet."), _("No policy has beaten the base model, which stays the champion."))
    if RoundState.CHALLENGING in states:
        return Answer(
            _("Not known yet."), _("The first contest is open: people compare a new policy with the base model.")
        )
    if RoundState.COMPLETE in states or RoundState.CHECKING in states:
        return Answer(_("Not known yet."), _("No policy has been in a contest, so there are no votes yet."))
    return Answer(_("Not known yet."), _("No round has been trained."))
