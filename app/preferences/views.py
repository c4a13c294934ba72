"""HTML of preferences: what there is, downloads, and snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response, StreamingResponse

from app.accounts.access import Reviewer
from app.judgements.vocabulary import Outcome
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.preferences import export, queries, sensitive, service
from app.preferences.counts import Counts, export_rows, sum_up
from app.preferences.download import download, download_snapshot, snapshot_card
from app.preferences.exporters import Format, Shape
from app.preferences.exporters.kinds import cells
from app.preferences.forms import KEYS, ExportFilter, Selection
from app.preferences.models import Snapshot
from app.preferences.queries import LeftOut
from app.preferences.sensitive import Sensitive
from app.prompts.origins import Origin
from app.shell.posted import reads_form, unknown
from app.shell.web import redirect, render

router = APIRouter()

PREVIEW_ROWS = 5


@dataclass(frozen=True)
class PreferencesPage:
    """Context of ``preferences/preferences.html``."""

    counts: Counts
    wanted: ExportFilter
    shape: Shape
    rows: list[tuple[dict[str, Any], dict[str, str]]]
    """The first rows, each with what is shown of it."""
    export_rows: int
    """How many rows a download with this filter has."""
    labelled: int
    """Rows of labelled steps, which no other number on the page is about."""
    asked: Selection
    left_out: bool
    """Whether rows and downloads leave out what this reader may still be given to judge."""
    set_aside: LeftOut
    """What is counted nowhere on the page, although it stands."""
    batches: list[tuple[int, str]]
    rounds: list[int]
    languages: list[str]
    capabilities: list[str]
    annotators: list[str]
    snapshots: list[Snapshot]
    held_out_percent: int
    sensitive: Sensitive
    query: str
    """The filter as a query string, "" where nothing is filtered."""
    shapes: tuple[Shape, ...] = tuple(Shape)
    formats: tuple[Format, ...] = tuple(Format)
    origins: tuple[Origin, ...] = tuple(Origin)
    outcomes: tuple[Outcome, ...] = tuple(Outcome)


def chosen(request: Request) -> Selection:
    """What the address of the page chooses."""
    return _read(request.query_params.multi_items())


def _read(given: Iterable[tuple[str, str]]) -> Selection:
    try:
        return Selection.of_form((key, value) for key, value in given if key in KEYS)
    except ValueError:
        raise BadInput(_("This filter cannot be used. Choose from the lists on the preferences page.")) from None


Chosen = Annotated[Selection, Depends(chosen)]


@reads_form
async def sent(request: Request) -> Selection:
    """The page's form as it stands when it is sent, shown before or not. The shape is one of downloads only."""
    form = await request.form()
    unknown(set(form) - KEYS - {"shape"})
    return _read((key, value) for key, value in form.multi_items() if isinstance(value, str))


Sent = Annotated[Selection, Depends(sent)]


@router.get("/preferences")
def preferences_page(
    request: Request, session: DbSession, user: Reviewer, asked: Chosen, shape: Shape = Shape.CANONICAL
) -> HTMLResponse:
    """What there is, by what it differs in; the first rows; downloads; snapshots.

    The counts are of everything: they name no model. The rows do, so they are those that this reader may see.
    """
    percent, wanted = get_settings().held_out_percent, asked.wanted(shape)
    visible = queries.visible_to(user, wanted)
    found = queries.tally(session, wanted, percent)
    exported = found if visible == wanted else queries.tally(session, visible, percent)
    page = PreferencesPage(
        counts=sum_up(found, wanted.min_strength),
        wanted=wanted,
        shape=shape,
        rows=[(row, cells(shape.exporter, row)) for row in export.preview(session, shape, visible, PREVIEW_ROWS)],
        export_rows=queries.count_labelled(session, visible, percent)
        if shape.exporter.labels_steps
        else export_rows(exported, shape, wanted.min_strength),
        labelled=queries.count_labelled(session, wanted, percent),
        asked=asked,
        left_out=visible.settled and not wanted.settled,
        set_aside=queries.left_out(session, wanted, percent),
        batches=queries.batch_names(session),
        rounds=queries.round_numbers(session),
        languages=queries.languages(session),
        capabilities=queries.capabilities(session),
        annotators=queries.annotators(session),
        snapshots=queries.list_snapshots(session).rows,
        held_out_percent=percent,
        sensitive=sensitive.count(session),
        query=urlencode([pair for pair in request.query_params.multi_items() if pair[0] in KEYS]),
    )
    return render(request, "preferences/preferences.html", page)


@router.get("/preferences/export")
def export_preferences(
    user: Reviewer,
    asked: Chosen,
    shape: Shape = Shape.CANONICAL,
    form: Annotated[Format, Query(alias="format")] = Format.JSONL,
) -> StreamingResponse:
    """The export, as it is made."""
    return download(user, shape, form, queries.visible_to(user, asked.wanted(shape)))


@router.post("/snapshots")
def freeze_snapshot(request: Request, session: DbSession, user: Reviewer, shown: Chosen, form: Sent) -> Response:
    """Freeze what the form chooses; where it chooses nothing, what the address does."""
    snapshot = service.request_snapshot(session, user, (form if form.chooses() else shown).wanted())
    return redirect(request, f"/snapshots/{snapshot.id}", flash=_("The snapshot is being built."))


@router.get("/snapshots/{snapshot_id}/preferences.jsonl")
def snapshot_file(session: DbSession, user: Reviewer, snapshot_id: int) -> FileResponse:
    """The frozen rows."""
    return download_snapshot(session, user, queries.access_snapshot(session, user, snapshot_id))


@router.get("/snapshots/{snapshot_id}/README.md")
def snapshot_description(session: DbSession, user: Reviewer, snapshot_id: int) -> Response:
    """The dataset card of the frozen rows."""
    return snapshot_card(queries.access_snapshot(session, user, snapshot_id))
