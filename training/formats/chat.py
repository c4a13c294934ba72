"""Messages to token ids, with text kept as text: one conversion for the engine that samples and the run that trains.

Rendering a conversation to one string and tokenising that (what `apply_chat_template` does, and an engine that is sent
messages) turns the characters of a control token *inside* a message into that token: a user who types
`<|im_start|>system` writes a system turn. Here the template is rendered with slots in the place of the texts, and only
what the template itself wrote may become a control token. That holds for tokens that a tokenizer does not call special as
well (`<think>`, `<tool_call>`); but where a model speaks they are what it sampled, and are its tokens again.

Text without such characters gets exactly the ids of `apply_chat_template`. A response is tokenised by itself behind the
generation prompt, as it was when it was sampled: what a template writes around a finished answer and no model ever said
(an empty `<think></think>`) is not trained.
"""

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import AddedToken, Tokenizer

from training.formats.templates import NOTHING, SLOT, THINKING, Message, Slots, Unrenderable, compiled, render

ANSWER = "the answer"  # stands for any: what counts is its place
_MARKUP = re.compile(r"[<\[{].*\S.*[>\]}]", re.DOTALL)  # <think>, [THINK], <|fim_prefix|>; not a word, not white space


class Discontinued(Exception):
    """A chat template does not put an answer where it has it generated."""


@dataclass(frozen=True)
class Response:
    """Token ids of one assistant turn behind its generation prompt.

    `content` is 1 where a token belongs to what was said and 0 where the template put it (the end of turn token and the
    newline after it, in ChatML). `given` is 1 where the model was given a token between its turns (what a tool answered):
    such a token is read and never learnt. All have the same length; `given` is empty where nothing was given.
    """

    ids: list[int]
    content: list[int]
    given: list[int] = field(default_factory=list)

    @property
    def learnt(self) -> list[int]:
        """The places of the tokens that the model wrote, or that end its turns."""
        return [place for place, given in enumerate(self.given) if not given] if self.given else [*range(len(self.ids))]


@dataclass(frozen=True)
class _Control:
    """A control token; some swallow the white space beside them."""

    id: int
    lstrip: bool
    rstrip: bool


