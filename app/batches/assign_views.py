"""HTML of whom a batch is assigned to: a section of its page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import ValidationError

from app.accounts.access import Admin
from app.batches import assign_form, settings
from app.batches.assign_form import AssignForm
from app.batches.assigning import Assigned, of_batch
from app.batches.views import beside, shown_batch
from app.kernel.db import DbSession
from app.kernel.errors import AppError, BadInput
from app.prompts import queries
from app.prompts.forms import BatchChange, field_errors
from app.prompts.models import Batch, BatchKind
from app.shell.web import redirect
from app.shell.zones import zone_of

router = APIRouter()


@router.post("/batches/{batch_id}/assign")
def assign(
    request: Request, session: DbSession, user: Admin, batch_id: int, form: Annotated[AssignForm, Form()]
) -> Response:
    """Say who gets the items of a batch, when it is due and how urgent it is."""
    batch, zone = queries.access_batch(session, user, batch_id), zone_of(request)
    try:
        asked = assign_form.wanted(form, of_batch(session, batch), zone)
        if batch.kind is BatchKind.DIALOGUE:
            del asked["readers_only"]
        settings.change(session, user, batch, BatchChange.model_validate(asked))
    except ValidationError as error:
        return shown_batch(request, session, True, batch, sent=form, errors=field_errors(error))
    except BadInput as error:
        return shown_batch(request, session, True, batch, sent=form, errors=beside(error))
    except AppError as error:
        return shown_batch(request, session, True, batch, sent=form, errors={"form": error.message})
    return redirect(request, f"/batches/{batch.id}", flash=_said(of_batch(session, batch), batch))


def _said(now: Assigned, batch: Batch) -> str:
    if now.to_nobody:
        return "Saved. Nobody gets items of this batch: assign it to somebody."
    if not now.restricted:
        return f"Saved. Everybody gets items of “{batch.name}”{', but for those who may not judge it' if now.barred else ''}."
    names = [name for _, name in (*now.teams, *now.people)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"Saved. “{batch.name}” is assigned to {', '.join(names[:3])}{more}. Items that others have begun stay with them."
