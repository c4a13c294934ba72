"""Where the values of an export's columns stand in the database, and what is made of them on the way into a row.

The columns themselves (names, types, meanings) are in :mod:`training.formats.columns`. One that is not named here is the
annotation's own column of that name; one of a pair whose name is ``chosen_…`` or ``rejected_…``, or which has both sides
as its type, is the candidate's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    any_,
    cast,
    func,
    null,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.types import NULLTYPE

from app.accounts.models import User
from app.annotations.models import Annotation, StepLabel
from app.candidates.models import Candidate
from app.dialogues.models import Dialogue
from app.kernel.settings import get_settings
from app.loops.models import Round
from app.prompts.messages import strict
from app.prompts.models import LANGUAGE, LANGUAGE_FROM, Batch, Prompt
from app.registry.models import Checkpoint
from training.formats import columns
from training.formats.columns import Column, Scalar, Struct, Type
from training.formats.prompts import split_of

# A key cannot stand inside a text: its quotes would be escaped there. Of plain messages role and content are texts.
SPECIAL = re.compile(r'"(?:tool_calls|tool_call_id|name)"|"(?:role|content)": [^"]')
BY_ALGEBRA = frozenset({"id", "chosen", "rejected", "edited", "strength", "position_shown"})
"""Columns of a pair that follow from the judgement: ``exporters/canonical.py`` makes them."""
Row = dict[str, Any]
CORRECTED = aliased(Annotation, name="corrected")
"""The annotation that an annotation corrects, where there is one."""


@dataclass(frozen=True, slots=True)
class Source:
    """One standing annotation with everything that its rows name."""

    strengths: list[int]
    order_shown: list[int]
    edited_candidate_id: int | None
    edited_text: str | None
    candidate_ids: list[int]
    texts: list[str]
    selected: Row
    """What its own columns hold, as the database says it: messages and other inner shapes are JSON."""
    of_candidates: dict[str, list[Any]]
    """What is known of each candidate, in the order of ``candidate_ids``."""
    plan: Plan
    masked: list[str] | None = None
    """The kinds of passages that were masked in its texts; None where nobody asked for that."""

    @property
    def annotation_id(self) -> int:
        """Whose rows they are."""
        found: int = self.selected["annotation_id"]
        return found

    @property
    def content_hash(self) -> bytes:
        """Of the prompt: it decides the side of the split."""
        found: bytes = self.selected["prompt_hash"]
        return found

    def known(self, fact: Fact, nested: Callable[[str], Any]) -> dict[int | None, Any]:
        """What a column of pairs says of each candidate, by its id; None is known of None, where nothing was chosen."""
        values = self.of_candidates[fact.fact]
        if fact.type is Scalar.JSON:
            values = [None if value is None else nested(value) for value in values]
        elif fact.type is Scalar.TIME:
            values = [_utc(value) for value in values]
        return dict(zip((None, *self.candidate_ids), (None, *values), strict=True))

    def value(self, name: str) -> Any:
        """One of the annotation's own columns, as it stands in a row."""
        make = self.plan.made.get(name)
        return self.selected[name] if make is None else make(self.selected[name], self)

    def values(self, nested: Callable[[str], Any]) -> Row:
        """The annotation's own columns; ``nested`` is what becomes of JSON that stands inside a row."""
        row = self.selected.copy()
        for name, make in self.plan.made.items():
            row[name] = make(row[name], self)
        for name in self.plan.json:
            if row[name] is not None:
                row[name] = nested(row[name])
        return row


class Value(NamedTuple):
    """A column of an annotation: what is selected, and what is made of it where that is not yet the value."""

    sql: Any
    made: Callable[[Any, Source], Any] | None = None


def in_one_form(messages: str) -> orjson.Fragment:
    """Messages, given as the database's JSON, in their one form, even where they were stored before there was one."""
    return orjson.Fragment(orjson.dumps(strict(orjson.loads(messages))) if SPECIAL.search(messages) else messages)


def _attributes(by_candidate: str, _: Source) -> list[Row]:
    """A list, because a column for each candidate would be thousands of columns."""
    return [
        {"candidate_id": int(candidate), "name": name, "value": value}
        for candidate, places in orjson.loads(by_candidate).items()
        for name, value in places.items()
    ]


def _flags(by_candidate: str, _: Source) -> list[Row]:
    return [
        {"candidate_id": int(candidate), "flag": flag}
        for candidate, flags in orjson.loads(by_candidate).items()
        for flag in flags
    ]


def _turn(dialogue: int | None, source: Source) -> int | None:
    """How many messages of the annotator lead to a comparison of a dialogue."""
    if dialogue is None:
        return None
    return sum(1 for message in orjson.loads(source.selected["prompt"]) if message["role"] == "user")


def _utc(time: datetime | None, _: Source | None = None) -> datetime | None:
    return None if time is None else time.astimezone(UTC)


def _split(_: None, source: Source) -> str:
    return split_of(source.content_hash, get_settings().held_out_percent).value


