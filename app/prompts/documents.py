"""The documents that the search tool of a batch's prompts finds. Nothing here commits.

They are texts. The index is made of them by whoever answers (``workers/tools/documents.py``), so nothing else is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from sqlalchemy import cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.kernel.errors import BadInput, Conflict, NotFound, refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import N_, number
from app.kernel.locales import gettext as _
from app.kernel.storable import flaw
from app.prompts.files import to_utf8
from app.prompts.models import Batch, BatchKind, BatchState, Document, Prompt, PromptState
from app.prompts.service import clean_filename

ENDINGS = (".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".html", ".xml", ".yaml", ".yml", ".tex")
MOST_BYTES = 2 * 1024 * 1024
"""Of one document."""
MOST_OF_A_BATCH = 20 * 1024 * 1024
"""Bytes of all documents of a batch: their index is in the worker's memory."""
MOST_DOCUMENTS = 200
HAS_SEARCH = '$[*] ? (@.function.name == "search" || @.name == "search")'
NO_DOCUMENTS = N_("This prompt has the search tool, and its batch has no documents: upload some on the batch's page.")
"""Why a prompt is quarantined. It is tried again when a document comes."""


@dataclass(frozen=True)
class Listed:
    """A document without its text."""

    id: int
    filename: str
    sha256: str
    bytes: int
    created_at: datetime


def of_batch(session: Session, batch: Batch) -> list[Listed]:
    """The documents of a batch by name."""
    query = (
        select(Document.id, Document.filename, Document.sha256, func.octet_length(Document.text), Document.created_at)
        .where(Document.batch_id == batch.id)
        .order_by(Document.filename)
    )
    return [Listed(*row) for row in session.execute(query)]


def ids(session: Session, batch_id: int) -> tuple[int, ...]:
    """Which documents a batch has; a text never changes under its id."""
    return tuple(session.scalars(select(Document.id).where(Document.batch_id == batch_id).order_by(Document.id)))


def texts(session: Session, batch_id: int) -> dict[str, str]:
    """The texts by file name."""
    query = select(Document.filename, Document.text).where(Document.batch_id == batch_id).order_by(Document.id)
    return {name: text for name, text in session.execute(query)}  # noqa: C416 - a Row is no pair to mypy


def batches_of(session: Session, content_hash: str) -> list[int]:
    """The batches that have a prompt of this content, given as hexadecimal digits; the newest first."""
    try:
        digest = bytes.fromhex(content_hash)
    except ValueError:
        return []
    query = select(Prompt.batch_id).where(Prompt.content_hash == digest).order_by(Prompt.batch_id.desc())
    return list(dict.fromkeys(session.scalars(query)))


def searched(session: Session, batch: Batch) -> bool:
    """Whether a prompt of the batch has a tool called search."""
    has_it = func.jsonb_path_exists(Prompt.tools, cast(HAS_SEARCH, JSONPATH))
    found = select(Prompt.id).where(Prompt.batch_id == batch.id, Prompt.tools.is_not(None), has_it)
    return bool(session.scalar(select(found.exists())))


def add(session: Session, user: User | None, batch: Batch, filename: str, content: bytes) -> Document:
    """Keep a document, in place of the one of the same name; prompts that waited for one are tried again.

    Raises:
        BadInput: it is no text, or more than there may be; the message names the file.
        Conflict: nothing is answered in this batch any more.
    """
    name = clean_filename(filename)
    text = _text(name, content)
    session.refresh(batch, with_for_update=True)
    if batch.state is BatchState.CLOSED or batch.kind is not BatchKind.PROMPTS:
        raise Conflict(
            _("This batch takes no documents: they are for the search tool of uploaded prompts that are answered.")
        )
    earlier = session.scalar(select(Document).where(Document.batch_id == batch.id, Document.filename == name))
    _check_room(of_batch(session, batch), name, len(text.encode()))
    digest = hashlib.sha256(content).hexdigest()
    if earlier is not None and earlier.sha256 == digest:
        return earlier
    if earlier is not None:  # another id, so that whoever has an index sees that it is another text
        session.delete(earlier)
        session.flush()
    document = Document(
        batch_id=batch.id, filename=name, sha256=digest, text=text, uploaded_by_id=user.id if user else None
    )
    session.add(document)
    session.flush()
    audit(session, user, "document.add", "document", document.id, batch=batch.id, filename=name, sha256=digest)
    _try_again(session, batch)
    return document


def access_document(session: Session, batch: Batch, document_id: int) -> Document:
    """A document of a batch that the caller may change. Raises NotFound."""
    found = session.get(Document, document_id)
    if found is None or found.batch_id != batch.id:
        raise NotFound
    return found


def remove(session: Session, user: User | None, document: Document) -> None:
    """Forget a document; what was found in it stays in the responses that found it."""
    details = {"batch": document.batch_id, "filename": document.filename, "sha256": document.sha256}
    audit(session, user, "document.delete", "document", document.id, **details)
    session.delete(document)
    session.flush()


def _text(name: str, content: bytes) -> str:
    if PurePath(name).suffix.lower() not in ENDINGS:
        raise _refused(
            _(
                "“{name}” is no text by its name: documents end in {endings} or {last}.",
                name=name,
                endings=", ".join(ENDINGS[:-1]),
                last=ENDINGS[-1],
            )
        )
    if len(content) > MOST_BYTES:
        raise _refused(
            _(
                "“{name}” has {n} bytes, {most} is the most: split it.",
                name=name,
                n=number(len(content)),
                most=number(MOST_BYTES),
            )
        )
    try:
        text = to_utf8(content).decode("utf-8", "surrogatepass").replace("\r\n", "\n")
    except BadInput as error:
        raise _refused(_("“{name}” cannot be read as text. {why}", name=name, why=error.message)) from None
    wrong = flaw(text)
    if wrong:
        raise _refused(
            _("“{name}” contains {wrong}, which no text may hold: is it another kind of file?", name=name, wrong=wrong)
        )
    if not text.strip():
        raise _refused(_("“{name}” is empty.", name=name))
    return text


def _check_room(there: Sequence[Listed], name: str, size: int) -> None:
    others = [each for each in there if each.filename != name]
    if len(others) >= MOST_DOCUMENTS:
        raise _refused(
            _("“{name}” is one too many: a batch has at most {most} documents.", name=name, most=MOST_DOCUMENTS)
        )
    if size + sum(each.bytes for each in others) > MOST_OF_A_BATCH:
        raise _refused(
            _(
                "“{name}” is too much: the documents of a batch have at most {most} bytes together.",
                name=name,
                most=number(MOST_OF_A_BATCH),
            )
        )


def _refused(message: str) -> BadInput:
    return refused("file", message)


def _try_again(session: Session, batch: Batch) -> None:
    again = session.execute(
        update(Prompt)
        .where(
            Prompt.batch_id == batch.id,
            Prompt.state == PromptState.QUARANTINED,
            Prompt.last_error == NO_DOCUMENTS,
        )
        .values(state=PromptState.PENDING, attempts=0, last_error=None, next_try_at=func.now())
        .returning(Prompt.id)
        .execution_options(synchronize_session=False)
    ).all()
    if again:
        enqueue(session, Job.GENERATE)
