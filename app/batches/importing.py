"""An upload becomes a batch, with what people can work on before any model has answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from app.accounts.models import User
from app.batches import assigning
from app.batches.given import GivenResponses
from app.comparisons.service import ask_for_answers
from app.kernel.errors import Conflict, refused
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts.forms import ASSIGNEES, BatchSettings
from app.prompts.import_forms import CameJson, LeftOut, OfFile, Reason, Unseen
from app.prompts.models import Batch, BatchTask, Upload
from app.prompts.reach import sentence
from app.prompts.service import confirm_upload

WRITTEN_BRINGS = N_(
    "This file brings responses, and where people write the answer nobody is shown any: let people compare them, or upload the "
    "prompts alone."
)
AFTER_RESPONSES: list[Callable[[Session, int], Any]] = []
"""What rooms above do once the responses of a batch, by its id, are recorded: they say it when they are imported."""


def confirm(session: Session, user: User, upload: Upload, settings: BatchSettings) -> Batch:
    """The batch of ``upload``, as :func:`app.prompts.service.confirm_upload` makes it, with its items.

    Where people write there is one for each prompt; elsewhere for each prompt that came with enough responses.

    Raises:
        BadInput: there are responses that nobody would see, or whether their model may be trained on is known to be otherwise.
        Conflict: the file was sent as more prompts for a batch: what that batch has is not in its preview.
    """
    if "for_batch" in upload.report:
        raise Conflict(_("This file holds more prompts for a batch: to make a batch of it, upload it as a new one."))
    brings = upload.report.get("responses", {}).get("prompts", 0)
    if brings and settings.task is BatchTask.WRITE:
        raise refused("task", _(WRITTEN_BRINGS))
    assigning.check_quota(settings.quota, settings.qualification_items)
    given, came_with = GivenResponses(settings), 0

    def record(batch: Batch) -> None:
        nonlocal came_with
        assigning.assign(session, user, batch, {name: getattr(settings, name) for name in ASSIGNEES})
        came_with = given.record(session, user, batch, upload.filename)

    with session.begin_nested():  # a page shows what is refused, and commits
        batch = confirm_upload(session, user, upload, settings, given.take, record)
        ask_for_answers(session, batch)
        if came_with:
            for act in AFTER_RESPONSES:
                act(session, batch.id)
    return batch


def came(report: dict[str, Any], unnamed_model: str) -> CameJson:
    """What of an import came with responses, by its report."""
    responses = report["responses"]
    models: dict[str, int] = {}
    for name, count in responses["models"]:
        models[name or unnamed_model] = models.get(name or unnamed_model, 0) + count
    return CameJson(prompts=responses["prompts"], count=responses["count"], models=models)


def of_file(report: dict[str, Any], unnamed_model: str) -> OfFile:
    """What of a file was left out, and what is to be known of the rest, by its report."""
    return OfFile(
        left_out=[LeftOut.model_validate(each) for each in report["errors"]],
        left_out_by_reason=[Reason.model_validate(each) for each in report["reasons"]],
        responses=came(report, unnamed_model),
        notes=[note for note, _ in report["notes"]],
        unseen=[_unseen(entry, report["unit"]) for entry in report["unseen"]],
    )


def _unseen(entry: dict[str, Any], unit: str) -> Unseen:
    return Unseen(part=entry["part"], prompts=entry["prompts"], lines=entry["lines"], reason=sentence(entry, unit))
