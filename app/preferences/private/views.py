"""The page of what patterns find in preferences before they leave: how much, counted as one watches, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from app.accounts.access import Reviewer
from app.accounts.models import User
from app.kernel.db import DbSession
from app.kernel.locales import gettext as _
from app.preferences import queries
from app.preferences.exporters import Shape
from app.preferences.forms import KEYS, ExportFilter, Id, Selection
from app.preferences.private import search as searching
from app.preferences.private.kinds import MISSES, Kind, libraries
from app.preferences.private.search import Part, Place
from app.preferences.views import Chosen
from app.shell.web import render

router = APIRouter()
PLACES = 25


class SoFar(BaseModel):
    """What is asked of the page, and what its count has found so far: that is carried along, and told to nobody but who asked."""

    model_config = ConfigDict(extra="ignore")

    of: Id = 0
    """Judgements in all, counted once."""
    after: Id = 0
    searched: Id = 0
    judgements: Id = 0
    rows: Id = 0
    secret: Id = 0
    card: Id = 0
    iban: Id = 0
    id: Id = 0
    email: Id = 0
    ip: Id = 0
    phone: Id = 0
    paused: bool = False
    shape: Shape = Shape.CANONICAL
    places_after: Id = 0

    def with_part(self, part: Part) -> Self:
        """What there is with a further part."""
        more = {kind.value: getattr(self, kind.value) + part.passages[kind] for kind in Kind}
        return self.model_copy(
            update=more
            | {
                "after": part.next or 0,
                "searched": self.searched + part.searched,
                "judgements": self.judgements + part.judgements,
                "rows": self.rows + part.rows,
            }
        )

    def kinds(self) -> list[tuple[Kind, int]]:
        """How many passages there are of each kind that there is."""
        return [(kind, number) for kind in Kind if (number := getattr(self, kind.value))]


@dataclass(frozen=True)
class Counting:
    """Context of ``preferences/_private.html``."""

    so_far: SoFar
    done: bool
    on: str
    """The address that counts on."""
    pause: str
    """The address of what there is."""
    page: str
    """The page that counts on, for a browser without scripts."""


@dataclass(frozen=True)
class PrivatePage:
    """Context of ``preferences/private.html``."""

    wanted: ExportFilter
    shape: Shape
    counting: Counting | None
    """None on further pages of places."""
    places: list[Place]
    further: str
    """The address of the places that follow, "" at the end."""
    start: str
    back: str
    found_by: str
    misses: str


def _address(path: str, request: Request, shape: Shape, **more: object) -> str:
    """A page of this search: the selection of the request, and what is said beside."""
    chosen = [pair for pair in request.query_params.multi_items() if pair[0] in KEYS and pair[1]]
    said = [(key, str(value)) for key, value in more.items() if value]
    return f"{path}?{urlencode([*chosen, ('shape', shape.value), *said])}"


def _searched(user: User, asked: Selection, shape: Shape) -> ExportFilter:
    """What is searched: all that the request selects and this person may see, whatever it does about private data."""
    return queries.visible_to(user, asked.wanted(shape).model_copy(update={"private": None}))


def _counting(request: Request, shape: Shape, so_far: SoFar, *, done: bool) -> Counting:
    carried: Mapping[str, object] = so_far.model_dump(exclude={"paused", "shape", "places_after"})
    return Counting(
        so_far=so_far,
        done=done,
        on=_address("/preferences/private/count", request, shape, **carried),
        pause=_address("/preferences/private/count", request, shape, **carried, paused="true"),
        page=_address("/preferences/private", request, shape, **carried),
    )


def _counted_on(request: Request, session: Session, shape: Shape, wanted: ExportFilter, so_far: SoFar) -> Counting:
    """The count with a further part; paused, as it stands."""
    done = False
    if not so_far.searched:
        so_far = so_far.model_copy(update={"of": searching.count(session, shape, wanted)})
    if not so_far.paused:
        part = searching.search(session, shape, wanted, after=so_far.after, places=0)
        so_far, done = so_far.with_part(part), part.next is None
    return _counting(request, shape, so_far, done=done)


@router.get("/preferences/private")
def private_page(
    request: Request,
    session: DbSession,
    user: Reviewer,
    asked: Chosen,
    wish: Annotated[SoFar, Query()],
) -> HTMLResponse:
    """Some of the places. On the first page the count stands beside, and goes on by itself."""
    wanted = _searched(user, asked, wish.shape)
    part = searching.search(session, wish.shape, wanted, after=wish.places_after, places=PLACES)
    first, second = libraries()
    page = PrivatePage(
        wanted=wanted,
        shape=wish.shape,
        counting=None if wish.places_after else _counted_on(request, session, wish.shape, wanted, wish),
        places=part.places,
        further=_address("/preferences/private", request, wish.shape, places_after=part.next) if part.next else "",
        start=_address("/preferences/private", request, wish.shape),
        back=_address("/preferences", request, wish.shape),
        found_by=_("{first} and {second}", first=first, second=second),
        misses=_(MISSES),
    )
    return render(request, "preferences/private.html", page)


@router.get("/preferences/private/count")
def private_count(
    request: Request,
    session: DbSession,
    user: Reviewer,
    asked: Chosen,
    wish: Annotated[SoFar, Query()],
) -> HTMLResponse:
    """The count with a further part; paused, as it stands."""
    wanted = _searched(user, asked, wish.shape)
    return render(request, "preferences/_private.html", _counted_on(request, session, wish.shape, wanted, wish))
