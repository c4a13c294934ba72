"""HTML of contests: the page, the card that other pages show, and what an admin can do to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.accounts.access import Admin, SignedIn
from app.accounts.models import User
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.registry.queries import access_checkpoint
from app.rounds import cards, contests, drawing, findings, nominating
from app.rounds.acts import DONE, NOTHING_REFUSED, OVERRIDE, WITHDRAW, Act, Refused, of_contest
from app.rounds.cards import Card
from app.rounds.drawing import Curve
from app.rounds.findings import Solved
from app.shell.web import is_exchange, redirect, render

router = APIRouter()

CONTEST_POLL_SECONDS = 10
"""How often an open contest's card asks for itself; it changes with a vote, not with the second."""


@dataclass(frozen=True)
class ContestPage:
    """Context of ``rounds/contest.html`` and of the fragment ``rounds/_contest.html``."""

    card: Card
    score: Curve | None
    evidence: Curve | None
    solved: list[Solved]
    acts: list[Act]
    reason: str
    problem: str
    poll_seconds: int


@dataclass(frozen=True)
class CardPage:
    """Context of the fragment ``rounds/_card.html``."""

    card: Card
    poll_seconds: int


@router.get("/contests/{contest_id}")
def contest_page(request: Request, session: DbSession, user: SignedIn, contest_id: int) -> HTMLResponse:
    """One contest: for admins, and once it is settled for reviewers. For anybody else there is none."""
    return _page(request, session, user, contest_id)


@router.get("/contests/{contest_id}/card")
def contest_card(request: Request, session: DbSession, user: SignedIn, contest_id: int) -> HTMLResponse:
    """The card alone; once the contest is settled it polls no more."""
    card = cards.card_of(session, cards.access_contest(session, user, contest_id))
    return render(request, "rounds/_card.html", CardPage(card, CONTEST_POLL_SECONDS))


@router.post("/checkpoints/{checkpoint_id}/challenge")
def challenge(request: Request, session: DbSession, user: Admin, checkpoint_id: int) -> Response:
    """Let people compare a policy that was trained elsewhere with the champion."""
    found = access_checkpoint(session, user, checkpoint_id)
    contest = nominating.challenge(session, user, found)
    return redirect(
        request, f"/contests/{contest.id}", flash=_("{name} is in contest with the champion.", name=found.name)
    )


@router.post("/contests/{contest_id}/withdraw")
def withdraw(
    request: Request, session: DbSession, user: Admin, contest_id: int, reason: Annotated[str, Form()] = ""
) -> Response:
    """End a contest before its votes do."""
    contest = cards.access_contest(session, user, contest_id)
    again = partial(_page, request, session, user, contest_id)
    return act(request, WITHDRAW, partial(contests.withdraw, session, user, contest), reason, again)


@router.post("/contests/{contest_id}/override")
def override(
    request: Request, session: DbSession, user: Admin, contest_id: int, reason: Annotated[str, Form()] = ""
) -> Response:
    """Make the challenger the champion despite the gate, or before it has decided."""
    contest = cards.access_contest(session, user, contest_id)
    again = partial(_page, request, session, user, contest_id)
    return act(request, OVERRIDE, partial(contests.override, session, user, contest), reason, again)


def act(
    request: Request,
    name: str,
    do: Callable[[str], None],
    reason: str,
    again: Callable[[Refused], HTMLResponse],
) -> Response:
    """Do an act and return to its page, whose address the act's extends; show it ``again`` where the reason is refused."""
    try:
        do(reason)
    except BadInput as error:
        return again(Refused(name, reason, error.message))
    return redirect(request, request.url.path.removesuffix(f"/{name}"), flash=_(DONE[name]))


def _page(
    request: Request, session: Session, user: User, contest_id: int, refused: Refused = NOTHING_REFUSED
) -> HTMLResponse:
    contest = cards.access_contest(session, user, contest_id)
    card = cards.card_of(session, contest)
    page = ContestPage(
        card=card,
        score=drawing.of_score(card),
        evidence=drawing.of_evidence(card),
        solved=findings.solved(session, contest),
        acts=of_contest(user, contest, card.round_verdict, refused.act),
        reason=refused.reason,
        problem=refused.problem,
        poll_seconds=CONTEST_POLL_SECONDS,
    )
    template = f"rounds/{'_contest' if is_exchange(request) and not refused.problem else 'contest'}.html"
    return render(request, template, page, status=422 if refused.problem else 200)
