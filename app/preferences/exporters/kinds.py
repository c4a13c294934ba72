"""What a shape and a format of an export are: the functions that their files give, with the words that describe them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from training.formats.columns import Column
from training.formats.pairs import Stated
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source  # brings SQLAlchemy along, which a command's help has no use for

Row = dict[str, Any]
FILE = "FILE"
NAMES = frozenset({"all_unacceptable", "human_edit"})
"""Words of rows that a page shows without their underscore."""
PAIR = {N_("Prompt"): "prompt", N_("Chosen"): "chosen", N_("Rejected"): "rejected"}


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
    shown: Mapping[str, str] = field(default_factory=lambda: PAIR)
    """What a page shows of a row: heads of its table, each with the column, or two of which the other stands in for none."""
    labels_steps: bool = False
    """Whether its rows are of labels of steps; those of every other shape are of preferences."""
    rare: tuple[str, ...] = ()
    """What a row may lack, of :data:`app.preferences.queries.RARE`. A file of JSON Lines begins with a row that has it, because
    ``datasets`` takes the types of all rows from the first ten megabytes."""
    leaves_out: str = ""
    """The rows that this shape has no place for, in one sentence; a count of rows still has them."""
    same_texts: bool = False
    """Whether all that it holds stands in another shape, too."""
    one_list: bool = False
    """Whether its tool reads one JSON list, and no table."""
    beside: Mapping[str, Any] = field(default_factory=dict)
    """Files that its tool reads beside the rows, by name: what they hold, as JSON. ``FILE`` stands for the name of the rows."""


def cells(shape: RowShape, row: Row) -> dict[str, str]:
    """What a page shows of a row, by the heads of its table; "" where there is nothing."""
    found = {}
    for head, columns in shape.shown.items():
        found[head] = next((text for name in columns.split("|") if (text := _said(row.get(name)))), "")
    return found


def _said(value: Any) -> str:
    """A value in a few words: of a conversation or of steps the last, of labels how many there are of each."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, dict):
        return _said(
            next((value[key] for key in ("content", "value", "prompt", "ranking", "outcome") if key in value), None)
        )
    if isinstance(value, list) and value and isinstance(value[0], bool):
        return _("{right} right, {wrong} wrong", right=value.count(True), wrong=value.count(False))
    if isinstance(value, list):
        return _said(value[-1]) if value else ""
    return "" if value is None else str(value).replace("_", " ") if value in NAMES else str(value)


@dataclass(frozen=True)
class Content:
    """What a file is to hold."""

    shape: RowShape
    columns: tuple[Column, ...]
    lines: Callable[[bool], Iterator[bytes]]
    """The rows as lines of JSON, an annotation at a time; the argument is ``flat``."""
    has_tool_messages: Callable[[], bool]
    """Whether any prompt has tool calls; asks the database."""
    card: Callable[[str], str] = lambda _: ""
    """What a folder says of the file of that name beside it, in Markdown; asked for once all rows are made."""


@dataclass(frozen=True)
class FileFormat:
    """How rows are written down."""

    label: str
    purpose: str
    """What it is for, in one sentence."""
    media_type: str
    """The registered one."""
    schema: dict[str, Any]
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
