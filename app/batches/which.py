"""Which prompts of a batch an address asks for: for the page and the API alike."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from app.prompts.models import PromptState
from app.prompts.origins import Origin
from app.prompts.queries import Which


def wanted(
    state: Annotated[PromptState | None, Query(description="Only prompts in this state.")] = None,
    origin: Annotated[Origin | None, Query(description="Only prompts of this origin.")] = None,
    language: Annotated[
        str | None,
        Query(
            description="Only prompts in this language, said or detected, as a code of ISO 639-1; or `unknown`.",
            pattern="^([a-z]{2}|unknown)$",
        ),
    ] = None,
) -> Which:
    """Which prompts are listed, by the address."""
    return Which(state, origin, language)


Wanted = Annotated[Which, Depends(wanted)]
