"""What the card of a contest says: score, evidence, who judged, what decides it, and how long that takes. Reads only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role, User
from app.annotations.models import Annotation
from app.kernel.errors import NotFound
from app.kernel.locales import N_, ngettext, number, percent
from app.kernel.locales import gettext as _
from app.loops.models import Round, Verdict
from app.rounds import rates
from app.rounds.models import Contest, ContestKind, ContestVote
from app.rounds.rates import Rate
from app.rounds.tally import DECIDES, MANY, REFUSES, WORTH_IT, LeftOut

MOST_LOG = 50.0
MIN_FORECAST = 10
"""Observations from which on the score so far is used to say how many more it takes."""


@dataclass(frozen=True)
class Scale:
    """Evidence on its way to what it needs; ``place`` goes from 0 to 1 in its logarithm."""

    label: str
    value: float
    needed: float

    @property
    def place(self) -> float:
        """How far it is."""
        return min(1.0, max(0.0, math.log(max(self.value, 1.0)) / math.log(self.needed)))

    @property
    def words(self) -> str:
        """The number, with what it needs."""
        if self.value >= self.needed:
            return number(self.value)
        return _("{value} of {needed}", value=number(self.value, 1), needed=number(self.needed))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places of round numbers in percent, with their labels."""
        numbers = [number for number in (1, 2, 5, 10, 20) if number <= self.needed]
        return [(100 * math.log(number) / math.log(self.needed), str(number)) for number in numbers]


@dataclass(frozen=True)
class Part:
    """Some of a contest's votes: of one capability, or of one person with the score that is left ``without`` them."""

    name: str
    counted: int
    rate: Rate
    without: float | None = None
    left_out: int = 0


@dataclass(frozen=True)
class Look:
    """The contest as it was after so many observations."""

    counted: int
    rate: Rate
    evidence: float


@dataclass(frozen=True)
class Forecast:
    """What is still to judge, at the score and the pace so far."""

    more: int
    """Observations."""
    by_score: bool
    """Whether the score so far says so; otherwise it is what is left of the budget."""
    last_day: int
    """Observations that the last 24 hours touched."""

    @property
    def days(self) -> float | None:
        """Days at the pace of the last 24 hours; None where nobody judged in them."""
        return self.more / self.last_day if self.last_day else None

    @property
    def judgements(self) -> str:
        """How many, in words that begin a sentence."""
        if self.by_score:
            return ngettext("About {n} more judgement", "About {n} more judgements", self.more)
        return ngettext("At most {n} more judgement", "At most {n} more judgements", self.more)

    @property
    def time(self) -> str:
        """How long it takes, in words; empty where nobody can say."""
        if self.days is None:
            return ""
        if self.days < 1:
            return _("less than a day")
        return ngettext("about {n} day", "about {n} days", math.ceil(self.days))


@dataclass(frozen=True)
class Card:
    """A contest as pages and the API show it."""

    contest: Contest
    round_number: int
    round_verdict: Verdict | None
    rate: Rate | None
    length_controlled: Rate | None
    scales: list[Scale]
    looks: list[Look]
    capabilities: list[Part]
    people: list[Part]
    unmet: list[str]
    """What keeps it from a promotion although there is evidence enough."""
    left_out: list[tuple[int, str]]
    """Votes that are not counted, and why."""
    forecast: Forecast | None
    """None once it is closed."""

    @property
    def is_gate(self) -> bool:
        """Whether it is about who becomes the champion."""
        return self.contest.kind is ContestKind.GATE

    @property
    def outcome(self) -> str:
        """How it ended, in a word or two; empty while it is open."""
        verdict = self.contest.verdict
        return "" if verdict is None else verdict.label if self.is_gate else _(WATCHED[verdict])

    @property
    def judged_by(self) -> str:
        """How many people stand behind it."""
        return ngettext("judged by {n} person", "judged by {n} people", self.contest.people)

    @property
    def rule(self) -> list[str]:
        """What decides it, a sentence each."""
        return _gate_rule(self.contest) if self.is_gate else _watch_rule(self.contest)


