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
from app.batches.form_values import beside
from app.batches.views import shown_batch
from app.kernel.db import DbSession
from app.kernel.errors import AppError, BadInput
from app.kernel.locales import gettext as _
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
        return _("Saved. Nobody gets items of this batch: assign it to somebody.")
    if not now.restricted and now.barred:
        return _("Saved. Everybody gets items of “{name}”, but for those who may not judge it.", name=batch.name)
    if not now.restricted:
        return _("Saved. Everybody gets items of “{name}”.", name=batch.name)
    names = [name for _id, name in (*now.teams, *now.people)]
    who = ", ".join(names[:3])
    if len(names) > 3:
        who = _("{names} and {n} more", names=who, n=len(names) - 3)
    return _(
        "Saved. “{name}” is assigned to {who}. Items that others have begun stay with them.", name=batch.name, who=who
    )
