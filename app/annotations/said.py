"""What somebody said of an item, to be read again: in words, by position, with the edit as its changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.annotations import history, skips
from app.annotations.models import Annotation, Review
from app.annotations.pages import WorkPage, step_rows
from app.annotations.queries import Work
from app.annotations.recording import as_draft
from app.comparisons.models import AssignmentState
from app.judgements.judgement import Draft
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import StepLabel
from app.judgements.words import Place, places
from app.kernel.markup import to_html
from app.kernel.word_diff import word_diff
from app.prompts.models import BatchState


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that was marked."""

    text: str
    label: str
    note: str


@dataclass(frozen=True, slots=True)
class Details:
    """What was said of one response."""

    attributes: list[tuple[str, str]]
    flags: list[str]
    passages: list[Passage]


@dataclass(frozen=True, slots=True)
class LabelledStep:
    """A step with what was said of it; empty after the wrong one."""

    html: Markup
    label: str
    tone: str
    correction: Markup


@dataclass(frozen=True)
class EndedPage:
    """Context of ``annotations/ended.html``: a submitted item with what was said, or one that was skipped."""

    page: WorkPage
    work: Work
    submitted: bool
    outcome: str
    places: list[Place]
    details: dict[str, Details]
    edited: str | None
    changes: Markup
    written: Markup
    """The answer, where it was written from scratch."""
    nothing_to_improve: bool
    comment: str
    can_correct: bool
    reason: str | None
    """Why it was skipped."""
    labelled: list[LabelledStep]
    """The steps of a response whose steps were labelled, those after the wrong one among them."""
    reviews: Sequence[tuple[Review, str]] = ()
    """What reviewers said of it, with their names."""
    earlier: Sequence[Before] = ()
    """What was said before it was corrected, the latest first."""


@dataclass(frozen=True)
class Before:
    """An earlier judgement of an item, with what reviewers said of it."""

    annotation: Annotation
    said: EndedPage
    reviews: Sequence[tuple[Review, str]]


def ended_page(page: WorkPage) -> EndedPage:
    """What there is to read of ``page``; of a skipped item only that it was skipped."""
    work = page.work
    submitted = work.annotation_id is not None
    said = Draft.model_validate(work.draft) if submitted and work.draft else Draft()
    edited = None if page.writes else next(iter(said.edits), None)
    return EndedPage(
        page=page,
        work=work,
        submitted=work.state is AssignmentState.SUBMITTED,
        outcome=said.outcome.said_of(len(work.texts)) if said.outcome else "",
        places=places(said),
        details={name: _details(work, said, name) for name in POSITIONS[: len(work.texts)]},
        edited=edited,
        changes=word_diff(work.texts[POSITIONS.index(edited)], said.edits[edited]) if edited else Markup(),
        written=Markup().join(to_html(text) for text in said.edits.values()) if page.writes else Markup(),
        nothing_to_improve=said.nothing_to_improve,
        comment=said.comment,
        labelled=_labelled(work, said) if page.labels and submitted else [],
        reason=skips.in_words(work.skip_reason) if work.skip_reason and work.state is AssignmentState.SKIPPED else None,
        can_correct=submitted and not work.retracted and work.batch_state is not BatchState.CLOSED,
    )


def said_before(page: WorkPage, draft: Draft) -> EndedPage:
    """The same for ``draft``, an earlier judgement of the item on ``page``."""
    return ended_page(replace(page, work=replace(page.work, draft=draft.model_dump(mode="json"))))


def with_history(session: Session, page: WorkPage) -> EndedPage:
    """What there is to read of ``page``, with the words of reviewers and what had been said before it was corrected."""
    ended, annotation_id = ended_page(page), page.work.annotation_id
    if annotation_id is None:
        return ended
    reviews = history.reviews_of(session, annotation_id)
    return replace(ended, reviews=reviews, earlier=said_earlier(session, page, annotation_id))


def said_earlier(session: Session, page: WorkPage, annotation_id: int) -> list[Before]:
    """What was said of the item on ``page`` before it was corrected to ``annotation_id``, the latest first."""
    return [
        Before(each, said_before(page, as_draft(session, each)), history.reviews_of(session, each.id))
        for each in history.earlier(session, page.work.id, annotation_id)
    ]


def _labelled(work: Work, said: Draft) -> list[LabelledStep]:
    tones = {StepLabel.WRONG: "bad", StepLabel.NEUTRAL: "", StepLabel.RIGHT: "good"}
    found = []
    for row in step_rows(work.texts[0], said.step_labels):
        label = None if row.label is None else StepLabel(row.label)
        correction = to_html(said.right_step) if label is StepLabel.WRONG and said.right_step else Markup()
        found.append(
            LabelledStep(
                row.html,
                label.label if label is not None else "",
                tones[label] if label is not None else "",
                correction,
            )
        )
    return found


def _details(work: Work, said: Draft, name: str) -> Details:
    text = work.texts[POSITIONS.index(name)]
    levels = said.attributes.get(name, {})
    return Details(
        attributes=[
            (each["label"], each["scale"][levels[each["name"]] - 1])
            for each in work.attributes
            if 0 < levels.get(each["name"], 0) <= len(each["scale"])
        ],
        flags=[flag.label for flag in said.flags.get(name, [])],
        passages=[
            Passage(text[span.start : span.end], span.label.label, span.note)
            for span in said.spans
            if span.position == name
        ],
    )
