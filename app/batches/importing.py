"""An upload becomes a batch, with what people can work on before any model has answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from app.accounts.models import User
from app.batches.given import GivenResponses
from app.comparisons.service import ask_for_answers
from app.kernel.errors import refused
from app.prompts.forms import BatchSettings
from app.prompts.import_forms import CameJson
from app.prompts.models import Batch, BatchTask, Upload
from app.prompts.service import confirm_upload

AFTER_RESPONSES: list[Callable[[Session, int], Any]] = []
"""What rooms above do once the responses of a batch, by its id, are recorded: they say it when they are imported."""


def confirm(session: Session, user: User, upload: Upload, settings: BatchSettings) -> Batch:
    """The batch of ``upload``, as :func:`app.prompts.service.confirm_upload` makes it, with its items.

    Where people write there is one for each prompt; elsewhere for each prompt that came with enough responses.

    Raises:
        BadInput: there are responses that nobody would see, or whether their model may be trained on is known to be otherwise.
    """
    brings = upload.report.get("responses", {}).get("prompts", 0)
    if brings and settings.task is BatchTask.WRITE:
        raise refused(
            "task",
            "This file brings responses, and where people write the answer nobody is shown any: let people compare them, or "
            "upload the prompts alone.",
        )
    given = GivenResponses(settings)
    with session.begin_nested():  # a page shows what is refused, and commits
        batch = confirm_upload(session, user, upload, settings, given.take)
        ask_for_answers(session, batch)
        if given.record(session, user, batch, upload.filename):
            for act in AFTER_RESPONSES:
                act(session, batch.id)
    return batch


def came(upload: Upload, settings: BatchSettings) -> CameJson:
    """What of an import came with responses."""
    report = upload.report["responses"]
    models: dict[str, int] = {}
    for name, count in report["models"]:
        models[name or settings.unnamed_model] = models.get(name or settings.unnamed_model, 0) + count
    return CameJson(prompts=report["prompts"], count=report["count"], models=models)
