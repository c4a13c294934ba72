"""What the desk is asked with and answers: its filters in an address, and the JSON of ``/api/v1/desk``."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from app.annotations.models import Decision
from app.comparisons.models import Purpose
from app.desk.offered import ASSIGNEES
from app.desk.queries import AT_ONCE, Failed, Reviewed, Sort, Wanted
from app.desk.service import REASON_LIMIT, VIEW_FILTERS, VIEW_NAME, Act, Pick
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Flag, Outcome, Strength
from app.kernel.numbers import Whole
from app.kernel.paging import LARGEST
from app.kernel.storable import flaw
from app.quality.forms import ReviewOut, Words
from training.formats.languages import code_of

Kind = TypeVar("Kind", bound=StrEnum)
Id = Annotated[Whole, Field(ge=1, le=LARGEST, examples=[41])]
YEARS = range(1970, 2200)
_ROW: dict[str, Any] = {
    "id": 41,
    "seen": 3,
    "batch_id": 4,
    "batch": "Everyday questions",
    "prompt": "When did people land on the moon?",
    "annotator": "annotator-5d3f0c9a1b2e",
    "purpose": "collect",
    "outcome": "B is significantly better",
    "edited": True,
    "flagged": False,
    "disagreed": True,
    "holds": False,
    "overruled": False,
    "retracted": False,
    "assigned": False,
    "verdict": "returned",
    "seconds": 41.5,
    "created_at": "2026-11-23T10:04:12Z",
}
_VIEW: dict[str, Any] = {"id": 7, "name": "To look at", "filters": "reviewed=not-reviewed&disagreed=1"}


class Asked(BaseModel):
    """What stands in the address of the page: filters as they were chosen. What makes no sense filters nothing."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    q: str = Field(default="", max_length=200)
    batch: str = ""
    round: str = ""
    annotator: str = Field(default="", max_length=100)
    outcome: str = ""
    strength: str = ""
    edited: str = ""
    disagreed: str = ""
    attribute: str = Field(default="", max_length=200)
    flag: str = ""
    failed: str = ""
    reviewed: str = ""
    language: str = Field(default="", max_length=60)
    since: str = Field(default="", alias="from")
    until: str = Field(default="", alias="to")
    sort: str = ""
    before: Annotated[int, Field(ge=0, le=LARGEST)] | None = None

    def wanted(self, zone: tzinfo | None) -> Wanted:
        """The same as it is looked for; days are those of ``zone``."""
        strength = _number(self.strength)
        return Wanted(
            text=_text(self.q),
            batch_id=_number(self.batch),
            round=_number(self.round),
            annotator=_text(self.annotator),
            outcome=_one_of(Outcome, self.outcome),
            strength=strength if strength in set(Strength) else None,
            edited=_yes_or_no(self.edited),
            disagreed=_yes_or_no(self.disagreed),
            attribute=_text(self.attribute),
            flag=self.flag if _one_of(Flag, self.flag) else "",
            failed=_one_of(Failed, self.failed),
            reviewed=_one_of(Reviewed, self.reviewed),
            language=code_of(self.language) or "",
            since=_moment(self.since, 0, zone),
            until=_moment(self.until, 1, zone),
            sort=_one_of(Sort, self.sort) or Sort.NEWEST,
        )

    def address(self, **more: int | None) -> str:
        """The filters as a query, without its question mark; empty where they keep everything."""
        given = {each.alias or name: getattr(self, name) for name, each in type(self).model_fields.items()}
        values = {name: value for name, value in given.items() if value and name != "before"} | more
        return urlencode({name: value for name, value in values.items() if value})


class RowIn(BaseModel):
    """A row that was chosen."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    seen: Annotated[Whole, Field(ge=0, le=LARGEST, examples=[3])] = 0
    """The ``seen`` of the row when it was chosen: 0 where it had no review. If it has another one now, the row is left."""


class RowsIn(BaseModel):
    """Rows to act on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rows": [{"id": 41, "seen": 3}]}]})

    rows: list[RowIn] = Field(min_length=1, max_length=AT_ONCE)

    def picks(self) -> list[Pick]:
        """As the service takes them, each once."""
        return [Pick(key, seen) for key, seen in {row.id: row.seen for row in self.rows}.items()]


class ReturnIn(RowsIn):
    """Rows to return to their annotators, with one note for all."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"rows": [{"id": 41, "seen": 3}], "note": "Check the year."}]}
    )

    note: Words = Field(description="What to look at again.")


class RetractIn(RowsIn):
    """Rows to retract, each by a retraction of its own."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"rows": [{"id": 41, "seen": 3}], "reason": "Sides swapped."}]}
    )

    reason: str = Field(min_length=1, max_length=REASON_LIMIT, description="Why; kept with each.")


