"""Reading the audit log: what each action is called, the filter, a page of events, and all of them as JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, ColumnElement, Text, and_, cast, or_, select
from sqlalchemy.orm import Session, aliased

from app.accounts.models import AuditEvent, User
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.paging import Order, Page, read_rows
from app.kernel.spreadsheets import cell_text

_DETAILS = cast(AuditEvent.details, Text)
TITLES = (
    *("id", "at", "kind", "action", "what", "actor_id", "actor", "actor_email"),
    *("subject_type", "subject_id", "subject", "address", "session_id", "token_id", "request_id", "details"),
)
AT_ONCE = 500
"""Events that a stream holds in memory."""


class Kind(StrEnum):
    """What an event is about."""

    SIGN_IN = "sign-in"
    REFUSAL = "refusal"
    DOWNLOAD = "download"
    TOKEN = "token"  # noqa: S105 - a word
    PEOPLE = "people"
    WORK = "work"
    LOG = "log"


KINDS = {
    Kind.SIGN_IN: N_("Signing in and out"),
    Kind.REFUSAL: N_("Refusals"),
    Kind.DOWNLOAD: N_("Exports and downloads"),
    Kind.TOKEN: N_("API tokens"),
    Kind.PEOPLE: N_("People and roles"),
    Kind.WORK: N_("Batches, reviews, training"),
    Kind.LOG: N_("This log"),
}
ACTIONS: dict[str, tuple[Kind, str]] = {
    "session.started": (Kind.SIGN_IN, N_("signed in")),
    "session.ended": (Kind.SIGN_IN, N_("signed out")),
    "user.signed_out": (Kind.SIGN_IN, N_("signed all browsers out")),
    "user.password_changed": (Kind.SIGN_IN, N_("changed the password")),
    "sign_in.failed": (Kind.SIGN_IN, N_("failed to sign in")),
    "second_step.on": (Kind.SIGN_IN, N_("turned two-step verification on")),
    "second_step.off": (Kind.SIGN_IN, N_("turned two-step verification off")),
    "second_step.codes": (Kind.SIGN_IN, N_("made new recovery codes")),
    "second_step.recovered": (Kind.SIGN_IN, N_("used a recovery code")),
    "second_step.failed": (Kind.SIGN_IN, N_("entered a wrong two-step code")),
    "second_step.reset": (Kind.PEOPLE, N_("reset somebody's two-step verification")),
    "provider.connected": (Kind.SIGN_IN, N_("connected an identity provider")),
    "provider.disconnected": (Kind.PEOPLE, N_("disconnected an account from the identity provider")),
    "provider.role_kept": (Kind.PEOPLE, N_("stayed admin against the groups, as the last one")),
    "sign_in.throttled": (Kind.REFUSAL, N_("had to wait before trying to sign in again")),
    "password.refused": (Kind.REFUSAL, N_("gave a wrong password")),
    "session.refused": (Kind.REFUSAL, N_("used a session that had ended")),
    "token.refused": (Kind.REFUSAL, N_("used a token that does not work")),
    "download.refused": (Kind.REFUSAL, N_("was refused a snapshot")),
    "invite.refused": (Kind.REFUSAL, N_("used an invite that does not work")),
    "access.refused": (Kind.REFUSAL, N_("was refused")),
    "preferences.export": (Kind.DOWNLOAD, N_("asked for an export of preferences")),
    "preferences.exported": (Kind.DOWNLOAD, N_("got an export of preferences")),
    "snapshot.download": (Kind.DOWNLOAD, N_("downloaded a snapshot")),
    "audit_log.export": (Kind.DOWNLOAD, N_("asked for the audit log")),
    "audit_log.exported": (Kind.DOWNLOAD, N_("got the audit log")),
    "token.created": (Kind.TOKEN, N_("created an API token")),
    "token.revoked": (Kind.TOKEN, N_("revoked an API token")),
    "user.tokens_revoked": (Kind.TOKEN, N_("revoked all API tokens")),
    "invite.created": (Kind.PEOPLE, N_("invited somebody")),
    "invite.mailed": (Kind.PEOPLE, N_("had an invite mailed again")),
    "invite.used": (Kind.PEOPLE, N_("used an invite")),
    "invite.withdrawn": (Kind.PEOPLE, N_("withdrew an invite")),
    "user.invites_withdrawn": (Kind.PEOPLE, N_("withdrew all invites")),
    "person.erase": (Kind.PEOPLE, N_("erased what a person wrote")),
    "user.created": (Kind.PEOPLE, N_("created an account")),
    "user.disabled": (Kind.PEOPLE, N_("disabled an account")),
    "user.enabled": (Kind.PEOPLE, N_("enabled an account")),
    "user.role_changed": (Kind.PEOPLE, N_("changed a role")),
    "audit_log.forgotten": (Kind.LOG, N_("removed old events")),
    "annotation.accepted": (Kind.WORK, N_("accepted an annotation")),
    "annotation.returned": (Kind.WORK, N_("returned an annotation")),
    "annotation.adjudicated": (Kind.WORK, N_("said which judgement of an item holds")),
    "annotation.adjudication_ended": (Kind.WORK, N_("let all judgements of an item count again")),
    "annotation.assigned": (Kind.WORK, N_("assigned an item for one more judgement")),
    "annotation.unassigned": (Kind.WORK, N_("took an assigned item back")),
    "batch.append": (Kind.WORK, N_("added prompts to a batch")),
    "batch.assign": (Kind.WORK, N_("changed whom a batch is assigned to")),
    "batch.check": (Kind.WORK, N_("had responses checked again")),
    "batch.create": (Kind.WORK, N_("created a batch")),
    "batch.guidelines": (Kind.WORK, N_("changed the guidelines")),
    "batch.retry": (Kind.WORK, N_("retried failed prompts")),
    "batch.settings": (Kind.WORK, N_("changed the settings of a batch")),
    "batch.state": (Kind.WORK, N_("changed the state of a batch")),
    "checkpoint.challenge": (Kind.WORK, N_("had a policy challenge the champion")),
    "checkpoint.deploy": (Kind.WORK, N_("deployed a checkpoint")),
    "checkpoint.external": (Kind.WORK, N_("added an external model")),
    "checkpoint.imported": (Kind.WORK, N_("added a policy that was trained elsewhere")),
    "checkpoint.training": (Kind.WORK, N_("said whether an external model may be trained on")),
    "checkpoint.withdraw": (Kind.WORK, N_("withdrew a deployment")),
    "contest.close": (Kind.WORK, N_("ended a contest")),
    "contest.open": (Kind.WORK, N_("opened a contest")),
    "contest.roll_back": (Kind.WORK, N_("rolled back to the previous policy")),
    "document.add": (Kind.WORK, N_("added a document")),
    "document.delete": (Kind.WORK, N_("deleted a document")),
    "finding.label": (Kind.WORK, N_("said whether an answer agrees with its source")),
    "gold.make": (Kind.WORK, N_("created a known answer")),
    "gold.restore": (Kind.WORK, N_("restored a known answer")),
    "gold.retire": (Kind.WORK, N_("retired a known answer")),
    "prompt.restore": (Kind.WORK, N_("restored a withdrawn prompt")),
    "prompt.withdraw": (Kind.WORK, N_("withdrew a prompt")),
    "installation.backup": (Kind.DOWNLOAD, N_("began a backup")),
    "installation.backed_up": (Kind.DOWNLOAD, N_("finished a backup")),
    "installation.restore": (Kind.WORK, N_("restored a backup")),
    "qualification.reset": (Kind.WORK, N_("reset a qualification")),
    "retraction.make": (Kind.WORK, N_("retracted annotations")),
    "retraction.restore": (Kind.WORK, N_("restored retracted annotations")),
    "rate.remove": (Kind.WORK, N_("removed what work costs")),
    "rate.set": (Kind.WORK, N_("set what work costs")),
    "round.complete": (Kind.WORK, N_("completed a round")),
    "snapshot.request": (Kind.WORK, N_("asked for a snapshot")),
    "source.add": (Kind.WORK, N_("added a source for training")),
    "source.delete_file": (Kind.WORK, N_("deleted the file of a source")),
    "source.weigh": (Kind.WORK, N_("changed the weight of a source")),
    "source.withdraw": (Kind.WORK, N_("withdrew a source")),
    "synthesis.order": (Kind.WORK, N_("ordered prompts")),
    "synthesis.stop": (Kind.WORK, N_("stopped the making of prompts")),
    "team.create": (Kind.PEOPLE, N_("made a team")),
    "team.delete": (Kind.PEOPLE, N_("deleted a team")),
    "team.members": (Kind.PEOPLE, N_("changed who is in a team")),
    "team.rename": (Kind.PEOPLE, N_("renamed a team")),
    "training.cancel": (Kind.WORK, N_("cancelled a training run")),
    "training.retry": (Kind.WORK, N_("retried a training run")),
    "training.start": (Kind.WORK, N_("started a training")),
    "upload.discard": (Kind.WORK, N_("discarded an upload")),
    "webhook.created": (Kind.WORK, N_("added a webhook")),
    "webhook.tested": (Kind.WORK, N_("sent a test to a webhook")),
    "webhook.sent_again": (Kind.WORK, N_("had a webhook told again")),
    "webhook.deleted": (Kind.WORK, N_("deleted a webhook")),
}
"""Every action that is written: its kind, and what is said of whoever did it. One that is missing here is work."""
_NOT_WORK = [action for action, (kind, _what) in ACTIONS.items() if kind is not Kind.WORK]


@dataclass(frozen=True)
class Wanted:
    """Which events: all, but for what is given. ``until`` itself is out; ``person_id`` is who did it or whom it is about."""

    kind: Kind | None = None
    person_id: int | None = None
    address: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    """What stands in the action, in the words for it (English or the reader's) or in the details; capitals do not count."""

    def said(self) -> dict[str, Any]:
        """What is given, for the event of an export."""
        values = {
            "kind": self.kind,
            "person": self.person_id,
            "address": self.address,
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "text": self.text,
        }
        return {name: value for name, value in values.items() if value}


class PersonOut(BaseModel):
    """Somebody with an account."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [{"id": 2, "name": "Bob", "email": "bob@example.org"}]},
    )

    id: int
    name: str
    email: str


class SubjectOut(BaseModel):
    """What was acted on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "snapshot", "id": 3, "name": None}]})

    type: str
    id: int | None
    name: str | None = Field(description="Only for people; everything else is named by its id.")


