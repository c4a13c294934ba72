"""The reader's time zone, which their browser names in a cookie: a day is theirs (see ``static/js/base.js``)."""

from __future__ import annotations

from datetime import tzinfo
from zoneinfo import ZoneInfo

from fastapi import Request

COOKIE = "zone"


def zone_of(request: Request) -> tzinfo | None:
    """The time zone that the reader's browser names; ``None`` where it names none, or one that there is not."""
    return zone_named(request.cookies.get(COOKIE, ""))


def zone_named(name: str) -> tzinfo | None:
    """The time zone of a name ("Asia/Tokyo"); ``None`` where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a name that no file could have, a folder, a zone that is not installed
        return None
