"""How somebody likes to read: kept with the person, and applied by the server so that nothing jumps at load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from app.kernel.locales import N_

LAYOUTS = {"side": N_("Side by side"), "stacked": N_("Stacked"), "single": N_("One at a time")}


@dataclass(frozen=True)
class Display:
    """Preferences about the judging page, with the defaults where nothing was chosen."""

    layout: str = "side"
    sync_scroll: bool = False
    raw: bool = False
    guidelines: bool | None = None
    """Whether the guidelines are open beside the work; None: never chosen, so they are where there is much room."""

    @classmethod
    def of(cls, preferences: Mapping[str, Any]) -> Display:
        """Read ``users.preferences``; what is stored wrongly does not count."""
        layout, guidelines = preferences.get("layout"), preferences.get("guidelines")
        return cls(
            layout=layout if layout in LAYOUTS else "side",
            sync_scroll=preferences.get("sync_scroll") is True,
            raw=preferences.get("raw") is True,
            guidelines=guidelines if isinstance(guidelines, bool) else None,
        )


class DisplayForm(BaseModel):
    """A change of some of them; what is not named stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["side", "stacked", "single"] | None = None
    sync_scroll: bool | None = None
    raw: bool | None = None
    guidelines: bool | None = None

    def changed(self) -> dict[str, Any]:
        """What goes into ``users.preferences``."""
        return self.model_dump(exclude_none=True)
