"""A judgement by position, finished or not: what is sent, checked, described, and turned into candidate ids to be stored.

What the browser saves as a draft and submits is the JSON of :class:`Draft`. A judgement that may be recorded is a
:class:`Judgement`; what follows from it, the pairs, is decided in :mod:`training.formats.pairs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.judgements.positions import ids_by_position, positions_by_id
from app.judgements.vocabulary import Flag, Outcome, SpanLabel
from app.kernel.errors import refused
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.numbers import Real, Truth, Whole
from app.kernel.storable import flaw

TEXT_LIMIT = 200_000
COMMENT_LIMIT = 10_000
NOTE_LIMIT = 1_000
SPANS_LIMIT = 100
STEPS_LIMIT = 2_000


def storable(text: str) -> str:
    """Refuse what PostgreSQL cannot store and what no tokenizer reads the same way twice."""
    wrong = flaw(text)
    if wrong:
        raise ValueError(f"contains {wrong}: remove it")
    return text


Text = Annotated[str, Field(max_length=TEXT_LIMIT), AfterValidator(storable)]
Comment = Annotated[str, Field(max_length=COMMENT_LIMIT), AfterValidator(storable)]
Position = Annotated[str, Field(pattern="^[A-H]$")]
Seconds = Annotated[Real, Field(ge=0, le=86_400, allow_inf_nan=False)]
Level = Annotated[int, Field(ge=1, le=4, strict=True)]
AttributeName = Annotated[str, Field(pattern="^[a-z_]{1,30}$")]
Step = Annotated[int, Field(ge=1, le=7, strict=True)]
Attributes = Annotated[dict[Position, dict[AttributeName, Step]], Field(max_length=8)]
Flags = Annotated[dict[Position, list[Flag]], Field(max_length=8)]


class Span(BaseModel):
    """A passage of a response, with what it is. ``start`` and ``end`` count Unicode characters of the text as sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: Position
    start: Whole = Field(ge=0)
    end: Whole = Field(description="Exclusive.")
    label: SpanLabel
    note: Annotated[str, Field(max_length=NOTE_LIMIT), AfterValidator(storable)] = ""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.end <= self.start:
            raise ValueError(_("a marked passage ends after it starts"))
        return self


