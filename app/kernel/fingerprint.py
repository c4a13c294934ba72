"""What a request key stands for, so that a key used for something else is refused and never answered with another's text."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson


def fingerprint(asked: Any) -> bytes:
    """SHA-256 of ``asked`` (JSON values); the order of an object's names does not count."""
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()
