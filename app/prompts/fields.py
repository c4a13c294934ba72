"""One record while it is read, and the words for reading its fields."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused, kind_of, loads
from app.prompts.messages import Message, read
from training.formats.texts import shows_nothing

LATER_TURNS = N_(
    "The file has several user turns without answers between them. The first turn is imported as the prompt; the "
    "others are kept in its metadata as later_turns."
)
BESIDE_MESSAGES = N_(
    "Messages have extra keys, such as reasoning. They are kept in the metadata of each prompt as messages; no model "
    "sees them."
)
_PRINTED = re.compile(r"""\s*(?:array\()?[\[({][\[({\s]*(?:'|"[^"]*",?\s+').*[\])}]\s*""", re.DOTALL)


@dataclass
class Record:
    """A record while it is read: keys are taken out as they are understood, and what is left is metadata."""

    rest: dict[str, Any]
    note: str | None = None
    reference: str | None = None

    def take(self, key: str) -> Any:
        """The value of ``key``, taken out; an empty cell is the same as no cell."""
        value = self.rest.pop(key, None)
        return None if value == "" else value

    def has(self, key: str) -> bool:
        """Whether ``key`` holds something."""
        return self.rest.get(key) not in (None, "")

    def keep(self, key: str, value: Any) -> None:
        """Keep ``value`` as metadata under ``key``, or where that is taken under ``key_2`` and so on."""
        keep(self.rest, key, value)


def keep(kept: dict[str, Any], key: str, value: Any) -> None:
    """Put ``value`` into ``kept`` without replacing another: under ``key``, or ``key_2`` and so on."""
    name, number = key, 1
    while name in kept and kept[name] != value:
        number += 1
        name = f"{key}_{number}"
    kept[name] = value


def json_cell(value: Any, key: str) -> Any:
    """``value``, or what it says where it is JSON in a text cell, as CSV and Parquet carry it."""
    if not isinstance(value, str):
        return value
    try:
        return loads(value.encode("utf-8", "surrogatepass"))
    except Refused as error:
        raise (
            printed(key) if looks_printed(value) else Refused(N_('has a "{key}" that {error}'), key=key, error=error)
        ) from None


def text(value: Any, key: str) -> str:
    """``value`` as it stands, which must be text that shows something."""
    if not isinstance(value, str):
        raise Refused(
            N_('has a "{key}" that is {kind}: put it in quotes if it is meant as text'), key=key, kind=kind_of(value)
        )
    if shows_nothing(value):
        raise Refused(N_('has a blank "{key}": write it or remove it'), key=key)
    return value


def text_or_number(value: Any, key: str) -> str | None:
    """``value`` as text; a number is written as JSON writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(N_('has a "{key}" that is {kind}: make it text'), key=key, kind=kind_of(value))
    return json.dumps(value)


def user(said: str) -> Message:
    """What the user says, as a message."""
    return {"role": "user", "content": said}


def listed(value: Any, key: str, wanted: str = N_("a list of messages")) -> list[Any]:
    """``value``, or the refusal that says what ``key`` must hold instead."""
    if not isinstance(value, list):
        raise Refused(N_('has a "{key}" that is {kind}: make it {wanted}'), key=key, kind=kind_of(value), wanted=wanted)
    return value


def messages_of(record: Record, items: Sequence[Any]) -> list[Message]:
    """The messages in ``items``; what else they hold is kept beside them."""
    messages, beside = read(items)
    if beside:
        record.keep("messages", beside)
        record.note = BESIDE_MESSAGES
    return messages


def turns_of(record: Record, items: Sequence[Any], key: str) -> list[Message]:
    """The first of the user's texts as the prompt, where ``items`` are texts; the messages in them otherwise."""
    if not items or not isinstance(items[0], str):
        return messages_of(record, items)
    later = [text(turn, key) for turn in items[1:]]
    if later:
        record.keep("later_turns", later)
        record.note = LATER_TURNS
    return [user(text(items[0], key))]


def looks_printed(cell: str) -> bool:
    """Whether ``cell`` is a list or object as Python or NumPy prints it, with single quotes."""
    return _PRINTED.fullmatch(cell) is not None


def printed(key: str) -> Refused:
    """The refusal of such a text."""
    return Refused(N_('has a "{key}" in Python notation, not JSON: write it with json.dumps'), key=key)
