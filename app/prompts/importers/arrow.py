"""Arrow, a stream or a file: what ``datasets`` saves to disk. It is read in a process of its own (:mod:`app.prompts.tables`)."""

from __future__ import annotations

from functools import partial

from app.kernel.locales import gettext as _
from app.prompts import tables
from app.prompts.importers import Importer

STREAM = b"\xff\xff\xff\xff"


def _why_not(content: bytes, _suffix: str) -> str | None:
    if content.startswith((STREAM, tables.ARROW_FILE)):
        return None
    return _("This does not look like Arrow, but its name says so: save it as Parquet.")


IMPORTER = Importer(
    name=tables.ARROW,
    suffixes=(".arrow",),
    unit="row",
    why_not=_why_not,
    rows=partial(tables.rows, tables.ARROW),
    is_text=False,
    is_table=True,
    signature=(STREAM, tables.ARROW_FILE),
    place=5,
)
