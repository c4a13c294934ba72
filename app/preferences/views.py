"""HTML of preferences: what there is, downloads, and snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import Reviewer
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.settings import get_settings
from app.preferences import export, queries, service
from app.preferences.counts import Counts, export_rows, sum_up
from app.preferences.download import download, download_snapshot
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter, Side, split_for
from app.preferences.models import Snapshot
from app.preferences.queries import LeftOut
from app.prompts.origins import Origin
from app.shell.web import redirect, render

router = APIRouter()

PREVIEW_ROWS = 5
FILTER_KEYS = frozenset({"batch", "round", "split", "strength", "origin", "language"})


@dataclass(frozen=True)
class PreferencesPage:
    """Context of ``preferences/preferences.html``."""

    counts: Counts
    wanted: ExportFilter
    shape: Shape
    rows: list[dict[str, Any]]
    export_rows: int
    """How many rows a download with this filter has."""
    labelled: int
    """Rows of labelled steps, which no other number on the page is about."""
    side: str
    """What was chosen of the split; empty is what the shape has by itself."""
    left_out: bool
    """Whether rows and downloads leave out what this reader may still be given to judge."""
    set_aside: LeftOut
    """What is counted nowhere on the page, although it stands."""
    batches: list[tuple[int, str]]
    rounds: list[int]
    languages: list[str]
    snapshots: list[Snapshot]
    held_out_percent: int
    query: str
    """The filter as a query string, "" where nothing is filtered."""
    shapes: tuple[Shape, ...] = tuple(Shape)
    formats: tuple[Format, ...] = tuple(Format)
    origins: tuple[Origin, ...] = tuple(Origin)


def chosen_filter(
    batch: Annotated[str, Query(max_length=19)] = "",
    round_number: Annotated[str, Query(max_length=9, alias="round")] = "",
    split: Annotated[str, Query(max_length=10)] = "",
    strength: Annotated[str, Query(max_length=1)] = "",
    shape: Shape = Shape.CANONICAL,
    origin: Annotated[str, Query(max_length=20)] = "",
    language: Annotated[str, Query(max_length=12)] = "",
) -> ExportFilter:
    """The filter of the page's form, whose selects send an empty value for what was not chosen."""
    try:
        side = split_for(shape, Side(split) if split else None)
        chosen = {"batch_ids": [batch], "rounds": [round_number], "split": side, "min_strength": strength}
        chosen |= {"origins": [origin], "languages": [language]}
        given = {key: value for key, value in chosen.items() if value not in ("", [""])}
        return ExportFilter.model_validate(given)
    except ValueError:
        raise BadInput("This filter cannot be used. Choose from the lists on the preferences page.") from None


Chosen = Annotated[ExportFilter, Depends(chosen_filter)]


class SentFilter(BaseModel):
    """The page's form as it stands when it is sent, shown before or not. The shape is one of downloads only."""

    model_config = ConfigDict(extra="forbid")

    batch: str = Field(default="", max_length=19)
    round_number: str = Field(default="", max_length=9, alias="round")
    split: str = Field(default="", max_length=10)
    strength: str = Field(default="", max_length=1)
    shape: Shape = Shape.CANONICAL
    origin: str = Field(default="", max_length=20)
    language: str = Field(default="", max_length=12)

    def chosen(self) -> ExportFilter | None:
        """What it chooses; None where it chooses nothing."""
        given = (self.batch, self.round_number, self.split, self.strength)
        if not any((*given, self.origin, self.language)):
            return None
        return chosen_filter(*given, origin=self.origin, language=self.language)


@router.get("/preferences")
def preferences_page(
    request: Request, session: DbSession, user: Reviewer, wanted: Chosen, shape: Shape = Shape.CANONICAL
) -> HTMLResponse:
    """What there is, by what it differs in; the first rows; downloads; snapshots.

    The counts are of everything: they name no model. The rows do, so they are those that this reader may see.
    """
    percent = get_settings().held_out_percent
    visible = queries.visible_to(user, wanted)
    found = queries.tally(session, wanted, percent)
    exported = found if visible == wanted else queries.tally(session, visible, percent)
    page = PreferencesPage(
        counts=sum_up(found, wanted.min_strength),
        wanted=wanted,
        shape=shape,
        rows=export.preview(session, shape, visible, PREVIEW_ROWS),
        export_rows=queries.count_labelled(session, visible, percent)
        if shape.exporter.labels_steps
        else export_rows(exported, shape, wanted.min_strength),
        labelled=queries.count_labelled(session, wanted, percent),
        side=request.query_params.get("split", ""),
        left_out=visible.settled and not wanted.settled,
        set_aside=queries.left_out(session, wanted, percent),
        batches=queries.batch_names(session),
        rounds=queries.round_numbers(session),
        languages=queries.languages(session),
        snapshots=queries.list_snapshots(session).rows,
        held_out_percent=percent,
        query=urlencode({key: value for key, value in request.query_params.items() if key in FILTER_KEYS}),
    )
    return render(request, "preferences/preferences.html", page)


@router.get("/preferences/export")
def export_preferences(
    user: Reviewer,
    wanted: Chosen,
    shape: Shape = Shape.CANONICAL,
    form: Annotated[Format, Query(alias="format")] = Format.JSONL,
) -> StreamingResponse:
    """The export, as it is made."""
    return download(user, shape, form, queries.visible_to(user, wanted))


@router.post("/snapshots")
def freeze_snapshot(
    request: Request, session: DbSession, user: Reviewer, shown: Chosen, form: Annotated[SentFilter, Form()]
) -> Response:
    """Freeze what the form chooses; where it chooses nothing, what the address does."""
    snapshot = service.request_snapshot(session, user, form.chosen() or shown)
    return redirect(request, f"/snapshots/{snapshot.id}", flash="The snapshot is being built.")


@router.get("/snapshots/{snapshot_id}/preferences.jsonl")
def snapshot_file(session: DbSession, user: Reviewer, snapshot_id: int) -> FileResponse:
    """The frozen rows."""
    return download_snapshot(session, user, queries.access_snapshot(session, user, snapshot_id))
