"""What makes a judgement valid, as pure functions on positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.judgements.judgement import Details, Judgement
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import EditPolicy, Outcome
from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from training.formats.steps import WRONG
from training.formats.texts import shows_nothing


def check(judgement: Judgement, shown: int, policy: EditPolicy) -> Judgement:
    """The judgement with what goes without saying: the one group of a tie, and which response was edited.

    Of an item whose steps are labelled that is :func:`check_steps`.

    Args:
        judgement: What was sent.
        shown: Number of responses.
        policy: Whether the batch asks for edits.

    Raises:
        BadInput: with the field and the remedy.
    """
    if (judgement.outcome is Outcome.WRITTEN) != (shown == 0):
        raise refused(
            "ranking",
            _("This item has no responses: write the answer.")
            if shown == 0
            else _("This item has responses: rank them, or say that none is better."),
        )
    if judgement.outcome is Outcome.LABELLED or judgement.step_labels or judgement.right_step:
        raise refused("step_labels", _("Nobody labels steps here: send the judgement without them."))
    if judgement.outcome is Outcome.WRITTEN:
        return _written(judgement)
    ranking = _ranking(judgement, shown)
    if judgement.outcome is Outcome.RANKED:
        _check_strengths(judgement, ranking)
    elif len(ranking) != 1 or judgement.strengths:
        raise refused(
            "ranking",
            _("A tie has one group with every response and no strengths.")
            if judgement.outcome is Outcome.TIE
            else _('"All unacceptable" has one group with every response and no strengths.'),
        )
    return judgement.model_copy(update={"ranking": ranking, "edited_position": _edited(judgement, ranking, policy)})


def _written(judgement: Judgement) -> Judgement:
    """The answer alone: where nothing is shown there is nothing to say of responses."""
    if judgement.edited_text is None or shows_nothing(judgement.edited_text):
        raise refused("edited_text", _("Write the answer before you submit it."))
    if judgement.ranking or judgement.strengths or judgement.nothing_to_improve or judgement.revision_id is not None:
        raise refused(
            "ranking",
            _(
                "This item has no responses: write the answer. "
                "Send its text without a ranking, strengths or a revision."
            ),
        )
    if judgement.attributes or judgement.flags or judgement.spans:
        raise refused(
            "ranking",
            _("This item has no responses: write the answer. Send its text without ratings, flags or marked passages."),
        )
    return judgement.model_copy(update={"edited_position": None})


def check_steps(judgement: Judgement, steps: Sequence[str], policy: EditPolicy) -> Judgement:
    """Labels of the steps of one response: of all of them, or up to the first wrong one.

    Args:
        judgement: What was sent.
        steps: The steps of the response, in their order.
        policy: Whether the batch asks for the right step in place of the wrong one.

    Raises:
        BadInput: with the field and the remedy.
    """
    if judgement.outcome is not Outcome.LABELLED:
        raise refused("step_labels", _("This item asks for labels of steps: send them with the outcome “labelled”."))
    if judgement != Judgement(
        outcome=Outcome.LABELLED,
        step_labels=judgement.step_labels,
        right_step=judgement.right_step,
        comment=judgement.comment,
    ):
        raise refused(
            "step_labels",
            _(
                "This item asks for labels of steps: send them with the outcome “labelled”. "
                "Nothing else can be said here but a comment."
            ),
        )
    labels = judgement.step_labels
    if not labels:
        raise refused("step_labels", _("Label the steps of the response, from the first one on, or skip the item."))
    ends = WRONG in labels
    if ends and labels.index(WRONG) != len(labels) - 1:
        raise refused("step_labels", _("What follows a wrong step is not labelled: end with the first wrong one."))
    if len(labels) > len(steps):
        raise refused(
            "step_labels",
            _("There are {labels} labels, but the response has {steps} steps.", labels=len(labels), steps=len(steps)),
        )
    if not ends and len(labels) < len(steps):
        raise refused(
            "step_labels",
            _("Label step {step} of {steps}, or an earlier one as wrong.", step=len(labels) + 1, steps=len(steps)),
        )
    _check_right_step(judgement.right_step, steps[len(labels) - 1] if ends else None, policy)
    return judgement


def _check_right_step(right: str, wrong: str | None, policy: EditPolicy) -> None:
    """``wrong`` is the step in whose place ``right`` stands; None where no step is wrong."""
    if not right:
        if wrong is not None and policy is EditPolicy.REQUIRED:
            raise refused("right_step", _("This batch requires the right step: write what should stand there."))
        return
    if wrong is None:
        raise refused("right_step", _("You wrote a right step, but labelled none as wrong: remove the text."))
    if policy is EditPolicy.NONE:
        raise refused("right_step", _("This batch does not ask for the right step: submit without it."))
    if shows_nothing(right):
        raise refused("right_step", _("The right step is empty: write it, or leave it out."))
    if right.strip() == wrong.strip():
        raise refused(
            "right_step", _("The right step is the same as the wrong one: change it, or label the step otherwise.")
        )


def check_edit(edited: str, original: str) -> None:
    """An edit must say something, and something else than the original.

    Raises:
        BadInput: it does not.
    """
    if shows_nothing(edited):
        raise refused("edited_text", _("The edited text is empty: write the improved response, or undo the edit."))
    if edited.replace("\r\n", "\n") == original.replace("\r\n", "\n"):
        raise refused("edited_text", _("The edited text is the same as the response: change it, or undo the edit."))


def _ranking(judgement: Judgement, shown: int) -> list[list[str]]:
    """The groups. Only a ranked outcome has to spell them out."""
    if not judgement.ranking and judgement.outcome is not Outcome.RANKED:
        return [list(POSITIONS[:shown])]
    known = POSITIONS[:shown]
    named = [name for group in judgement.ranking for name in group]
    strangers = sorted(set(named) - set(known))
    if strangers:
        raise refused(
            "ranking",
            _(
                "Response {name} is not in this comparison: the responses are {names}.",
                name=strangers[0],
                names=", ".join(known),
            ),
        )
    if sorted(named) != list(known) or not all(judgement.ranking):
        raise refused("ranking", _("Rank each of the responses {names} exactly once.", names=", ".join(known)))
    return judgement.ranking


def _check_strengths(judgement: Judgement, ranking: list[list[str]]) -> None:
    if len(ranking) < 2:
        raise refused("ranking", _('A ranking has at least two groups: if all are equally good, the outcome is "tie".'))
    wanted = len(ranking) - 1
    if len(judgement.strengths) != wanted:
        raise refused(
            "strengths",
            _(
                "{wanted} strength(s) are needed, one between each pair of neighbouring groups; got {given}.",
                wanted=wanted,
                given=len(judgement.strengths),
            ),
        )


def _edited(judgement: Judgement, ranking: list[list[str]], policy: EditPolicy) -> str | None:
    """Which response was edited; the chosen one, unless several share the first place."""
    if judgement.edited_text is None:
        asked = policy is EditPolicy.REQUIRED and judgement.outcome is Outcome.RANKED
        if asked and not judgement.nothing_to_improve:
            raise refused(
                "edited_text",
                _(
                    "This batch requires an improved text: edit the response that you chose, or tick “Nothing to improve”."
                ),
            )
        if judgement.edited_position is not None:
            raise refused(
                "edited_text",
                _(
                    "The submission names an edited position but has no edited text: send the text, or leave out the position."
                ),
            )
        return None
    if judgement.nothing_to_improve:
        raise refused(
            "nothing_to_improve",
            _("You edited the response and also ticked “Nothing to improve”. Remove one of the two."),
        )
    if policy is EditPolicy.NONE:
        raise refused("edited_text", _("This batch does not allow edits: submit without the edited text."))
    if judgement.outcome is not Outcome.RANKED:
        raise refused(
            "edited_text", _("Only a chosen response can be edited: rank the responses, or leave the edit out.")
        )
    best = ranking[0]
    if judgement.edited_position is None:
        if len(best) > 1:
            raise refused("edited_position", _("Several responses share the first place: choose which one you edited."))
        return best[0]
    if judgement.edited_position not in best:
        raise refused("edited_position", _("The edited response must be the one in first place."))
    return judgement.edited_position


def check_details(details: Details, shown: int, asked: list[dict[str, Any]], lengths: list[int]) -> None:
    """Check what is said of each response.

    Args:
        details: What is said.
        shown: Number of responses.
        asked: The batch's attributes: each needs an answer for each response.
        lengths: Characters of each response, in the order shown; empty when no passage is marked.

    Raises:
        BadInput: with the field and the remedy.
    """
    known = POSITIONS[:shown]
    marked = {span.position for span in details.spans}
    strangers = sorted({*details.attributes, *details.flags, *marked} - set(known))
    if strangers:
        raise refused(
            "ranking",
            _(
                "Response {name} is not in this comparison: the responses are {names}.",
                name=strangers[0],
                names=", ".join(known),
            ),
        )
    for name in known:
        _check_attributes(name, details.attributes.get(name, {}), asked)
    length_of = dict(zip(POSITIONS, lengths, strict=False))
    for span in details.spans:
        if span.end > length_of[span.position]:
            raise refused(
                "spans",
                _(
                    "A passage marked in response {name} ends after the response does: mark it again.",
                    name=span.position,
                ),
            )


def _check_attributes(name: str, said: dict[str, int], asked: list[dict[str, Any]]) -> None:
    scales = {attribute["name"]: attribute for attribute in asked}
    strangers = sorted(said.keys() - scales.keys())
    if strangers:
        raise refused("attributes", _("This batch does not ask for “{name}”.", name=strangers[0]))
    for attribute, about in scales.items():
        if attribute not in said:
            raise refused("attributes", _("Rate response {name}: {what}.", name=name, what=about["label"]))
        if said[attribute] > len(about["scale"]):
            raise refused(
                "attributes",
                _("{what} of response {name} has {n} steps.", what=about["label"], name=name, n=len(about["scale"])),
            )
