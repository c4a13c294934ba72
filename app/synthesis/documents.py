"""Files as texts that prompts are made of: plain text as one, JSON Lines as one a line."""

from __future__ import annotations

import json
from typing import Any

from app.kernel.errors import BadInput, refused
from app.synthesis.forms import MATERIAL_CHARS


def documents_of(filename: str, content: bytes) -> list[dict[str, Any]]:
    """What a file holds, as ``[{"name", "text"}]``; a blank one holds nothing.

    A file whose name ends in ``.jsonl`` has an object in each line, with ``name`` and ``text`` (or ``path`` and ``content``, or a
    ``prompt``); every other is one text.

    Raises:
        BadInput: it is no UTF-8 text, too large, or a line is none of this.
    """
    if len(content) > 4 * MATERIAL_CHARS:
        raise _wrong(f"{filename or 'The file'} is too large: {MATERIAL_CHARS:,} characters is the most.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong(f"{filename or 'The file'} is no UTF-8 text: save it as UTF-8.") from None
    if not text.strip():
        return []
    if not filename.lower().endswith(".jsonl"):
        return [{"name": filename or "text", "text": text}]
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [_document(filename, number, line) for number, line in lines]


def _document(filename: str, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise _wrong(f"Line {number:,} of {filename} is no JSON object.") from None
    if isinstance(value, dict):
        text = next((value[key] for key in ("text", "content", "prompt") if isinstance(value.get(key), str)), None)
        if text is not None and text.strip():
            name = next((value[key] for key in ("name", "path", "id") if isinstance(value.get(key), str)), None)
            return {"name": name or f"{filename}:{number}", "text": text}
    raise _wrong(f'Line {number:,} of {filename} has no text: write {{"name": "…", "text": "…"}}.')


def _wrong(message: str) -> BadInput:
    return refused("documents", message)