class AssignIn(RowsIn):
    """Rows whose items are assigned for one more judgement, and who may get them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"rows": [{"id": 41, "seen": 3}], "people": [7]}]}
    )

    people: list[Id] = Field(default=[], max_length=ASSIGNEES, description="Their ids.")
    teams: list[Id] = Field(default=[], max_length=ASSIGNEES, description="Ids of teams: everybody in them.")


class HoldsIn(BaseModel):
    """Why a judgement is the one of its item that holds."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "Only B gives a source."}]})

    reason: Words = Field(max_length=REASON_LIMIT, description="Kept with the decision and in the audit log.")


class ViewIn(BaseModel):
    """Filters to keep under a name. The same name again replaces them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{name: value for name, value in _VIEW.items() if name != "id"}]},
    )

    name: str = Field(min_length=1, max_length=VIEW_NAME)
    filters: str = Field(max_length=VIEW_FILTERS, description="As in the address of the page, without `?`.")


class RowOut(BaseModel):
    """An annotation in the table. Nothing says which model wrote what."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})

    id: int
    seen: int = Field(description="Its latest review, 0 where there is none. Acts on it send it back.")
    batch_id: int
    batch: str
    prompt: str = Field(description="How the last message begins.")
    annotator: str = Field(description="A pseudonym.")
    purpose: Purpose
    outcome: str = Field(description="In words, by position.")
    edited: bool
    flagged: bool
    disagreed: bool = Field(description="Whether another annotator put something else first.")
    holds: bool = Field(description="Whether a reviewer chose it as the judgement of its item that holds.")
    overruled: bool = Field(description="Whether a reviewer chose another one, so that it does not count.")
    retracted: bool
    assigned: bool = Field(description="Whether its item waits for somebody whom it was assigned to.")
    verdict: Decision | None = Field(description="The latest review, or null.")
    seconds: float | None = Field(description="How long its annotator was active, where that was measured.")
    created_at: datetime


class DeskList(BaseModel):
    """A page of annotations; ``next`` is the ``before`` of the page that follows. A page may be short and still have one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"annotations": [_ROW], "next": None, "whole": True}]})

    annotations: list[RowOut]
    next: int | None
    whole: bool = Field(description="Whether all annotations are searched; false while older ones are made searchable.")


class ChosenOut(BaseModel):
    """All rows that match, up to a thousand, as acts take them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rows": [{"id": 41, "seen": 3}], "whole": True}]})

    rows: list[RowIn]
    whole: bool = Field(description="Whether these are all that match.")


class LeftRow(BaseModel):
    """A row that was left as it is, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 42, "why": "corrected or undone meanwhile"}]})

    id: int
    why: str


class DoneOut(BaseModel):
    """What came of an act on many rows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "act": "return",
                    "done": [41],
                    "left": [{"id": 42, "why": "corrected or undone meanwhile"}],
                    "said": "Returned 1 annotation. Left as they were: 42 (corrected or undone meanwhile).",
                }
            ]
        }
    )

    act: Act
    done: list[int]
    left: list[LeftRow]
    said: str = Field(description="The same in words.")


class AdjudicationOut(BaseModel):
    """Which judgement of an item was said to hold."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[5])
    annotation_id: int = Field(examples=[41])
    reason: str = Field(examples=["Only B gives a source."])
    created_at: datetime
    ended_at: datetime | None = Field(description="When another choice took its place, or it was taken back.")


class ToldOut(BaseModel):
    """One judgement of an item."""

    annotation_id: int = Field(examples=[41])
    annotator: str = Field(examples=["annotator-5d3f0c9a1b2e"], description="A pseudonym.")
    said: Draft = Field(description="By position, as the responses of the item are listed.")
    overruled: bool
    retracted: bool
    reviews: list[ReviewOut]
    earlier: list[Draft] = Field(description="What the same person had said before, the latest first.")
    created_at: datetime


class ItemOut(BaseModel):
    """An item with all its judgements. Nothing says which model wrote a response."""

    batch_id: int = Field(examples=[4])
    responses: list[str] = Field(examples=[["Long ago.", "In the year 1969."]])
    judgements: list[ToldOut]
    adjudications: list[AdjudicationOut] = Field(description="The latest first; one without `ended_at` is in force.")


class ViewOut(BaseModel):
    """A view that is kept."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_VIEW]})

    id: int
    name: str
    filters: str


class ViewList(BaseModel):
    """One's own views, by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"views": [_VIEW]}]})

    views: list[ViewOut]


def _text(said: str) -> str:
    return "" if flaw(said) else said.strip()


def _number(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else None


def _one_of(kind: type[Kind], said: str) -> Kind | None:
    return kind(said) if said in {each.value for each in kind} else None


def _yes_or_no(said: str) -> bool | None:
    return {"1": True, "0": False}.get(said)


def _moment(said: str, later: int, zone: tzinfo | None) -> datetime | None:
    try:
        day = date.fromisoformat(said)
    except ValueError:
        return None
    return datetime.combine(day, time(), zone) + timedelta(days=later) if day.year in YEARS else None
