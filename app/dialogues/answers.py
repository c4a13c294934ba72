"""Whether two finished answers can be compared, and why not."""

from __future__ import annotations

from collections.abc import Sequence

from app.candidates import live_pace
from app.candidates.models import LiveGeneration, LiveState
from app.kernel.locales import gettext as _


def is_usable(reply: LiveGeneration, length: int | None) -> bool:
    """Whether there is a text to judge; one that was stopped counts with what had come of both: ``length`` characters."""
    return reply.state in {LiveState.DONE, LiveState.STOPPED} and bool(reply.text[:length].strip())


def problem_of(replies: Sequence[LiveGeneration]) -> str | None:
    """Why finished answers cannot be compared; None when they can."""
    length = live_pace.shared_length(replies)
    broken = sum(not is_usable(reply, length) for reply in replies)
    if broken == 1:
        return _("An answer could not be generated, or came out empty: ask again.")
    if broken:
        return _("Both answers could not be generated, or came out empty: ask again.")
    if len({reply.text[:length].strip() for reply in replies}) < len(replies):
        return _("Both answers are identical, so there is nothing to compare: ask for another one.")
    return None