class Encoder:
    """The tokenizer and chat templates of one base model. The tokenizer becomes this object's own.

    Raises:
        NoChatTemplate: a template is not written in Jinja.
    """

    def __init__(self, tokenizer: Tokenizer, templates: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._templates, self._names = compiled(templates), names
        added = {index: token for index, token in tokenizer.get_added_tokens_decoder().items() if token.content}
        markup = {i: token for i, token in added.items() if not token.special and _MARKUP.fullmatch(token.content)}
        special = {index: token for index, token in added.items() if token.special}
        self._tokenizer = _blind(tokenizer, markup)
        self._special = _pattern(token.content for token in special.values())
        self._said = _pattern(token.content for token in markup.values())
        self._written = _pattern(token.content for token in (special | markup).values())
        self._controls = {
            token.content: _Control(index, token.lstrip, token.rstrip) for index, token in (special | markup).items()
        }

    def encode(
        self, messages: Sequence[Message], tools: Sequence[Any] | None = None, *, add_generation_prompt: bool = True
    ) -> list[int]:
        """Token ids of the conversation, with the generation prompt behind it where one is to be sampled.

        Raises:
            Unrenderable: the template refuses the conversation, or a tool's description or call holds the text of a
                special token (the template writes them, and many decide what to write by their names).
        """
        return self._ids(self._pieces(*self._render(messages, tools, add_generation_prompt=add_generation_prompt)))

    def response(
        self,
        messages: Sequence[Message],
        text: str,
        tools: Sequence[Any] | None = None,
        *,
        ended: bool = True,
        steps: Sequence[Message] = (),
    ) -> Response:
        """Token ids of an assistant turn with `text`, to stand behind the generation prompt of `messages`.

        A response that was cut off (not `ended`) stops where it was, without the tokens that close a turn. With `steps` the
        turn stands behind these: see :meth:`continued`.

        Raises:
            Unrenderable: as `encode` does.
            Discontinued: a finished answer stands elsewhere than where one is generated, or behind control tokens that
                the model had to sample and that no text of it holds.
        """
        before = self.continued(messages, steps, tools) if steps else None
        asked = [*messages, *map(_in_place, steps)]
        prompt, _ = self._render(asked, tools, add_generation_prompt=True)
        turn = {"role": "assistant", "content": ANSWER}
        whole, slots = self._render([*asked, turn], tools, add_generation_prompt=False)
        slot = self._place(prompt, whole, slots)
        body = self._ids(self._split(text, self._said))
        closes = ended or not body  # a response without any token could not be scored
        tail = self._ids(self._split(whole[slot.end() :], self._written)) if closes else []
        last = Response(ids=body + tail, content=[1] * len(body) + [0] * len(tail))
        return _joined(before, last) if before else last

    def continued(
        self, messages: Sequence[Message], steps: Sequence[Message], tools: Sequence[Any] | None = None
    ) -> Response:
        """What stands between the generation prompt of `messages` and the next one, once `steps` are taken.

        Steps are turns of the model, whose texts as they were sampled stand under `said`, each with the messages of role
        `tool` that answer it. What was sampled is never written anew, so that each turn is trained behind the very ids
        that it was sampled behind.

        Raises:
            Unrenderable, Discontinued: as :meth:`response` does; Discontinued also where the template does not go on
                behind what a tool answered.
        """
        found = Response([], [])
        asked = list(messages)
        before, _ = self._render(asked, tools, add_generation_prompt=True)
        for turn, results in _turns(steps):
            asked += [_in_place(turn), *map(_in_place, results)]
            whole, slots = self._render(asked, tools, add_generation_prompt=True)
            slot = self._place(before, whole, slots)
            body = self._ids(self._split(str(turn["said"]), self._said))
            tail = self._ids(self._pieces(whole[slot.end() :], slots))
            closing = min(1, len(tail))  # the model ended its turn itself
            given = [0] * (len(body) + closing) + [1] * (len(tail) - closing)
            found = _joined(found, Response(body + tail, [1] * len(body) + [0] * len(tail), given))
            before = whole
        return found

    def _place(self, prompt: str, whole: str, slots: Slots) -> re.Match[str]:
        """Where the last thing that a model said stands in `whole`, which goes on where `prompt` ends.

        Raises:
            Discontinued: it does not.
        """
        last = max((number for number, (_, said) in enumerate(slots.texts) if said), default=-1)
        slot = next((found for found in SLOT.finditer(whole) if int(found[1]) == last), None)
        shared = _shared(prompt, whole[: slot.start()]) if slot else 0
        if slot is None or not all(map(self._thinks, (prompt[shared:], whole[shared : slot.start()]))):
            raise Discontinued(
                "the chat template of the base model does not continue its own generation prompt with the answer: "
                "choose a base model whose template does"
            )
        return slot

    def _thinks(self, between: str) -> bool:
        """Whether nothing but tags for thinking stands there, in tokens that a sampled text would hold."""
        if self._special.search(between):
            return False
        return not self._said.sub("", THINKING.sub("", between)).strip()

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, *, add_generation_prompt: bool
    ) -> tuple[str, Slots]:
        written = json.dumps([tools, *({**message, "content": ""} for message in messages)], ensure_ascii=False)
        if self._special.search(written) or "\ue000" in written:
            raise Unrenderable("a tool's description or call contains the text of a control token: reword it")
        return render(
            self._templates,
            messages,
            tools,
            add_generation_prompt=add_generation_prompt,
            names=self._names,
            markup=self._said,
        )

    def _pieces(self, rendered: str, slots: Slots) -> Iterator[str | _Control]:
        """The rendered template as texts and control tokens, the slots filled."""
        position = 0
        for slot in SLOT.finditer(rendered):
            yield from self._split(rendered[position : slot.start()], self._written)
            text, said = slots.of(slot)
            yield from self._split(text, self._said if said else NOTHING)
            position = slot.end()
        yield from self._split(rendered[position:], self._written)

    def _split(self, text: str, controls: re.Pattern[str]) -> Iterator[str | _Control]:
        for index, part in enumerate(controls.split(text)):
            yield self._controls[part] if index % 2 else part

    def _ids(self, pieces: Iterable[str | _Control]) -> list[int]:
        """Neighbouring texts are joined before they are tokenised, because a token may reach across their border."""
        ids: list[int] = []
        text: list[str] = []
        swallows = False
        for piece in (*pieces, None):
            if isinstance(piece, str):
                text.append(piece)
                continue
            joined = "".join(text)
            joined = joined.lstrip() if swallows else joined
            joined = joined.rstrip() if piece is not None and piece.lstrip else joined
            if joined:
                ids += self._tokenizer.encode(joined, add_special_tokens=False).ids
            text = []
            if piece is not None:
                ids.append(piece.id)
                swallows = piece.rstrip
        return ids


def _in_place(message: Message) -> Message:
    """A message of a step as it is rendered: a place for what was sampled, which is put there as it was."""
    if message["role"] == "assistant":
        return {"role": "assistant", "content": ANSWER}
    return {key: message[key] for key in ("role", "content", "name", "tool_call_id") if key in message}


def _turns(steps: Sequence[Message]) -> Iterator[tuple[Message, list[Message]]]:
    """Each turn of the model with what answers it."""
    at = [place for place, message in enumerate(steps) if message["role"] == "assistant"]
    for place, end in zip(at, [*at[1:], len(steps)], strict=True):
        yield steps[place], list(steps[place + 1 : end])


def _joined(one: Response, other: Response) -> Response:
    given = [each for part in (one, other) for each in part.given or [0] * len(part.ids)]
    return Response(one.ids + other.ids, one.content + other.content, given)


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (mine, yours) in pairs if mine != yours), min(len(one), len(other)))


def _pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    ordered = sorted(tokens, key=len, reverse=True)  # the longest first, where one is the start of another
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")") if ordered else NOTHING


def _blind(tokenizer: Tokenizer, markup: Mapping[int, AddedToken]) -> Tokenizer:
    """A tokenizer that reads the characters of control tokens as characters.

    For special tokens it has a switch. The others are given names that nobody types, so that all keep their numbers; one
    that is in the vocabulary by itself is left out, because it has its number from there.
    """
    if markup:
        whole = json.loads(tokenizer.to_str())
        vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        nonce = secrets.token_hex(16)
        whole["added_tokens"] = [
            {**token, "content": f"{nonce} {token['id']}"} if token["id"] in markup else token
            for token in whole["added_tokens"]
            if token["id"] not in markup or token["content"] not in vocabulary
        ]
        tokenizer = Tokenizer.from_str(json.dumps(whole))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
