"""What the shapes of several tools do alike with a conversation and with the responses to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from app.preferences.exporters import canonical
from app.preferences.exporters.kinds import Row
from app.prompts.messages import strict
from training.formats import columns
from training.formats.pairs import EDITED, Pair, Stated, expand

if TYPE_CHECKING:
    from app.preferences.columns import Source

SAID: Final = columns.Struct({"role": columns.TEXT, "content": columns.TEXT})
SHARED = ("annotation_id", "split")


def shared() -> tuple[columns.Column, ...]:
    """The columns that every shape has at its end."""
    known = {each.name: each for each in columns.COLUMNS}
    return tuple(known[name] for name in SHARED)


def ranked(stated: Iterable[Stated[Any]], min_strength: int | None) -> Iterator[Pair[Any, Stated[Any]]]:
    """The pairs that a trainer learns from, edits expanded."""
    return expand(canonical.pairs(stated, min_strength), min_strength or 1)


def asked(source: Source) -> list[Row]:
    """The messages that were answered, in their one form."""
    return strict(orjson.loads(source.selected["prompt"]))


def answers(source: Source) -> dict[int | str, str]:
    """Each response as a text, by its id, and the annotator's."""
    texts: dict[int | str, str] = dict(zip(source.candidate_ids, source.texts, strict=True))
    return texts if source.edited_text is None else {**texts, EDITED: source.edited_text}


def called(source: Source) -> frozenset[int | str]:
    """The responses that called tools before they answered; an edit is of such a one, too."""
    steps = source.of_candidates.get("steps", [])
    found: set[int | str] = {
        key for key, each in zip(source.candidate_ids, steps, strict=False) if each not in {None, "[]"}
    }
    return frozenset(found | ({EDITED} if source.edited_candidate_id in found else set()))


def tools(source: Source) -> list[Any]:
    """What was given to the chat template."""
    return orjson.loads(source.selected["tools"] or "null") or []


def spoken(source: Source) -> list[Row] | None:
    """The messages with role and content alone; None where tools are given to the model, or were called."""
    messages = asked(source)
    if tools(source) or any(message.keys() - {"role", "content"} for message in messages):
        return None
    return messages


def turns(messages: list[Row]) -> tuple[str, list[str]] | None:
    """The system prompt ("" where there is none), and what the two sides said in turn, the person first and last.

    None where they do not take turns.
    """
    system = messages[0]["content"] if messages and messages[0]["role"] == "system" else ""
    rest = messages[1:] if messages and messages[0]["role"] == "system" else messages
    sides = ["user", "assistant"] * len(rest)
    if len(rest) % 2 == 0 or any(message["role"] != side for message, side in zip(rest, sides, strict=False)):
        return None
    return system, [message["content"] for message in rest]


def texts_of_pairs(source: Source, min_strength: int | None) -> Iterator[tuple[str, str]]:
    """The better and the worse text of each pair in which no response called tools."""
    texts, left_out = answers(source), called(source)
    for pair in ranked(canonical.stated(source), min_strength):
        if pair.better not in left_out and pair.worse not in left_out:
            yield texts[pair.better], texts[pair.worse]


def values(source: Source) -> Row:
    """The columns that every shape has at its end."""
    return {name: source.value(name) for name in SHARED}
