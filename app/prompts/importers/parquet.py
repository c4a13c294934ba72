"""Parquet, which is read in a process of its own (:mod:`app.prompts.tables`)."""

from __future__ import annotations

from functools import partial

from app.kernel.locales import gettext as _
from app.prompts import tables
from app.prompts.importers import Importer

SIGNATURE = b"PAR1"


def _why_not(content: bytes, _suffix: str) -> str | None:
    begun = content.startswith(SIGNATURE)
    if begun and content.endswith(SIGNATURE):
        return None
    if begun:
        return _("This looks like a Parquet file that was cut off, but its name says Parquet: save it as Parquet.")
    if b"\0" not in content[:4096]:
        return _("This looks like text, but its name says Parquet: save it as Parquet.")
    return _("This looks like data, but its name says Parquet: save it as Parquet.")


IMPORTER = Importer(
    name=tables.PARQUET,
    suffixes=(".parquet",),
    unit="row",
    why_not=_why_not,
    rows=partial(tables.rows, tables.PARQUET),
    is_text=False,
    is_table=True,
    signature=SIGNATURE,
    place=4,
)
