"""What may be asked of an export, and in which form it comes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from app.judgements.vocabulary import Flag, Outcome
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.numbers import Truth, Whole
from app.preferences.exporters import Format, Shape
from app.prompts.origins import Origin
from training.formats.languages import code_of, named
from training.formats.prompts import Split
from training.formats.words import OUTCOMES

Id = Annotated[Whole, Field(ge=0, le=2**63 - 1)]
Number = Annotated[Whole, Field(ge=0, le=2**31 - 1)]


def _code(value: Any) -> Any:
    code = code_of(value) if isinstance(value, str) else None
    if code is None:
        raise ValueError(_("this is no language that Corral knows: use its code, such as de"))
    return code


LanguageCode = Annotated[str, BeforeValidator(_code)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(9000, 1, 1))]
MOST = 200
"""Values of one kind that a filter may name."""
SIDES = {Split.TRAIN: N_("train"), Split.HELD_OUT: N_("held-out")}
"""What the sides of the split are called."""


class Concern(StrEnum):
    """What people may have said of a text, for which its prompt can be left out; the values are those of flags."""

    UNSAFE = Flag.UNSAFE.value
    PRIVATE_DATA = Flag.PRIVATE_DATA.value


_WITHOUT = {Concern.UNSAFE: N_("without unsafe"), Concern.PRIVATE_DATA: N_("without private data")}


class Treatment(StrEnum):
    """What becomes of texts in which patterns find private data (:mod:`app.preferences.private`)."""

    MASK = "mask"
    LEAVE_OUT = "leave_out"

    @property
    def words(self) -> str:
        """For people, of a selection."""
        if self is Treatment.MASK:
            return _("private data that patterns find masked")
        return _("without what patterns find to be private data")


PRIVATE = (
    "What becomes of private data that patterns find, such as e-mail addresses: `mask` puts a placeholder in its place, "
    "`leave_out` leaves out the judgements with a text that has any. Left empty, nothing is looked for."
)


class Side(StrEnum):
    """Which prompts a download is asked for. Without a word canonical rows are all, and TRL's those to train on."""

    TRAIN = "train"
    HELD_OUT = "held_out"
    ALL = "all"


def split_for(shape: Shape, asked: Side | None) -> Split | None:
    """The side of the split that a download has; None is both. What a trainer reads has nothing held out by default."""
    if asked is None:
        return shape.exporter.side
    return None if asked is Side.ALL else Split(asked.value)


