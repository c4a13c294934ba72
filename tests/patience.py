"""How tests wait: for what they wait for, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds until a test gives up. On a busy machine anything may take long, and a test that passes waits for none of them."""


def eventually(look: Callable[[], T | None], within: float, what: str) -> T:
    """Call ``look`` until it gives something true; fail after ``within`` seconds, saying ``what`` never came."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:.0f} s: {what}")
        time.sleep(0.05)
