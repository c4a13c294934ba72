"""Texts in a CSV that no spreadsheet takes for formulas, and that come back as they were.

A spreadsheet executes a cell that begins with ``= + - @``, and one whose program takes semicolons, tabs or line breaks for
the ends of cells finds such a beginning inside a text. So a ``'`` is put before each of these characters where a text begins
or where one of ``; tab CR LF`` stands before it, and before a ``'`` that stands there itself. Who reads the file takes out one
``'`` at each of these places (:func:`read_text`).
"""

from __future__ import annotations

import re

FORMULA = "'=+\\-@＝＋－＠"
BEGINS = re.compile(rf"\A(?=[{FORMULA}\t\r\n])|(?<=[;\t\r\n])(?=[{FORMULA}])")
WRITTEN = re.compile(r"(\A|[;\t\r\n])'")


def cell_text(text: str) -> str:
    """A text as it stands in a cell."""
    return BEGINS.sub("'", text)


def read_text(cell: str) -> str:
    """The text of a cell."""
    return WRITTEN.sub(r"\1", cell)
