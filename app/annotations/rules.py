"""What makes a submission valid, as pure functions: positions in, indexes of the order shown out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.annotations.forms import POSITIONS, Details, Submission
from app.annotations.models import Outcome
from app.errors import BadInput
from app.fingerprint import fingerprint
from app.prompts.models import EditPolicy
from training.formats.texts import shows_nothing

ATTEMPT = {"fencing_token", "active_seconds", "draft_version"}
LATER = {"attributes", "flags", "spans", "nothing_to_improve", "revision_id", "corrects"}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A checked submission. ``ranking`` and ``edited`` are indexes into the order shown."""

    outcome: Outcome
    ranking: list[list[int]]
    strengths: list[int]
    edited: int | None


def request_hash(assignment_id: int, submission: Submission) -> bytes:
    """SHA-256 of the judgement, by which a retry is told from a different submission under the same key.

    The fencing token, the seconds and the draft's version are left out: they describe the attempt, and a retry after a lost
    answer may carry newer ones. What could not be said at first counts only where it is said, so that a retry across an
    upgrade is still the same.
    """
    unsaid = {name for name in LATER if getattr(submission, name) == Submission.model_fields[name].default}
    judgement = submission.model_dump(mode="json", exclude=ATTEMPT | unsaid)
    return fingerprint([assignment_id, judgement])


def judge(submission: Submission, shown: int, policy: EditPolicy) -> Judgement:
    """Check ``submission`` against the number of responses ``shown`` and the batch's edit policy.

    Raises:
        BadInput: with the field and the remedy.
    """
    ranking = _ranking(submission, shown)
    if submission.outcome is Outcome.RANKED:
        _check_strengths(submission, ranking)
    elif len(ranking) != 1 or submission.strengths:
        what = "A tie" if submission.outcome is Outcome.TIE else '"All unacceptable"'
        raise _bad("ranking", f"{what} has one group with every response and no strengths.")
    return Judgement(submission.outcome, ranking, list(submission.strengths), _edited(submission, ranking, policy))


def check_edit(edited: str, original: str) -> None:
    """An edit must say something, and something else than the original.

    Raises:
        BadInput: it does not.
    """
    if shows_nothing(edited):
        raise _bad("edited_text", "The edited text is empty: write the improved response, or undo the edit.")
    if edited.replace("\r\n", "\n") == original.replace("\r\n", "\n"):
        raise _bad("edited_text", "The edited text is the same as the response: change it, or undo the edit.")


def _bad(field: str, message: str) -> BadInput:
    return BadInput(message, errors=[{"loc": field, "msg": message}])


def _ranking(submission: Submission, shown: int) -> list[list[int]]:
    """The groups as indexes. Only a ranked outcome has to spell them out."""
    if not submission.ranking and submission.outcome is not Outcome.RANKED:
        return [list(range(shown))]
    known = POSITIONS[:shown]
    named = [name for group in submission.ranking for name in group]
    strangers = sorted(set(named) - set(known))
    if strangers:
        raise _bad(
            "ranking", f"Response {strangers[0]} is not in this comparison: the responses are {', '.join(known)}."
        )
    if sorted(named) != list(known) or not all(submission.ranking):
        raise _bad("ranking", f"Rank each of the responses {', '.join(known)} exactly once.")
    return [[known.index(name) for name in group] for group in submission.ranking]


def _check_strengths(submission: Submission, ranking: list[list[int]]) -> None:
    if len(ranking) < 2:
        raise _bad("ranking", 'A ranking has at least two groups: where all are equally good, the outcome is "tie".')
    wanted = len(ranking) - 1
    if len(submission.strengths) != wanted:
        raise _bad(
            "strengths",
            f"{wanted} strength(s) are needed, one between each two neighbours; got {len(submission.strengths)}.",
        )


def _edited(submission: Submission, ranking: list[list[int]], policy: EditPolicy) -> int | None:
    """Which response was edited; the chosen one, unless several share the first place."""
    if submission.edited_text is None:
        asked = policy is EditPolicy.REQUIRED and submission.outcome is Outcome.RANKED
        if asked and not submission.nothing_to_improve:
            raise _bad(
                "edited_text",
                "This batch asks for an improved text: edit the response that you chose, or say that there is nothing to "
                "improve.",
            )
        if submission.edited_position is not None:
            raise _bad("edited_text", "An edited position was named, but no edited text was sent.")
        return None
    if submission.nothing_to_improve:
        raise _bad("nothing_to_improve", "There is an improved text and “nothing to improve”: leave one of them out.")
    if policy is EditPolicy.NONE:
        raise _bad("edited_text", "This batch takes no edits: submit without the edited text.")
    if submission.outcome is not Outcome.RANKED:
        raise _bad("edited_text", "Only a chosen response can be edited: rank the responses, or leave the edit out.")
    best = ranking[0]
    if submission.edited_position is None:
        if len(best) > 1:
            raise _bad("edited_position", "Several responses share the first place: say which one was edited.")
        return best[0]
    index = POSITIONS.index(submission.edited_position)
    if index not in best:
        raise _bad("edited_position", "The edited response must be the one in first place.")
    return index


def check_details(submission: Details, shown: int, asked: list[dict[str, Any]], lengths: list[int]) -> None:
    """Check what is said of each response.

    Args:
        submission: The judgement.
        shown: Number of responses.
        asked: The batch's attributes: each needs an answer for each response.
        lengths: Characters of each response, in the order shown; empty when no passage is marked.

    Raises:
        BadInput: with the field and the remedy.
    """
    known = POSITIONS[:shown]
    marked = {span.position for span in submission.spans}
    strangers = sorted({*submission.attributes, *submission.flags, *marked} - set(known))
    if strangers:
        raise _bad(
            "ranking", f"Response {strangers[0]} is not in this comparison: the responses are {', '.join(known)}."
        )
    for name in known:
        _check_attributes(name, submission.attributes.get(name, {}), asked)
    for span in submission.spans:
        if span.end > lengths[POSITIONS.index(span.position)]:
            raise _bad("spans", f"A passage marked in response {span.position} lies beyond its end: mark it again.")


def _check_attributes(name: str, said: dict[str, int], asked: list[dict[str, Any]]) -> None:
    scales = {attribute["name"]: attribute for attribute in asked}
    strangers = sorted(said.keys() - scales.keys())
    if strangers:
        raise _bad("attributes", f"This batch does not ask for “{strangers[0]}”.")
    for attribute, about in scales.items():
        if attribute not in said:
            raise _bad("attributes", f"Say of response {name}: {about['label']}.")
        if said[attribute] > len(about["scale"]):
            raise _bad("attributes", f"{about['label']} of response {name} has {len(about['scale'])} steps.")
