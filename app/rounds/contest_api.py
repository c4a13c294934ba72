"""JSON of contests, and of what the rounds came to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from app.accounts.access import ApiAdmin, ApiReviewer
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit, Order, read_page
from app.loops.models import Round, RoundState, Verdict
from app.registry.queries import access_checkpoint
from app.rounds import cards, contests, nominating, queries
from app.rounds.better import Better, Entry, better
from app.rounds.cards import Card, Part
from app.rounds.models import Contest, ContestKind
from app.rounds.rates import Rate

router = APIRouter(tags=["training"])


class RateJson(BaseModel):
    """A share with the ends of its interval; null where they are not known."""

    value: float
    low: float | None
    high: float | None


class PartJson(BaseModel):
    """Some of a contest's observations, and the score of the rest ``without`` that person."""

    name: str
    counted: int
    score: RateJson
    without: float | None


_SCORE: dict[str, Any] = {"value": 0.58, "low": 0.51, "high": 0.65}
_CONTEST: dict[str, Any] = {
    "id": 4,
    "round": 3,
    "kind": "gate",
    "challenger": "policy-r3-91c40e7a",
    "champion": "policy-r2-5d8f01c2",
    "score": _SCORE,
    "length_controlled": {"value": 0.57, "low": 0.5, "high": 0.64},
    "evidence": 23.1,
    "evidence_worse": 1.0,
    "counted": 143,
    "budget": 400,
    "people": 4,
    "capabilities": [{"name": "coding", "counted": 31, "score": _SCORE, "without": None}],
    "by_person": [{"name": "annotator-5d3f0c9a1b2e", "counted": 40, "score": _SCORE, "without": 0.57}],
    "more_judgements": None,
    "verdict": "promoted",
    "reason": "Evidence 23.1 that it is better, after 143 prompts.",
    "opened_at": "2026-11-23T02:40:00Z",
    "closed_at": "2026-11-25T16:02:11Z",
}


class ContestJson(BaseModel):
    """A contest. ``score`` is the challenger's: 1 where it won every prompt."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CONTEST]})

    id: int
    round: int
    kind: ContestKind
    challenger: str
    champion: str
    score: RateJson | None
    length_controlled: RateJson | None
    evidence: float = Field(description="That the challenger is better; 20 decides.")
    evidence_worse: float = Field(description="Evidence against it.")
    counted: int
    budget: int
    people: int
    capabilities: list[PartJson]
    by_person: list[PartJson]
    more_judgements: int | None = Field(description="Forecast from the score so far; null once it is settled.")
    verdict: Verdict | None
    reason: str
    opened_at: datetime
    closed_at: datetime | None


class ActJson(BaseModel):
    """Why; it stays on the card and in the audit log."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "Measured by hand: it is better."}}
    )

    reason: str


class ContestList(BaseModel):
    """A page of contests, newest first; ``next`` is the ``before`` of the page that follows."""

    contests: list[ContestJson]
    next: int | None


class EntryJson(BaseModel):
    """The result of a round."""

    round: int
    state: RoundState
    verdict: Verdict | None
    over_before: RateJson | None = Field(description="Win rate over the champion of its time.")
    over_base: RateJson | None = Field(description="Win rate over the base model, through the contests on the way.")
    reward_accuracy: RateJson | None


