"""Messages to token ids, with text kept as text.

A chat template writes control tokens such as `<|im_end|>` around the messages. Rendering a conversation to one string
and tokenising that string (what `apply_chat_template` does) turns the same characters *inside* a message into control
tokens too: a user who types `<|im_start|>system` writes a system turn. Here the template is rendered with slots in the
place of the messages, so that only what the template itself wrote may become a control token.

Text without such characters gets exactly the ids of `apply_chat_template`. A response is tokenised by itself behind the
generation prompt, as it was when it was sampled.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from training.errors import ConfigError, DataError

Message = dict[str, Any]  # role, content, and where tools are used name, tool_calls, tool_call_id
Tokenizer = Any  # a transformers tokenizer with a chat template

# A slot is two private-use characters around a number. The vertical tabs on both sides are whitespace that no template
# writes: where they are gone after rendering, the template strips its messages (Llama 3 does), and so do we.
_SLOT = "\v\ue000{}\ue001\v"
_SLOTS = re.compile("(\v?)\ue000(\\d+)\ue001(\v?)")


@dataclass(frozen=True)
class Response:
    """Token ids of one assistant turn behind its generation prompt.

    `content` is 1 where a token belongs to what was said and 0 where the template put it (the end of turn token and the
    newline after it, in ChatML). Both have the same length.
    """

    ids: list[int]
    content: list[int]


def encode_chat(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    tools: list[Any] | None = None,
) -> list[int]:
    """Token ids of a conversation; only the template's own control tokens become control tokens.

    Raises:
        DataError: the template refuses the conversation, or a tool's description or call contains the text of a control
            token (it is written by the template, so it could not be told apart).
    """
    rendered = _render(tokenizer, messages, add_generation_prompt=add_generation_prompt, tools=tools)
    return _encode(tokenizer, _pieces(tokenizer, rendered, [message["content"] for message in messages]))


def encode_response(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    text: str,
    tools: list[Any] | None = None,
    *,
    ended: bool = True,
) -> Response:
    """Token ids of an assistant turn with `text`, to stand behind the generation prompt of `messages`.

    A response that was cut off (not `ended`) stops where it was, without the tokens that close a turn.

    Raises:
        ConfigError: the chat template renders a finished answer differently from the place where one is generated.
    """
    prompt = _render(tokenizer, messages, add_generation_prompt=True, tools=tools)
    turn = {"role": "assistant", "content": "the answer"}  # stands for any, an empty one too: what counts is its place
    whole = _render(tokenizer, [*messages, turn], add_generation_prompt=False, tools=tools)
    slot = next((found for found in _SLOTS.finditer(whole) if int(found[2]) == len(messages)), None)
    if slot is None or not whole[: slot.start()].startswith(prompt):
        raise ConfigError(
            "the chat template of the base model does not continue its own generation prompt with the answer: "
            "choose a base model whose template does"
        )
    # What a template adds between the generation prompt and the answer, an empty thinking block for instance.
    head = _encode(tokenizer, _pieces(tokenizer, whole[len(prompt) : slot.start()], []))
    body = _encode(tokenizer, [_stripped(text, slot)])
    closes = ended or not body  # a response without any token could not be scored
    tail = _encode(tokenizer, _pieces(tokenizer, whole[slot.end() :], [])) if closes else []
    return Response(ids=head + body + tail, content=[0] * len(head) + [1] * len(body) + [0] * len(tail))


def _render(
    tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool, tools: list[Any] | None
) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError("the base model has no chat template: choose an instruction-tuned one")
    # What follows is `ChatEncoder.encode` of workers/chat.py: a response was sampled behind what that wrote.
    written = json.dumps([tools, *({**message, "content": ""} for message in messages)], ensure_ascii=False)
    if _control(tokenizer).search(written) or _SLOTS.search(written):
        raise DataError("a tool's description or call contains the text of a control token: reword it")
    # A message without text stays empty, because templates ask whether there is any beside a tool call.
    slots = [{**message, "content": message["content"] and _SLOT.format(i)} for i, message in enumerate(messages)]
    try:
        rendered: str = tokenizer.apply_chat_template(
            slots, tools=tools or None, add_generation_prompt=add_generation_prompt, tokenize=False
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise DataError(f"the base model's chat template refuses this conversation ({error}): leave it out") from error
    return rendered


def _pieces(tokenizer: Tokenizer, rendered: str, contents: Sequence[str]) -> Iterator[str | int]:
    """The rendered template as plain text and control token ids, the slots filled."""
    position = 0
    for slot in _SLOTS.finditer(rendered):
        yield from _template_pieces(tokenizer, rendered[position : slot.start()])
        yield _stripped(contents[int(slot[2])], slot)
        position = slot.end()
    yield from _template_pieces(tokenizer, rendered[position:])


def _template_pieces(tokenizer: Tokenizer, text: str) -> Iterator[str | int]:
    for index, part in enumerate(_control(tokenizer).split(text)):
        yield tokenizer.convert_tokens_to_ids(part) if index % 2 else part


def _encode(tokenizer: Tokenizer, pieces: Iterator[str | int] | list[str | int] | list[str]) -> list[int]:
    """Neighbouring texts are joined before they are tokenised, because a token may reach across their border."""
    ids: list[int] = []
    text = ""
    for piece in (*pieces, None):
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            ids += tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            text = ""
        if piece is not None:
            ids.append(piece)
    return ids


def _stripped(text: str, slot: re.Match[str]) -> str:
    text = text if slot[1] else text.lstrip()
    return text if slot[3] else text.rstrip()


def _control(tokenizer: Tokenizer) -> re.Pattern[str]:
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    ordered = sorted(special, key=len, reverse=True)  # the longest first, where one is the start of another
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")" if ordered else "((?!))")
