"""Records of Argilla: ``fields`` hold the prompt and the responses, and what people said of them stands beside.

Which response they preferred becomes its rank (:mod:`app.prompts.verdicts`): of submitted answers to questions for a label or
a ranking; where there are none, of what a person suggested, as Corral itself exports judgements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.prompts import verdicts
from app.prompts.messages import empty
from app.prompts.restating import numbered, numbered_keys
from app.prompts.shapes import Wrapper
from app.prompts.verdicts import Verdict

_CHATS = ("messages", "conversation", "chat")
_ANSWERS = ".responses"
_TEXTS = ("prompt", "instruction", "question", "query", "input", "text")
_BESIDE = ("responses", "suggestions", "status", "vectors", "inserted_at", "updated_at", "_server_id", "dataset_id")


def _unwrap(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    record = _nested(record)
    fields = record.get("fields")
    if not isinstance(fields, dict):
        return None
    rest = {key: value for key, value in record.items() if key not in ("fields", "metadata", *_BESIDE)}
    kept = dict(record["metadata"]) if isinstance(record.get("metadata"), dict) else {}
    beside = {key: record[key] for key in _BESIDE if not empty(record.get(key))}
    if beside:
        kept["argilla"] = beside
    given = put_prompt(fields)
    names = numbered_keys(given)
    said = [*_submitted(record.get("responses"), names)] or [*_suggested(record.get("suggestions"), names)]
    return {**rest, **(judged(given, said) if said else given), "metadata": kept}


def judged(given: Mapping[str, Any], said: Sequence[Verdict]) -> dict[str, Any]:
    """Fields with numbered responses, as responses with their ranks."""
    rest = dict(given)
    responses = numbered(rest)
    return {**rest, "responses": verdicts.ranked(responses, said)}


def _nested(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of the flat table that Argilla writes for Hugging Face, as the record that it was made of."""
    asked = [key.removesuffix(_ANSWERS) for key in record if key.endswith(_ANSWERS)]
    if not asked or "fields" in record:
        return record
    flat = {key for key in record for question in asked if key.startswith(f"{question}.")}
    own = {key for key in record if key in (*_BESIDE, "id", "metadata")} - flat
    answers = {question: [*_flat_answers(record, question)] for question in asked}
    fields = {key: value for key, value in record.items() if key not in flat | own}
    return {**{key: record[key] for key in own}, "fields": fields, "responses": answers}


def _flat_answers(record: Mapping[str, Any], question: str) -> Iterator[dict[str, Any]]:
    said, states = record[f"{question}{_ANSWERS}"], record.get(f"{question}{_ANSWERS}.status")
    for at, value in enumerate(said if isinstance(said, list) else []):
        state = states[at] if isinstance(states, list) and at < len(states) else None
        yield {"value": value} if state is None else {"value": value, "status": state}


def _submitted(responses: Any, names: Sequence[str]) -> Iterator[Verdict]:
    """Of a record by question, or of the service's API by person."""
    by_question: list[tuple[str, Any]] = []
    if isinstance(responses, dict):
        by_question = [(name, each) for name, said in responses.items() if isinstance(said, list) for each in said]
    elif isinstance(responses, list):
        for person in responses:
            if isinstance(person, dict) and isinstance(person.get("values"), dict):
                state = {"status": person["status"]} if "status" in person else {}
                by_question += [
                    (name, {**said, **state}) for name, said in person["values"].items() if isinstance(said, dict)
                ]
    for name, each in by_question:
        if isinstance(each, dict) and each.get("status", "submitted") == "submitted":
            yield from _verdict(name, each.get("value"), names)


def _suggested(suggestions: Any, names: Sequence[str]) -> Iterator[Verdict]:
    for name, each in suggestions.items() if isinstance(suggestions, dict) else ():
        if isinstance(each, dict) and each.get("type") == "human":
            yield from _verdict(name, each.get("value"), names)


def _verdict(question: str, value: Any, names: Sequence[str]) -> Iterator[Verdict]:
    found = verdicts.order(value, names) or verdicts.label(question, value, names)
    if found and len(names) > 1:
        yield found


def put_prompt(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that people named, with the one that holds the conversation under the key by which it is read."""
    given = dict(fields)
    chat = next((key for key in (*_CHATS, "prompt", "context") if isinstance(given.get(key), list)), None)
    if chat is not None:
        turns = given.pop(chat)
        return {**given, "messages": turns}
    text = next((key for key in _TEXTS if not empty(given.get(key))), None)
    if text in ("query", "input", "text"):
        given["prompt"] = given.pop(text)
    return given


SHAPE = Wrapper(name="Argilla", unwrap=_unwrap, place=1)
