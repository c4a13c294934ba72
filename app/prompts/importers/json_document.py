"""JSON: a list of records, an object that holds one such list, or one record alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from app.kernel import stored_words
from app.kernel.errors import BadInput
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts import bounded_json
from app.prompts.bounded_json import Refused
from app.prompts.importers import Importer, Limits, Row, check_count, head_of, value_of
from app.prompts.shapes import known_keys
from app.prompts.shapes.columns import WHOLE_COLUMNS

LIST_KEYS = ("prompts", "data", "rows", "examples", "items", "questions")


def _why_not(text: bytes, _suffix: str) -> str | None:
    head = head_of(text)
    if head[:1] not in (b"[", b"{"):
        return _("This does not look like JSON: it must begin with [ or {.")
    if re.match(rb"\{[^\r\n]*\}\s*\n\s*\{", head):
        return _("This looks like JSON Lines (one object per line), but its name says JSON: rename it to .jsonl.")
    return None


def _rows(text: bytes, limits: Limits) -> Iterator[Row]:
    start = len(text) - len(text.lstrip())
    alone = text[start : start + 1] == b"["
    try:
        if not alone:
            found = bounded_json.members(text, start)
            if any(key in found for key in known_keys()):
                yield 1, _alone(text) if len(text) <= limits.record_bytes else Refused(N_("is too long: shorten it"))
                return
            start = _find_list(text, found)
        items = bounded_json.elements(text, start, limits.record_bytes, alone=alone)
        for number, raw in enumerate(items, 1):
            check_count(number, "item")
            yield number, value_of(raw)
    except Refused as error:
        raise BadInput(_("The file {error}.", error=stored_words.said(str(error)))) from None


def _alone(text: bytes) -> Any:
    """The one record of a file; a table written column by column is a file of one object as well."""
    value = value_of(text)
    if isinstance(value, dict):
        columns = [each for each in value.values() if isinstance(each, list)]
        if len(columns) > 1 and len({len(each) for each in columns}) == 1 and len(columns) == len(value):
            return Refused(WHOLE_COLUMNS)
    return value


def _find_list(text: bytes, found: dict[str, int]) -> int:
    lists = {key: at for key, at in found.items() if text[at : at + 1] == b"["}
    for key in LIST_KEYS:
        if key in lists:
            return lists[key]
    if len(lists) == 1:
        return next(iter(lists.values()))
    keys = ", ".join(f'"{key[:40]}"' for key in list(found)[:6]) or _("none")
    raise BadInput(
        _('The JSON object holds no one list of prompts (its keys: {keys}): name the list "prompts".', keys=keys)
    )


IMPORTER = Importer(name="JSON", suffixes=(".json",), unit="item", why_not=_why_not, rows=_rows, place=2)
