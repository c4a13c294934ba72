"""HTML of what a batch's page changes while people work: its settings and its guidelines."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from app.accounts.access import Admin
from app.batches import settings
from app.batches.form_values import all_if_empty, beside
from app.batches.views import shown_batch
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, Conflict
from app.kernel.locales import gettext as _
from app.prompts import queries
from app.prompts.forms import BatchChange, GuidelinesForm, field_errors, with_examples
from app.prompts.guidelines import rewrite
from app.prompts.intake import AdminForm
from app.shell.web import redirect

router = APIRouter()


@router.post("/batches/{batch_id}/guidelines")
def guidelines(request: Request, session: DbSession, user: Admin, batch_id: int, sent: AdminForm) -> Response:
    """Replace the guidelines; annotators see the new ones with their next item."""
    batch = queries.access_batch(session, user, batch_id)
    try:
        form = GuidelinesForm.model_validate(with_examples(sent.fields))
    except ValidationError as error:
        return shown_batch(request, session, True, batch, sent=sent.fields, errors=field_errors(error))
    rewrite(session, user, batch, form.guidelines, form.strength_examples)
    return redirect(request, f"/batches/{batch.id}", flash=_("Guidelines saved."))


@router.post("/batches/{batch_id}/settings")
def change_settings(request: Request, session: DbSession, user: Admin, batch_id: int, sent: AdminForm) -> Response:
    """Change the settings that can change while people work."""
    batch = queries.access_batch(session, user, batch_id)
    try:
        settings.change(session, user, batch, BatchChange.model_validate(all_if_empty(sent.fields)))
    except ValidationError as error:
        return shown_batch(request, session, True, batch, sent=sent.fields, errors=field_errors(error))
    except BadInput as error:
        return shown_batch(request, session, True, batch, sent=sent.fields, errors=beside(error))
    except Conflict as error:
        return shown_batch(
            request,
            session,
            True,
            batch,
            sent=sent.fields,
            errors={error.extra.get("field", "attributes"): error.message},
        )
    return redirect(request, f"/batches/{batch.id}", flash=_("Settings saved."))
