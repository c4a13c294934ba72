"""Responses that a record brings: what they say, which model wrote them, and what their file says of them.

Every shape with responses is said again in one form (:class:`app.prompts.shapes.Answered`), and that form is read here. What
a file says of a response (ratings, ranks, what somebody preferred) stays beside it as it was said; nothing of it counts as a
judgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from app.kernel.locales import N_
from app.kernel.storable import flaw
from app.prompts.bounded_json import Refused, kind_of
from app.prompts.fields import Record, json_cell
from app.prompts.messages import empty
from app.prompts.restating import is_number
from training.formats.texts import shows_nothing

KEY = "responses"
MOST = 32
"""Of one prompt. A batch shows eight of them at most."""
LONGEST_MODEL = 64
"""Characters of a model's name."""
TEXT_KEYS = ("text", "content", "response", "completion", "output", "answer", "value")
MODEL_KEYS = ("model", "model_name", "model_id", "generator")
SAMPLING_KEYS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "max_tokens", "max_new_tokens", "repetition_penalty", "seed"}
)
_NOTHING: tuple[Any, ...] = (None, "", [], {})
BYTES_PER_TOKEN = 4
STOPPED = "stop"
CUT = ("length", "max_tokens")
"""Of a response that its limit of tokens cut off; of any other, and where the file says nothing, it is taken to have ended."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a file."""

    text: str
    model: str | None = None
    """None where the file names none."""
    finish_reason: str = STOPPED
    tokens: int = 0
    """As the file says, else by its length: no tokenizer of a model that is only named is at hand."""
    sampling: dict[str, Any] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    """What else the file says of it."""


def responses_of(record: Record, limit_chars: int) -> tuple[Response, ...]:
    """The responses of ``record``, taken out of it; :class:`Refused` says what is wrong with them."""
    given = json_cell(record.take(KEY), KEY)
    if empty(given):
        return ()
    if isinstance(given, dict) and all(isinstance(said, str) for said in given.values()):
        given = [{"text": said, "model": model} for model, said in given.items()]
    if not isinstance(given, list):
        raise Refused(
            N_('has "{key}" that are {kind}: make them a list of texts or of {{"text", "model"}}'),
            key=KEY,
            kind=kind_of(given),
        )
    return check_number(tuple(_response(each, at, limit_chars) for at, each in enumerate(given, 1)))


def check_number(responses: tuple[Response, ...]) -> tuple[Response, ...]:
    """The same responses, unless there are too many of them."""
    if len(responses) > MOST:
        raise Refused(N_("has {n} responses, {most} is the most: leave some out"), n=f"{len(responses):,}", most=MOST)
    return responses


def distinct(responses: Iterable[Response]) -> int:
    """How many do not look alike: white space around a text makes no other one."""
    return len({each.text.strip() for each in responses})


def named(response: Response, name: str) -> Response:
    """The response, of ``name`` where its file names no model."""
    return response if response.model is not None else replace(response, model=name)


def _response(value: Any, number: int, limit_chars: int) -> Response:
    given = {"text": value} if isinstance(value, str) else value
    if isinstance(given, list) and len(given) == 1:
        given = given[0]  # a message of the assistant, as TRL writes a response
    if not isinstance(given, Mapping):
        raise Refused(
            N_('has a response {number} that is {kind}: write text or {{"text", "model"}}'),
            number=number,
            kind=kind_of(value),
        )
    rest = {key: each for key, each in given.items() if each not in _NOTHING}
    if "tool_calls" in rest or "function_call" in rest:
        raise Refused(
            N_("has a response {number} that calls a tool: only responses of text can be imported"), number=number
        )
    for key in ("role", "from"):
        rest.pop(key, None)
    text = _text(rest, number, limit_chars)
    said_sampling = rest.pop("sampling", None)
    sampling = dict(said_sampling) if isinstance(said_sampling, dict) else {}
    for key in SAMPLING_KEYS & rest.keys():
        if is_number(rest[key]):
            sampling[key] = rest.pop(key)
    cut = rest.get("finish_reason") in CUT
    if cut or rest.get("finish_reason") == STOPPED:
        del rest["finish_reason"]
    tokens = rest.pop("completion_tokens", None)
    return Response(
        text=text,
        model=_model(rest, number),
        finish_reason=CUT[0] if cut else STOPPED,
        tokens=_count(tokens) or about(text),
        sampling=sampling,
        said=rest,
    )


def about(text: str) -> int:
    """How many tokens ``text`` has, about."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def _text(rest: dict[str, Any], number: int, limit_chars: int) -> str:
    key = next((key for key in TEXT_KEYS if key in rest), None)
    said = rest.pop(key, None) if key else None
    if isinstance(said, list) and said and all(isinstance(part, dict) and part.get("type") == "text" for part in said):
        said = "".join(str(part.get("text") or "") for part in said)
    if said is None or (isinstance(said, str) and shows_nothing(said)):
        raise Refused(N_("has a response {number} that is blank: write it or remove it"), number=number)
    if not isinstance(said, str):
        raise Refused(
            N_("has a response {number} whose text is {kind}: put it in quotes if it is meant as text"),
            number=number,
            kind=kind_of(said),
        )
    if len(said) > limit_chars:
        raise Refused(
            N_("has a response {number} of {n} characters, {limit_chars} is the most: shorten it"),
            number=number,
            n=f"{len(said):,}",
            limit_chars=f"{limit_chars:,}",
        )
    return said


def _model(rest: dict[str, Any], number: int) -> str | None:
    key = next((key for key in MODEL_KEYS if key in rest), None)
    if key is None:
        return None
    said = rest.pop(key)
    name = _name(said) if isinstance(said, str) else None
    if name is None:
        raise Refused(
            N_('has a response {number} whose "{key}" is no name: write the name of the model as text'),
            number=number,
            key=key,
        )
    if len(name) > LONGEST_MODEL:
        raise Refused(
            N_('has a response {number} whose "{key}" has {n} characters, {longest_model} is the most: shorten it'),
            number=number,
            key=key,
            n=len(name),
            longest_model=LONGEST_MODEL,
        )
    return name


@lru_cache(maxsize=256)
def _name(said: str) -> str | None:
    """The name of a model as it is stored; a file repeats a few of them a million times."""
    if shows_nothing(said) or flaw(said) or not said.isprintable():
        return None
    return " ".join(said.split())
