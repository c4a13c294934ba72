"""JSON of the board, of agreement, and of the votes behind a number."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from app.accounts.access import ApiAdmin, ApiReviewer
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.models import Role
from app.board import queries, service
from app.board.forms import (
    AgreementOut,
    AskedOut,
    BoardOut,
    Capability,
    ItemList,
    ItemOut,
    PolicyId,
    RoundNumber,
    SolverOut,
)
from app.board.models import ALL, ALL_ROUNDS
from app.board.queries import Wanted
from app.board.results import Agreement
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit
from app.rounds import solving

router = APIRouter(tags=["board"])


@router.get("/board")
def get_board(
    session: DbSession, user: ApiReviewer, capability: Capability = ALL, number: RoundNumber = ALL_ROUNDS
) -> BoardOut:
    """How strong each policy is, by people's votes."""
    board = queries.latest(session, user)
    last = queries.last_ended(session)
    return BoardOut(
        id=board.id if board else None,
        computed_at=board.computed_at if board else None,
        seconds=board.seconds if board else None,
        computing=queries.waiting(session) is not None,
        new=queries.new_since(session, board) if board else 0,
        failed=last.error if last else None,
        settled_alone=user.role is not Role.ADMIN,
        method=board.method if board else "",
        solved=[SolverOut.model_validate(asdict(each)) for each in solving.of_policies(session, user).policies],
        strengths=queries.strengths(session, user, board, Wanted(capability, number)) if board else None,
    )


@router.post("/board", status_code=202, response_model=AskedOut, dependencies=[TAKES_KEY])
def compute_board(request: Request, session: DbSession, user: ApiAdmin) -> Response:
    """Recompute the board. A computation that is already queued is returned instead."""

    def work() -> AskedOut:
        asked = service.request(session, user)
        return AskedOut(id=asked.id, state=asked.state)

    return once(session, user, request, b"", work, status=202)


@router.get("/board/agreement")
def get_agreement(session: DbSession, user: ApiReviewer) -> AgreementOut:
    """Krippendorff's α of items that two or more people judged: overall, by batch, by pair of people, by week."""
    board = queries.latest(session, user)
    found = Agreement.model_validate(board.agreement) if board else Agreement()
    return AgreementOut(computed_at=board.computed_at if board else None, agreement=found)


@router.get("/board/votes")
def list_votes(
    session: DbSession,
    user: ApiReviewer,
    one: PolicyId,
    other: PolicyId | None = None,
    capability: Capability = ALL,
    number: RoundNumber = ALL_ROUNDS,
    before: Cursor = None,
    limit: Limit = 20,
) -> ItemList:
    """Settled items that compare a policy with another, or with any. You are no longer given the prompts you read here."""
    page = queries.items(session, user, Wanted(capability, number, one, other), before=before, limit=limit)
    return ItemList(items=[ItemOut.model_validate(asdict(item)) for item in page.rows], next=page.next)
