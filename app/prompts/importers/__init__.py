"""The formats of files that can be imported, one module each; :func:`importers` lists them.

A new format is a new module here that defines ``IMPORTER``. The upload, its page, the API and their sentences follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.kernel.errors import BadInput
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.registries import members
from app.prompts import archives, bounded_json
from app.prompts.bounded_json import Refused
from app.prompts.units import counted

MAX_RECORDS = 1_000_000

Row = tuple[int, Any]
"""The record's number, and its value or the :class:`Refused` that says why it has none."""


@dataclass(frozen=True)
class Limits:
    """Bounds on one upload."""

    prompt_chars: int
    file_bytes: int

    @property
    def record_bytes(self) -> int:
        """The longest record: the longest prompt with each character as two JSON escapes of six bytes, and some more."""
        return 12 * self.prompt_chars + 256 * 1024


@dataclass(frozen=True)
class Importer:
    """One format of files."""

    name: str
    suffixes: tuple[str, ...]
    """In lower case, with the dot. The first is the one that people are told."""
    unit: str
    """What its records are counted in, from 1."""
    why_not: Callable[[bytes, str], str | None]
    """Of a file's content and its name's suffix: one sentence that says why it is not of this format, with the remedy."""
    rows: Callable[[bytes, Limits], Iterator[Row]]
    """The records of a file of which ``why_not`` has nothing to say. :class:`~app.kernel.errors.BadInput` while iterating:
    the file as a whole cannot be used."""
    is_text: bool = True
    """Whether ``why_not`` and ``rows`` are given UTF-8 without a byte order mark, whatever the file was written in."""
    is_table: bool = False
    """Whether its records have cells, in which a list or object may stand as JSON text."""
    signature: bytes | tuple[bytes, ...] | None = None
    """First bytes that no file of another format has."""
    place: int = 100
    """Where it stands in lists."""


@cache
def importers() -> dict[str, Importer]:
    """All formats by name, in the order of lists."""
    return members(__name__, __path__, "IMPORTER", Importer)


def importer_of(suffix: str) -> Importer | None:
    """The format of names that end in ``suffix`` (lower case, with the dot)."""
    return next((each for each in importers().values() if suffix in each.suffixes), None)


def names() -> str:
    """The formats, as a sentence lists them."""
    return _either(list(importers()))


def endings() -> str:
    """The suffix of each format, as a sentence lists them."""
    return _either([each.suffixes[0] for each in importers().values()])


def accepted() -> str:
    """All suffixes, as ``accept`` of a file field has them."""
    return ",".join([*(suffix for each in importers().values() for suffix in each.suffixes), *archives.SUFFIXES])


def _either(words: list[str]) -> str:
    return _("{first} or {last}", first=", ".join(words[:-1]), last=words[-1])


# ── For the modules ──────────────────────────────────────────────────────────────────────────────────────────────────
def head_of(text: bytes) -> bytes:
    """As much of ``text`` as tells a format, without the space before it."""
    return text[:65536].lstrip()


def value_of(raw: bytes) -> Any:
    """What the JSON in ``raw`` says, or the :class:`Refused` that says why it says nothing."""
    try:
        return bounded_json.loads(raw)
    except Refused as refusal:
        return refusal


def too_long(limits: Limits) -> Refused:
    """Of a record that is longer than :attr:`Limits.record_bytes`."""
    return Refused(N_("is longer than {most} bytes: shorten it"), most=f"{limits.record_bytes:,}")


def check_count(number: int, unit: str) -> None:
    """Refuse the file at its record ``number``, where that is one too many."""
    if number > MAX_RECORDS:
        raise BadInput(_("The file has more than {records}: split it.", records=counted(unit, MAX_RECORDS)))
