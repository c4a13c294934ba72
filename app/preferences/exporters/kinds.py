"""What a shape and a format of an export are: the functions that their files give, with the words that describe them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from training.formats.columns import Column
from training.formats.pairs import Stated
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source  # brings SQLAlchemy along, which a command's help has no use for

Row = dict[str, Any]


class MakeRows(Protocol):
    """Makes the rows of one annotation."""

    def __call__(self, source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:
        """What all rows share, and what each adds; with ``flat`` what has no fixed columns is a string of JSON."""


@dataclass(frozen=True)
class RowShape:
    """What a row of an export is."""

    label: str
    purpose: str
    """What it is for, in one sentence."""
    side: Split | None
    """The side of the split that it has where nobody asks for one; None is both."""
    columns: Callable[[], tuple[Column, ...]]
    """In the order of a table."""
    pairs: Callable[[Iterable[Stated[Any]], int | None], Iterator[Any]]
    """Of what an annotation says that of a given strength and up: as many as it has rows."""
    rows: MakeRows
    labels_steps: bool = False
    """Whether its rows are of labels of steps; those of every other shape are of preferences."""


@dataclass(frozen=True)
class Content:
    """What a file is to hold."""

    columns: tuple[Column, ...]
    lines: Callable[[bool], Iterator[bytes]]
    """The rows as lines of JSON, an annotation at a time; the argument is ``flat``."""
    has_tool_messages: Callable[[], bool]
    """Whether any prompt has tool calls; asks the database."""


@dataclass(frozen=True)
class FileFormat:
    """How rows are written down."""

    label: str
    purpose: str
    """What it is for, in one sentence."""
    media_type: str
    """The registered one."""
    schema: dict[str, str]
    """Of the file, as OpenAPI says it."""
    write: Callable[[Content], Iterator[bytes]]
    """The file, a chunk at a time."""


def joined(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in chunks of about ``size``."""
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(held)
            held, length = [], 0
    if length:
        yield b"".join(held)
