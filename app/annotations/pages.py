"""What the annotation pages show: one frozen context each, made of rows that hold nothing an annotator may not know."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from app.annotations import keys
from app.annotations.day import Head
from app.annotations.display import LAYOUTS, Display
from app.annotations.gold import Feedback
from app.annotations.keys import Action, Fixed
from app.annotations.queries import Elsewhere, OpenBatch, Work
from app.annotations.skips import SKIPS
from app.candidates.traces import Step, steps_of
from app.judgements.judgement import Draft
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import CHOICES, STRONGEST_FIRST, EditPolicy, Flag, Outcome, SpanLabel, StepLabel
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.prompts.models import BatchState, BatchTask
from training.formats.steps import cut

EXCERPT = 90
BEGINNING = 200
"""Characters of a folded turn that are said of it; a window shows as many as it has room for."""
ROLES = {"system": N_("System prompt"), "user": N_("User"), "assistant": N_("Assistant"), "tool": N_("Tool result")}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the prompt. ``calls`` are the tools that it calls, as indented JSON."""

    role: str
    label: str
    html: Markup
    calls: str | None
    begins: str
    """How it begins, for the line that it is folded behind."""
    open: bool
    """Whether it is the user's last turn, which is not folded."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model could call."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Response:
    """One response at its position."""

    name: str
    html: Markup
    text: str
    excerpt: str
    steps: Sequence[Step] = ()
    """The calls of tools before it."""
    cut: bool = False
    """Whether the token limit cut it off."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of the response whose steps are labelled, with what the form says of it."""

    html: Markup
    text: str
    label: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the eight answers about two responses, in reading order: A at its strongest … B at its strongest."""

    value: str
    side: str
    words: str
    key: str


@dataclass(frozen=True, slots=True)
class Example:
    """What one level of strength looks like, from the batch's guidelines."""

    level: int
    words: str
    html: Markup
    hint: str
    """How it begins, for the choice itself."""


@dataclass(frozen=True, slots=True)
class Filled:
    """The contents of the form: of a draft, or of a refused submission."""

    choice: str
    ranks: dict[str, int]
    strengths: list[int | None]
    edited_text: str
    edited_position: str
    """Said only where several share the first place: else the chosen response is the one that was edited."""
    comment: str
    active_seconds: float
    attributes: dict[str, dict[str, int]]
    flags: dict[str, list[str]]
    spans: str
    """The marked passages as JSON, as the form sends them."""
    nothing_to_improve: bool
    revision_id: str
    """The revision that the edited text began as."""
    right_step: str
    """What should stand in place of the wrong step."""


@dataclass(frozen=True, slots=True)
class Offer:
    """To take back what was done with an assignment just before, for some seconds on this page."""

    assignment: int
    words: str


@dataclass(frozen=True)
class WorkPage:
    """Context of ``annotations/work.html`` and ``annotations/_work.html``."""

    work: Work
    turns: list[Turn]
    tools: list[Tool]
    responses: list[Response]
    guidelines: Markup
    choices: list[Choice]
    strengths: dict[int, str]
    outcomes: dict[str, str]
    """What is said where nothing is ranked, in words for so many responses."""
    skip_reasons: Sequence[str]
    filled: Filled
    data: str
    key: str
    problem: str | None
    kept: int | None
    """The version under which a submission that was refused is kept as the draft."""
    editable: bool
    writes: bool
    """Whether there is no response: the answer is written."""
    labels: bool
    """Whether the steps of the one response are labelled."""
    step_rows: Sequence[StepRow]
    step_choices: Sequence[tuple[int, str, str]]
    """What a step can be: value, words and key."""
    undo: Offer | None
    """What was done just before, and can be taken back."""
    back: bool
    """Whether undo led here: it goes on from this item, and what is in hand comes after it."""
    display: Display
    layouts: Mapping[str, str]
    keys: Mapping[str, str]
    """The key of each action."""
    actions: Sequence[Action]
    fixed_keys: Sequence[Fixed]
    examples: Sequence[Example]
    flags: Mapping[str, str]
    marks: Mapping[str, str]
    guidelines_changed: tuple[int, int] | None
    """The version of the guidelines that was read last, and the one that holds now, where they are not the same."""
    feedback: Feedback | None
    """What is said of the answer before, while somebody qualifies."""
    head: Head | None = None
    """What is counted above the item; None where it is only read."""
    moved: bool = False
    """Whether the item before was of another batch."""


