"""Files as texts that prompts are made of: plain text as one, JSON Lines as one a line."""

from __future__ import annotations

import json
from typing import Any

from app.kernel.errors import BadInput, refused
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.synthesis.forms import MATERIAL_CHARS


def documents_of(filename: str, content: bytes) -> list[dict[str, Any]]:
    """What a file holds, as ``[{"name", "text"}]``; a blank one holds nothing.

    A file whose name ends in ``.jsonl`` has an object in each line, with ``name`` and ``text`` (or ``path`` and ``content``, or a
    ``prompt``); every other is one text.

    Raises:
        BadInput: it is no UTF-8 text, too large, or a line is none of this.
    """
    if len(content) > 4 * MATERIAL_CHARS:
        raise _wrong(
            _(
                "{name} is too large: {most} characters is the most.",
                name=filename or _("The file"),
                most=number(MATERIAL_CHARS),
            )
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong(_("{name} is no UTF-8 text: save it as UTF-8.", name=filename or _("The file"))) from None
    if not text.strip():
        return []
    if not filename.lower().endswith(".jsonl"):
        return [{"name": filename or "text", "text": text}]
    lines = [(at, line) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [_document(filename, at, line) for at, line in lines]


def _document(filename: str, at: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise _wrong(_("Line {n} of {filename} is no JSON object.", n=number(at), filename=filename)) from None
    if isinstance(value, dict):
        text = next((value[key] for key in ("text", "content", "prompt") if isinstance(value.get(key), str)), None)
        if text is not None and text.strip():
            name = next((value[key] for key in ("name", "path", "id") if isinstance(value.get(key), str)), None)
            return {"name": name or f"{filename}:{at}", "text": text}
    raise _wrong(
        _(
            'Line {n} of {filename} has no text: write {{"name": "…", "text": "…"}}.',
            n=number(at),
            filename=filename,
        )
    )


def _wrong(message: str) -> BadInput:
    return refused("documents", message)
