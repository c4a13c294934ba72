"""The prompts of a snapshot, judged or not, with what answers to them can be checked against."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data import conversations
from training.data.chat import Message
from training.data.checks import names
from training.data.left_out import UnusableError
from training.formats import snapshots
from training.formats.errors import DataError


@dataclass(frozen=True)
class Asked:
    """One prompt; a snapshot may have the same one several times, out of several batches."""

    prompt_hash: str
    prompt: tuple[Message, ...]
    tools: list[Any] | None
    split: str
    capability: str | None
    reference: str | None
    tests: Any
    verifiers: tuple[str, ...] | None  # those that check an answer; None is all that apply
    required: tuple[str, ...] | None  # those that it has to pass before it is imitated

    @property
    def is_checked(self) -> bool:
        """Whether there is anything that an answer must come to."""
        return self.reference is not None or bool(self.tests)


def read(data: Path) -> list[Asked]:
    """The prompts of a snapshot; none of a file, or of a snapshot of an earlier release.

    Raises:
        DataError: they are not what the manifest says, or a line cannot be understood.
    """
    if not (data / snapshots.PROMPTS).is_file():
        return []
    file, remedy = data / snapshots.PROMPTS, "export the snapshot again"
    try:
        if snapshots.prompts_changed(data):
            raise DataError(f"{file} has changed since it was exported (its SHA-256 differs): {remedy}")
        return [_read(row) for row in snapshots.asked(data)]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): {remedy}") from error
    except (ValueError, KeyError, TypeError, AttributeError, UnusableError) as error:
        raise DataError(f"{file}: {error!r}: {remedy}") from error


def held_out(data: Path) -> dict[str, tuple[Message, ...]]:
    """The prompts that are kept for measuring, by their hash.

    Raises:
        DataError: see :func:`read`.
    """
    return {each.prompt_hash: each.prompt for each in read(data) if each.split == "held_out"}


def _read(row: dict[str, Any]) -> Asked:
    return Asked(
        prompt_hash=row["prompt_hash"],
        prompt=conversations.messages(row["prompt"]),
        tools=row.get("tools"),
        split=row["split"],
        capability=row.get("capability"),
        reference=row.get("reference"),
        tests=row.get("tests"),
        verifiers=names(row.get("verifiers")),
        required=names(row.get("required")),
    )
