"""The columns of a preference row: their names, their types and what they mean, in one table.

All that names columns is made of it: the query and the rows of an export (`app/preferences/columns.py` says where the
values stand in the database), the schema of Parquet, the table in `docs/formats.md`, and what training reads of a row.
A new column is a line here; where its values are not the annotation's own column of that name, another there.

    python -m training.formats.columns docs/formats.md      writes the table into that page
"""

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

BEGIN, END = "<!-- columns: written by training.formats.columns -->", "<!-- end of columns -->"


class Scalar(Enum):
    """A type that is not made of others; the value is its name in the documentation."""

    TEXT = "text"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT = "float64"
    BOOL = "bool"
    TIME = "time (UTC)"
    JSON = "JSON"
    """Of another inner shape in each row: nested in a line of JSON, and a string of JSON in Parquet."""
    PROMPT = "messages"
    """What was asked; tool calls are in it where there are any."""
    ANSWER = "message"
    """A list of one message of the assistant."""


@dataclass(frozen=True)
class ListOf:
    """Any number of values of one type."""

    item: "Type"


@dataclass(frozen=True)
class Struct:
    """An object with these keys, whatever the row."""

    fields: dict[str, "Type"]


Type = Scalar | ListOf | Struct
TEXT, INT8, INT16, INT32, INT64, FLOAT, BOOL, TIME, JSON, PROMPT, ANSWER = Scalar


@dataclass(frozen=True)
class Column:
    """One column of a preference row."""

    name: str
    type: Type
    meaning: str
    """One line, for the documentation."""
    of: Literal["annotation", "pair"] = "annotation"
    """Whether all rows of an annotation share the value. A pair's column says something of its two responses."""
    reader: Literal["needs", "keeps", "ignores"] = "ignores"
    """What training does with the column: without one that it needs, a row of a snapshot is refused."""


def both(each: Type) -> Struct:
    """The same of the chosen and of the rejected response."""
    return Struct({"chosen": each, "rejected": each})


