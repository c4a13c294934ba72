"""What may go wrong with an engine, and for which requests: faults that :mod:`tests.fake_engine` plays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What goes wrong."""

    ERROR = "500"
    REFUSED = "400"
    TOOL_CALL = "tool-call"
    STALL = "stall"
    """Headers and half a body, then nothing."""
    TRUNCATED = "truncated"
    NOT_JSON = "not-json"
    EMPTY = "empty"
    NUL = "nul"
    SURROGATE = "surrogate"
    HUGE = "huge"
    HANG = "hang"
    DISCONNECT = "disconnect"
    IDENTICAL = "identical"
    WRONG_COUNT = "wrong-count"
    NO_USAGE = "no-usage"
    UNFINISHED = "unfinished"


@dataclass
class Fault:
    """``mode`` for requests whose prompt contains ``match``, ``times`` times (None: for ever)."""

    mode: Mode
    match: str = ""
    times: int | None = None
