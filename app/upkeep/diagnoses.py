"""What `corral doctor` says of one thing: how bad it is, what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """``warn``: it works, with less. ``fail``: something does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Diagnosis:
    """One line of the table; what is not ok has a remedy."""

    level: Level
    subject: str
    found: str
    remedy: str = ""


def ok(subject: str, found: str) -> Diagnosis:
    """All is well."""
    return Diagnosis(Level.OK, subject, found)


def warn(subject: str, found: str, remedy: str) -> Diagnosis:
    """It works, with less."""
    return Diagnosis(Level.WARN, subject, found, remedy)


def fail(subject: str, found: str, remedy: str) -> Diagnosis:
    """It does not work."""
    return Diagnosis(Level.FAIL, subject, found, remedy)