UNMET = {
    "length": N_(
        "The evidence suffices, but the length-controlled score is not above 50%: length alone promotes nothing."
    ),
    "person": N_("The evidence suffices, but without one of the people the score would not be above 50%."),
}
"""What keeps a challenger from its promotion, by the word of :mod:`app.rounds.tally`."""
LEFT_OUT = {
    LeftOut.SELECTED: N_("chosen to be compared, not drawn at random"),
    LeftOut.LEARNT: N_("on prompts that the challenger was trained on"),
    LeftOut.GATE: N_("on prompts already counted for its promotion"),
    LeftOut.SHARE: N_("beyond one person's share"),
    LeftOut.BUDGET: N_("made after the last counted one"),
}

WATCHED = {
    Verdict.PROMOTED: N_("held"),
    Verdict.REFUSED: N_("rolled back"),
    Verdict.INCONCLUSIVE: N_("ended"),
    Verdict.WITHDRAWN: N_("stopped"),
    Verdict.OVERRIDDEN: N_("stopped"),
}
"""How a watch ended."""


def _gate_rule(contest: Contest) -> list[str]:
    promotes = _(
        "The challenger is promoted at evidence {needed} that it is better, if its length-controlled score is above 50% as "
        "well. An equal policy gets there in at most 1 of 20 contests, however often you look.",
        needed=number(DECIDES),
    )
    refuses = _(
        "The challenger is refused at evidence {refuses} that its score is below {score}, or at evidence {needed} that it "
        "is worse in a capability.",
        refuses=number(REFUSES),
        score=percent(WORTH_IT, 1),
        needed=number(DECIDES),
    )
    ends = _("After {n} prompts the contest ends without a result, and the champion stays.", n=number(contest.budget))
    people = (
        _(
            "Once {many} people judge, none of them counts for more than 40% of the votes, and the score must stay above "
            "50% without any one of them. With fewer, neither applies.",
            many=number(MANY),
        )
        if not contest.details.get("ruled", contest.people >= MANY)
        else _(
            "No person counts for more than 40% of the votes, and the score must stay above 50% without any one of them."
        )
    )
    return [promotes, refuses, ends, people]


def _watch_rule(contest: Contest) -> list[str]:
    return [
        _(
            "At evidence {needed} that the champion is worse than the previous one, the previous one is restored.",
            needed=number(DECIDES),
        ),
        _("The watch ends after {n} prompts.", n=number(contest.budget)),
    ]


# ── Loaders ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def with_policies() -> Select[Contest]:
    """Contests with the two checkpoints that they are about."""
    return select(Contest).options(joinedload(Contest.challenger), joinedload(Contest.champion))


def shows(user: User, contest: Contest) -> bool:
    """Whether ``user`` may see it: reviewers once it is settled, since they judge as well, and annotators never."""
    return user.role is Role.ADMIN or (user.role is Role.REVIEWER and contest.verdict is not None)


def visible_to(user: User) -> Select[Contest]:
    """The contests that ``user``, a reviewer or an admin, may see."""
    return with_policies() if user.role is Role.ADMIN else with_policies().where(Contest.verdict.is_not(None))


def access_contest(session: Session, user: User, contest_id: int) -> Contest:
    """The contest, for those who may see it; for anybody else there is none."""
    found = session.scalar(with_policies().where(Contest.id == contest_id))
    if found is None or not shows(user, found):
        raise NotFound
    return found


