"""Reads of findings: what is shown of an item and when, counts, and where people preferred what fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, literal, select, text
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.models import COUNTS, Annotation
from app.batches.queries import ALSO_COUNTED
from app.comparisons.claims import in_work, mark_read
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.findings.judging import FACTS
from app.findings.models import STANDS, Check, CheckState, Finding
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import ShowFindings
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.paging import Order, Page, read_rows
from app.prompts.models import CHECKABLE, Batch, Prompt

ENDED = frozenset({CheckState.DONE, CheckState.FAILED})
EDIT = "edit"
"""In place of a position: the annotator's own edit."""
_MEASURED = frozenset({"seconds", "ms", "wall_s", "cpu_s", "duration", "time", "memory_mb"})
"""Parts of evidence that say how long a check took: nobody who judges is shown them."""
_UNPROVEN = frozenset({"verdict", "informative", "said"})
"""Parts of the evidence of a judge of facts whose word does not count: who is to label the response is not shown it."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One finding as people see it."""

    passed: bool | None
    words: str
    message: str
    verifier: str
    version: str
    evidence: str

    @property
    def mark(self) -> str:
        """A tick, a cross, or a question mark."""
        return {True: "✓", False: "✗", None: "?"}[self.passed]

    @property
    def said(self) -> str:
        """The mark in a word, for those who hear the page."""
        return {True: _("Passed"), False: _("Failed"), None: _("Not checked")}[self.passed]

    @property
    def kind(self) -> str:
        """The colour."""
        return {True: "good", False: "bad", None: "none"}[self.passed]


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to see of one text: its chips, or that they are still to come."""

    waiting: bool = False
    chips: list[Chip] = field(default_factory=list)


NOTHING = Shown()


def chip_of(found: Mapping[str, Any]) -> Chip:
    """A finding, or what will be one, for people."""
    verifier, passed, message = found["verifier"], found["passed"], found["message"]
    words = message if passed is not None else _("{verifier}: could not be checked", verifier=verifier)
    plain = _timeless(found["evidence"] or {})
    if verifier == FACTS and passed is None:
        plain = {key: each for key, each in plain.items() if key not in _UNPROVEN}
    evidence = json.dumps(plain, indent=2, ensure_ascii=False) if plain else ""
    return Chip(passed, words or verifier, message, verifier, found["version"], evidence)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in _MEASURED}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


_columns = (
    Finding.candidate_id,
    Finding.annotation_id,
    Finding.verifier,
    Finding.version,
    Finding.passed,
    Finding.message,
    Finding.evidence,
)


# ── One item ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def shown_to_annotator(session: Session, user: User, assignment_id: int) -> dict[str, Shown]:
    """By position, and under ``edit``, what ``user`` may see of an item of theirs now; nothing where that is nothing.

    While it is judged, the findings of all responses are shown together or not at all: which of them came late, or has none
    because it is somebody's edit, would tell them apart.

    Raises:
        NotFound: no such assignment, or somebody else's.
    """
    row = session.execute(
        select(Assignment.order_shown, Assignment.state, Batch.show_findings, CHECKABLE)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .where(Assignment.id == assignment_id, Assignment.annotator_id == user.id)
    ).one_or_none()
    if row is None:
        raise NotFound
    order, state, when, checkable = row
    submitted = state is AssignmentState.SUBMITTED
    if not checkable or when is ShowFindings.NEVER or (when is ShowFindings.AFTER and not submitted):
        return {}
    found = _responses(session, order)
    if submitted:
        return found | _edit_of(session, assignment_id)
    if len(found) < len(order):
        return {}
    waiting = any(each.waiting for each in found.values())
    return dict.fromkeys(found, Shown(waiting=True)) if waiting else found


def shown_to_staff(session: Session, annotation: Annotation) -> dict[str, Shown]:
    """By position, and under ``edit``, what was found of an annotation's responses and of its edit."""
    return _responses(session, annotation.order_shown) | _of_annotation(session, annotation.id)


def _responses(session: Session, order: Sequence[int]) -> dict[str, Shown]:
    names = {candidate: POSITIONS[place] for place, candidate in enumerate(order)}
    states = session.execute(select(Check.candidate_id, Check.state).where(Check.candidate_id.in_(order)))
    shown = {names[key]: Shown(waiting=state not in ENDED) for key, state in states if key is not None}
    for found in _standing(session, Finding.candidate_id.in_(order)):
        shown[names[found["candidate_id"]]].chips.append(chip_of(found))
    return shown


