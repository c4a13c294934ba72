"""Responses behind their prompts, one a line, for what reads and does not write: features and scores."""

import json
from pathlib import Path
from typing import Any

from training.data.chat import Tokenizer, encode_chat, encode_response
from training.formats.errors import ConfigError, DataError


def read(file: Path) -> list[dict[str, Any]]:
    """The responses of a file, one a line with its prompt and tools.

    Raises:
        DataError: it cannot be read, or a line says no prompt or no response.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
                rows.append({"prompt": row["prompt"], "tools": row.get("tools"), "response": row["response"]})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{file}, line {number}: {error!r}: it takes prompt and response") from error
    return rows


def encoded(tokenizer: Tokenizer, row: dict[str, Any], max_length: int) -> tuple[list[int], int]:
    """The token ids of a conversation, and how many of the last ones are the response; none where it cannot be rendered."""
    try:
        prompt = encode_chat(tokenizer, row["prompt"], add_generation_prompt=True, tools=row["tools"])
        response = encode_response(tokenizer, row["prompt"], row["response"], row["tools"]).ids[:max_length]
    except (DataError, ConfigError):
        return [], 0
    return (prompt + response)[-max_length:], len(response)
