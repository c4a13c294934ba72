"""What annotations are searched by: the folded text of each with its grams, and what it says as facets.

It is written in the transaction that records the annotation, and never again: an annotation does not change. Annotations of
before there was this table get it in steps, the newest first (:func:`fill`). Erasing blanks it (:mod:`app.lineage.erasing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, func, select
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
AT_ONCE = 500
"""Annotations of before that one step takes."""

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
)


def note(session: Session, ids: Sequence[int]) -> None:
    """Make annotations ``ids`` findable. Those that are stay as they are."""
    rows = session.execute(_about.where(Annotation.id.in_(ids))).all()
    texts = _responses(session, {each for row in rows for each in _chosen(row)})
    made = [_made(row, [texts[each] for each in _chosen(row)]) for row in rows]
    if made:
        session.execute(insert(AnnotationText).values(made).on_conflict_do_nothing())


def fill(session: Session) -> int:
    """One step of making annotations of before findable; how many it took. With nothing left it costs as much at any size.

    The newest are looked at each time: while an installation is upgraded, a server of before may still record some.
    """
    newest = select(Annotation.id).order_by(Annotation.id.desc()).limit(AT_ONCE).subquery()
    is_noted = select(AnnotationText.annotation_id).where(AnnotationText.annotation_id == newest.c.id).exists()
    ids = list(session.scalars(select(newest.c.id).where(~is_noted)))
    older = select(Annotation.id).order_by(Annotation.id.desc()).limit(AT_ONCE)
    first = oldest(session)
    if not ids and first is not None:
        ids = list(session.scalars(older.where(Annotation.id < first)))
    note(session, ids)
    return len(ids)


def oldest(session: Session) -> int | None:
    """The oldest annotation that is found; None before there is any."""
    return session.scalar(select(func.min(AnnotationText.annotation_id)))


def is_filled(session: Session) -> bool:
    """Whether all annotations are found."""
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
