"""JSON of what patterns find in preferences before they leave."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import ApiReviewer
from app.kernel.db import DbSession
from app.preferences import queries
from app.preferences.exporters import Shape
from app.preferences.forms import Id, Selection
from app.preferences.private import search as searching
from app.preferences.private.kinds import MISSES, Kind, found_by

router = APIRouter(tags=["preferences"])

EXAMPLE: dict[str, Any] = {
    "of": 412,
    "searched": 412,
    "judgements": 1,
    "rows": 6,
    "passages": {"email": 1},
    "places": [
        {
            "annotation_id": 77,
            "column": "response",
            "candidate_id": 301,
            "kind": "email",
            "excerpt": "…write to [EMAIL], she knows.",
        }
    ],
    "next": None,
    "found_by": "google-re2 1.1.20251105 and phonenumberslite 9.0.42",
    "misses": MISSES,
}


class SearchRequest(Selection):
    """What of preferences is searched, and from where on."""

    shape: Shape = Field(default=Shape.CANONICAL, description="The shape whose rows are counted.")
    after: Id = Field(default=0, description="The `next` of the part before; 0 begins.")
    limit: int = Field(default=50, ge=1, le=500, description="Places in a part.")


class PlaceJson(BaseModel):
    """One passage that looks private. ``excerpt`` has its placeholder, and what stands around it."""

    annotation_id: int
    column: str
    candidate_id: int | None
    kind: Kind
    excerpt: str


class PrivateJson(BaseModel):
    """A part of a search: it looked at ``searched`` judgements from ``after`` on.

    ``judgements`` of these hold anything, and have ``rows`` rows. Add the parts up, until ``next`` is null. ``of`` says how many
    judgements there are in all; counting takes its time, so the first part alone has it.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    of: int | None
    searched: int
    judgements: int
    rows: int
    passages: dict[str, int]
    places: list[PlaceJson]
    next: int | None
    found_by: str
    misses: str

    @classmethod
    def made(cls, part: searching.Part, of: int | None) -> Self:
        """The part as it is told."""
        return cls(
            of=of,
            searched=part.searched,
            judgements=part.judgements,
            rows=part.rows,
            passages={kind.value: part.passages[kind] for kind in Kind if part.passages[kind]},
            places=[PlaceJson.model_validate(each, from_attributes=True) for each in part.places],
            next=part.next,
            found_by=found_by(),
            misses=MISSES,
        )


@router.get("/preferences/private")
def search_private(session: DbSession, user: ApiReviewer, asked: Annotated[SearchRequest, Query()]) -> PrivateJson:
    """Search an export for private data before it leaves: what patterns find, how much and where.

    It takes the filters of the export. A part takes about a second; ask on with `after` set to its `next`, and stop when
    you like. Then export with `private=mask` or `private=leave_out`. `misses` says what no pattern finds.
    """
    wanted = queries.visible_to(user, asked.wanted(asked.shape))
    part = searching.search(session, asked.shape, wanted, after=asked.after, places=asked.limit)
    return PrivateJson.made(part, None if asked.after else searching.count(session, asked.shape, wanted))