@dataclass(frozen=True)
class StartPage:
    """Context of ``annotations/start.html``: batches to start on, or why there is nothing to do."""

    batches: Sequence[OpenBatch]
    paused: Sequence[OpenBatch]
    undo: Offer | None = None
    guidelines: Sequence[tuple[int, str, int, int]] = ()
    """Batches whose guidelines changed since they were read: id, name, version read, version now."""
    barred: Sequence[OpenBatch] = ()
    """Batches that ask for a qualification that was not reached, or cannot be yet."""
    feedback: Feedback | None = None
    elsewhere: Sequence[Elsewhere] = ()
    """Dialogues that can be begun or gone on with."""
    used: Sequence[OpenBatch] = ()
    """Open batches of which this person has had as much as one may have."""
    others_only: bool = False
    """Whether there is nothing, and something is open that is assigned to others."""
    first_visit: bool = False
    """Whether the tour is offered."""


def start_page(
    batches: Sequence[OpenBatch],
    undo: Offer | None = None,
    guidelines: Sequence[tuple[int, str, int, int]] = (),
    feedback: Feedback | None = None,
    chosen: int | None = None,
    elsewhere: Sequence[Elsewhere] = (),
) -> StartPage:
    """Sort the visible batches into those with work and those that are paused.

    First comes ``chosen``, the batch that somebody came for, then where they stopped: the first one has the focus.
    """
    ready = [batch for batch in batches if batch.state is BatchState.OPEN and batch.waiting]
    ready.sort(key=lambda batch: (batch.id != chosen, not batch.begun))
    paused = [batch for batch in batches if batch.state is BatchState.PAUSED and batch.waiting]
    barred = [batch for batch in batches if batch.state is BatchState.OPEN and batch.barred]
    used = [batch for batch in batches if batch.state is BatchState.OPEN and batch.quota_used and not batch.waiting]
    return StartPage(ready, paused, undo, guidelines, barred, feedback, elsewhere, used)


def work_page(
    work: Work,
    *,
    draft: Draft | None = None,
    problem: str | None = None,
    kept: int | None = None,
    undo: Offer | None = None,
    preferences: Mapping[str, Any] = {},
    guidelines_changed: tuple[int, int] | None = None,
    feedback: Feedback | None = None,
) -> WorkPage:
    """Everything about ``work`` for somebody with ``preferences``; ``draft`` (else the stored one) fills the form."""
    if draft is None and work.draft is not None:
        draft = Draft.model_validate(work.draft)
    chosen_keys = keys.keymap(preferences)
    strengths = {level.value: level.words for level in STRONGEST_FIRST}
    outcomes = {each.value: each.said_of(len(work.texts)) for each in (Outcome.TIE, Outcome.ALL_UNACCEPTABLE)}
    marks = {mark.value: mark.label for mark in SpanLabel}
    writes, labels = work.task is BatchTask.WRITE, work.task is BatchTask.STEPS
    return WorkPage(
        work=work,
        turns=_turns(work.messages),
        tools=[_tool(tool) for tool in work.tools or []],
        responses=[_response(work, index, text) for index, text in enumerate(work.texts)],
        guidelines=to_html(work.guidelines) if work.guidelines.strip() else Markup(),
        choices=_choices(chosen_keys),
        strengths=strengths,
        outcomes=outcomes,
        skip_reasons=SKIPS[work.task],
        filled=_filled(draft or Draft(), len(work.texts)),
        data=_data(work, draft, chosen_keys, {"strengths": strengths, "outcomes": outcomes, "marks": marks}),
        key=secrets.token_urlsafe(18),
        problem=problem,
        kept=kept,
        editable=writes or (work.edit_policy is not EditPolicy.NONE and not labels),
        writes=writes,
        labels=labels,
        step_rows=step_rows(work.texts[0], (draft or Draft()).step_labels) if labels else (),
        step_choices=[(each.value, each.label, chosen_keys[f"step_{each.name.lower()}"]) for each in StepLabel],
        undo=undo,
        back=False,
        display=Display.of(preferences),
        layouts={name: _(words) for name, words in LAYOUTS.items()},
        keys=chosen_keys,
        actions=keys.ACTIONS,
        fixed_keys=keys.FIXED,
        examples=_examples(work.strength_examples),
        flags={flag.value: flag.label for flag in Flag},
        marks=marks,
        guidelines_changed=guidelines_changed,
        feedback=feedback,
    )


