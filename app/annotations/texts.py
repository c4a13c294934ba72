"""What annotations are searched by: the folded text of each with its grams, and what it says as facets.

It is written once: an annotation does not change. Folding a text costs more than recording the judgement, so whoever submits
does not wait for it: the sweeper does it within seconds (:func:`fill`), and so does whoever looks before (:func:`catch_up`).
Annotations of before there was this table get it in steps, the newest first. Erasing blanks it (:mod:`app.lineage.erasing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Integer, Row, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.annotations.models import Annotation, AnnotationText
from app.candidates.models import Candidate
from app.comparisons.models import Comparison
from app.judgements.vocabulary import Outcome
from app.kernel import grams
from app.prompts.models import Batch, Prompt

OF_A_TEXT = 4_000
"""Characters of a message, a response, an edit or a comment that a search reads."""
OF_ALL = 20_000
"""Characters that it reads of an annotation: the comment first, the oldest messages of a prompt last."""
AT_ONCE = 50
"""Annotations that one step takes, in less than a tenth of a second: as long may somebody wait who takes one of them back."""
STEPS = 10
"""Steps that somebody waits for who looks: most of a second, which only a stopped sweeper makes them wait."""
STRETCH = 500
"""Annotations of which one at least is found, where nothing below waits. Recorded and not committed are never so many."""

_about = (
    select(
        Annotation.id,
        Annotation.annotator_id,
        Annotation.outcome,
        Annotation.strengths,
        Annotation.ranking,
        Annotation.order_shown,
        func.left(Annotation.edited_text, OF_A_TEXT).label("edited_text"),
        Annotation.attributes,
        Annotation.flags,
        Annotation.spans,
        func.left(Annotation.comment, OF_A_TEXT).label("comment"),
        Annotation.active_seconds,
        Annotation.created_at,
        Comparison.batch_id,
        Batch.round_id,
        Prompt.messages,
    )
    .join(Comparison, Comparison.id == Annotation.comparison_id)
    .join(Batch, Batch.id == Comparison.batch_id)
    .join(Prompt, Prompt.id == Comparison.prompt_id)
    .order_by(Annotation.id)  # two that do it at once wait for each other in one order
    .with_for_update(read=True, of=Annotation)
)
_ABOVE_ALL = 2**63 - 1
# Looked up for each: asked by EXISTS, PostgreSQL would rather read all of the table into a hash, for these five hundred.
_found_as = select(AnnotationText.annotation_id).where(AnnotationText.annotation_id == Annotation.id).scalar_subquery()
_stretch = (
    select(Annotation.id, _found_as.is_not(None).label("is_found"))
    .where(Annotation.id < bindparam("before", type_=BigInteger))
    .order_by(Annotation.id.desc())
    .limit(bindparam("stretch", type_=Integer))
)


def fill(session: Session) -> int:
    """One step of making annotations findable: of those that were submitted lately, or else of those of before the table.

    With nothing left it costs as much at any size. Returns how many it took.
    """
    ids = _waiting(session)
    if not ids:
        older = select(Annotation.id).order_by(Annotation.id.desc()).limit(AT_ONCE)
        first = oldest(session)
        ids = [] if first is None else list(session.scalars(older.where(Annotation.id < first)))
    _note(session, ids)
    return len(ids)


def catch_up(session: Session) -> None:
    """Make what was submitted in the last seconds findable, for somebody who looks now: a thousand people submit less in them.

    Behind more than that the sweeper is behind, and whoever looks is told so (:func:`is_filled`).
    """
    for _step in range(STEPS):
        ids = _waiting(session)
        _note(session, ids)
        if len(ids) < AT_ONCE:
            break


def _waiting(session: Session) -> list[int]:
    """Annotations that wait, above the first that is found: the oldest of them. Where none is found, the newest of all.

    They are found in order, so below a stretch whose oldest is found nothing waits. The newest stretch is always looked at:
    what is recorded first may be committed last.
    """
    first = oldest(session)
    waiting: list[int] = []
    before: int | None = _ABOVE_ALL
    while before is not None:
        rows = session.execute(_stretch, {"before": before, "stretch": STRETCH}).all()
        missing = [row.id for row in reversed(rows) if not row.is_found]
        if first is None:
            return missing[-AT_ONCE:]
        waiting = [*missing, *waiting][:AT_ONCE]
        before = rows[-1].id if rows and not rows[-1].is_found else None
    return waiting


def _note(session: Session, ids: Sequence[int]) -> None:
    """Write down what annotations ``ids`` are searched by. Those that have it keep it.

    The annotations are locked against change: erasing goes before and leaves nothing to read, or waits and blanks this, too.
    """
    if not ids:
        return
    rows = session.execute(_about.where(Annotation.id.in_(ids))).all()
    texts = _responses(session, {each for row in rows for each in _chosen(row)})
    made = [_made(row, [texts[each] for each in _chosen(row)]) for row in rows]
    session.execute(insert(AnnotationText).values(made).on_conflict_do_nothing())


def oldest(session: Session) -> int | None:
    """The oldest annotation that is found; None before there is any."""
    return session.scalar(select(func.min(AnnotationText.annotation_id)))


def is_filled(session: Session) -> bool:
    """Whether all annotations are found."""
    if _waiting(session):
        return False
    first = oldest(session)
    older = select(Annotation.id).limit(1)
    return session.scalar(older if first is None else older.where(Annotation.id < first)) is None


def facet(kind: str, value: object) -> str:
    """A lexeme that says ``value`` of an annotation: no gram has a colon. Kinds: see :func:`_facets`."""
    return f"{kind}:{value}"


def _facets(row: Row[Any]) -> Iterator[str]:
    yield facet("batch", row.batch_id)
    yield facet("round", row.round_id)
    yield facet("by", row.annotator_id)
    yield facet("outcome", Outcome(row.outcome).value)
    yield from (facet("strength", each) for each in set(row.strengths))
    if row.edited_text is not None:
        yield facet("edited", 1)
    levels: set[tuple[str, int]] = {each for said in row.attributes.values() for each in said.items()}
    yield from (facet("attribute", f"{name}={level}") for name, level in levels)
    yield from (facet("flag", each) for each in {flag for flags in row.flags.values() for flag in flags})
    yield from (facet("mark", each) for each in {span["label"] for span in row.spans})


def _chosen(row: Row[Any]) -> list[int]:
    """The responses in first place, or the one whose steps were labelled."""
    if row.ranking:
        return [int(each) for each in row.ranking[0]]
    return list(row.order_shown) if row.outcome == Outcome.LABELLED else []


def _responses(session: Session, ids: set[int]) -> Mapping[int, str]:
    if not ids:
        return {}
    rows = session.execute(select(Candidate.id, func.left(Candidate.text, OF_A_TEXT)).where(Candidate.id.in_(ids)))
    return {row[0]: row[1] for row in rows}


def _made(row: Row[Any], responses: Sequence[str]) -> dict[str, Any]:
    said = [each.get("content") for each in reversed(row.messages)]
    messages = [each[:OF_A_TEXT] for each in said if isinstance(each, str)]
    parts = map(grams.fold, [row.comment, row.edited_text or "", *responses, *messages])
    # a line each: folding leaves no line end, so that no phrase reaches from one text into the next
    folded = "\n".join(each for each in parts if each)[:OF_ALL]
    return {
        "annotation_id": row.id,
        "folded": folded,
        "terms": grams.vector(_facets(row), grams.grams(folded)),
        "moment": row.created_at,
        "seconds": row.active_seconds,
    }
