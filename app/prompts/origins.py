"""Where prompts come from: the words of files, columns and filters."""

from __future__ import annotations

from app.kernel.locales import N_
from app.kernel.worded import Worded


class Origin(Worded):
    """Where a prompt comes from. A file may say it; what people type in a dialogue is ``human``."""

    HUMAN = N_("human")
    IMPORTED = N_("imported")
    """From a file that does not say more."""
    SYNTHETIC = N_("synthetic")
    """Made by a program or a model (:mod:`workers.synthesis`)."""
    TRANSLATED = N_("translated")
    CORRECTION = N_("correction")
    """Asks to correct what failed a check."""
    PROBE = N_("probe")
    """Measures something and is nothing to learn from."""
