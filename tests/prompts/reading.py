"""Short words for reading a file in tests."""

from __future__ import annotations

import json

import pytest

from app.kernel.errors import BadInput
from app.prompts.importers import Limits
from app.prompts.parsing import Refusal, parse
from app.prompts.records import ParsedPrompt

LIMITS = Limits(prompt_chars=200_000, file_bytes=64 * 1024 * 1024)
USER = {"role": "user", "content": "Why?"}
ASSISTANT = {"role": "assistant", "content": "Because."}


def read(content: bytes, name: str = "x.jsonl", limits: Limits = LIMITS) -> list[ParsedPrompt | Refusal]:
    return list(parse(name, content, limits)[1])


def line(record: object) -> bytes:
    return json.dumps(record).encode() + b"\n"


def one(record: object) -> ParsedPrompt:
    (parsed,) = read(line(record))
    assert isinstance(parsed, ParsedPrompt), parsed
    return parsed


def reason(content: bytes, name: str = "x.jsonl") -> str:
    (refusal,) = read(content, name)
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason


def refused_file(content: bytes, name: str) -> str:
    with pytest.raises(BadInput) as caught:
        read(content, name)
    return caught.value.message