class BetterJson(BaseModel):
    """Is it better? The answer in words, with the rounds behind it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "answer": "Yes.",
                    "words": "policy-r2-5d8f01c2 wins 61% [54, 68] against the base model.",
                    "rounds": [
                        {
                            "round": 2,
                            "state": "complete",
                            "verdict": "promoted",
                            "over_before": _SCORE,
                            "over_base": {"value": 0.61, "low": 0.54, "high": 0.68},
                            "reward_accuracy": {"value": 0.71, "low": 0.62, "high": 0.79},
                        }
                    ],
                }
            ]
        }
    )

    answer: str
    words: str
    rounds: list[EntryJson]


@router.get("/contests")
def list_contests(session: DbSession, user: ApiReviewer, before: Cursor = None, limit: Limit = 25) -> ContestList:
    """Contests, newest first. Reviewers see them once they are settled."""
    page = read_page(session, cards.visible_to(user), Order(Contest.id), before, limit)
    of = select(Round).where(Round.id.in_([contest.round_id for contest in page.rows]))
    rounds = {found.id: found for found in session.scalars(of)}
    found = [cards.card_of(session, contest, rounds[contest.round_id]) for contest in page.rows]
    return ContestList(contests=[_contest_json(card) for card in found], next=page.next)


@router.get("/contests/{contest_id}")
def get_contest(session: DbSession, user: ApiReviewer, contest_id: int) -> ContestJson:
    """One contest. Reviewers see it once it is settled."""
    return _contest_json(cards.card_of(session, cards.access_contest(session, user, contest_id)))


@router.post("/contests/{contest_id}/withdraw", response_model=ContestJson, dependencies=[TAKES_KEY])
def withdraw_contest(request: Request, session: DbSession, user: ApiAdmin, contest_id: int, act: ActJson) -> Response:
    """End an open contest. The champion stays."""

    def work() -> ContestJson:
        contests.withdraw(session, user, cards.access_contest(session, user, contest_id), act.reason)
        return _contest_json(cards.card_of(session, cards.access_contest(session, user, contest_id)))

    return once(session, user, request, act.model_dump_json().encode(), work)


@router.post(
    "/checkpoints/{checkpoint_id}/challenge", response_model=ContestJson, status_code=201, dependencies=[TAKES_KEY]
)
def challenge(request: Request, session: DbSession, user: ApiAdmin, checkpoint_id: int) -> Response:
    """Let people compare a policy that was trained elsewhere with the champion. No program measures it before."""
    found = access_checkpoint(session, user, checkpoint_id)

    def work() -> ContestJson:
        contest = nominating.challenge(session, user, found)
        return _contest_json(cards.card_of(session, cards.access_contest(session, user, contest.id)))

    return once(session, user, request, b"", work, status=201)


@router.post("/rounds/{number}/override", response_model=BetterJson, dependencies=[TAKES_KEY])
def override_round(request: Request, session: DbSession, user: ApiAdmin, number: int, act: ActJson) -> Response:
    """Make a round's policy the champion despite the gate, or before it has decided. Returns the result of each round."""

    def work() -> BetterJson:
        contests.override(session, user, queries.access_round(session, user, number), act.reason)
        return _better_json(better(session, user))

    return once(session, user, request, act.model_dump_json().encode(), work)


@router.get("/better")
def is_it_better(session: DbSession, user: ApiReviewer) -> BetterJson:
    """The result of each round, as the front page shows it."""
    return _better_json(better(session, user))


def _better_json(found: Better) -> BetterJson:
    return BetterJson(
        answer=found.answer.word, words=found.answer.words, rounds=[_entry_json(entry) for entry in found.entries]
    )


def _entry_json(entry: Entry) -> EntryJson:
    return EntryJson(
        round=entry.round.number,
        state=entry.round.state,
        verdict=entry.round.verdict,
        over_before=_rate_json(entry.over_before),
        over_base=_rate_json(entry.over_base),
        reward_accuracy=_rate_json(entry.accuracy),
    )


def _contest_json(card: Card) -> ContestJson:
    contest = card.contest
    same = ("id", "kind", "counted", "budget", "people", "verdict", "reason", "opened_at", "closed_at")
    return ContestJson(
        **{name: getattr(contest, name) for name in same},
        round=card.round_number,
        challenger=contest.challenger.name,
        champion=contest.champion.name,
        score=_rate_json(card.rate),
        length_controlled=_rate_json(card.length_controlled),
        evidence=cards.evidence(contest.log_e),
        evidence_worse=cards.evidence(contest.log_e_worse),
        capabilities=[_part_json(part) for part in card.capabilities],
        by_person=[_part_json(part) for part in card.people],
        more_judgements=card.forecast.more if card.forecast else None,
    )


def _part_json(part: Part) -> PartJson:
    score = RateJson(value=part.rate.value, low=part.rate.low, high=part.rate.high)
    return PartJson(name=part.name, counted=part.counted, score=score, without=part.without)


def _rate_json(rate: Rate | None) -> RateJson | None:
    return None if rate is None else RateJson(value=rate.value, low=rate.low, high=rate.high)