EXAMPLE: dict[str, Any] = {
    "id": 5120,
    "at": "2026-11-24T09:12:00Z",
    "kind": "download",
    "action": "snapshot.download",
    "what": "downloaded a snapshot",
    "actor": {"id": 2, "name": "Bob", "email": "bob@example.org"},
    "subject": {"type": "snapshot", "id": 3, "name": None},
    "address": "192.0.2.7",
    "session_id": 88,
    "token_id": None,
    "request_id": "4f2c9a017be3d865",
    "details": {"rows": 412},
}


class EventOut(BaseModel):
    """One event. ``session_id`` and ``token_id`` name rows, and open nothing."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: int
    at: datetime
    kind: Kind
    action: str
    what: str
    actor: PersonOut | None = Field(description="Nobody for a stranger, a command and a worker.")
    subject: SubjectOut
    address: str | None = Field(description="As seen by the server; `command line` for a command, null for a worker.")
    session_id: int | None
    token_id: int | None
    request_id: str | None = Field(description="The answer's `x-request-id`.")
    details: dict[str, Any]


@dataclass
class Passed:
    """How many events went through a stream so far."""

    rows: int = field(default=0)


def page(session: Session, wanted: Wanted, *, before: int | None = None, limit: int = 50) -> Page[EventOut]:
    """Events, newest first."""
    subject = aliased(User)
    is_person = and_(AuditEvent.subject_type == "user", subject.id == AuditEvent.subject_id)
    query = (
        select(AuditEvent, User, subject.name)
        .outerjoin(User, User.id == AuditEvent.actor_id)
        .outerjoin(subject, is_person)
        .where(*_conditions(wanted))
    )
    return read_rows(session, query, Order(AuditEvent.id), before, limit).map(lambda row: _event(*row))


def lines(session: Session, wanted: Wanted, passed: Passed, *, limit: int | None = None) -> Iterator[bytes]:
    """JSON Lines of the events, newest first, a few hundred at a time; no more than ``limit``."""
    for events in _pages(session, wanted, passed, limit):
        yield b"".join(event.model_dump_json().encode() + b"\n" for event in events)


def rows(session: Session, wanted: Wanted, passed: Passed) -> Iterator[bytes]:
    """CSV of the events with a line of titles, newest first, a few hundred at a time. No spreadsheet executes a text of it."""
    yield _csv([TITLES])
    for events in _pages(session, wanted, passed, None):
        yield _csv(map(_row, events))


def _pages(session: Session, wanted: Wanted, passed: Passed, limit: int | None) -> Iterator[Sequence[EventOut]]:
    before = None
    while limit is None or passed.rows < limit:
        at_once = AT_ONCE if limit is None else min(AT_ONCE, limit - passed.rows)
        found = page(session, wanted, before=before, limit=at_once)
        if found.rows:
            passed.rows += len(found.rows)
            yield found.rows
        before = found.next
        if before is None:
            return


def _row(event: EventOut) -> tuple[object, ...]:
    actor, subject = event.actor, event.subject
    texts = (event.at.astimezone(UTC).isoformat(), event.kind.value, event.action, event.what)
    who = (actor.id if actor else None, actor.name if actor else "", actor.email if actor else "")
    about = (subject.type, subject.id, subject.name or "")
    details = json.dumps(event.details, ensure_ascii=False).replace(";", "\\u003b")
    return (
        event.id,
        *texts,
        *who,
        *about,
        event.address or "",
        event.session_id,
        event.token_id,
        event.request_id,
        details,
    )


def _csv(table: Iterable[Iterable[object]]) -> bytes:
    held = io.StringIO(newline="")
    # texts in quotes, or a semicolon in one would end its cell in half of Europe
    writer = csv.writer(held, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([cell_text(each) if isinstance(each, str) else each for each in row] for row in table)
    return held.getvalue().encode()


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.kind is Kind.WORK:
        yield AuditEvent.action.not_in(_NOT_WORK)
    elif wanted.kind:
        yield AuditEvent.action.in_([action for action, (kind, _what) in ACTIONS.items() if kind is wanted.kind])
    if wanted.person_id is not None:
        person = cast(wanted.person_id, BigInteger)  # nobody has an id that a subject's column cannot hold
        about = (AuditEvent.subject_type == "user") & (AuditEvent.subject_id == person)
        yield or_(AuditEvent.actor_id == wanted.person_id, about)
    if wanted.address:
        yield AuditEvent.address == wanted.address
    if wanted.text:
        text = wanted.text.lower()
        said = [action for action, (_kind, what) in ACTIONS.items() if text in what or text in _(what).lower()]
        found = [column.icontains(wanted.text, autoescape=True) for column in (AuditEvent.action, _DETAILS)]
        yield or_(AuditEvent.action.in_(said), *found)
    if wanted.since:
        yield AuditEvent.at >= wanted.since
    if wanted.until:
        yield AuditEvent.at < wanted.until


def _event(event: AuditEvent, actor: User | None, subject: str | None) -> EventOut:
    kind, what = ACTIONS.get(event.action, (Kind.WORK, event.action))
    return EventOut(
        id=event.id,
        at=event.at,
        kind=kind,
        action=event.action,
        what=what,
        actor=PersonOut.model_validate(actor) if actor else None,
        subject=SubjectOut(type=event.subject_type, id=event.subject_id, name=subject),
        address=event.address,
        session_id=event.login_session_id,
        token_id=event.token_id,
        request_id=event.request_id,
        details=event.details,
    )