class ExportFilter(BaseModel):
    """Which preferences. Everything left empty means all; superseded annotations are never in."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"rounds": [1, 2], "split": "train", "min_strength": 2}, {}]},
    )

    batch_ids: tuple[Id, ...] = Field(default=(), description="Only these batches.")
    rounds: tuple[Number, ...] = Field(default=(), description="Only batches of rounds with these numbers.")
    split: Split | None = Field(default=None, description="Only one side of the split by prompt.")
    min_strength: Whole | None = Field(
        default=None, ge=1, le=4, description="Only ranked pairs of at least this strength; leaves out ties."
    )
    origins: tuple[Origin, ...] = Field(default=(), description="Only prompts of these origins.")
    languages: tuple[LanguageCode, ...] = Field(
        default=(), description="Only prompts in these languages, said or detected: codes of ISO 639-1."
    )
    capabilities: tuple[Word, ...] = Field(default=(), description="Only prompts that test these.")
    annotators: tuple[Word, ...] = Field(default=(), description="Only judgements of these people, by pseudonym.")
    outcomes: tuple[Outcome, ...] = Field(default=(), description="Only judgements that came to this.")
    first_day: Day | None = Field(default=None, description="Only judgements of this day (UTC) and later.")
    last_day: Day | None = Field(default=None, description="Only judgements of this day (UTC) and earlier.")
    without: tuple[Concern, ...] = Field(
        default=(), description="Not prompts of which people said that they, or a response, are unsafe or private."
    )
    private: Treatment | None = Field(default=None, description=PRIVATE)
    until: Id | None = Field(default=None, description="Only annotations up to this id.")
    beyond_snapshot: Id | None = Field(default=None, description="Only annotations that this snapshot does not hold.")
    checkpoint_ids: tuple[Id, ...] = Field(
        default=(), description="Only comparisons with a response of one of these checkpoints."
    )
    settled: Truth = Field(default=False, description="Only comparisons that no annotator will get any more.")

    def stored(self) -> dict[str, Any]:
        """As JSON, without what was left empty."""
        given = self.model_dump(mode="json").items()
        return {key: value for key, value in given if value not in (None, []) and value is not False}

    def words(self) -> str:
        """For people: what is in."""
        parts = [
            _("batches {ids}", ids=_listed(self.batch_ids)) if self.batch_ids else "",
            _("rounds {numbers}", numbers=_listed(self.rounds)) if self.rounds else "",
            _("split {side}", side=_(SIDES[self.split])) if self.split else "",
            _("strength {level} and up", level=self.min_strength) if self.min_strength else "",
            _("origin {names}", names=_listed(_(each.value) for each in self.origins)) if self.origins else "",
            _("language {names}", names=named(list(self.languages))) if self.languages else "",
            _("capability {names}", names=_listed(self.capabilities)) if self.capabilities else "",
            _("judged by {names}", names=_listed(self.annotators)) if self.annotators else "",
            _("outcome {names}", names=_listed(_(OUTCOMES[each.value]) for each in self.outcomes))
            if self.outcomes
            else "",
            _("from {day}", day=self.first_day) if self.first_day else "",
            _("to {day}", day=self.last_day) if self.last_day else "",
            self._left_out(),
            self.private.words if self.private else "",
            _("annotations up to no. {id}", id=self.until) if self.until else "",
            _("annotations that snapshot {id} does not hold", id=self.beyond_snapshot)
            if self.beyond_snapshot is not None
            else "",
            _("responses of checkpoints {ids}", ids=_listed(self.checkpoint_ids)) if self.checkpoint_ids else "",
            _("comparisons that need no more annotators") if self.settled else "",
        ]
        return "; ".join(part for part in parts if part) or _("everything")

    def _left_out(self) -> str:
        if len(set(self.without)) > 1:
            return _("without private data and unsafe")
        return _(_WITHOUT[self.without[0]]) if self.without else ""


def _listed(named: Iterable[object]) -> str:
    return ", ".join(map(str, named))


class Selection(BaseModel):
    """What people may choose of preferences: the same on the page, in the API and at the command line."""

    model_config = ConfigDict(populate_by_name=True)

    batch: list[Id] = Field(default=[], max_length=MOST, description="Only these batches.")
    rounds: list[Number] = Field(default=[], max_length=MOST, alias="round", description="Only these rounds.")
    split: Side | None = Field(
        default=None,
        description="One side of the split by prompt, or all; shapes for trainers default to the train side.",
    )
    min_strength: Whole | None = Field(
        default=None, ge=1, le=4, description="Only ranked pairs of at least this strength."
    )
    origin: list[Origin] = Field(default=[], max_length=MOST, description="Only prompts of these origins.")
    language: list[LanguageCode] = Field(
        default=[],
        max_length=MOST,
        description="Only prompts in these languages, said or detected: codes of ISO 639-1.",
    )
    capability: list[Word] = Field(default=[], max_length=MOST, description="Only prompts that test these.")
    annotator: list[Word] = Field(
        default=[],
        max_length=MOST,
        description="Only judgements of these people, by the pseudonym that rows name them by.",
    )
    outcome: list[Outcome] = Field(default=[], max_length=MOST, description="Only judgements that came to this.")
    first_day: Day | None = Field(
        default=None, alias="from", description="Only judgements of this day (UTC) and later, such as 2026-11-30."
    )
    last_day: Day | None = Field(default=None, alias="to", description="Only judgements of this day (UTC) and earlier.")
    without: list[Concern] = Field(
        default=[],
        max_length=2,
        description="Not prompts of which people said that they, or a response, are unsafe or private.",
    )
    private: Treatment | None = Field(default=None, description=PRIVATE)

    @classmethod
    def of_form(cls, given: Iterable[tuple[str, str]]) -> Self:
        """What a form sent, whose selects have an empty value for what was not chosen.

        Raises:
            ValueError: it chooses what there is not.
        """
        found: dict[str, Any] = {}
        several = {field.alias or name for name, field in cls.model_fields.items() if field.default == []}
        for key, value in given:
            if value and key in several:
                found.setdefault(key, []).append(value)
            elif value:
                found[{"strength": "min_strength"}.get(key, key)] = value
        return cls.model_validate(found)

    def wanted(self, shape: Shape = Shape.CANONICAL) -> ExportFilter:
        """Which preferences those are, in a download of this shape."""
        return ExportFilter(
            batch_ids=tuple(self.batch),
            rounds=tuple(self.rounds),
            split=split_for(shape, self.split),
            min_strength=self.min_strength,
            origins=tuple(self.origin),
            languages=tuple(self.language),
            capabilities=tuple(self.capability),
            annotators=tuple(self.annotator),
            outcomes=tuple(self.outcome),
            first_day=self.first_day,
            last_day=self.last_day,
            without=tuple(sorted(set(self.without))),
            private=self.private,
        )

    def chooses(self) -> bool:
        """Whether anything was chosen at all."""
        return bool(self.model_dump(exclude_defaults=True, include=set(Selection.model_fields)))


KEYS = frozenset(
    {*(field.alias or name for name, field in Selection.model_fields.items()), "strength"} - {"min_strength"}
)
"""Of a query string what chooses, as the page's form calls it."""


class ExportRequest(Selection):
    """A download: what is wanted of preferences, in which shape and format."""

    shape: Shape = Field(default=Shape.CANONICAL, description=" ".join(each.exporter.purpose for each in Shape))
    form: Format = Field(
        default=Format.JSONL, alias="format", description=" ".join(each.exporter.purpose for each in Format)
    )
    since: str | None = Field(
        default=None,
        min_length=1,
        max_length=8000,
        description=(
            "Only what changed since an earlier export of the same selection: the cursor that it gave as `Corral-Cursor`, or "
            "`start` for everything. Canonical rows only."
        ),
    )


class SnapshotRequest(BaseModel):
    """Freeze an export. ``filter`` left empty freezes everything up to now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"filter": {"rounds": [1]}}]})

    filter: ExportFilter = ExportFilter()
