"""An engine's replies, checked before any part is trusted. Pure functions over bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.kernel.storable import flaw

REPLY_LIMIT = 4 * 1024 * 1024
"""Bytes of one reply: 8 answers of 32,768 tokens fit several times; what is larger is not an answer."""
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})


class EngineReplyError(Exception):
    """The engine answered, but not with something that can be shown or trained on. Asking again may help."""


@dataclass(frozen=True)
class Answer:
    """One choice of a reply."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        start = body[:40].decode("utf-8", "replace")
        raise EngineReplyError(f"The engine's reply is cut off or not JSON (it starts with {start!r}).") from error
    if not isinstance(read, dict):
        raise EngineReplyError(f"The engine's reply is a JSON {type(read).__name__}, not an object.")
    return read


def parse_answers(body: bytes, wanted: int) -> list[Answer]:
    """The ``wanted`` answers of a completion or chat completion.

    Raises:
        EngineReplyError: naming what is wrong.
    """
    reply = parse_object(body)
    choices = reply.get("choices")
    if not isinstance(choices, list) or len(choices) != wanted:
        found = len(choices) if isinstance(choices, list) else "no"
        raise EngineReplyError(f"The engine's reply has {found} answers, not the {wanted} requested.")
    usage = reply.get("usage")
    prompt_tokens = _count(usage, "prompt_tokens")
    return [
        Answer(_text(choice), _finish_reason(choice), prompt_tokens, _length(choice, usage, wanted))
        for choice in choices
    ]


def _text(choice: Any) -> str:
    message = choice.get("message") if isinstance(choice, dict) else None
    text = message.get("content") if isinstance(message, dict) else _field(choice, "text")
    if isinstance(message, dict) and message.get("tool_calls"):
        text = with_calls(text, message["tool_calls"])
    if not isinstance(text, str) or not text.strip():
        raise EngineReplyError("The engine's answer is empty.")
    wrong = flaw(text)
    if wrong:
        raise EngineReplyError(f"The engine's answer contains {wrong}, which is not allowed in text.")
    return text


def with_calls(text: Any, calls: Any) -> str:
    """What was said and the calls beside it as one text, the calls as Hermes writes them.

    Endpoints give calls apart from the text; in a text they are compared, shown and run like those of any other model.

    Raises:
        EngineReplyError: they are no calls.
    """
    found = [_field(call, "function") for call in calls] if isinstance(calls, list) else [None]
    functions = [each for each in found if isinstance(each, dict) and isinstance(each.get("name"), str)]
    if len(functions) < len(found):
        raise EngineReplyError("The engine's answer calls a tool without saying which.")
    written = [
        f'<tool_call>\n{{"name": {json.dumps(each["name"])}, "arguments": {_arguments(each)}}}\n</tool_call>'
        for each in functions
    ]
    return "\n".join([text, *written] if isinstance(text, str) and text.strip() else written)


def _arguments(function: dict[str, Any]) -> str:
    """As JSON; what is none stays as it is, for whoever reads the call to say so."""
    given = function.get("arguments")
    return (given.strip() or "{}") if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False)


def _finish_reason(choice: Any) -> str:
    reason = _field(choice, "finish_reason")
    if not isinstance(reason, str) or reason not in FINISH_REASONS:
        raise EngineReplyError(f"The engine's answer did not finish (finish_reason {reason!r}).")
    return reason


def _length(choice: Any, usage: Any, wanted: int) -> int:
    """From vLLM by the choice's token ids, sent when asked; elsewhere ``usage`` counts, of one choice only."""
    ids = _field(choice, "token_ids")
    if isinstance(ids, list):
        return len(ids)
    if wanted == 1:
        return _count(usage, "completion_tokens")
    raise EngineReplyError("The engine's reply does not say how many tokens each answer has.")


def _field(choice: Any, name: str) -> Any:
    return choice.get(name) if isinstance(choice, dict) else None


def _count(usage: Any, name: str) -> int:
    value = _field(usage, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise EngineReplyError(f"The engine's reply does not count its tokens (usage.{name}).")
    return value


class StreamedAnswer:
    """One answer that comes as server-sent events, put together and checked as a whole in the end."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None
        self.model: str | None = None
        """As whom the engine answers, where it has said so."""

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._parts)

    def take(self, line: str) -> str:
        """The piece of text in one line of the stream; empty for what is none.

        Raises:
            EngineReplyError: it is no event of a completion, or more than an answer can be.
        """
        if not line.startswith("data:"):
            return ""
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return ""
        event = parse_object(data.encode("utf-8", "surrogatepass"))
        if event.get("error"):
            raise EngineReplyError(f"The engine failed while generating: {str(event['error'])[:300]}")
        self.model = event.get("model") or self.model
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if choice is None:
            return ""
        self._finish_reason = _field(choice, "finish_reason") or self._finish_reason
        delta = choice.get("delta") if isinstance(choice, dict) else None
        piece = delta.get("content") if isinstance(delta, dict) else _field(choice, "text")
        self._take_calls(_field(delta, "tool_calls"))
        if not isinstance(piece, str) or not piece:
            return ""
        wrong = flaw(piece)
        if wrong:
            raise EngineReplyError(f"The engine's answer contains {wrong}, which is not allowed in text.")
        self._grow(piece)
        self._parts.append(piece)
        return piece

    def _grow(self, piece: str) -> None:
        self._size += len(piece)
        if self._size > REPLY_LIMIT:
            raise EngineReplyError(f"The engine's reply is larger than {REPLY_LIMIT // 2**20} MB.")

    def _take_calls(self, calls: Any) -> None:
        """Calls come in pieces: the name with the first one, the arguments letter by letter."""
        for call in calls if isinstance(calls, list) else ():
            function, place = _field(call, "function"), _field(call, "index")
            known = self._calls.setdefault(place if isinstance(place, int) else 0, {"name": None, "arguments": ""})
            known["name"] = known["name"] or _field(function, "name")
            more = _field(function, "arguments")
            if isinstance(more, str):
                self._grow(more)
                known["arguments"] += more

    def answer(self) -> Answer:
        """The whole.

        Raises:
            EngineReplyError: the stream ended before the answer did, or the answer is empty.
        """
        if self._finish_reason is None:
            raise EngineReplyError("The engine's stream ended in the middle of its answer.")
        calls = [{"function": self._calls[place]} for place in sorted(self._calls)]
        choice = {"text": with_calls(self.text, calls) if calls else self.text, "finish_reason": self._finish_reason}
        return Answer(
            _text(choice),
            _finish_reason(choice),
            _count(self._usage, "prompt_tokens"),
            _count(self._usage, "completion_tokens"),
        )
