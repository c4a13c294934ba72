"""What a promise between rows is to the audit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A query for broken rows: column ``id``, and what ``what`` names in braces."""

    table: str
    what: str
    remedy: str
    query: str
