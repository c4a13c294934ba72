"""JSON of orders of prompts: the same services as the pages."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, ApiReviewer, api_staff
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit
from app.synthesis import queries, service
from app.synthesis.catalogue import KINDS
from app.synthesis.forms import (
    GeneratorJson,
    GeneratorList,
    RowJson,
    SynthesisDetail,
    SynthesisJson,
    SynthesisList,
    SynthesisOrder,
)
from app.synthesis.models import Synthesis

router = APIRouter(tags=["batches"])


@router.get("/generators", dependencies=[Depends(api_staff)])
def generators() -> GeneratorList:
    """What prompts can be made by."""
    return GeneratorList(
        generators=[
            GeneratorJson(
                name=kind.name,
                title=kind.title,
                purpose=kind.purpose,
                asks=kind.asks,
                material=kind.material,
                options=sorted(kind.options),
            )
            for kind in KINDS.values()
        ]
    )


@router.post("/syntheses", status_code=202, response_model=SynthesisDetail, dependencies=[TAKES_KEY])
def order(request: Request, session: DbSession, user: ApiAdmin, wanted: SynthesisOrder) -> Response:
    """Have prompts made; a worker makes them and imports them as a new batch in preparation."""

    def work() -> SynthesisDetail:
        return _detail(session, queries.access_synthesis(session, user, service.order(session, user, wanted).id))

    return once(session, user, request, wanted.model_dump_json().encode(), work, status=202)


@router.get("/syntheses", dependencies=[Depends(api_staff)])
def list_syntheses(session: DbSession, before: Cursor = None, limit: Limit = 25) -> SynthesisList:
    """Orders of prompts, newest first."""
    page = queries.list_syntheses(session, before=before, limit=limit)
    return SynthesisList(syntheses=[SynthesisJson.of(each) for each in page.rows], next=page.next)


@router.get("/syntheses/{synthesis_id}")
def get_synthesis(session: DbSession, user: ApiReviewer, synthesis_id: int) -> SynthesisDetail:
    """How far an order is, and which numbers gave no prompt."""
    return _detail(session, queries.access_synthesis(session, user, synthesis_id))


@router.post("/syntheses/{synthesis_id}/stop", response_model=SynthesisDetail, dependencies=[TAKES_KEY])
def stop(request: Request, session: DbSession, user: ApiAdmin, synthesis_id: int) -> Response:
    """Make no more; what is made becomes the batch."""
    found = queries.access_synthesis(session, user, synthesis_id)

    def work() -> SynthesisDetail:
        service.stop(session, user, found)
        return _detail(session, found)

    return once(session, user, request, b"", work)


def _detail(session: Session, found: Synthesis) -> SynthesisDetail:
    session.flush()
    found = queries.loaded(session, found)
    rows = [RowJson(number=row.number, reason=row.reason or "") for row in queries.left_out(session, found)]
    return SynthesisDetail.of(found, left_out=rows)