def _edit_of(session: Session, assignment_id: int) -> dict[str, Shown]:
    query = select(Annotation.id).where(
        Annotation.assignment_id == assignment_id,
        Annotation.superseded_by_id.is_(None),
        Annotation.withdrawn_at.is_(None),
        Annotation.edited_text.is_not(None),
    )
    current = session.scalar(query)
    return _of_annotation(session, current) if current is not None else {}


def _of_annotation(session: Session, annotation_id: int) -> dict[str, Shown]:
    state = session.scalar(select(Check.state).where(Check.annotation_id == annotation_id))
    if state is None:
        return {}
    chips = [chip_of(found) for found in _standing(session, Finding.annotation_id == annotation_id)]
    return {EDIT: Shown(waiting=state not in ENDED, chips=chips)}


def _standing(session: Session, which: Any) -> list[dict[str, Any]]:
    query = select(*_columns).join(Check, STANDS).where(which).order_by(Finding.id)
    return [dict(row) for row in session.execute(query).mappings()]


def shown_of_draft(check: Check | None) -> Shown:
    """What was found of an edit that is not submitted."""
    if check is None:
        return NOTHING
    return Shown(check.state not in ENDED, [chip_of(found) for found in check.draft_findings])


def written(session: Session, user: User, assignment_id: int) -> str:
    """The edit in the stored draft of an item of ``user``'s."""
    query = select(Assignment.draft).where(Assignment.id == assignment_id, Assignment.annotator_id == user.id)
    row = session.execute(query).one_or_none()
    if row is None:
        raise NotFound
    draft = row.draft or {}
    return edit_of(draft.get("edits") or {}, draft.get("ranking") or [])


def edit_of(edits: Mapping[str, str], ranking: Sequence[Sequence[str]]) -> str:
    """Of the edits of a draft that of the response in the first place, else the first that says anything; may be empty."""
    first = ranking[0][0] if ranking and ranking[0] else None
    kept = edits.get(first, "") if first is not None else ""
    return kept or next((said for said in edits.values() if said), "")


# ── All of them ──────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Tally:
    """Findings of one verifier in one capability."""

    verifier: str
    capability: str
    passed: int
    failed: int
    unchecked: int
    edits_passed: int
    edits: int

    @property
    def percent(self) -> float | None:
        """Responses that passed, of those that were checked."""
        checked = self.passed + self.failed
        return 100 * self.passed / checked if checked else None


def tallies(session: Session, batch_id: int | None = None) -> list[Tally]:
    """What stands, by verifier and capability. What could not be checked is counted apart; edits, too."""
    capability = func.coalesce(Prompt.capability, Batch.capability, "")
    response = Finding.candidate_id.is_not(None)
    query = (
        select(
            Finding.verifier,
            capability,
            func.count().filter(response, Finding.passed.is_(True)),
            func.count().filter(response, Finding.passed.is_(False)),
            func.count().filter(response, Finding.passed.is_(None)),
            func.count().filter(~response, Finding.passed.is_(True), COUNTS),
            func.count().filter(~response, Finding.passed.is_not(None), COUNTS),
        )
        .join(Check, STANDS)
        .join(Prompt, Prompt.id == Check.prompt_id)
        .join(Batch, Batch.id == Check.batch_id)
        .outerjoin(Annotation, Annotation.id == Finding.annotation_id)
        .group_by(Finding.verifier, capability)
        .order_by(Finding.verifier, capability)
    )
    if batch_id is not None:
        query = query.where(Check.batch_id == batch_id)
    return [Tally(*row) for row in session.execute(query)]


# One verifier, of two responses that one person put in different places: what it failed above what it passed.
_PREFERS = """
      FROM jsonb_array_elements(annotations.ranking) WITH ORDINALITY AS up (members, place),
           jsonb_array_elements(annotations.ranking) WITH ORDINALITY AS down (members, place),
           findings worse JOIN checks worse_check
             ON worse_check.id = worse.check_id AND worse_check.found_token = worse.fencing_token,
           findings better JOIN checks better_check
             ON better_check.id = better.check_id AND better_check.found_token = better.fencing_token
     WHERE worse.candidate_id = ANY (annotations.order_shown) AND worse.passed IS FALSE
       AND better.candidate_id = ANY (annotations.order_shown) AND better.passed IS TRUE
       AND worse.verifier = better.verifier AND up.place < down.place
       AND up.members @> to_jsonb(worse.candidate_id) AND down.members @> to_jsonb(better.candidate_id)
"""
_prefers_failing = text(f"EXISTS (SELECT {_PREFERS})")


@dataclass(frozen=True, slots=True)
class Preferred:
    """Where somebody put a response that fails above one that passes."""

    verifier: str
    above: str
    why: str
    below: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """An annotation that prefers what fails."""

    id: int
    prompt_id: int
    batch_name: str
    external_id: str
    annotator: str
    preferred: list[Preferred]


