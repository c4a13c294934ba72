"""What can be retracted as a whole: an annotation, a person, a batch. One entry a scope says which annotations that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import ColumnElement, Select, and_, literal, or_, select
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.annotations.models import Annotation, Retraction, RetractionScope
from app.comparisons.models import Comparison
from app.kernel.errors import NotFound
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts.models import Batch


@dataclass(frozen=True)
class Target:
    """What is to be retracted, or was."""

    scope: RetractionScope
    id: int
    words: str
    """What admins read."""
    pseudonym: str | None
    """Of a person."""
    ids: Select[int]
    """The ids of its annotations, standing or not: an earlier version may be in a snapshot too."""


MISSING = {
    RetractionScope.ANNOTATION: N_("There is no annotation {id}."),
    RetractionScope.PERSON: N_("There is no person {id}."),
    RetractionScope.BATCH: N_("There is no batch {id}."),
}
_same = aliased(Annotation, name="same_item")
_of: Mapping[RetractionScope, Callable[[ColumnElement[int]], ColumnElement[bool]]] = MappingProxyType(
    {
        RetractionScope.ANNOTATION: lambda target: Annotation.assignment_id.in_(
            select(_same.assignment_id).where(_same.id == target)
        ),
        RetractionScope.PERSON: lambda target: Annotation.annotator_id == target,
        RetractionScope.BATCH: lambda target: Annotation.comparison_id.in_(
            select(Comparison.id).where(Comparison.batch_id == target)
        ),
    }
)
"""Whether an annotation belongs to a target, by its id: all versions of one judgement, all of a person, all of a batch."""


def belongs_to(retraction: type[Retraction]) -> ColumnElement[bool]:
    """Whether an annotation is of what ``retraction``, perhaps an alias, is about."""
    target = retraction.target_id.expression
    return or_(*(and_(retraction.scope == scope, within(target)) for scope, within in _of.items()))


def find(session: Session, scope: RetractionScope, target_id: int) -> Target:
    """The target.

    Raises:
        NotFound: there is none with this id.
    """
    person: User | None = None
    if scope is RetractionScope.PERSON:
        person = session.get(User, target_id)
        words = f"{person.name} ({person.pseudonym})" if person else None
    elif scope is RetractionScope.BATCH:
        name = session.scalar(select(Batch.name).where(Batch.id == target_id))
        words = _("the batch “{name}”", name=name) if name is not None else None
    else:
        who = select(User.pseudonym).join(Annotation, Annotation.annotator_id == User.id)
        by = session.scalar(who.where(Annotation.id == target_id))
        words = _("annotation {id} by {who}", id=target_id, who=by) if by is not None else None
    if words is None:
        raise NotFound(_(MISSING[scope], id=target_id))
    ids = select(Annotation.id).where(_of[scope](literal(target_id)))
    return Target(scope, target_id, words, person.pseudonym if person else None, ids)
