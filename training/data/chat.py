"""Messages to token ids with a transformers tokenizer; the conversion itself is that of `training.formats.chat`."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer as Backend

from training.formats.chat import Discontinued, Encoder, Response
from training.formats.errors import ConfigError, DataError
from training.formats.templates import Message, NoChatTemplate, Unrenderable, by_name

__all__ = ["Message", "Response", "Tokenizer", "encode_chat", "encode_response", "encode_steps"]

Tokenizer = Any  # a transformers tokenizer with a chat template

_encoders: WeakKeyDictionary[Tokenizer, tuple[Any, Encoder]] = WeakKeyDictionary()


def encode_chat(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    tools: list[Any] | None = None,
) -> list[int]:
    """Token ids of a conversation; only the template's own control tokens become control tokens.

    Raises:
        ConfigError: the tokenizer has no chat template.
        DataError: the template refuses the conversation, or a tool's description or call contains the text of a control
            token (it is written by the template, so it could not be told apart).
    """
    encoder = _encoder(tokenizer)
    try:
        return encoder.encode(messages, tools, add_generation_prompt=add_generation_prompt)
    except Unrenderable as error:
        raise DataError(str(error)) from error


def encode_response(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    text: str,
    tools: list[Any] | None = None,
    *,
    ended: bool = True,
    steps: Sequence[Message] = (),
) -> Response:
    """Token ids of an assistant turn with `text`, to stand behind the generation prompt of `messages`.

    A response that was cut off (not `ended`) stops where it was, without the tokens that close a turn. `steps` are the calls
    of tools that came before it, and what they answered.

    Raises:
        ConfigError: the chat template renders a finished answer differently from the place where one is generated.
        DataError: it refuses the conversation.
    """
    encoder = _encoder(tokenizer)
    try:
        return encoder.response(messages, text, tools, ended=ended, steps=steps)
    except Discontinued as error:
        raise _discontinued(encoder, error) from error
    except Unrenderable as error:
        raise DataError(str(error)) from error


def encode_steps(
    tokenizer: Tokenizer, messages: Sequence[Message], steps: Sequence[Message], tools: list[Any] | None = None
) -> Response:
    """What stands between the generation prompt of `messages` and the next one, once `steps` are taken.

    Raises:
        ConfigError, DataError: as `encode_response` does.
    """
    encoder = _encoder(tokenizer)
    try:
        return encoder.continued(messages, steps, tools)
    except Discontinued as error:
        raise _discontinued(encoder, error) from error
    except Unrenderable as error:
        raise DataError(str(error)) from error


def _discontinued(encoder: Encoder, error: Discontinued) -> ConfigError | DataError:
    """Whether a template that does not go on with the answer does so for no conversation, or for this one only."""
    try:
        encoder.response([{"role": "user", "content": "Hello"}], "Hello")
    except (Discontinued, Unrenderable):
        return ConfigError(str(error))
    return DataError("the base model's chat template does not add an answer after this conversation: leave it out")


def _encoder(tokenizer: Tokenizer) -> Encoder:
    """Made once for a tokenizer: its patterns cost 25 ms where there are a thousand special tokens."""
    template = getattr(tokenizer, "chat_template", None)
    known = _encoders.get(tokenizer)
    if known and known[0] == template:
        return known[1]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not template or backend is None:
        raise ConfigError(
            "the base model has no chat template: choose an instruction-tuned one"
            if not template
            else "the base model has no fast tokenizer: save it with a tokenizer.json"
        )
    names = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    try:
        encoder = Encoder(Backend.from_str(backend.to_str()), by_name(template, "the base model"), names)
    except NoChatTemplate as error:
        raise ConfigError(str(error)) from error
    _encoders[tokenizer] = template, encoder
    return encoder
