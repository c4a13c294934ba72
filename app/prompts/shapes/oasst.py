"""Trees of OpenAssistant: each turn of a person that was answered in several ways is a prompt, with the way that leads to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused
from app.prompts.messages import empty
from app.prompts.shapes import Answered, Restated

LANGUAGE = "lang"
_ROLES = {"prompter": "user", "assistant": "assistant"}
_DEEPEST = 200
_TREE = frozenset({"text", "role", "replies", "parent_id", "message_id", "deleted"})


def _restate(record: Mapping[str, Any]) -> Restated | None:
    root = record.get("prompt")
    if not isinstance(root, dict) or not isinstance(root.get("replies"), list):
        if "message_tree_id" in record and "text" in record and "role" in record:
            raise Refused(
                N_("is one message of OpenAssistant: use the file of trees, which keeps answers with their prompt")
            )
        return None
    tree = {key: value for key, value in record.items() if key != "prompt"}
    found = [{**made, "metadata": {**tree, **made["metadata"]}} for made in _turns(root, [])]
    if not found:
        raise Refused(N_("is a tree in which no turn has two answers: there is nothing to compare"))
    return Restated(records=found)


def _turns(node: Any, before: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """The prompts at and below ``node``."""
    if not isinstance(node, dict) or not isinstance(node.get("text"), str) or node.get("role") not in _ROLES:
        raise Refused(N_('has a message without "text" and "role": use the file of trees as it was published'))
    if len(before) >= _DEEPEST:
        raise Refused(N_("is a tree of more than {deepest} turns: shorten it"), deepest=_DEEPEST)
    if node.get("deleted"):
        return
    way = [*before, {"role": _ROLES[node["role"]], "content": node["text"]}]
    replies = [each for each in node.get("replies") or [] if isinstance(each, dict) and not each.get("deleted")]
    if node["role"] == "prompter" and len({str(each.get("text")).strip() for each in replies}) > 1:
        yield {
            "id": node.get("message_id"),
            "messages": way,
            LANGUAGE: node.get(LANGUAGE),
            "responses": [_response(each) for each in replies],
            "metadata": _rest(node),
        }
    for each in replies:
        yield from _turns(each, way)


def _response(node: dict[str, Any]) -> dict[str, Any]:
    return {"text": node.get("text"), "message_id": node.get("message_id"), **_rest(node)}


def _rest(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in _TREE and not empty(value)}


SHAPE = Answered(name="OpenAssistant trees", keys=("message_tree_id",), restate=_restate, place=33)
