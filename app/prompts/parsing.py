"""An upload, read: valid prompts and refused lines, in the order of the file.

The same bytes with the same settings always give the same answer, so the preview and the confirmed import cannot
differ. Duplicates are judged here, because only the whole file shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.kernel.errors import BadInput
from app.kernel.settings import Settings
from app.prompts.bounded_json import Refused
from app.prompts.files import open_file
from app.prompts.importers import Importer, Limits
from app.prompts.records import ParsedPrompt, to_prompt

MAX_REFUSALS = 10_000
NAMED_REFUSALS = 100
"""How many are still named when there are more than that, and the file as a whole is refused."""


@dataclass(frozen=True)
class Refusal:
    """A line (item, row) that is not imported, and why."""

    line: int
    reason: str


def limits_of(settings: Settings) -> Limits:
    """The bounds that this installation sets."""
    return Limits(prompt_chars=settings.prompt_limit_chars, file_bytes=settings.upload_limit_bytes)


def parse(filename: str, content: bytes, limits: Limits) -> tuple[Importer, Iterator[ParsedPrompt | Refusal]]:
    """What ``content`` is, and what each of its records gives.

    Raises :class:`~app.kernel.errors.BadInput`, at once or while iterating, when the file as a whole cannot be used.
    """
    kind, rows = open_file(filename, content, limits)

    def records() -> Iterator[ParsedPrompt | Refusal]:
        first_seen = _FirstSeen(kind.unit)
        refused = 0
        named: list[dict[str, Any]] = []
        for line, value in rows:
            try:
                if isinstance(value, Refused):
                    raise value
                prompt = to_prompt(value, line, kind.unit, limits.prompt_chars, cells=kind.is_table)
                first_seen.check(prompt)
            except Refused as refusal:
                refused += 1
                if refused > MAX_REFUSALS:
                    raise _hopeless(kind.unit, named) from None
                if refused <= NAMED_REFUSALS:
                    named.append({"line": line, "reason": str(refusal)})
                yield Refusal(line, str(refusal))
            else:
                yield prompt

    return kind, records()


def _hopeless(unit: str, named: list[dict[str, Any]]) -> BadInput:
    first = named[0]
    return BadInput(
        f"More than {MAX_REFUSALS:,} {unit}s were refused, so this is probably not a file of prompts. The first: {unit} "
        f"{first['line']:,} {first['reason']}. The first {len(named)} are listed; at least "
        f"{MAX_REFUSALS + 1 - len(named):,} more are not.",
        errors=named,
        unit=unit,
    )


class _FirstSeen:
    """Where each id and each content was first, to name it when it comes again."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._ids: dict[str, int] = {}
        self._contents: dict[bytes, int] = {}

    def check(self, prompt: ParsedPrompt) -> None:
        """Note ``prompt``, or refuse it as a duplicate."""
        same_id = self._ids.get(prompt.external_id)
        if same_id is not None:
            name = prompt.external_id[:60]
            raise Refused(f'has the same id "{name}" as {self._unit} {same_id:,}: give each prompt its own id')
        same_content = self._contents.get(prompt.content_hash)
        if same_content is not None:
            raise Refused(f"has the same content as {self._unit} {same_content:,}: remove one of them")
        self._ids[prompt.external_id] = self._contents[prompt.content_hash] = prompt.line