class Details(BaseModel):
    """What can be said beside the ranking, of each response by its position."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attributes: Attributes = Field(default={}, description="Place on the batch's scale, from 1, by attribute.")
    flags: Flags = {}
    spans: list[Span] = Field(default=[], max_length=SPANS_LIMIT)
    nothing_to_improve: Truth = Field(default=False, description="The chosen response cannot be made better.")
    step_labels: list[Annotated[int, Field(ge=-1, le=1, strict=True)]] = Field(
        default=[],
        max_length=STEPS_LIMIT,
        description="Where steps are labelled, of each from the first one: 1 right, 0 neutral, -1 wrong, which is the last.",
    )
    right_step: Text = Field(default="", description="What should stand in place of the wrong step.")
    comment: Comment = ""


class Judgement(Details):
    """What an annotator says of an item: groups of positions, best first (a tie shares a group), and what lies between.

    Of an item without responses it is the answer, in ``edited_text``, with the outcome ``written``.
    ``strengths[i]`` says how much better group i is than group i + 1. :func:`app.judgements.rules.check` says whether it may
    be recorded, and fills in what goes without saying.
    """

    outcome: Outcome
    ranking: list[list[Position]] = Field(default=[], max_length=8)
    strengths: list[Level] = Field(default=[], max_length=7, description="1 marginally … 4 significantly better.")
    edited_position: Position | None = Field(default=None, description="Needed only if several share the first place.")
    edited_text: Text | None = Field(default=None, description="The improved text, or the answer that you wrote.")
    revision_id: Whole | None = Field(default=None, description="The revision that the edited text is or started from.")

    def to_ids(self, shown: Sequence[int]) -> dict[str, Any]:
        """The same by candidate id, as columns of an annotation: of a judgement that was checked.

        Labels of steps are rows of their own (:mod:`app.annotations.labelling`).
        """
        ids = ids_by_position(shown)
        said = self.model_dump(mode="json")
        return {
            "outcome": self.outcome,
            "ranking": [[ids[name] for name in group] for group in self.ranking],
            "strengths": list(self.strengths),
            "edited_candidate_id": None if self.edited_position is None else ids[self.edited_position],
            "edited_text": self.edited_text,
            "revision_id": self.revision_id if self.edited_text is not None else None,
            "nothing_to_improve": self.nothing_to_improve,
            "attributes": {str(ids[name]): levels for name, levels in said["attributes"].items()},
            "flags": {str(ids[name]): sorted(set(flags)) for name, flags in said["flags"].items() if flags},
            "spans": [{"candidate_id": ids[span.pop("position")], **span} for span in said["spans"]],
            "comment": self.comment,
        }

    @classmethod
    def from_ids(cls, shown: Sequence[int], columns: Mapping[str, Any]) -> Judgement:
        """What :meth:`to_ids` made, by position again. ``columns`` may have others beside."""
        names = positions_by_id(shown)
        spans = [{name: value for name, value in span.items() if name != "candidate_id"} for span in columns["spans"]]
        said = dict(columns)
        edited = names.get(said.pop("edited_candidate_id"))
        return Judgement.model_validate(
            {name: said[name] for name in Judgement.model_fields if name in said}
            | {
                "ranking": [[names[each] for each in group] for group in said["ranking"]],
                "edited_position": edited,
                "attributes": {names[int(key)]: levels for key, levels in said["attributes"].items()},
                "flags": {names[int(key)]: flags for key, flags in said["flags"].items()},
                "spans": [
                    span | {"position": names[marked["candidate_id"]]}
                    for span, marked in zip(spans, said["spans"], strict=True)
                ],
            }
        )

    def draft(self, active_seconds: float = 0) -> Draft:
        """The same as a draft, to be continued."""
        first = self.ranking[0] if self.ranking else []
        edited = self.edited_position or (first[0] if first else "A")
        return Draft(
            outcome=self.outcome,
            ranking=self.ranking,
            strengths=list(self.strengths),
            edits={} if self.edited_text is None else {edited: self.edited_text},
            revisions={} if self.revision_id is None else {edited: self.revision_id},
            active_seconds=active_seconds,
            **{name: getattr(self, name) for name in Details.model_fields},
        )


class Draft(Details):
    """An unfinished judgement: any part of it, and the edits begun, by position.

    Of an item without responses "A" stands for the answer that is written.
    """

    outcome: Outcome | None = None
    ranking: list[list[Position]] = Field(default=[], max_length=8)
    strengths: list[Level | None] = Field(default=[], max_length=7)
    edits: dict[Position, Text] = Field(default={}, max_length=8)
    revisions: dict[Position, Whole] = Field(default={}, max_length=8, description="What each edit started from.")
    active_seconds: Seconds = 0

    def finished(self) -> Judgement:
        """The judgement that it has become; with several edits, the one of what stands first.

        Raises:
            BadInput: something is missing; names it.
        """
        if self.outcome is None:
            raise refused("ranking", _(NOTHING_SAID))
        if self.outcome is Outcome.RANKED and len(self.ranking) == 1:  # all share the first place
            return self.model_copy(update={"outcome": Outcome.TIE, "ranking": [], "strengths": []}).finished()
        gaps = len(self.ranking) - 1 if self.outcome is Outcome.RANKED else 0
        strengths = [level for level in self.strengths if level is not None]
        if len(strengths) < len(self.strengths) or len(strengths) < gaps:
            raise refused("strengths", _("Choose a strength between each pair of neighbouring ranks."))
        best = self.ranking[0] if self.ranking else []
        edited = next((name for name in [*best, *self.edits] if name in self.edits), None)
        return Judgement(
            outcome=self.outcome,
            ranking=self.ranking,
            strengths=strengths,
            edited_position=edited,
            edited_text=None if edited is None else self.edits[edited],
            revision_id=None if edited is None else self.revisions.get(edited),
            **{name: getattr(self, name) for name in Details.model_fields},
        )


NOTHING_SAID = N_("First choose which response is better, or mark them as equal or all unacceptable.")
