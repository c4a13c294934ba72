"""LLaMA-Factory's sharegpt form with ranking: the conversation, and two messages that could follow it.

Its loader wants the two sides to take turns (person or tool, then model), and drops what does not; a call is a message of its
own whose text is the call as JSON. Rows that cannot be said so are left out here, where they are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

from app.kernel.locales import N_
from app.preferences.exporters import conversations
from app.preferences.exporters.kinds import FILE, PAIR, Row, RowShape
from training.formats import columns
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

TURN = columns.Struct({"from": columns.TEXT, "value": columns.TEXT})
OWN = (
    columns.Column("conversations", columns.ListOf(TURN), "the messages that were answered"),
    columns.Column("chosen", TURN, "the better response"),
    columns.Column("rejected", TURN, "the other response"),
    columns.Column("tools", columns.TEXT, "what is given to the chat template, as JSON; empty where there are none"),
)
SIDES = (frozenset({"human", "observation"}), frozenset({"gpt", "function_call"}))
NAMES = {"system": "system", "user": "human", "tool": "observation", "assistant": "gpt"}
INFO = {
    "file_name": FILE,
    "formatting": "sharegpt",
    "ranking": True,
    "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "tools": "tools"},
}
"""The entry of ``dataset_info.json``."""


def _columns() -> tuple[columns.Column, ...]:
    return (*OWN, *conversations.shared())


def _turn(message: Row) -> Row | None:
    calls = message.get("tool_calls")
    if not calls:
        return {"from": NAMES[message["role"]], "value": message["content"]}
    if message["content"]:
        return None
    try:
        said = [
            {"name": call["function"]["name"], "arguments": orjson.loads(call["function"]["arguments"])}
            for call in calls
        ]
    except orjson.JSONDecodeError:
        return None
    return {"from": "function_call", "value": orjson.dumps(said if len(said) > 1 else said[0]).decode()}


def conversation(messages: list[Row]) -> list[Row] | None:
    """The messages as turns; None where they do not alternate."""
    found = [turn for turn in map(_turn, messages) if turn is not None]
    rest = found[1:] if found and found[0]["from"] == "system" else found
    alternate = all(turn["from"] in SIDES[place % 2] for place, turn in enumerate(rest))
    return found if len(found) == len(messages) and len(rest) % 2 == 1 and alternate else None


def tools(given: list[Any]) -> str:
    """The tools as JSON: each with a schema, because the loader's templates read its properties without looking."""
    return orjson.dumps([_described(tool) for tool in given]).decode() if given else ""


def _described(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    inner = function if isinstance(function, dict) else tool
    if not isinstance(inner, dict):
        return tool
    schema = inner["parameters"] if isinstance(inner.get("parameters"), dict) else {"type": "object"}
    inner = {"description": "", **inner, "parameters": {"properties": {}, **schema}}
    return inner if function is None else {**tool, "function": inner}


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    said = conversation(conversations.asked(source))
    if said is None:
        return {}, iter(())
    common = {"conversations": said, "tools": tools(conversations.tools(source))} | conversations.values(source)
    pairs = conversations.texts_of_pairs(source, min_strength)
    return common, (
        {"chosen": {"from": "gpt", "value": better}, "rejected": {"from": "gpt", "value": worse}}
        for better, worse in pairs
    )


SHAPE = RowShape(
    label=N_("LLaMA-Factory, sharegpt"),
    purpose=N_(
        "LLaMA-Factory rows in its sharegpt form are pairs with conversations and tools; the zip has the description "
        "that it reads them by."
    ),
    side=Split.TRAIN,
    columns=_columns,
    pairs=conversations.ranked,
    rows=_rows,
    shown=PAIR | {N_("Prompt"): "conversations"},
    leaves_out=N_(
        "Conversations in which two sides do not take turns, and responses that called tools, have no place in it."
    ),
    same_texts=True,
    beside={"dataset_info.json": {"corral": INFO}},
)
