"""Why an item may be skipped: the reasons that are offered, by what is asked of it. They are stored in English."""

from __future__ import annotations

from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts.models import BatchTask

_ANY = (
    N_("I do not know enough about this topic"),
    N_("I do not read this language well enough"),
    N_("The prompt makes no sense"),
)
SKIPS = {
    BatchTask.COMPARE: (
        *_ANY,
        N_("The prompt or a response is offensive or private"),
        N_("A response is not displayed properly"),
    ),
    BatchTask.WRITE: (*_ANY, N_("The prompt is offensive or private")),
    BatchTask.STEPS: (
        *_ANY,
        N_("The prompt or the response is offensive or private"),
        N_("The response has no steps"),
    ),
}
REASONS = tuple(dict.fromkeys(reason for reasons in SKIPS.values() for reason in reasons))
"""All of them, once each."""


def in_words(said: str) -> str:
    """A stored reason for its reader: what was offered in their language, what was written beside it as it is."""
    offered, colon, more = said.partition(": ")
    return f"{_(offered)}{colon}{more}" if offered in REASONS else said
