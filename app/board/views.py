"""HTML of the board: how strong each policy is, who agrees with whom, and the votes behind every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.accounts.access import Admin, StaffAlone
from app.accounts.models import Role, User
from app.board import queries, service
from app.board.forms import Filter, address
from app.board.models import ALL, ALL_ROUNDS, Board
from app.board.queries import Item, Wanted
from app.board.results import Agreement, Pair, Rate, Strengths
from app.kernel.db import DbSession
from app.kernel.errors import NotFound
from app.kernel.paging import Cursor, Page
from app.registry.models import Checkpoint, LoopRole
from app.rounds import solving
from app.rounds.solving import Solved
from app.shell.web import is_exchange, redirect, render

router = APIRouter()

POLL_SECONDS = 2


@dataclass(frozen=True)
class Status:
    """The age of the numbers, and whether newer ones are being computed."""

    board: Board | None
    computing: bool
    new: int
    failed: str | None
    may_compute: bool
    poll_seconds: int | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy against another, seen from the first."""

    rate: Rate
    votes: int
    url: str
    leans: str
    """``good`` or ``bad`` where its interval leaves out one half."""


@dataclass(frozen=True)
class BoardPage:
    """Context of ``board/board.html`` and of the fragment ``board/_board.html``."""

    status: Status
    wanted: Wanted
    capabilities: list[str]
    rounds: list[int]
    strengths: Strengths | None
    reference: str
    matrix: dict[tuple[int, int], Cell]
    votes_urls: dict[int, str]
    roles: Mapping[int, LoopRole]
    settled_alone: bool
    solved: Solved
    here: str


@dataclass(frozen=True)
class VotesPage:
    """Context of ``board/votes.html``."""

    wanted: Wanted
    one: Checkpoint
    other: Checkpoint | None
    pair: Pair | None
    """As seen from ``one``; None where there are no numbers for it."""
    others: list[tuple[int, str, bool]]
    page: Page[Item]
    board: Board | None
    back: str
    start: str | None
    further: str | None


@dataclass(frozen=True)
class AgreementPage:
    """Context of ``board/agreement.html``."""

    status: Status
    agreement: Agreement
    here: str


@router.get("/board")
def board_page(request: Request, session: DbSession, user: StaffAlone, wanted: Filter) -> HTMLResponse:
    """The strengths by the votes that the filter keeps."""
    template = "board/_board.html" if is_exchange(request) else "board/board.html"
    return render(request, template, _board(session, user, Wanted(wanted.capability, wanted.round)))


@router.post("/board")
def compute(request: Request, session: DbSession, user: Admin) -> Response:
    """Recompute the board."""
    service.request(session, user)
    return redirect(request, "/board")


@router.get("/board/agreement")
def agreement_page(request: Request, session: DbSession, user: StaffAlone) -> HTMLResponse:
    """How far people agree."""
    status = _status(session, user)
    found = Agreement.model_validate(status.board.agreement) if status.board else Agreement()
    template = "board/_agreement.html" if is_exchange(request) else "board/agreement.html"
    return render(request, template, AgreementPage(status, found, "/board/agreement"))


@router.get("/board/votes")
def votes_page(
    request: Request, session: DbSession, user: StaffAlone, wanted: Filter, before: Cursor = None
) -> HTMLResponse:
    """Two policies on the same prompts, or one against all: the settled items, who judged them and how."""
    if wanted.one is None:
        raise NotFound
    one = queries.access_policy(session, user, wanted.one)
    other = queries.access_policy(session, user, wanted.other) if wanted.other is not None else None
    board = queries.latest(session, user)
    found = queries.strengths(session, user, board, wanted) if board else None
    page = queries.items(session, user, wanted, before=before)
    context = VotesPage(
        wanted=wanted,
        one=one,
        other=other,
        pair=_between(found, one.id, other.id) if found and other else None,
        others=_others(found, one.id, wanted),
        page=page,
        board=board,
        back=address("/board", Wanted(wanted.capability, wanted.round)),
        start=address("/board/votes", wanted) if before is not None else None,
        further=address("/board/votes", wanted, before=page.next) if page.next else None,
    )
    return render(request, "board/votes.html", context)


def _status(session: Session, user: User) -> Status:
    board, last, waits = queries.latest(session, user), queries.last_ended(session), queries.waiting(session)
    return Status(
        board=board,
        computing=waits is not None,
        new=queries.new_since(session, board) if board else 0,
        failed=last.error if last and not waits else None,
        may_compute=user.role is Role.ADMIN,
        poll_seconds=POLL_SECONDS if waits else None,
    )


def _board(session: Session, user: User, wanted: Wanted) -> BoardPage:
    status = _status(session, user)
    kept = queries.slices(session, user, status.board) if status.board else []
    found = queries.strengths(session, user, status.board, wanted) if status.board else None
    names = {policy.checkpoint_id: policy.name for policy in found.policies} if found else {}
    return BoardPage(
        status=status,
        wanted=wanted,
        capabilities=sorted({each.capability for each in kept} - {ALL}),
        rounds=sorted({each.round for each in kept} - {ALL_ROUNDS}, reverse=True),
        strengths=found,
        reference=names.get(found.reference, "") if found and found.reference else "",
        matrix=_matrix(found.pairs, wanted) if found else {},
        votes_urls={each: address("/board/votes", Wanted(wanted.capability, wanted.round, each)) for each in names},
        roles=queries.roles(session),
        settled_alone=user.role is not Role.ADMIN,
        solved=solving.of_policies(session, user),
        here=address("/board", wanted),
    )


def _matrix(pairs: Sequence[Pair], wanted: Wanted) -> dict[tuple[int, int], Cell]:
    """Each pair from both sides."""
    made = {}
    for pair in [*pairs, *(_turned(pair) for pair in pairs)]:
        leans = "good" if pair.score.low > 0.5 else "bad" if pair.score.high < 0.5 else ""
        url = address("/board/votes", Wanted(wanted.capability, wanted.round, pair.one, pair.other))
        made[pair.one, pair.other] = Cell(pair.score, pair.wins + pair.ties + pair.losses, url, leans)
    return made


def _turned(pair: Pair) -> Pair:
    score = Rate(rate=1 - pair.score.rate, low=1 - pair.score.high, high=1 - pair.score.low)
    turned = {"one": pair.other, "other": pair.one, "wins": pair.losses, "losses": pair.wins, "score": score}
    return pair.model_copy(update=turned)


def _between(found: Strengths, one: int, other: int) -> Pair | None:
    for pair in found.pairs:
        if (pair.one, pair.other) == (one, other):
            return pair
        if (pair.one, pair.other) == (other, one):
            return _turned(pair)
    return None


def _others(found: Strengths | None, one: int, wanted: Wanted) -> list[tuple[int, str, bool]]:
    """The policies that ``one`` has votes with: id, name, whether it is the one asked for."""
    if found is None:
        return []
    met = {pair.other if pair.one == one else pair.one for pair in found.pairs if one in {pair.one, pair.other}}
    return [
        (each.checkpoint_id, each.name, each.checkpoint_id == wanted.other)
        for each in found.policies
        if each.checkpoint_id in met
    ]
