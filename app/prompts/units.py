"""What the records of a file are counted in, in sentences for people: lines, items or rows."""

from __future__ import annotations

from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext, number


def counted(unit: str, count: int) -> str:
    """So many of them: "3 lines"."""
    if unit == "line":
        return ngettext("{n} line", "{n} lines", count)
    if unit == "item":
        return ngettext("{n} item", "{n} items", count)
    return ngettext("{n} row", "{n} rows", count)


def place(unit: str, at: int) -> str:
    """One of them: "line 3"."""
    if unit == "line":
        return _("line {n}", n=number(at))
    if unit == "item":
        return _("item {n}", n=number(at))
    return _("row {n}", n=number(at))
