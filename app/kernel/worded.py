"""Enums whose values are words that people read."""

from __future__ import annotations

from enum import StrEnum

from app.kernel.locales import gettext


class Worded(StrEnum):
    """Each value is marked where it stands: ``OPEN = N_("open")``. It is stored and sent in English."""

    @property
    def label(self) -> str:
        """What pages call it."""
        return gettext(self.value)
