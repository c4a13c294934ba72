"""An upload, read: valid prompts and refused lines, in the order of the file.

The same bytes with the same settings always give the same answer, so the preview and the confirmed import cannot
differ. Duplicates are judged here, because only the whole file shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.kernel import stored_words
from app.kernel.errors import BadInput
from app.kernel.locales import N_, number
from app.kernel.locales import gettext as _
from app.kernel.settings import Settings
from app.prompts.bounded_json import Refused
from app.prompts.fields import keep
from app.prompts.files import open_file
from app.prompts.importers import Importer, Limits
from app.prompts.records import ParsedPrompt, to_prompts
from app.prompts.responses import Response, check_number
from app.prompts.restating import PREFERENCE
from app.prompts.units import counted, place

MAX_REFUSALS = 10_000
NAMED_REFUSALS = 100
"""How many are still named when there are more than that, and the file as a whole is refused."""


MOST_HELD = 100_000
"""Prompts with responses: they are held until the end of the file, and small ones take fifty times their bytes."""
LINE = "line"
"""Of a response whose row prefers it to others, where several rows have its prompt."""


_TWIN = N_("has the same content as {place}: remove one of them")


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
        seen = _Seen(kind.unit)
        refused = 0
        named: list[dict[str, Any]] = []
        for line, value in rows:
            for given in _of_row(value, line, kind, limits):
                prompt = seen.take(given)
                if isinstance(prompt, Refused):
                    refused += 1
                    if refused > MAX_REFUSALS:
                        raise _hopeless(kind.unit, named)
                    if refused <= NAMED_REFUSALS:
                        named.append({"line": line, "reason": str(prompt)})
                    yield Refusal(line, str(prompt))
                elif prompt is not None:
                    yield prompt
        yield from seen.held()

    return kind, records()


def _of_row(value: Any, line: int, kind: Importer, limits: Limits) -> list[ParsedPrompt | Refused]:
    if isinstance(value, Refused):
        return [value]
    try:
        return to_prompts(value, line, kind.unit, limits.prompt_chars, cells=kind.is_table)
    except Refused as refusal:
        return [refusal]


def _hopeless(unit: str, named: list[dict[str, Any]]) -> BadInput:
    first = named[0]
    return BadInput(
        _(
            "More than {lines} were refused, so this is probably not a file of prompts. The first: {place} {reason}. "
            "The first {listed} are listed; at least {more} more are not.",
            lines=counted(unit, MAX_REFUSALS),
            place=place(unit, first["line"]),
            reason=stored_words.said(first["reason"]),
            listed=len(named),
            more=number(MAX_REFUSALS + 1 - len(named)),
        ),
        errors=named,
        unit=unit,
    )


class _Seen:
    """Where each id and each content was first, to name it when it comes again.

    Prompts with responses are held until the end of the file: it may have a row for each response, or for each pair of them.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._ids: dict[str, int] = {}
        self._contents: dict[bytes, int] = {}
        self._held: dict[bytes, ParsedPrompt] = {}

    def take(self, given: ParsedPrompt | Refused) -> ParsedPrompt | Refused | None:
        """``given``, or the refusal of a duplicate; None of a prompt that is held."""
        if isinstance(given, Refused):
            return given
        first = self._held.get(given.content_hash) if given.responses else None
        try:
            if first is None:
                self._check(given)
            else:
                given = self._join(first, given)
        except Refused as refusal:
            return refusal
        if not given.responses:
            return given
        self._held[given.content_hash] = given
        if len(self._held) > MOST_HELD:
            raise BadInput(_("The file has more than {most} prompts with responses: split it.", most=number(MOST_HELD)))
        return None

    def held(self) -> Iterator[ParsedPrompt]:
        """Those with responses, in the order of their first rows."""
        yield from self._held.values()

    def _check(self, prompt: ParsedPrompt) -> None:
        same_id = self._ids.get(prompt.external_id)
        if same_id is not None:
            name = prompt.external_id[:60]
            raise Refused(
                N_('has the same id "{name}" as {place}: give each prompt its own id'),
                name=name,
                place=self._place(same_id),
            )
        same_content = self._contents.get(prompt.content_hash)
        if same_content is not None:
            raise Refused(_TWIN, place=self._place(same_content))
        self._ids[prompt.external_id] = self._contents[prompt.content_hash] = prompt.line

    def _place(self, line: int) -> str:
        return f"{self._unit} {line:,}"

    def _join(self, first: ParsedPrompt, more: ParsedPrompt) -> ParsedPrompt:
        """One prompt of two rows; a row that says nothing new is refused."""
        if (first.responses, first.metadata) == (more.responses, more.metadata):
            raise Refused(_TWIN, place=self._place(first.line))
        said = dict(first.metadata)
        for key, value in more.metadata.items():
            if isinstance(value, list) and isinstance(said.get(key), list):
                said[key] = [*said[key], *value]
            else:
                keep(said, key, value)
        return replace(first, responses=_joined(first, more), metadata=said)


def _joined(first: ParsedPrompt, more: ParsedPrompt) -> tuple[Response, ...]:
    """The responses of two rows with one prompt. What a row prefers says so with its line: it is said of that row's alone."""
    kept = list(first.responses)
    known = {(each.model, each.text) for each in kept if PREFERENCE not in each.said}
    kept += [_of_line(each, more.line) for each in more.responses if (each.model, each.text) not in known]
    return check_number(tuple(_of_line(each, first.line) for each in kept))


def _of_line(response: Response, line: int) -> Response:
    if PREFERENCE not in response.said or LINE in response.said:
        return response
    return replace(response, said={**response.said, LINE: line})
