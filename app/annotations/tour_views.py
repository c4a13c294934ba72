"""HTML of the tour: plain forms, one example a page, and its discussion in the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from app.accounts.access import SignedIn, signed_in
from app.annotations import tour
from app.annotations.tour_items import EXAMPLES, Example
from app.judgements.judgement import TEXT_LIMIT
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import CHOICES, Outcome, Strength
from app.kernel.db import DbSession
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.kernel.word_diff import word_diff
from app.shell.web import redirect, render

router = APIRouter(prefix="/tour")

BatchId = Annotated[str, Query(pattern="^[0-9]{0,18}$")]
OTHERS = (Outcome.TIE, Outcome.ALL_UNACCEPTABLE)


@dataclass(frozen=True, slots=True)
class Shown:
    """A response of an example; ``said`` once it was answered."""

    name: str
    html: Markup
    said: Markup


@dataclass(frozen=True)
class TourPage:
    """Context of ``annotations/tour.html``."""

    number: int
    total: int
    batch: str
    example: Example
    prompt: Markup
    responses: Sequence[Shown]
    answers: Mapping[str, str]
    choice: str
    edited: str
    problem: str | None
    told: bool
    """Whether it was answered, so that it is discussed."""
    agrees: bool
    why: Markup
    changes: Markup
    """Our edit as its changes."""
    yours: Markup
    """The reader's."""


@router.get("", dependencies=[Depends(signed_in)])
def begin(request: Request, batch: BatchId = "") -> Response:
    """The first example."""
    return redirect(request, f"/tour/1{_query(batch)}")


@router.get("/{number}", dependencies=[Depends(signed_in)])
def look(request: Request, number: int, batch: BatchId = "") -> HTMLResponse:
    """One example, to be answered."""
    return render(request, "annotations/tour.html", _page(number, batch))


@router.post("/finish")
def finish(request: Request, session: DbSession, user: SignedIn, batch: BatchId = "") -> Response:
    """The end of it: back to where it was begun from."""
    tour.finish(session, user)
    return redirect(request, f"/annotate{_query(batch)}", flash=_("You have finished the tour. The items start now."))


@router.post("/{number}", dependencies=[Depends(signed_in)])
def answer(
    request: Request,
    number: int,
    batch: BatchId = "",
    choice: Annotated[str, Form(max_length=20)] = "",
    edited: Annotated[str, Form(max_length=TEXT_LIMIT)] = "",
) -> HTMLResponse:
    """The discussion of an example beside what the reader said, which is not kept."""
    if choice not in answers():
        page = _page(number, batch, edited=edited, problem=_("Choose an answer first."))
        return render(request, "annotations/tour.html", page, status=422)
    return render(request, "annotations/tour.html", _page(number, batch, choice, edited))


def answers() -> dict[str, str]:
    """What can be answered, in reading order."""
    choices = {
        f"{side}{level.value}": _("{name} is {strength}", name=side, strength=level.words) for side, level in CHOICES
    }
    return choices | {each.value: each.said_of(2) for each in OTHERS}


def _query(batch: str) -> str:
    return f"?batch={batch}" if batch else ""


def _page(number: int, batch: str, choice: str = "", edited: str = "", problem: str | None = None) -> TourPage:
    example = tour.example(number)
    better = _(example.responses[POSITIONS.index(example.right[0][0])]) if example.edited else ""
    edit = _(example.edited) if example.edited else ""
    text = edited.replace("\r\n", "\n") or better
    return TourPage(
        number=number,
        total=len(EXAMPLES),
        batch=_query(batch),
        example=example,
        prompt=to_html(_(example.prompt)),
        responses=[
            Shown(name, to_html(_(text)), to_html(_(said)))
            for name, text, said in zip(POSITIONS, example.responses, example.of_each, strict=False)
        ],
        answers=answers(),
        choice=choice,
        edited=text,
        problem=problem,
        told=bool(choice),
        agrees=choice in example.right,
        why=to_html(_(example.why, strength=Strength.MARGINALLY_BETTER.words)),
        changes=word_diff(better, edit) if example.edited else Markup(),
        yours=word_diff(better, text) if example.edited and text != better else Markup(),
    )
