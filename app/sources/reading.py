"""From a record of a file to a row that training reads: a preference, or a prompt with its answer.

The file and its shapes are read as an import of prompts reads them (:mod:`app.prompts`); here the responses count. A record that
cannot be used is :class:`~app.prompts.bounded_json.Refused` with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused, kind_of
from app.prompts.fields import Record, json_cell
from app.prompts.importers import Importer
from app.prompts.messages import empty
from app.prompts.records import ParsedPrompt, to_prompt, to_prompts
from app.prompts.responses import STOPPED, Response, responses_of
from app.prompts.restating import CHOSEN, PREFERENCE, REJECTED, is_number, turn
from app.prompts.shapes import unwrapped
from app.prompts.shapes.battle import LATER
from app.sources.models import SourceKind

Row = dict[str, Any]
CONVERSATIONS = ("messages", "conversations", "conversation")
BESIDE = (("completion", None), ("response", None), ("output", "instruction"), ("answer", "question"))
"""Where an answer stands beside its prompt; the second key has to be there as well."""
SCORES = ("fine-grained_score", "overall_score", "score", "rating")
OUT_OF_3 = ("overall_preference", "preference_strength")
"""How much better one of two responses is, from 1 to 3 on either side, as HelpSteer writes it."""


def rows_of(kind: SourceKind, value: Any, line: int, form: Importer, limit_chars: int) -> list[Row | Refused]:
    """The rows that one record gives, each with its own reason where it gives none.

    Raises:
        Refused: the record as a whole cannot be read.
    """
    if isinstance(value, Refused):
        raise value
    if not isinstance(value, dict):
        raise Refused(N_("is {kind}, not an object: write one object for each row"), kind=kind_of(value))
    if kind is SourceKind.COMPLETIONS:
        return [_completion(value, line, form, limit_chars)]
    prompts = to_prompts(value, line, form.unit, limit_chars, cells=form.is_table)
    return [each if isinstance(each, Refused) else _kept(_preference, each) for each in prompts]


def _kept(read: Callable[[ParsedPrompt], Row], prompt: ParsedPrompt) -> Row | Refused:
    try:
        return read(prompt)
    except Refused as refusal:
        return refusal


# ── Preferences ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _preference(prompt: ParsedPrompt) -> Row:
    """The best response over the worst one."""
    if len(prompt.responses) < 2:
        raise Refused(N_("has no two responses: write “chosen” and “rejected”, or responses with a rank or a score"))
    if prompt.note == LATER:
        raise Refused(
            N_(
                "is a battle of several turns whose earlier turns differ between the two models, so its "
                "winner won a conversation and no answer: leave the row out"
            )
        )
    best, worst = _sides(prompt.responses)
    if best.text == worst.text:
        raise Refused(N_("has the same text as its best and as its worst response: nothing is preferred"))
    return _row(prompt) | {
        "chosen": _said(best),
        "rejected": _said(worst),
        **({"strength": strength} if (strength := _strength(prompt.metadata)) else {}),
        **_cut("chosen", best),
        **_cut("rejected", worst),
    }


def _sides(responses: Sequence[Response]) -> tuple[Response, Response]:
    """The best and the worst by what the file says: which is preferred, else ranks, else scores."""
    said = {each.said[PREFERENCE]: each for each in responses if PREFERENCE in each.said}
    if CHOSEN in said and REJECTED in said:
        return said[CHOSEN], said[REJECTED]
    ranks = [each.said.get("rank") for each in responses]
    if all(is_number(rank) for rank in ranks):
        values = [-float(rank) for rank in ranks if rank is not None]
    else:
        scores = [_score(each.said) for each in responses]
        if said or any(score is None for score in scores):
            raise Refused(N_("does not say which response is better: give each a rank or a score, or remove the row"))
        values = [score for score in scores if score is not None]
    best, worst = max(range(len(values)), key=values.__getitem__), min(range(len(values)), key=values.__getitem__)
    if values[best] == values[worst]:
        raise Refused(N_("finds no response better than another: remove the row"))
    return responses[best], responses[worst]


def _score(said: Mapping[str, Any]) -> float | None:
    """The mean of its ratings (UltraFeedback has one for each aspect), else its score."""
    aspects = said.get("annotations")
    if isinstance(aspects, dict):
        ratings = [_number(aspect.get("Rating")) for aspect in aspects.values() if isinstance(aspect, dict)]
        known = [rating for rating in ratings if rating is not None]
        if known:
            return sum(known) / len(known)
    return next((number for key in SCORES if (number := _number(said.get(key))) is not None), None)


def _number(value: Any) -> float | None:
    try:
        return float(value) if is_number(value) or isinstance(value, str) else None
    except ValueError:
        return None


def _strength(said: Mapping[str, Any]) -> int | None:
    """From 1, the weakest, to 4; None where the file does not say it."""
    given = said.get("strength")
    if given is not None:
        number = _number(given)
        if number not in (1, 2, 3, 4):
            raise Refused(
                N_("has a “strength” that is {given}: use 1 (marginally) to 4 (significantly better)"),
                given=f"{str(given)[:20]!r}",
            )
        return int(number)
    number = next((found for key in OUT_OF_3 if (found := _number(said.get(key)))), None)
    return None if number is None or abs(number) not in (1, 2, 3) else int(abs(number)) + 1


# ── Prompts with answers ─────────────────────────────────────────────────────────────────────────────────────────────
def _completion(value: Mapping[str, Any], line: int, form: Importer, limit_chars: int) -> Row:
    record = unwrapped(value)
    answer = _taken_answer(record, cells=form.is_table)
    [said] = responses_of(Record({"responses": [answer]}), limit_chars)
    prompt = to_prompt(record, line, form.unit, limit_chars, cells=form.is_table)
    return _row(prompt) | {"completion": _said(said), **_cut("chosen", said)}


def _taken_answer(record: dict[str, Any], *, cells: bool) -> Any:
    """The answer of a record, taken out of it: beside the prompt, or as the last turn of its conversation."""
    for key, beside in BESIDE:
        if not empty(record.get(key)) and (beside is None or not empty(record.get(beside))):
            _whole_question(record)
            answer = record.pop(key)
            return answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    for key in CONVERSATIONS:
        turns = json_cell(record[key], key) if cells and isinstance(record.get(key), str) else record.get(key)
        if isinstance(turns, list) and len(turns) > 1 and turn(turns[-1])[0] == "assistant":
            record[key] = turns[:-1]
            return turns[-1]
    raise Refused(N_("has no answer: write “prompt” and “completion”, or “messages” that end with the assistant"))


def _whole_question(record: dict[str, Any]) -> None:
    """Dolly writes under ``context`` what an instruction is about; without it the answer would be to something else."""
    context = record.get("context")
    if "instruction" in record and isinstance(context, str) and context.strip() and empty(record.get("input")):
        record["input"] = record.pop("context")


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _row(prompt: ParsedPrompt) -> Row:
    told = {"capability": prompt.capability, "language": prompt.language, "tools": prompt.tools}
    return {"id": prompt.external_id, "prompt": prompt.messages, **{key: said for key, said in told.items() if said}}


def _said(response: Response) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": response.text}]


def _cut(side: str, response: Response) -> dict[str, str]:
    """A response that was cut off teaches no end."""
    return {} if response.finish_reason == STOPPED else {f"{side}_finish_reason": response.finish_reason}
