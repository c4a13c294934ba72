"""The languages of prompts of which nobody said it: what waits to be looked at, and what a worker takes them to be.

A detection stands beside what files and batches say and never in its place. It is made after the import, by a worker that
has the model of languages; looked at twice, a prompt gets the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.prompts.models import Batch, Prompt

PAGE = 200
"""Prompts that are looked at in one transaction: a fraction of a second."""
_UNKNOWN = Prompt.language.is_(None) & Prompt.language_detected.is_(None)


@dataclass(frozen=True)
class Waiting:
    """A prompt of which nobody knows the language."""

    id: int
    messages: list[dict[str, Any]]

    @property
    def texts(self) -> list[str]:
        """What the user says, the last first."""
        return [said["content"] for said in reversed(self.messages) if said["role"] == "user"]


@dataclass(frozen=True)
class Detected:
    """A prompt with what it is taken to be in; None could not be told."""

    prompt_id: int
    code: str | None


def waiting(session: Session, *, after: int = 0, most: int = PAGE) -> list[Waiting]:
    """The next prompts that nobody has looked at, by id."""
    query = select(Prompt.id, Prompt.messages).where(_UNKNOWN, Prompt.id > after).order_by(Prompt.id).limit(most)
    return [Waiting(key, messages) for key, messages in session.execute(query)]


def record(session: Session, found: Sequence[Detected]) -> dict[int, str]:
    """Note what was found. The codes by prompt that decide its language, because neither file nor batch says one."""
    decides: dict[int, str] = {}
    for each in found:
        noted = session.execute(
            update(Prompt)
            .where(Prompt.id == each.prompt_id, _UNKNOWN)
            .values(language_detected=each.code or "")
            .returning(Prompt.batch_id)
            .execution_options(synchronize_session=False)
        ).scalar_one_or_none()
        if noted is not None and each.code:
            decides[each.prompt_id] = each.code
    silent = select(Prompt.id).join(Batch).where(Prompt.id.in_(decides), Batch.language.is_(None))
    kept = set(session.scalars(silent.where(Prompt.dialogue_id.is_(None))))
    return {key: code for key, code in decides.items() if key in kept}
