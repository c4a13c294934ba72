"""Where prompts come from: the words of files, columns and filters."""

from __future__ import annotations

from enum import StrEnum


class Origin(StrEnum):
    """Where a prompt comes from. A file may say it; what people type in a dialogue is ``human``."""

    HUMAN = "human"
    IMPORTED = "imported"
    """From a file that does not say more."""
    SYNTHETIC = "synthetic"
    """Made by a program or a model (:mod:`workers.synthesis`)."""
    TRANSLATED = "translated"
    CORRECTION = "correction"
    """Asks to correct what failed a check."""
    PROBE = "probe"
    """Measures something and is nothing to learn from."""
