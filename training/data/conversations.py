"""The ways in which files write a prompt and two responses, as one: messages, and the text of each response.

TRL's form has several: `prompt` as text or as messages before `chosen` and `rejected`; whole conversations in both, with
the prompt beside them as text, as messages, or not at all; and transcripts ("Human: … Assistant: …", as in Anthropic's
hh-rlhf) in the place of conversations. A response is the last turn of its conversation, and what stands before it is the
prompt, which both responses must have in common.
"""

import re
from typing import Any

from training.data.chat import Message
from training.data.left_out import UnusableError
from training.formats.prompts import canonical

ROLES = frozenset({"system", "user", "assistant", "tool"})
_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}
_WANTED = "prompt must be text or a list of messages with a known role and text"

Turns = list[Message]


def read(prompt: Any, *responses: Any) -> tuple[Turns, list[str | None]]:
    """The messages of the prompt, as the file has them, and the text of each response, None where there is none.

    Raises:
        KeyError: there is no prompt, neither before the responses nor in them.
        UnusableError: what is there cannot be learnt from.
    """
    given = [side for side in responses if side is not None]
    spoken = bool(given) and all(_is_transcript(side) for side in given)
    sides = [_turns(side) if isinstance(side, list) else _transcript(side) if spoken else side for side in responses]
    before = [side[:-1] for side in sides if isinstance(side, list)]
    if prompt is None and not any(before):
        raise KeyError("prompt")
    texts = [text_of(side[-1:] if isinstance(side, list) else side) for side in sides]
    return _prompt(prompt, before), texts


def messages(prompt: Any) -> tuple[Message, ...]:
    """The messages of a prompt with their text; a message that only calls a tool has an empty one.

    Raises:
        UnusableError: they are no messages with a known role and text.
    """
    if not isinstance(prompt, list) or not prompt or not all(isinstance(turn, dict) for turn in prompt):
        raise UnusableError("unknown_prompt", _WANTED)
    read_turns = []
    for turn in prompt:  # with its tool calls: the response was sampled behind them
        role = "system" if turn.get("role") == "developer" else turn.get("role")
        content = "" if turn.get("content") is None and turn.get("tool_calls") else turn.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise UnusableError("unknown_prompt", _WANTED)
        given = {key: value for key, value in turn.items() if value is not None}
        read_turns.append(given | {"role": role, "content": encodable(content)})
    return tuple(read_turns)


def text_of(turns: Any) -> str | None:
    """The text of a response, which is text or a list of one assistant message.

    Raises:
        UnusableError: it is neither, or calls a tool.
    """
    if turns is None:
        return None
    if isinstance(turns, str):
        return encodable(turns)
    turn = turns[0] if isinstance(turns, list) and len(turns) == 1 and isinstance(turns[0], dict) else {}
    if turn.get("role") == "assistant" and turn.get("tool_calls"):
        raise UnusableError(
            "tool_call_answers", "a response that calls a tool cannot be trained on, because its call would be lost"
        )
    if turn.get("role") != "assistant" or not isinstance(turn.get("content"), str):
        raise UnusableError("no_answer", "a response must be text or a list of one assistant message with text")
    return encodable(turn["content"])


def encodable(text: str) -> str:
    """The same text.

    Raises:
        UnusableError: no tokenizer takes it.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UnusableError("broken_text", "a text contains half of a surrogate pair, which no tokenizer accepts")
    return text


def _turns(side: list[Any]) -> Turns:
    if not side or not all(isinstance(turn, dict) for turn in side):
        raise UnusableError("no_answer", "a response must be text or a list of one assistant message with text")
    return side


def _is_transcript(text: Any) -> bool:
    first = _TURN.match(text) if isinstance(text, str) else None
    return first is not None and first[1] == "Human" and "\n\nAssistant:" in text


def _transcript(text: Any) -> Any:
    """The turns of a transcript; what is no text, as it is."""
    if not isinstance(text, str):
        return text
    _, *parts = _TURN.split(text)
    return [
        {"role": _SPEAKERS[speaker], "content": said.strip()}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def _prompt(prompt: Any, before: list[Turns]) -> Turns:
    """What all responses stand behind."""
    given = _given(prompt)
    shared = before[0] if before else []
    if any(not _same(turns, shared) for turns in before):
        raise UnusableError("different_prompts", "chosen and rejected do not continue the same prompt")
    if not shared:
        return given
    if (
        not given
        or isinstance(prompt, str)
        or _same(shared[: len(given)], given)
        or _same(shared[-len(given) :], given)
    ):
        return shared  # a text beside whole conversations says again what is in them, as in TRL
    if _same(given[-len(shared) :], shared):
        return given
    if shared[0].get("role") in {"assistant", "tool"}:
        return [*given, *shared]
    raise UnusableError("different_prompts", "the conversations do not begin with the prompt")


def _given(prompt: Any) -> Turns:
    """The column `prompt` as messages; a transcript ends where the assistant is to answer."""
    if isinstance(prompt, str):
        unanswered = _is_transcript(prompt) and prompt.rstrip().endswith("\n\nAssistant:")
        return _transcript(prompt)[:-1] if unanswered else [{"role": "user", "content": prompt}]
    if prompt is None:
        return []
    if not isinstance(prompt, list) or not all(isinstance(turn, dict) for turn in prompt):
        raise UnusableError("unknown_prompt", _WANTED)
    return prompt


def _same(one: Turns, other: Turns) -> bool:
    return canonical(one) == canonical(other)
