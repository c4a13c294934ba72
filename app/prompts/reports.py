"""What the preview of a file counts beside its prompts: the responses that came with them, and refused lines by their reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from app.prompts.records import ParsedPrompt
from app.prompts.responses import distinct

NAMED_MODELS = 50
_VARIES = re.compile(r'"[^"]*"|\d[\d,]*')
"""What differs between two sentences about the same thing: names in quotes, and numbers."""


class Came:
    """The responses of a file."""

    def __init__(self) -> None:
        self._models: Counter[str | None] = Counter()
        self._prompts = self._alone = self._most = 0

    def note(self, prompt: ParsedPrompt) -> None:
        """Count those of one prompt."""
        if not prompt.responses:
            return
        self._prompts += 1
        self._alone += distinct(prompt.responses) == 1
        self._most = max(self._most, len(prompt.responses))
        self._models.update(each.model for each in prompt.responses)

    def report(self) -> dict[str, Any]:
        """How many ``prompts`` came with responses, how many of them with one text ``alone``, the ``most`` of one; ``models``."""
        return {
            "prompts": self._prompts,
            "alone": self._alone,
            "ready": self._prompts - self._alone,
            "most": self._most,
            "count": self._models.total(),
            "models": self._models.most_common(NAMED_MODELS),
            "more_models": max(0, len(self._models) - NAMED_MODELS),
        }


def by_reason(errors: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refused lines counted by reason, most first; each with the first sentence of its kind."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for each in errors:
        kind = _VARIES.sub("…", each["reason"])
        first.setdefault(kind, each["reason"])
        counts[kind] += 1
    return [{"reason": first[kind], "count": count} for kind, count in counts.most_common()]
