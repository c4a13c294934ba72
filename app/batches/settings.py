"""Changes to a batch while people work on it: which are safe at any time, and which only before the first annotation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, literal, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.batches import assigning, overlap
from app.comparisons import purposes
from app.comparisons.models import Comparison
from app.kernel.errors import Conflict
from app.kernel.locales import gettext as _
from app.prompts.forms import ASSIGNEES, OF_RESPONSES, BatchChange
from app.prompts.guidelines import rewrite
from app.prompts.models import Batch, BatchKind, BatchState, BatchTask, Prompt
from app.prompts.service import check_name

NUMBER = "annotators_per_prompt"
SHARED = ("verify_percent", "gold_percent", "qualification_items")
NUMBERS = (*SHARED, "qualification_percent")
CHOOSING = ("overlap_percent", "selection", "sampled_per_prompt")
PLAIN = ("name", NUMBER, *NUMBERS, *CHOOSING, "required", "show_findings", "requires_tour", "priority", "readers_only")
MAY_BE_NONE = ("deadline", "quota", "verifiers")


def change(session: Session, user: User, batch: Batch, wanted: BatchChange) -> None:
    """Take over what ``wanted`` names; the values before stay in the audit trail.

    Raises:
        BadInput: another batch has the name; whom it is assigned to is not known; or its quota leaves nothing after the
            qualification.
        Conflict: other attributes, and somebody has annotated by the present ones; or known answers, or a choice of responses,
            among dialogues or where nothing is compared; or another number of annotators in a closed batch or among dialogues.
    """
    session.refresh(batch, with_for_update={"key_share": True})  # items of the batch go on being made and judged
    if batch.kind is BatchKind.DIALOGUE and any(getattr(wanted, name) for name in SHARED):
        raise Conflict(
            _(
                "Dialogue turns are only shown to their author, so their edits cannot be verified and they "
                "have no known answers."
            )
        )
    if batch.kind is BatchKind.DIALOGUE and wanted.requires_tour:
        raise Conflict(_("The tour is about items that are compared one by one: dialogues cannot require it."))
    if batch.kind is BatchKind.DIALOGUE and wanted.readers_only:
        raise Conflict(
            _("A dialogue has the language in which its annotator writes: it cannot ask for people who read another.")
        )
    _check_task(batch, wanted)
    after = _asked(wanted)
    assigning.check_quota(after.get("quota", batch.quota), after.get("qualification_items", batch.qualification_items))
    before: dict[str, object] = {
        name: getattr(batch, name) for name, value in after.items() if value != getattr(batch, name)
    }
    if "attributes" in before:
        _check_unused(session, batch)
    if "name" in before:
        check_name(session, str(after["name"]))
    if NUMBER in before:
        _check_number(batch)
    with session.begin_nested():  # a page shows what is refused, and commits
        assignees = {name: getattr(wanted, name) for name in ASSIGNEES}
        changed = assigning.assign(session, user, batch, assignees)
        if before:
            overlap.giving_way(session, lambda: _apply(session, user, batch, before, after))
        if changed and batch.kind is BatchKind.PROMPTS and batch.state is not BatchState.CLOSED:
            # nobody waits for a second person where only one is left who may be asked
            overlap.giving_way(session, lambda: overlap.follow(session, batch))
        if wanted.guidelines is not None or wanted.strength_examples is not None:
            text = batch.guidelines if wanted.guidelines is None else wanted.guidelines
            rewrite(session, user, batch, text, wanted.strength_examples)


def _apply(session: Session, user: User, batch: Batch, before: dict[str, object], after: dict[str, object]) -> None:
    for name in before:
        setattr(batch, name, after[name])
    said = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in before.items()}
    audit(session, user, "batch.settings", "batch", batch.id, before=said)
    session.flush()
    if "language" in before:
        _follow(session, batch)
    if NUMBER in before:
        changed = overlap.follow(session, batch)
        if changed and batch.annotators_per_prompt > int(str(before[NUMBER])):
            batch.times_extended += 1
    session.flush()


def _check_number(batch: Batch) -> None:
    """How many people judge a prompt can change while people may still judge."""
    if batch.kind is BatchKind.DIALOGUE:
        raise Conflict(
            _("The turns of a dialogue are judged by its author alone: the number of annotators stays 1."), field=NUMBER
        )
    if batch.state is BatchState.CLOSED:
        raise Conflict(_("This batch is closed: its prompts have the annotators that they have."), field=NUMBER)


def _check_task(batch: Batch, wanted: BatchChange) -> None:
    """Refuse what is about comparing in a batch that has nothing to compare."""
    said = next((said for name, said in OF_RESPONSES.get(batch.task, {}).items() if getattr(wanted, name)), None)
    if said is not None:
        sentence = _(said)
        raise Conflict(f"{sentence[0].upper()}{sentence[1:]}.")
    compares = batch.kind is BatchKind.PROMPTS and batch.task is BatchTask.COMPARE
    if not compares and any(getattr(wanted, name) is not None for name in CHOOSING):
        raise Conflict(_("Responses are chosen, and judged twice, only where people compare the responses to prompts."))


def _asked(wanted: BatchChange) -> dict[str, object]:
    """The columns that a change names, with their new values."""
    after: dict[str, object] = {name: value for name in PLAIN if (value := getattr(wanted, name)) is not None}
    if wanted.attributes is not None:
        after["attributes"] = [each.model_dump() for each in wanted.attributes]
    if wanted.language is not None:
        after["language"] = wanted.language or None
    return after | {name: getattr(wanted, name) for name in MAY_BE_NONE if name in wanted.model_fields_set}


def _follow(session: Session, batch: Batch) -> None:
    """Comparisons of prompts that do not say their language have that of the batch, else the detected one."""
    silent = (Prompt.id == Comparison.prompt_id, Prompt.language.is_(None), Prompt.dialogue_id.is_(None))
    session.execute(
        update(Comparison)
        .where(Comparison.batch_id == batch.id, *silent)
        .values(language=batch.language or func.coalesce(Prompt.language_detected, ""))
        .execution_options(synchronize_session=False)
    )


def _check_unused(session: Session, batch: Batch) -> None:
    """Nobody has judged by the present attributes, and nobody is about to: a submit would not see the new ones."""
    of_batch = Comparison.batch_id == batch.id
    if session.scalar(select(literal(1)).where(of_batch, Comparison.annotators_done > 0).limit(1)):
        raise Conflict(_("People have already annotated this batch, so its attributes can no longer change."))
    at_work = purposes.is_asked_for, Comparison.seats_free < Comparison.annotators_wanted
    if batch.state is BatchState.OPEN and session.scalar(select(literal(1)).where(of_batch, *at_work).limit(1)):
        raise Conflict(_("Somebody is working on this batch: pause it, then change its attributes."))
