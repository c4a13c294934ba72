"""A folder as one file: the rows, a card that describes them, and what the tool of the shape reads beside them.

The rows are Parquet, whose types no tool has to guess, and one JSON list where the tool reads that. The card is a dataset card
of the Hugging Face hub, so that ``datasets.load_dataset`` reads the unpacked folder.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import orjson

from app.kernel.locales import N_
from app.preferences.exporters import json, parquet
from app.preferences.exporters.kinds import FILE, Content, FileFormat

CARD = "README.md"


def _write(content: Content) -> Iterator[bytes]:
    name, form = ("records.json", json.write) if content.shape.one_list else ("preferences.parquet", parquet.write)
    pipe = parquet.Pipe()
    with zipfile.ZipFile(pipe, "w") as folder:
        with folder.open(name, "w", force_zip64=True) as file:
            for chunk in form(content):
                file.write(chunk)
                yield pipe.take()
        for beside, body in content.shape.beside.items():
            folder.writestr(beside, orjson.dumps(_named(body, name), option=orjson.OPT_INDENT_2))
        folder.writestr(CARD, content.card(name))
    yield pipe.take()


def _named(body: Any, name: str) -> Any:
    if isinstance(body, dict):
        return {key: _named(value, name) for key, value in body.items()}
    return name if body == FILE else body


FORMAT = FileFormat(
    label=N_("Zip"),
    purpose=N_(
        "The zip is a folder with the rows as its tool reads them, a dataset card, and what else that tool needs."
    ),
    media_type="application/zip",
    schema={"type": "string", "format": "binary"},
    write=_write,
)
