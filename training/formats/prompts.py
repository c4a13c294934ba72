"""What a prompt *is*: the canonical form of its conversation, the hash of that, and the split that the hash decides.

The split must hold in every round and for every export: the same conversation, imported twice under other names, falls
on the same side, and so does a row of an exported file. So it depends on nothing but the content: no id, no batch, no
order, no random seed; and not on how a file wrote it down: keys without a value (columns of a table have them
everywhere) are no content, and the arguments of a tool call are the same as an object and as JSON text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

# made once: json.dumps with options builds an encoder for each call, a third of the time of an import
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Split(StrEnum):
    """``held_out`` prompts are evaluated on and never trained on."""

    TRAIN = "train"
    HELD_OUT = "held_out"


def canonical(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None = None) -> bytes:
    """The conversation as UTF-8 JSON with sorted keys and no spaces; an empty list of tools is the same as none."""
    content: dict[str, Any] = {"messages": [plain(message) for message in messages]}
    if tools:
        content["tools"] = list(tools)
    return _ENCODER.encode(content).encode()


def plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as any file can hold it: no keys without a value but the content, arguments of tool calls as JSON text.

    Arguments as objects would make columns of a table out of the names that some model chose.
    """
    kept = {key: value for key, value in message.items() if key == "content" or value is not None}
    calls = kept.get("tool_calls")
    return {**kept, "tool_calls": [_plain_call(call) for call in calls]} if isinstance(calls, list) else kept


def _plain_call(call: Any) -> Any:
    if not isinstance(call, Mapping):
        return call
    kept = {key: value for key, value in call.items() if value is not None}
    function = kept.get("function")
    if isinstance(function, Mapping) and function.get("arguments") is not None:
        kept["function"] = {**function, "arguments": _as_text(function["arguments"])}
    return kept


def _as_text(arguments: Any) -> Any:
    """JSON text with sorted keys and no spaces; text that is no JSON stays as it is."""
    try:
        return _ENCODER.encode(json.loads(arguments) if isinstance(arguments, str) else arguments)
    except (ValueError, RecursionError):
        return arguments


def content_hash(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None = None) -> bytes:
    """SHA-256 of :func:`canonical`, 32 bytes."""
    return hashlib.sha256(canonical(messages, tools)).digest()


def split_of(digest: bytes, held_out_percent: int) -> Split:
    """The side on which a prompt with this :func:`content_hash` falls.

    The first eight bytes are read as a fraction of 2**64, so raising ``held_out_percent`` only ever moves prompts from
    train to held-out, and about that share of any set of prompts is held out.
    """
    if not 0 <= held_out_percent <= 100:
        raise ValueError(f"held_out_percent is a percentage, not {held_out_percent}")
    held_out = int.from_bytes(digest[:8], "big") * 100 < held_out_percent << 64
    return Split.HELD_OUT if held_out else Split.TRAIN
