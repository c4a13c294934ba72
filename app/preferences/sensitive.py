"""What people said is unsafe or private, so that it can be left out of an export before it leaves.

A prompt is left out whole, with all of its responses, wherever somebody flagged one of them, marked a passage of one as unsafe,
or skipped the item as offensive or private. What nobody has looked at stays in: this is what people said, and no search.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, cast, func, or_, select, union
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session

from app.annotations.models import COUNTS, Annotation
from app.comparisons.models import Assignment, Comparison
from app.judgements.vocabulary import Flag, SpanLabel
from app.prompts.models import Prompt

SKIPPED = "%offensive or private%"
"""How the reasons of a skip say it (``app.annotations.pages``); they do not tell the two apart."""


@dataclass(frozen=True)
class Sensitive:
    """How many prompts people said something of."""

    unsafe: int
    private: int
    skipped: int
    prompts: int
    """In all; one may be several of these."""


def _said(flags: Collection[Flag]) -> ColumnElement[bool]:
    path = " || ".join(f'@ == "{flag.value}"' for flag in sorted(flags))
    said = func.jsonb_path_exists(Annotation.flags, cast(f"$.*[*] ? ({path})", JSONPATH))
    return or_(said, Annotation.spans.contains([{"label": SpanLabel.UNSAFE.value}])) if Flag.UNSAFE in flags else said


def _flagged(flags: Collection[Flag]) -> Select[int]:
    return (
        select(Comparison.prompt_id)
        .join(Annotation, Annotation.comparison_id == Comparison.id)
        .where(COUNTS, _said(flags))
    )


_skipped = (
    select(Comparison.prompt_id)
    .join(Assignment, Assignment.comparison_id == Comparison.id)
    .where(Assignment.skip_reason.ilike(SKIPPED))
)


def stays(flags: Collection[Flag]) -> ColumnElement[bool]:
    """Whether a prompt stays in, where what was said to be one of ``flags`` is left out."""
    return Prompt.id.not_in(union(_flagged(flags), _skipped))


def count(session: Session) -> Sensitive:
    """What there is to leave out."""
    found = [_flagged([Flag.UNSAFE]), _flagged([Flag.PRIVATE_DATA]), _skipped]
    each = [select(func.count(one.subquery().c.prompt_id.distinct())).scalar_subquery() for one in found]
    all_of = union(*found).subquery()
    row = session.execute(select(*each, select(func.count()).select_from(all_of).scalar_subquery())).one()
    return Sensitive(unsafe=row[0], private=row[1], skipped=row[2], prompts=row[3])
