"""More prompts for a batch that there is, from a file as one that becomes a batch: all of it or nothing.

What the batch has already, by content, is skipped and counted. Prompts without an id of their own are named by their lines, and a
second file begins at line 1 again, so such names get a number behind them; an id that the file gives is never changed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.batches.given import GivenResponses
from app.batches.importing import AFTER_RESPONSES, WRITTEN_BRINGS
from app.comparisons.service import ask_for_answers
from app.kernel.errors import Conflict, refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.prompts.import_forms import AppendSettings
from app.prompts.models import Batch, BatchKind, BatchState, BatchTask, EarlierPrompt, Prompt, Upload
from app.prompts.parsing import Refusal, limits_of, parse
from app.prompts.records import ParsedPrompt
from app.prompts.reports import Came
from app.prompts.service import check_importable, check_size, clean_filename, copy_prompts, keep_upload, report_of
from app.prompts.upkeep import keep_names

AT_ONCE = 1000
"""Prompts of the file that are looked up by one statement."""


@dataclass(frozen=True)
class Appended:
    """What came of a file."""

    added: int
    skipped: int
    """Prompts that the batch has already."""
    report: dict[str, Any]
    """As :func:`app.prompts.service.report_of`, of all that the batch does not have yet."""


def preview(session: Session, batch: Batch, filename: str, content: bytes) -> dict[str, Any]:
    """What :func:`append` would find now; nothing is added: a report of what is new, with how much of the file is ``known``.

    Raises:
        BadInput: the file as a whole cannot be used.
        Conflict: the batch is closed or one of dialogues.
        TooLarge: the file is.
    """
    check_size(content)
    _check_grows(batch)
    plan, report = _read(session, batch, clean_filename(filename), content)
    return report | {"known": len(plan.known)}


def hold(session: Session, user: User, batch: Batch, filename: str, content: bytes) -> Upload:
    """Keep a file until somebody who has seen its :func:`preview` says that it is added."""
    report = preview(session, batch, filename, content) | {"for_batch": batch.id}
    return keep_upload(session, user, clean_filename(filename), content, report)


def take(session: Session, user: User, batch: Batch, upload_id: int, settings: AppendSettings) -> Appended | None:
    """:func:`append` a file that is held for ``batch``, which has done its work then; None where it is held no more."""
    held = session.scalars(select(Upload).where(Upload.id == upload_id).with_for_update()).one_or_none()
    if held is None or held.report.get("for_batch") != batch.id:
        return None
    made = append(session, user, batch, held.filename, held.content, settings)
    session.delete(held)
    session.flush()
    return made


def append(
    session: Session, user: User, batch: Batch, filename: str, content: bytes, settings: AppendSettings
) -> Appended:
    """Import a file of prompts into ``batch``, whatever its state but closed; a batch that was done goes on.

    Raises:
        BadInput: lines are refused and ``settings`` does not leave them out; or there is no valid prompt.
        Conflict: the batch is closed or one of dialogues.
        TooLarge: the file is.
    """
    check_size(content)
    name = clean_filename(filename)
    with session.begin_nested():  # a page shows what is refused, and commits
        lock(session, batch)
        plan, report = _read(session, batch, name, content)
        valid = report["valid"] + len(plan.known)
        check_importable(report | {"valid": valid}, leave_out_refused=settings.leave_out_refused)
        if report["valid"] == 0:
            return Appended(0, len(plan.known), report)
        given = GivenResponses(settings)
        after = session.scalar(select(func.max(Prompt.id))) or 0
        added = copy_prompts(
            session, batch, plan.accepted(parse(name, content, limits_of(get_settings()))[1]), given.take
        )
        ask_for_answers(session, batch, after)
        if given.record(session, user, batch, name):
            for act in AFTER_RESPONSES:
                act(session, batch.id)
        keep_names(session, batch, after)  # last: responses are found by what the file says
        _remember(session, user, batch, name, content, report)
        about = {"prompts": added, "skipped": len(plan.known), "file": hashlib.sha256(content).hexdigest()}
        audit(session, user, "batch.append", "batch", batch.id, **about)
        session.flush()
    enqueue(session, Job.GENERATE)
    enqueue(session, Job.DETECT_LANGUAGES)
    return Appended(added, len(plan.known), report)


def lock(session: Session, batch: Batch) -> None:
    """Take the turn of whoever gives ``batch`` more to do, until the end of the transaction.

    Items go on being made and judged meanwhile: their rows only need that the batch's key stays.

    Raises:
        Conflict: it is closed or one of dialogues.
    """
    session.refresh(batch, with_for_update={"key_share": True})
    _check_grows(batch)


def _check_grows(batch: Batch) -> None:
    if batch.state is BatchState.CLOSED:
        raise Conflict(_("This batch is closed, and closing is final: import these prompts as a new batch."))
    if batch.kind is BatchKind.DIALOGUE:
        raise Conflict(
            _("In a batch of dialogues annotators write the prompts themselves: import these as a new batch.")
        )


def _read(session: Session, batch: Batch, name: str, content: bytes) -> tuple[_Plan, dict[str, Any]]:
    """What becomes of the prompts of a file, and the report of those that the batch does not have yet."""
    kind, records = parse(name, content, limits_of(get_settings()))
    plan = _Plan(session, batch)
    report = report_of(kind, plan.judged(records))
    if report["responses"]["prompts"] and batch.task is BatchTask.WRITE:
        raise refused("file", _(WRITTEN_BRINGS))
    return plan, report


def _remember(session: Session, user: User, batch: Batch, name: str, content: bytes, report: dict[str, Any]) -> None:
    """Note on the batch what its prompts have in common now, and that responses came with some of them."""
    batch.times_extended += 1
    if batch.capability is not None and [batch.capability] != [one for one, _ in report["capabilities"]]:
        batch.capability = None
    if not report["responses"]["count"]:
        return
    upload = session.scalars(select(Upload).where(Upload.batch_id == batch.id)).one_or_none()
    if upload is None:
        digest = hashlib.sha256(content).hexdigest()
        session.add(
            Upload(uploaded_by_id=user.id, filename=name, content=b"", sha256=digest, report=report, batch_id=batch.id)
        )
        return
    before = upload.report.get("responses") or Came().report()
    upload.report = upload.report | {"responses": _together(before, report["responses"])}


def _together(before: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    models: Counter[str | None] = Counter()
    for name, count in (*before["models"], *more["models"]):
        models[name] += count
    sums = {key: before[key] + more[key] for key in ("prompts", "alone", "ready", "count", "more_models")}
    return sums | {"most": max(before["most"], more["most"]), "models": models.most_common()}


@dataclass
class _Plan:
    """What becomes of each prompt of a file: decided once, in :meth:`judged`, and done in a second reading.

    COPY streams the second one, and nothing can be looked up while it does.
    """

    session: Session
    batch: Batch
    known: set[bytes] = field(default_factory=set)
    """Contents that the batch has already."""
    _clash: set[bytes] = field(default_factory=set)
    _names: dict[bytes, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def judged(self, records: Iterable[ParsedPrompt | Refusal]) -> Iterator[ParsedPrompt | Refusal]:
        """What is added and what is refused, in the order of the file; what the batch has already is left out."""
        stream = iter(records)
        while part := list(islice(stream, AT_ONCE)):
            prompts = [each for each in part if isinstance(each, ParsedPrompt)]
            self.known |= _there(self.session, self.batch, [each.content_hash for each in prompts])
            new = [each for each in prompts if each.content_hash not in self.known]
            ids = _ids(self.session, self.batch, [each.external_id for each in new])
            self._rename([each for each in new if not each.named], ids)
            for each in part:
                if isinstance(each, Refusal):
                    yield each
                elif each.content_hash not in self.known:
                    yield self._said(each, ids)

    def accepted(self, records: Iterable[ParsedPrompt | Refusal]) -> Iterator[ParsedPrompt]:
        """The prompts that are added, by the names that they get."""
        for each in records:
            if isinstance(each, ParsedPrompt) and each.content_hash not in self.known | self._clash:
                yield self._named(each)

    def _said(self, prompt: ParsedPrompt, ids: set[str]) -> ParsedPrompt | Refusal:
        if prompt.named and prompt.external_id in ids | self._taken:
            self._clash.add(prompt.content_hash)
            name = prompt.external_id[:60]
            return Refusal(
                prompt.line, f'has the id "{name}" of another prompt of this batch: give it an id of its own'
            )
        return self._named(prompt)

    def _named(self, prompt: ParsedPrompt) -> ParsedPrompt:
        name = self._names.get(prompt.content_hash)
        return prompt if name is None else replace(prompt, external_id=name)

    def _rename(self, prompts: Sequence[ParsedPrompt], ids: set[str]) -> None:
        """Find free names for those that are called after lines which the batch has; the number says which file it is."""
        left = [each for each in prompts if each.external_id in ids]
        number = self.batch.times_extended + 2
        while left:
            wanted = {each.content_hash: f"{each.external_id}-{number}" for each in left}
            taken = _ids(self.session, self.batch, list(wanted.values())) | self._taken
            free = {digest: name for digest, name in wanted.items() if name not in taken}
            self._names |= free
            self._taken |= set(free.values())
            left = [each for each in left if each.content_hash not in free]
            number += 1


def _there(session: Session, batch: Batch, digests: Sequence[bytes]) -> set[bytes]:
    """Which contents the batch has, by the hashes that they have today; some are stored under an earlier one."""
    stored: dict[bytes, set[bytes]] = {digest: {digest} for digest in digests}
    earlier = (
        select(EarlierPrompt.canonical_hash, Prompt.content_hash)
        .join(Prompt, Prompt.id == EarlierPrompt.prompt_id)
        .where(EarlierPrompt.canonical_hash.in_(digests))
    )
    for canonical, name in session.execute(earlier):
        stored[canonical].add(name)
    names = set[bytes]().union(*stored.values())
    mine = Prompt.batch_id == batch.id, Prompt.dialogue_id.is_(None), Prompt.content_hash.in_(names)
    found = set(session.scalars(select(Prompt.content_hash).where(*mine)))
    return {digest for digest, known in stored.items() if known & found}


def _ids(session: Session, batch: Batch, ids: Sequence[str]) -> set[str]:
    """Which of these ids prompts of the batch have."""
    return set(
        session.scalars(select(Prompt.external_id).where(Prompt.batch_id == batch.id, Prompt.external_id.in_(ids)))
    )
