"""The form of a batch: what stands in it before anybody types, as texts by field, and what was typed, as settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from pydantic import ValidationError

from app.batches import assign_form
from app.batches.assign_form import AssignForm
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.prompts.attributes import to_lines
from app.prompts.forms import ASSIGNEES, BatchSettings, field_errors, with_examples
from app.prompts.intake import Sent, SentFile
from app.prompts.models import Batch, BatchTask, PairSelection, Upload
from app.prompts.verifiers import to_text
from app.shell.posted import unknown


def suggested(upload: Upload | None = None) -> dict[str, str]:
    """Of a new one: the defaults, and with its file a name and as many responses as come in it."""
    fields = BatchSettings.model_fields
    values = {name: str(field.default) for name, field in fields.items() if isinstance(field.default, str | int)}
    name = upload.filename.rpartition(".")[0].replace("_", " ").replace("-", " ").strip() if upload else ""
    return (
        {key: values.get(key, "") for key in fields}
        | {"leave_out_refused": ""}
        | {"name": name[:120], "edit_policy": "optional", "selection": PairSelection.BALD.value}
        | {"task": BatchTask.COMPARE.value, "show_findings": "after", "may_train": "", "requires_tour": "false"}
        | (_as_many_as_came(upload) if upload else {})
    )


def _as_many_as_came(upload: Upload) -> dict[str, str]:
    """As many responses to a prompt as the file brings, as far as a batch shows them."""
    most = upload.report.get("responses", {}).get("most", 0)
    return {"candidates_per_prompt": str(max(2, min(most, 8)))} if most else {}


def of_batch(batch: Batch) -> dict[str, str]:
    """Of one that is there: its settings."""
    numbers = (
        "annotators_per_prompt",
        "overlap_percent",
        "sampled_per_prompt",
        "verify_percent",
        "gold_percent",
        "qualification_items",
        "qualification_percent",
    )
    return (
        {name: str(getattr(batch, name)) for name in numbers}
        | {"name": batch.name}
        | {"attributes": to_lines(batch.attributes), "language": batch.language or ""}
        | {"verifiers": to_text(batch.verifiers), "required": ", ".join(batch.required)}
        | {"show_findings": batch.show_findings.value, "selection": batch.selection.value}
        | {"requires_tour": str(batch.requires_tour).lower()}
        | {f"example_{level}": batch.strength_examples.get(level, "") for level in "1234"}
    )


OF_PROMPTS = ("file", "text", "look", "upload")
"""Fields of the form that are no settings: the prompts, that they are to be looked at, and where they are kept."""
OF_BATCH = {*BatchSettings.model_fields, *(f"example_{level}" for level in "1234")} - {"strength_examples"}
WRITTEN = "prompts.jsonl"
"""What prompts are called as a file that came as text."""


def without_prompts(sent: Sent) -> Sent:
    """What the form says of the batch.

    Raises:
        BadInput: it has a field that there is not.
    """
    said = {name: text for name, text in sent.fields.items() if name not in OF_PROMPTS}
    unknown(said.keys() - OF_BATCH)
    return Sent(said, picked=sent.picked)


def as_changed(sent: Sent) -> Sent:
    """The fields that are not as they were suggested before the prompts were known."""
    before = suggested()
    return Sent({name: text for name, text in sent.fields.items() if text != before.get(name)}, picked=sent.picked)


def file_of(sent: Sent) -> SentFile:
    """The file that was sent, or the one that its text makes: a prompt a line, or lines as in a file of JSON Lines.

    Raises:
        BadInput: there is neither.
    """
    if sent.file is not None and sent.file.filename:
        return sent.file
    lines = [line.strip() for line in sent.fields.get("text", "").splitlines() if line.strip()]
    if not lines:
        raise BadInput(_("Choose a file first, or write prompts."))
    as_json = [line if line.startswith("{") else json.dumps({"prompt": line}) for line in lines]
    return SentFile(WRITTEN, "\n".join(as_json).encode(errors="surrogatepass"))


def typed(sent: Sent, zone: tzinfo | None) -> tuple[BatchSettings | None, dict[str, str]]:
    """The settings of a new batch and whom it is assigned to, or None, with what is wrong by field; all of it at once."""
    of_assigning = {name: text for name, text in sent.fields.items() if name in AssignForm.model_fields}
    rest = {name: text for name, text in sent.fields.items() if name not in of_assigning}
    errors: dict[str, str] = {}
    asked: dict[str, Any] = {}
    try:
        form = AssignForm.model_validate({**of_assigning, **sent.picked})
        asked = assign_form.wanted(form, assign_form.NOBODY_YET, zone)
    except ValidationError as error:
        errors = field_errors(error)
    except BadInput as error:
        errors = beside(error)
    try:
        settings = BatchSettings.model_validate({**with_examples(all_if_empty(rest)), **asked})
    except ValidationError as error:
        return None, field_errors(error) | errors
    return (None if errors else settings), errors


def usable(sent: Sent, zone: tzinfo | None) -> BatchSettings:
    """The settings as far as they can be used by now; the rest is as suggested."""
    settings, errors = typed(sent, zone)
    if settings is not None:
        return settings
    drop = {*errors, *(f"example_{level}" for level in "1234" if "strength_examples" in errors)}
    kept = {name: text for name, text in sent.fields.items() if name not in drop}
    picked = {} if drop & set(ASSIGNEES) else sent.picked
    nameless = {"name": _("New batch")}
    settings, _errors = typed(Sent(nameless | kept, picked=picked), zone)
    return settings or BatchSettings.model_validate(nameless)


def all_if_empty(fields: Mapping[str, str]) -> dict[str, Any]:
    """An empty field of verifiers stands for all of them."""
    return {name: None if name == "verifiers" and not text.strip() else text for name, text in fields.items()}


def beside(error: BadInput) -> dict[str, str]:
    """The error by the field that it names, else at the top of the form."""
    named = [one for one in error.extra.get("errors", []) if "loc" in one]
    return {one["loc"]: one["msg"] for one in named} or {"form": error.message}