_ATTRIBUTE = Struct({"candidate_id": INT64, "name": TEXT, "value": INT16})
_FLAG = Struct({"candidate_id": INT64, "flag": TEXT})
# ruff: noqa: E501 - a column is one line
# fmt: off
COLUMNS: tuple[Column, ...] = (
    Column("id", TEXT, "annotation, chosen and rejected candidate", of="pair", reader="needs"),
    Column("prompt", PROMPT, "the messages that were answered", reader="needs"),
    Column("chosen", ANSWER, "the better response, text exactly as sampled; null where all are unacceptable, and where the answer was written", of="pair", reader="needs"),
    Column("rejected", ANSWER, "the other response, text exactly as sampled; null where the answer was written", of="pair", reader="needs"),
    Column("edited", ANSWER, "the annotator's improvement, on rows whose chosen response was improved; of outcome `written` the answer", of="pair", reader="keeps"),
    Column("strength", INT8, "1 marginally, 2 slightly, 3 better, 4 significantly better; null for ties and written answers. Between responses that are not neighbours: the largest strength between them", of="pair", reader="needs"),
    Column("outcome", TEXT, "`ranked`, `tie`, `all_unacceptable`, or `written`: no response was shown, and a person wrote the answer", reader="needs"),
    Column("ranking", ListOf(ListOf(INT64)), "groups of candidate ids, best first; ties share a group"),
    Column("edit_source", TEXT, "`direct`, `revision` (the model's, after the annotator's feedback) or `adjusted` (such a revision, changed)"),
    Column("nothing_to_improve", BOOL, "whether the annotator said that there was nothing to improve"),
    Column("attributes", ListOf(_ATTRIBUTE), "what was said of each response; `value` is the place on the batch's scale, from 1"),
    Column("flags", ListOf(_FLAG), "`unsafe`, `private_data` or `broken_rendering`, for each response that has any"),
    Column("spans", JSON, "marked passages: `candidate_id`, `start`, `end` (characters, not included), `label`, `note`"),
    Column("comment", TEXT, "the annotator's, on the whole judgement"),
    Column("annotation_id", INT64, "the judgement that the row comes from", reader="needs"),
    Column("replaces", INT64, "the judgement that this one corrects; null where it is the first of its annotator"),
    Column("prompt_id", INT64, "the prompt's number in Corral"),
    Column("source_id", TEXT, "the prompt's `id` in the imported file, or its line"),
    Column("reference", TEXT, "the known answer, where the imported file had one"),
    Column("tests", JSON, "the imported file's `tests`"),
    Column("metadata", JSON, "everything else that the imported file said of the prompt, later turns too"),
    Column("parent_prompt_id", INT64, "of a turn of a dialogue: the `prompt_id` of the turn before"),
    Column("dialogue", INT64, "of a turn of a dialogue: which dialogue; else null"),
    Column("turn", INT16, "of a turn of a dialogue: which turn on its way, from 1"),
    Column("system_kept", TEXT, "of a dialogue: whether the answers kept to the system prompt (`yes`, `partly`, `no`); null until it is finished"),
    Column("prompt_hash", TEXT, "SHA-256 of the prompt, in hexadecimal", reader="needs"),
    Column("round", INT32, "the number of the round", reader="keeps"),
    Column("batch", TEXT, "the name of the batch", reader="keeps"),
    Column("capability", TEXT, "what the prompt tests", reader="keeps"),
    Column("origin", TEXT, "where the prompt comes from: `human`, `imported`, `synthetic`, `translated`, `correction` or `probe`"),
    Column("language", TEXT, "the language of the prompt, a code of ISO 639-1; null where nobody knows", reader="keeps"),
    Column("language_from", TEXT, "who says so: the `file`, the `batch`, or `detected` by a program"),
    Column("annotator", TEXT, "a pseudonym", reader="keeps"),
    Column("chosen_checkpoint", TEXT, "the model that wrote the chosen response", of="pair", reader="keeps"),
    Column("rejected_checkpoint", TEXT, "the model that wrote the rejected response", of="pair", reader="keeps"),
    Column("chosen_finish_reason", TEXT, "`stop`; `length` where the limit of tokens cut the response off, `stopped` where a person did, in a dialogue: training teaches these no end", of="pair", reader="keeps"),
    Column("rejected_finish_reason", TEXT, "the same of the rejected response", of="pair", reader="keeps"),
    Column("sampling", both(JSON), "how the responses were sampled", of="pair"),
    Column("said_of_response", both(JSON), "of an imported response: what its file said of it, such as ratings, a rank or a preference; null elsewhere", of="pair"),
    Column("steps", both(JSON), "what came before a response that called tools which Corral ran: its turns, each with its `tool_calls` and under `said` the text as sampled, and the messages of role `tool` that answered; null elsewhere", of="pair", reader="keeps"),
    Column("position_shown", both(INT8), "the places at which they were shown, from 0: for measuring position bias", of="pair"),
    Column("active_seconds", FLOAT, "how long the annotator worked on it"),
    Column("created_at", TIME, "when it was submitted"),
    Column("split", TEXT, "`train` or `held_out`, by `prompt_hash`: the same in every round, and in training for a file that does not say it", reader="needs"),
    Column("tools", JSON, "what was given to the chat template; null where there are none", reader="keeps"),
    Column("masked", ListOf(TEXT), "kinds of private data that patterns found in the texts of this judgement and that were masked, such as `email`; null where nobody asked for that"),
)
# fmt: on


def of_annotation() -> tuple[Column, ...]:
    """The columns that all rows of an annotation share."""
    return tuple(column for column in COLUMNS if column.of == "annotation")


def of_pair() -> tuple[Column, ...]:
    """The columns that differ from row to row of an annotation."""
    return tuple(column for column in COLUMNS if column.of == "pair")


def read_by_training() -> tuple[Column, ...]:
    """The columns that training looks at."""
    return tuple(column for column in COLUMNS if column.reader != "ignores")


def words(kind: Type) -> str:
    """The type as the documentation says it."""
    if isinstance(kind, ListOf):
        return f"list of {words(kind.item)}"
    if isinstance(kind, Struct):
        return f"{{{', '.join(f'{name}: {words(each)}' for name, each in kind.fields.items())}}}"
    return kind.value


def table() -> str:
    """The table of the documentation, in Markdown."""
    head = ("| column | type | what it is |", "|---|---|---|")
    return "\n".join((*head, *(f"| `{each.name}` | {words(each.type)} | {each.meaning} |" for each in COLUMNS)))


def documented(page: str) -> str:
    """The page with the table between its two marks.

    Raises:
        ValueError: the page has no marks, or they are in the wrong order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END} around its table of columns")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(documented(path.read_text(encoding="utf-8")), encoding="utf-8")