def step_rows(text: str, said: Sequence[int]) -> list[StepRow]:
    """The steps of a response with what was said of them so far."""
    return [StepRow(to_html(each), each, label) for each, label in zip_longest(cut(text), said[: len(cut(text))])]


def _response(work: Work, index: int, text: str) -> Response:
    excerpt = " ".join(text[: 4 * EXCERPT].split())[:EXCERPT]
    cut_off = bool(work.cut and work.cut[index])
    return Response(POSITIONS[index], to_html(text), text, excerpt, steps_of(work.before(index)), cut_off)


def _examples(texts: Mapping[str, str]) -> list[Example]:
    shown = [(level, texts.get(str(level.value), "")) for level in STRONGEST_FIRST]
    return [
        Example(level.value, level.words, html := to_html(text), " ".join(html.striptags().split())[: 2 * EXCERPT])
        for level, text in shown
        if text.strip()
    ]


def _choices(chosen_keys: Mapping[str, str]) -> list[Choice]:
    values = [(f"{side}{level.value}", side, level.words) for side, level in CHOICES]
    return [Choice(value, side, words, chosen_keys[f"pick_{value}"]) for value, side, words in values]


def _turns(messages: Sequence[dict[str, Any]]) -> list[Turn]:
    last = max(
        (at for at, message in enumerate(messages) if message.get("role", "user") == "user"), default=len(messages) - 1
    )
    return [_turn(message, at == last) for at, message in enumerate(messages)]


def _turn(message: dict[str, Any], is_last: bool) -> Turn:  # noqa: FBT001 - only called above
    role = str(message.get("role", "user"))
    calls = message.get("tool_calls") or message.get("function_call")
    text = _content(message)
    begins = " ".join(text[: 4 * BEGINNING].split())[:BEGINNING]
    return Turn(
        role,
        _(ROLES[role]) if role in ROLES else role.capitalize(),
        to_html(text),
        _pretty(calls) if calls else None,
        begins,
        is_last,
    )


def _content(message: dict[str, Any]) -> str:
    """The text of a message; parts in a list are put one under the other, and what is no text is shown as JSON."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "\n\n".join(
        str(part["text"]) if isinstance(part, dict) and "text" in part else f"```json\n{_pretty(part)}\n```"
        for part in parts
    )


def _tool(tool: Any) -> Tool:
    about = tool.get("function", tool) if isinstance(tool, dict) else {}
    return Tool(
        name=str(about.get("name", "tool")),
        description=str(about.get("description", "")),
        parameters=_pretty(about.get("parameters", {})) if about else _pretty(tool),
    )


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _filled(draft: Draft, shown: int) -> Filled:
    groups = draft.ranking if draft.outcome is Outcome.RANKED else []
    ranks = {name: place for place, group in enumerate(groups, 1) for name in group}
    choice = draft.outcome.value if draft.outcome and draft.outcome is not Outcome.RANKED else ""
    if shown == 2 and len(groups) == 2 and draft.strengths and draft.strengths[0]:
        choice = f"{groups[0][0]}{draft.strengths[0]}"
    first = groups[0] if groups else []
    edited = next((name for name in [*first, *draft.edits] if name in draft.edits), "")
    return Filled(
        choice=choice,
        ranks=ranks,
        strengths=list(draft.strengths),
        # whatever the chosen response is now: without scripts the text was typed before the choice, or after another one
        edited_text=draft.edits.get(edited, ""),
        edited_position=edited if len(first) > 1 and edited in first else "",
        comment=draft.comment,
        active_seconds=draft.active_seconds,
        attributes=draft.attributes,
        flags={name: [flag.value for flag in flags] for name, flags in draft.flags.items()},
        spans=json.dumps([span.model_dump(mode="json") for span in draft.spans]) if draft.spans else "",
        nothing_to_improve=draft.nothing_to_improve,
        revision_id=str(draft.revisions.get(edited, "")),
        right_step=draft.right_step,
    )


def _data(work: Work, draft: Draft | None, chosen_keys: Mapping[str, str], words: Mapping[str, Any]) -> str:
    """What scripts need beyond the markup, as JSON that cannot end its script element."""
    value = {
        "texts": dict(zip(POSITIONS, work.texts, strict=False)),
        "draft": draft.model_dump(mode="json") if draft else None,
        "keys": chosen_keys,
        "words": words,
    }
    text = json.dumps(value, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704 - escaped here
