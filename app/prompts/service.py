"""Writes and rules of prompts: uploads, batches and their states."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path, PurePath
from random import SystemRandom
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.kernel.chat_templates import in_service
from app.kernel.copying import ENCODER, copy_rows
from app.kernel.errors import BadInput, Conflict, TooLarge, refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext, number
from app.kernel.locks import wait_for_turn
from app.kernel.settings import get_settings
from app.loops.queries import current_round
from app.prompts.forms import BatchSettings
from app.prompts.guidelines import keep_version
from app.prompts.importers import Importer
from app.prompts.models import Batch, BatchState, BatchTask, Prompt, PromptState, Upload
from app.prompts.parsing import Refusal, limits_of, parse
from app.prompts.reach import Reach, sentences
from app.prompts.records import ParsedPrompt
from app.prompts.reports import Came, by_reason
from app.prompts.units import counted
from app.prompts.upkeep import keep_names

SAMPLE_FILE = Path(__file__).with_name("sample.jsonl")
SAMPLE_NAME = "Sample"
SAMPLE_GUIDELINES = """\
Prefer the answer that helps the person who asked.

1. **Right** beats wrong: check sums, code and facts before style.
2. **Asked for** beats extra: a short answer to the question beats a long one beside it.
3. **Language and form** count: the language of the question, the format that was asked for, the role that was set.