OF_ANNOTATION: dict[str, Value] = {
    "prompt": Value(cast(Prompt.messages, Text), lambda messages, _: in_one_form(messages)),
    "attributes": Value(cast(Annotation.attributes, Text), _attributes),
    "flags": Value(cast(Annotation.flags, Text), _flags),
    "annotation_id": Value(Annotation.id),
    "replaces": Value(CORRECTED.id),
    "prompt_id": Value(Prompt.id),
    "source_id": Value(Prompt.external_id),
    "reference": Value(Prompt.reference),
    "tests": Value(Prompt.tests),
    "metadata": Value(func.nullif(cast(Prompt.extra, Text), "{}")),
    "parent_prompt_id": Value(Prompt.parent_id),
    "dialogue": Value(Prompt.dialogue_id),
    "turn": Value(Prompt.dialogue_id, _turn),
    "system_kept": Value(Dialogue.system_kept),
    "prompt_hash": Value(Prompt.content_hash, lambda digest, _: digest.hex()),
    "round": Value(Round.number),
    "batch": Value(Batch.name),
    "capability": Value(func.coalesce(Prompt.capability, Batch.capability)),
    "origin": Value(Prompt.origin, lambda origin, _: origin.value),
    "language": Value(LANGUAGE),
    "language_from": Value(LANGUAGE_FROM),
    "annotator": Value(User.pseudonym),
    "split": Value(null(), _split),
    "tools": Value(Prompt.tools),
    "masked": Value(null(), lambda _, source: source.masked),
}
OF_CANDIDATE: dict[str, Any] = {"checkpoint": Checkpoint.name, "said_of_response": Candidate.extra}


class Fact(NamedTuple):
    """A column of a pair that is known of its candidates: of which one, None for both, and the type of each."""

    column: str
    fact: str
    side: str | None
    type: Type


@dataclass(frozen=True)
class Plan:
    """What one export selects, and what it makes of it."""

    names: tuple[str, ...]
    own: tuple[Any, ...]
    made: dict[str, Callable[[Any, Source], Any]]
    json: tuple[str, ...]
    facts: tuple[Fact, ...]
    candidate: tuple[str, ...]
    shown: FromClause

    def selected(self) -> list[Any]:
        """What a query of annotations selects; :meth:`source` reads it."""
        return [
            type_coerce(Annotation.strengths, NULLTYPE),
            type_coerce(Annotation.order_shown, NULLTYPE),
            Annotation.edited_candidate_id,
            Annotation.edited_text,
            *self.shown.c,
            *self.own,
        ]

    def source(self, row: Sequence[Any]) -> Source:
        """One row of the query."""
        strengths, shown, edited, text, ids, texts, *rest = row
        known = len(self.candidate)
        own, of_candidates = zip(self.names, rest[known:], strict=True), zip(self.candidate, rest[:known], strict=True)
        facts = {name: values or [] for name, values in of_candidates}  # where people write there is no response
        return Source(strengths, shown, edited, text, ids or [], texts or [], dict(own), facts, self)


_STEP_LABELS = cast(
    select(
        func.jsonb_agg(
            aggregate_order_by(
                func.jsonb_build_object(
                    *("starts", StepLabel.starts, "ends", StepLabel.ends),
                    *("label", StepLabel.label, "correction", StepLabel.correction),
                ),
                StepLabel.place,
            )
        )
    )
    .where(StepLabel.annotation_id == Annotation.id)
    .correlate(Annotation)
    .scalar_subquery(),
    Text,
)


def plan_columns(*, steps: bool = False) -> Plan:
    """How the table of columns, as it is now, comes out of the database; with ``steps`` also what was said of steps."""
    own = [
        (each, OF_ANNOTATION.get(each.name) or Value(getattr(Annotation, each.name)))
        for each in columns.of_annotation()
    ]
    labels = (("step_labels", _STEP_LABELS),) if steps else ()
    facts = tuple(_fact(each) for each in columns.of_pair() if each.name not in BY_ALGEBRA)
    candidate = tuple(dict.fromkeys(each.fact for each in facts))
    return Plan(
        names=(*(each.name for each, _ in own), *(name for name, _ in labels)),
        own=(
            *(cast(value.sql, Text) if each.type is Scalar.JSON else value.sql for each, value in own),
            *(sql for _, sql in labels),
        ),
        made={each.name: make for each, value in own if (make := _made(each, value)) is not None},
        json=tuple(each.name for each, _ in own if each.type is Scalar.JSON),
        facts=facts,
        candidate=candidate,
        shown=_shown({each.fact: _of_candidate(each) for each in facts}),
    )


def _made(each: Column, value: Value) -> Callable[[Any, Source], Any] | None:
    if value.made is None and each.type is Scalar.TIME:
        return _utc
    return value.made


def _fact(each: Column) -> Fact:
    if isinstance(each.type, Struct):
        return Fact(each.name, each.name, None, each.type.fields["chosen"])
    side, _, fact = each.name.partition("_")
    return Fact(each.name, fact, side, each.type)


def _of_candidate(each: Fact) -> Any:
    known = OF_CANDIDATE.get(each.fact)
    found = getattr(Candidate, each.fact) if known is None else known
    return cast(found, Text) if each.type is Scalar.JSON else found


def _shown(facts: dict[str, Any]) -> FromClause:
    found = listed(**{"candidate_ids": Candidate.id, "texts": Candidate.text, **facts})
    return found.join(Checkpoint, Checkpoint.id == Candidate.checkpoint_id).lateral("shown")


def listed(**wanted: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[Any]:
    """Of the responses that an annotation's comparison showed: a list of each column by its name, in the order of their ids.

    They are the driver's own lists: SQLAlchemy would copy each array again.
    """
    lists = [
        type_coerce(func.array_agg(aggregate_order_by(each, Candidate.id)), NULLTYPE).label(name)
        for name, each in wanted.items()
    ]
    return select().add_columns(*lists).where(Candidate.id == any_(Annotation.order_shown))