def conflicts(
    session: Session, reader: User, *, batch_id: int | None = None, before: int | None = None, limit: int = 25
) -> Page[Conflict]:
    """Annotations that count and prefer what fails, newest first; without the items that the reader is judging.

    Shown is read: it says what somebody preferred.
    """
    query = (
        select(Annotation.id, Prompt.id, Batch.name, Prompt.external_id, User.pseudonym, Annotation.order_shown)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .join(User, User.id == Annotation.annotator_id)
        .where(COUNTS, Prompt.id.not_in(in_work(reader.id)), CHECKABLE, _prefers_failing)
    )
    if batch_id is not None:
        query = query.where(Batch.id == batch_id)
    page = read_rows(session, query, Order(Annotation.id), before, limit)
    which = _preferred(session, {row[0]: list(row[5]) for row in page.rows})
    mark_read(session, reader.id, [row[1] for row in page.rows if row[4] != reader.pseudonym])
    return page.map(
        lambda row: Conflict(row[0], row[1], row[2], row[3], row[4], which.get(row[0], []))  # without the order
    )


def _preferred(session: Session, orders: Mapping[int, Sequence[int]]) -> dict[int, list[Preferred]]:
    columns = "annotations.id, worse.verifier, worse.candidate_id, worse.message, better.candidate_id"
    named = f"(SELECT DISTINCT {columns} {_PREFERS}) found (id, verifier, above, why, below)"
    statement = (
        f"SELECT found.* FROM annotations, LATERAL {named} WHERE annotations.id = ANY (:ids) ORDER BY 1, 2, 3, 5"  # noqa: S608 - of constants
    )
    found: dict[int, list[Preferred]] = {}
    for key, verifier, above, why, below in session.execute(text(statement), {"ids": list(orders)}):
        letters = {candidate: POSITIONS[place] for place, candidate in enumerate(orders[key])}
        found.setdefault(key, []).append(Preferred(verifier, letters[above], why, letters[below]))
    return found


def batches_checked(session: Session) -> list[tuple[int, str]]:
    """The batches that have findings or checks, for the filter; newest first."""
    some = select(literal(1)).where(Check.batch_id == Batch.id).exists()
    rows = session.execute(select(Batch.id, Batch.name).where(some).order_by(Batch.id.desc()).limit(200))
    return [(key, name) for key, name in rows]


@dataclass(frozen=True, slots=True)
class Row:
    """A finding in full, for admins."""

    id: int
    check_id: int
    prompt: str
    candidate_id: int | None
    annotation_id: int | None
    verifier: str
    version: str
    case_hash: str
    passed: bool | None
    score: float | None
    message: str
    evidence: dict[str, Any]
    created_at: Any


def findings_of_batch(session: Session, batch: Batch, *, before: int | None = None, limit: int = 25) -> Page[Row]:
    """The findings that stand in a batch, newest first."""
    query = (
        select(
            Finding.id,
            Finding.check_id,
            Prompt.external_id,
            Finding.candidate_id,
            Finding.annotation_id,
            Finding.verifier,
            Finding.version,
            Finding.case_hash,
            Finding.passed,
            Finding.score,
            Finding.message,
            Finding.evidence,
            Finding.created_at,
        )
        .join(Check, STANDS)
        .join(Prompt, Prompt.id == Check.prompt_id)
        .where(Check.batch_id == batch.id)
    )
    return read_rows(session, query, Order(Finding.id), before, limit).map(lambda row: Row(*row))


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def checks_of(session: Session, batch_ids: Sequence[int]) -> Iterator[tuple[int, dict[str, int]]]:
    """How far the checks of each batch are: all, those that ended, those with something unknown, those that are put off."""
    ended = Check.state.in_([CheckState.DONE, CheckState.FAILED])
    put_off = (Check.state == CheckState.PENDING) & Check.last_error.is_not(None) & (Check.attempts == 0)
    null = select(Finding.id).where(Finding.check_id == Check.id, STANDS, Finding.passed.is_(None)).exists()
    query = (
        select(
            Check.batch_id,
            func.count().label("checks"),
            func.count().filter(ended).label("checks_done"),
            func.count().filter(ended, null).label("unchecked"),
            func.count().filter(put_off).label("checks_put_off"),
        )
        .where(Check.batch_id.in_(batch_ids), Check.assignment_id.is_(None))
        .group_by(Check.batch_id)
    )
    for batch_id, checks, done, unchecked, waiting in session.execute(query):
        yield (
            batch_id,
            {"checks": checks, "checks_done": done, "unchecked": unchecked, "checks_put_off": waiting},
        )


ALSO_COUNTED.append(checks_of)
