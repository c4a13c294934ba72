"""Tasks of Label Studio: ``data`` holds the prompt and the responses; annotations and predictions stand beside.

Which response people preferred (Pairwise, Ranker, or Choices by the response's name) becomes its rank
(:mod:`app.prompts.verdicts`). Annotations that were cancelled, and predictions, say nothing. JSON_MIN has a record for each
annotation, with the fields of ``data`` and the answers side by side: it is read as the task with that one annotation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.prompts import verdicts
from app.prompts.messages import empty
from app.prompts.restating import numbered_keys
from app.prompts.shapes import Wrapper
from app.prompts.shapes.argilla import judged, put_prompt
from app.prompts.verdicts import Verdict

_OF_ANNOTATION = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "history")
"""What JSON_MIN says of an annotation beside its answers."""


def _unwrap(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    record = _in_full(record)
    data = record.get("data")
    done = "annotations" in record or "predictions" in record or len(record) <= 2
    if not done or not isinstance(data, dict):
        return None
    beside = {key: value for key, value in record.items() if key not in ("id", "data") and not empty(value)}
    given = put_prompt(data)
    items = _items(given)
    if items:
        del given["items"]
        responses = [
            {"text": each["body"], **{key: value for key, value in each.items() if key != "body"}} for each in items
        ]
        given["responses"] = verdicts.ranked(responses, _said(record.get("annotations"), _names(data)))
    elif said := [*_said(record.get("annotations"), _names(given))]:
        given = judged(given, said)
    kept = {"label_studio": beside} if beside else {}
    task = {"id": record["id"]} if "id" in record else {}
    return {**given, **task, **({"metadata": kept} if kept else {})}


def _in_full(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record of JSON_MIN as the task with its annotation; any other as it is."""
    if "data" in record or not {"annotation_id", "lead_time"} <= record.keys():
        return record
    names = _names(record)
    data: dict[str, Any] = {}
    result: list[dict[str, Any]] = []
    for key, said in record.items():
        values = [said] if isinstance(said, dict) else said if isinstance(said, list) else [{"choices": [said]}]
        if key in ("id", *_OF_ANNOTATION):
            continue
        if key not in names and any(isinstance(each, dict) and _verdict(key, each, names) for each in values):
            result += [{"from_name": key, "value": each} for each in values]
        else:
            data[key] = said
    about = {key: record[key] for key in _OF_ANNOTATION if key in record}
    task = {"id": record["id"]} if "id" in record else {}
    return {**task, "data": data, "annotations": [{**about, "result": result}]}


def _items(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Responses that are shown as a list."""
    items = data.get("items")
    held = isinstance(items, list) and all(isinstance(each, dict) and "body" in each for each in items)
    return items if isinstance(items, list) and held else []


def _names(data: Mapping[str, Any]) -> list[str]:
    """What the answers call the responses."""
    items = _items(data)
    return [str(each.get("id")) for each in items] if items else numbered_keys(data)


def _said(annotations: Any, names: Sequence[str]) -> Iterator[Verdict]:
    for each in annotations if isinstance(annotations, list) else ():
        if isinstance(each, dict) and not each.get("was_cancelled"):
            for result in each.get("result") or ():
                if isinstance(result, dict) and isinstance(result.get("value"), dict):
                    found = _verdict(str(result.get("from_name", "")), result["value"], names)
                    if found and len(names) > 1:
                        yield found


def _verdict(question: str, value: Mapping[str, Any], names: Sequence[str]) -> Verdict | None:
    if "selected" in value and len(names) == 2:
        return verdicts.label("pairwise", value["selected"], names)
    if isinstance(value.get("ranker"), dict) and len(value["ranker"]) == 1:  # several buckets sort, and rank nothing
        return verdicts.order(next(iter(value["ranker"].values())), names)
    chosen = value.get("choices")
    return verdicts.label(question, chosen[0], names) if isinstance(chosen, list) and len(chosen) == 1 else None


SHAPE = Wrapper(name="Label Studio", unwrap=_unwrap, place=2)