If both answers are useless, say so: “all unacceptable” is a judgement, not a failure. If the better one is nearly good,
improve it: your edit is worth more than your click.
"""
SHOWN_PROMPTS = 5
SHOWN_RESPONSES = 4
UPLOAD_KEPT = timedelta(days=7)
SHUFFLED_OVER = timedelta(days=1)
"""The past over which the prompts of a file are due: long enough that no two of them are due at one moment."""
SHOWN_CHARS = 2_000
ASSIGNEES = {"teams", "people", "barred"}
NOT_OF_BATCH = {"temperature", "top_p", "leave_out_refused", "language", "may_train", "unnamed_model", *ASSIGNEES}
"""Settings of an import that are no columns of its batch."""

TRANSITIONS: dict[BatchState, frozenset[BatchState]] = {
    BatchState.PREPARING: frozenset({BatchState.OPEN, BatchState.CLOSED}),
    BatchState.OPEN: frozenset({BatchState.PAUSED, BatchState.CLOSED}),
    BatchState.PAUSED: frozenset({BatchState.OPEN, BatchState.CLOSED}),
    BatchState.CLOSED: frozenset(),
}

_DICE = SystemRandom()


# ── Uploads ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def create_upload(session: Session, user: User, filename: str, content: bytes) -> Upload:
    """Store a file under preview with its report; :class:`BadInput` when the file as a whole cannot be used."""
    check_size(content)
    name = clean_filename(filename)
    return keep_upload(session, user, name, content, report_of(*parse(name, content, limits_of(get_settings()))))


def keep_upload(session: Session, user: User, name: str, content: bytes, report: dict[str, Any]) -> Upload:
    """Store a file that was read under preview."""
    digest = hashlib.sha256(content).hexdigest()
    upload = Upload(uploaded_by_id=user.id, filename=name, content=content, sha256=digest, report=report)
    session.add(upload)
    session.flush()
    return upload


def check_size(content: bytes) -> None:
    """Refuse a file that is larger than this installation takes; :class:`TooLarge`."""
    most = get_settings().upload_limit_bytes
    if len(content) > most:
        raise TooLarge(
            _("The file has {n} bytes, {most} is the most: split it.", n=number(len(content)), most=number(most))
        )


def clean_filename(filename: str) -> str:
    """The last part of ``filename`` without what cannot be stored or shown; only its suffix has a meaning."""
    last = PurePath(filename.replace("\\", "/")).name
    shown = "".join(letter for letter in last if letter.isprintable())
    return shown[-255:] or "upload"


def report_of(kind: Importer, records: Iterable[ParsedPrompt | Refusal]) -> dict[str, Any]:
    """What a preview says of ``records``, which a file of this kind gives: counts, the first prompts, every refused line."""
    capabilities: Counter[str | None] = Counter()
    notes: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    reach = Reach(in_service())
    came = Came()
    shown: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for record in records:
        if isinstance(record, Refusal):
            errors.append({"line": record.line, "reason": record.reason})
            continue
        capabilities[record.capability] += 1
        came.note(record)
        kept.update(record.metadata.keys())
        reach.note(record)
        if record.note:
            notes[record.note] += 1
        if len(shown) < SHOWN_PROMPTS:
            shown.append(_shown(record))
    return {
        "format": kind.name,
        "unit": kind.unit,
        "valid": capabilities.total(),
        "refused": len(errors),
        "capabilities": capabilities.most_common(),
        "notes": notes.most_common(),
        "unseen": reach.report(),
        "metadata": kept.most_common(12),
        "sample": shown,
        "errors": errors,
        "reasons": by_reason(errors),
        "responses": came.report(),
    }


def _shown(prompt: ParsedPrompt) -> dict[str, Any]:
    messages = [
        {
            "role": message["role"],
            "content": message["content"][:SHOWN_CHARS],
            "left_out": max(0, len(message["content"]) - SHOWN_CHARS),
        }
        for message in prompt.messages[-6:]
    ]
    return {
        "line": prompt.line,
        "id": prompt.external_id,
        "capability": prompt.capability,
        "language": prompt.language,
        "messages": messages,
        "tools": len(prompt.tools or []),
        "responses": [
            {"model": each.model, "content": each.text[:SHOWN_CHARS], "left_out": max(0, len(each.text) - SHOWN_CHARS)}
            for each in prompt.responses[:SHOWN_RESPONSES]
        ],
        "responses_left_out": max(0, len(prompt.responses) - SHOWN_RESPONSES),
    }


def discard_upload(session: Session, user: User, upload: Upload) -> None:
    """Forget an upload that was not confirmed."""
    if upload.batch_id is not None:
        raise Conflict(_("This upload is already a batch: close the batch instead."))
    audit(session, user, "upload.discard", "upload", upload.id, filename=upload.filename)
    session.delete(upload)


def forget_old_uploads(session: Session) -> int:
    """Delete files that were not confirmed within a week; returns how many. Their bytes are in the database."""
    old = (Upload.batch_id.is_(None)) & (Upload.created_at < func.now() - UPLOAD_KEPT)
    return len(session.execute(delete(Upload).where(old).returning(Upload.id)).all())


Answered = Callable[[Batch, ParsedPrompt], bool]
"""Is told of each prompt of an import, and says whether it came with all the responses that its batch needs."""


def _unanswered(batch: Batch, prompt: ParsedPrompt) -> bool:  # noqa: ARG001 - as an import is told
    return False


def _nothing_more(batch: Batch) -> None:
    pass


def confirm_upload(
    session: Session,
    user: User,
    upload: Upload,
    settings: BatchSettings,
    answered: Answered = _unanswered,
    then: Callable[[Batch], object] = _nothing_more,
) -> Batch:
    """Make the upload a batch: all of its valid prompts or nothing. Confirming twice gives the same batch.

    ``then`` is called with the new batch while its prompts still have the names that the file gives their contents.
    """
    # 1. One confirmation at a time: the second click waits here and then finds the batch.
    session.refresh(upload, ["batch_id"], with_for_update=True)
    if upload.batch_id is not None:
        return session.get_one(Batch, upload.batch_id)
    check_importable(upload.report, leave_out_refused=settings.leave_out_refused)
    # 2. The batch, then its prompts in one stream.
    batch = create_batch(session, user, settings, _shared_capability(upload.report))
    try:
        imported = copy_prompts(session, batch, valid_prompts(upload.filename, upload.content), answered)
    except BadInput as error:
        raise Conflict(
            _("The import limits have changed since this preview. {message}", message=error.message)
        ) from None
    if imported != upload.report["valid"]:
        raise Conflict(_("The import limits have changed since this preview: upload the file again."))
    then(batch)
    keep_names(session, batch)
    # 3. The preview has done its work; its bytes need not be kept twice.
    upload.batch_id, upload.content = batch.id, b""
    audit(session, user, "batch.create", "batch", batch.id, name=batch.name, prompts=imported, file=upload.sha256)
    session.flush()
    enqueue(session, Job.GENERATE)
    enqueue(session, Job.DETECT_LANGUAGES)
    return batch


def check_importable(report: dict[str, Any], *, leave_out_refused: bool) -> None:
    """All of a file or nothing; with ``leave_out_refused`` all of its valid prompts. :class:`BadInput` names the lines."""
    valid, refused, unit = report["valid"], report["refused"], report["unit"]
    if valid == 0:
        raise BadInput(_("This file has no valid prompt: correct it and upload it again."), errors=report["errors"])
    if refused and not leave_out_refused:
        said = ngettext("{lines} is refused.", "{lines} are refused.", refused, lines=counted(unit, refused))
        remedy = (
            _("Correct the file and upload it again, or choose to import the valid prompt and leave the rest out.")
            if valid == 1
            else _(
                "Correct the file and upload it again, or choose to import the {n} valid prompts and leave the rest out.",
                n=number(valid),
            )
        )
        raise BadInput(f"{said} {remedy}", errors=report["errors"])


def _shared_capability(report: dict[str, Any]) -> str | None:
    names = report["capabilities"]
    return names[0][0] if len(names) == 1 else None


def valid_prompts(filename: str, content: bytes) -> Iterator[ParsedPrompt]:
    """The prompts of a file whose refused lines are known already."""
    _, records = parse(filename, content, limits_of(get_settings()))
    return (record for record in records if isinstance(record, ParsedPrompt))


def copy_prompts(
    session: Session, batch: Batch, prompts: Iterable[ParsedPrompt], answered: Answered = _unanswered
) -> int:
    """Stream ``prompts`` into ``batch`` by COPY, and count them. Ten thousand take well under a second.

    Those that are due longest are answered first, so each is due since a moment of the last day that is drawn: a file lists
    its topics one after the other, and people should meet them mixed from the first item on.
    """
    now = session.execute(select(func.now())).scalar_one()
    rows = ((*row, now - SHUFFLED_OVER * _DICE.random()) for row in _rows(batch, prompts, answered))
    return copy_rows(session, "prompts", _COLUMNS, rows)


_COLUMNS = (
    *("batch_id", "state", "external_id", "messages", "tools", "content_hash", "capability", "language"),
    *("reference", "tests", "metadata", "origin", "next_try_at"),
)


def _rows(batch: Batch, prompts: Iterable[ParsedPrompt], answered: Answered) -> Iterator[tuple[Any, ...]]:
    # where people write the answer there is nothing to wait for
    writes = batch.task is BatchTask.WRITE
    for prompt in prompts:
        ready = answered(batch, prompt) or writes
        yield (
            batch.id,
            (PromptState.READY if ready else PromptState.PENDING).value,
            prompt.external_id,
            ENCODER.encode(prompt.messages),
            None if prompt.tools is None else ENCODER.encode(prompt.tools),
            prompt.content_hash,
            prompt.capability,
            prompt.language,
            prompt.reference,
            None if prompt.tests is None else ENCODER.encode(prompt.tests),
            ENCODER.encode(prompt.metadata),
            prompt.origin.value,
        )


def create_batch(
    session: Session, user: User | None, settings: BatchSettings, capability: str | None, **more: Any
) -> Batch:
    """A batch without prompts, in preparation; ``more`` are columns that are no settings of uploaded prompts.

    Raises:
        BadInput: the name is taken.
        Conflict: there is no round yet.
    """
    check_name(session, settings.name)
    current = current_round(session)
    if current is None:
        raise Conflict(_("There is no round yet that can collect: start Corral once with “corral up”."))
    batch = Batch(
        round_id=current.id,
        capability=capability,
        sampling=settings.sampling,
        created_by_id=user.id if user else None,
        **settings.model_dump(exclude=NOT_OF_BATCH) | settings.by_task,
        language=settings.language or None,
        **more,
    )
    session.add(batch)
    session.flush()
    keep_version(session, batch, user)
    return batch


def check_name(session: Session, name: str) -> None:
    """Refuse a name that a batch has, until the end of the transaction; :class:`BadInput`."""
    # Two admins who take one name at once: the lock makes the second wait and then see the first.
    wait_for_turn(session, f"batches.name:{name}")
    if session.scalar(select(Batch.id).where(Batch.name == name)) is not None:
        raise refused("name", _("A batch with this name already exists: choose another name."))


# ── Batches ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def set_state(session: Session, user: User, batch: Batch, target: BatchState) -> None:
    """Open, pause or close ``batch``; :class:`Conflict` where that is no step. The state it has already is fine."""
    session.refresh(batch, with_for_update=True)
    if batch.state is target:
        return
    if target not in TRANSITIONS[batch.state]:
        if batch.state is BatchState.CLOSED:
            raise Conflict(_("This batch is closed, and closing is final: import its prompts again as a new batch."))
        raise Conflict(
            _("A batch that is {state} cannot become {target}.", state=batch.state.label, target=target.label)
        )
    audit(session, user, "batch.state", "batch", batch.id, before=batch.state.value, after=target.value)
    batch.state = target
    now = session.scalar(select(func.now()))
    if target is BatchState.OPEN:
        batch.opened_at = batch.opened_at or now
        enqueue(session, Job.GENERATE)
    elif target is BatchState.CLOSED:
        batch.closed_at = now
    session.flush()


def retry_quarantined(session: Session, user: User, batch: Batch, prompt_id: int | None = None) -> int:
    """Give quarantined prompts (one, or all of the batch) their tries again; how many there were."""
    which = (Prompt.batch_id == batch.id) & (Prompt.state == PromptState.QUARANTINED)
    if prompt_id is not None:
        which &= Prompt.id == prompt_id
    again = session.execute(
        update(Prompt)
        .where(which)
        .values(state=PromptState.PENDING, attempts=0, last_error=None, next_try_at=func.now())
        .returning(Prompt.id)
        .execution_options(synchronize_session=False)
    ).all()
    if again:
        audit(session, user, "batch.retry", "batch", batch.id, prompts=len(again))
        enqueue(session, Job.GENERATE)
    return len(again)


def unseen_in_sample() -> list[str]:
    """What the model in service does not see of the sample batch."""
    return sentences(report_of(*parse(SAMPLE_FILE.name, SAMPLE_FILE.read_bytes(), limits_of(get_settings()))))


def load_sample(session: Session) -> Batch | None:
    """The sample batch, open, where there is no batch yet (the first start); else None."""
    wait_for_turn(session, "batches.sample")
    if session.scalar(select(Batch.id).limit(1)) is not None:
        return None
    settings = BatchSettings(name=SAMPLE_NAME, guidelines=SAMPLE_GUIDELINES, candidates_per_prompt=2)
    batch = create_batch(session, None, settings, None)
    copy_prompts(session, batch, valid_prompts(SAMPLE_FILE.name, SAMPLE_FILE.read_bytes()))
    batch.state, batch.opened_at = BatchState.OPEN, session.scalar(select(func.now()))
    session.flush()
    enqueue(session, Job.GENERATE)
    return batch
