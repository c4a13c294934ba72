"""An upload becomes a batch, with what people can work on before any model has answered."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.accounts.models import User
from app.comparisons.service import ask_for_answers
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, Upload
from app.prompts.service import confirm_upload


def confirm(session: Session, user: User, upload: Upload, settings: BatchSettings) -> Batch:
    """The batch of ``upload``, as :func:`app.prompts.service.confirm_upload` makes it; where people write, with its items."""
    batch = confirm_upload(session, user, upload, settings)
    ask_for_answers(session, batch)
    return batch