def card_of(session: Session, contest: Contest, of: Round | None = None) -> Card:
    """Everything that its card says; ``of`` is its round, where that is at hand."""
    found = of or session.get_one(Round, contest.round_id)
    details = contest.details
    return Card(
        contest=contest,
        round_number=found.number,
        round_verdict=found.verdict,
        rate=rate_of(contest),
        length_controlled=rates.read(_mapping(details.get("length_controlled")), "score"),
        scales=_scales(contest),
        looks=_looks(details.get("path")),
        capabilities=_parts(details.get("capabilities")),
        people=_parts(details.get("people")),
        unmet=[_(UNMET[each]) for each in details.get("unmet", []) if each in UNMET],
        left_out=[(count, _(LEFT_OUT[LeftOut(why)])) for why, count in _mapping(details.get("left_out")).items()],
        forecast=_forecast(contest, _last_day(session, contest)) if contest.verdict is None else None,
    )


def of_round(session: Session, user: User, found: Round) -> list[Card]:
    """The cards of a round's contests that ``user`` may see, its gate before its watch, the newest of each first."""
    query = with_policies().where(Contest.round_id == found.id).order_by(Contest.kind, Contest.id.desc())
    return [card_of(session, each, found) for each in session.scalars(query) if shows(user, each)]


def rate_of(contest: Contest) -> Rate | None:
    """The challenger's score with its confidence sequence; None before the first observation."""
    return None if contest.score is None else Rate(contest.score, contest.low, contest.high)


def _last_day(session: Session, contest: Contest) -> int:
    query = (
        select(func.count(ContestVote.seq.distinct()))
        .join(Annotation, Annotation.id == ContestVote.annotation_id)
        .where(
            ContestVote.contest_id == contest.id,
            ContestVote.seq.is_not(None),
            Annotation.created_at >= func.now() - func.make_interval(0, 0, 0, 1),
        )
    )
    return session.scalars(query).one()


def evidence(log_e: float) -> float:
    """Evidence from its logarithm, capped at a readable size."""
    return math.exp(min(log_e, MOST_LOG))


# ── What the sums say ────────────────────────────────────────────────────────────────────────────────────────────────
def _scales(contest: Contest) -> list[Scale]:
    better, worse = evidence(contest.log_e), evidence(contest.log_e_worse)
    if contest.kind is ContestKind.WATCH:
        return [Scale(_("Evidence that it is worse than the previous one"), worse, DECIDES)]
    return [
        Scale(_("Evidence that it is better"), better, DECIDES),
        Scale(_("Evidence that its score is below {score}", score=percent(WORTH_IT, 1)), worse, REFUSES),
    ]


def _forecast(contest: Contest, last_day: int) -> Forecast:
    """Each kind of evidence grows at its own mean rate; the first to reach its bound decides, the budget at the latest."""
    left = max(0, contest.budget - contest.counted)
    score = contest.score
    if score is None or contest.counted < MIN_FORECAST:
        return Forecast(left, by_score=False, last_day=last_day)
    ways = []
    if contest.kind is ContestKind.GATE:
        if score > rates.HALF:
            ways.append((math.log(DECIDES) - contest.log_e) / rates.growth(score, rates.HALF))
        if score < WORTH_IT:
            ways.append((math.log(REFUSES) - contest.log_e_worse) / rates.growth(score, WORTH_IT))
    elif score < rates.HALF:
        ways.append((math.log(DECIDES) - contest.log_e_worse) / rates.growth(score, rates.HALF))
    soonest = max(1, math.ceil(min(ways, default=left)))
    return Forecast(min(soonest, left), by_score=soonest < left, last_day=last_day)


def _mapping(stored: object) -> Mapping[str, Any]:
    return stored if isinstance(stored, dict) else {}


def _parts(stored: object) -> list[Part]:
    """The largest first."""
    found = []
    for name, part in _mapping(stored).items():
        rate, without = rates.read(part, "score"), part.get("without")
        if rate is not None:
            found.append(Part(name, part.get("counted", 0), rate, without, part.get("left_out", 0)))
    return sorted(found, key=lambda part: (-part.counted, part.name))


def _looks(stored: object) -> list[Look]:
    path: Sequence[Any] = stored if isinstance(stored, list) else []
    return [Look(counted, Rate(score, low, high), evidence(log_e)) for counted, score, low, high, log_e in path]
