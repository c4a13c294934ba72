"""Preferences as files hold them: a snapshot of Corral, or any file in TRL's format.

A *snapshot* is a folder with `preferences.jsonl` and a manifest with its hash; `docs/formats.md` describes its rows. A
*file* has `prompt`, `chosen` and `rejected` in any way that TRL knows (training/data/conversations.py), and where known
`edited`, `strength`, `outcome`, `weight`, `annotation_id`, `annotator`, `tools` and `split`; for supervised fine-tuning
`prompt` and `completion` are enough. Both become the same `Preference`.

A row of a file that says no split is on the side on which Corral has the same prompt (training/formats/prompts.py). A row
whose texts cannot be learnt from is left out and counted; a file whose columns are not what they must be is refused, with
the line: there the rest of it is in doubt, too.
"""

import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from training.data import conversations, lines
from training.data.chat import Message
from training.data.conversations import text_of
from training.data.left_out import LeftOut, UnusableError
from training.data.lines import Body
from training.formats import checkpoints, columns, snapshots
from training.formats.columns import Column
from training.formats.errors import DataError
from training.formats.pairs import ALL_UNACCEPTABLE, RANKED, TIE, WRITTEN
from training.formats.prompts import content_hash, split_of
from training.formats.rankings import Line
from training.formats.texts import shows_nothing

OUTCOMES = (RANKED, TIE, ALL_UNACCEPTABLE, WRITTEN)


@dataclass(frozen=True, kw_only=True)
class Preference(Line):
    """One line of a file. `chosen` is None where all responses were unacceptable, `rejected` where there is one response only.

    Of an answer that a person wrote from scratch both are None, and `edited` is the answer.
    """

    prompt: tuple[Message, ...]
    split: str
    tools: list[Any] | None
    round: int | None = None
    batch: str | None = None
    capability: str | None = None
    language: str | None = None
    source: str | None = None
    """Who wrote what is learnt, where a file says it (`training/formats/mix.py`)."""
    chosen_checkpoint: str | None = None
    rejected_checkpoint: str | None = None
    more: dict[str, Any] = field(default_factory=dict, hash=False)
    """What else the table of columns says that training keeps."""

    def written_by(self, checkpoints: Collection[str]) -> bool:
        """Whether any of these wrote one of its responses; an edit is of the response that it improves."""
        return self.chosen_checkpoint in checkpoints or self.rejected_checkpoint in checkpoints


FIELDS = frozenset(each.name for each in fields(Preference))


def read(path: Path, held_out_percent: int, left_out: LeftOut | None = None) -> tuple[list[Preference], str]:
    """Every preference of a snapshot folder or a file, and the SHA-256 of the file.

    Args:
        path: A folder is a snapshot, anything else a file in TRL's format.
        held_out_percent: How many prompts of a file without the column `split` are held out, by a hash of the prompt.
        left_out: Where rows are counted that cannot be learnt from.

    Raises:
        DataError: naming the file, the line and what is wrong.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: name a snapshot or a JSON Lines file")
    return read_file(path, held_out_percent, left_out) if path.is_file() else read_snapshot(path)


def identity(path: Path) -> str:
    """The SHA-256 of what `read` would read.

    Raises:
        DataError: there is nothing to read.
    """
    file = path if path.is_file() else path / snapshots.ROWS
    if not file.is_file():
        raise DataError(f"{path} is not a finished snapshot: it has no {snapshots.ROWS}, export it again")
    return checkpoints.sha256(file)


def read_snapshot(snapshot: Path) -> tuple[list[Preference], str]:
    """Every row of a snapshot, and the SHA-256 of its file.

    Raises:
        DataError: the file is not what its manifest says, a row cannot be understood, or the splits share a prompt.
    """
    file = snapshot / snapshots.ROWS
    try:
        seal = snapshots.seal(snapshot)
    except (OSError, ValueError) as error:
        raise DataError(f"{snapshot} is not a finished snapshot ({error!r}): export it again") from error
    if seal.sha256 != seal.noted_sha256:
        raise DataError(f"{file} has changed since it was exported (its SHA-256 differs): export the snapshot again")
    rows = _rows(file, _of_snapshot, "export the snapshot again", None)
    if len(rows) != seal.noted_rows:
        raise DataError(f"{file} has {len(rows)} rows, its manifest says {seal.noted_rows}: export the snapshot again")
    _refuse_shared_prompts(file, rows)
    return rows, seal.sha256


def read_file(file: Path, held_out_percent: int, left_out: LeftOut | None = None) -> tuple[list[Preference], str]:
    """Every row of a file in TRL's format that can be learnt from, and the SHA-256 of the file.

    Raises:
        DataError: a column is missing or holds what it must not, one side is empty throughout, or no row says anything.
    """
    left_out = LeftOut() if left_out is None else left_out
    rows = _rows(file, lambda body: _of_file(body, held_out_percent), "correct that line", left_out)
    if not rows:
        raise DataError(f"{file} has no rows: give a file with prompt, chosen and rejected")
    for column in ("chosen", "rejected"):
        if all(getattr(row, column) == "" for row in rows):
            said = "completion" if column == "chosen" and all(row.rejected is None for row in rows) else column
            raise DataError(f"{file}: {said} is empty in all {len(rows)} rows: nothing can be learnt from it")
    if all(row.chosen is not None and row.chosen == row.rejected for row in rows):
        raise DataError(f"{file}: chosen and rejected are the same in all {len(rows)} rows: no response is preferred")
    _refuse_shared_prompts(file, rows)
    return rows, checkpoints.sha256(file)


def _rows(file: Path, parse: Callable[[Body], Preference], remedy: str, left_out: LeftOut | None) -> list[Preference]:
    """The rows that `parse` understands; what it finds unusable is counted, or where nobody counts refused."""
    rows: list[Preference] = []
    first: DataError | None = None
    for where, body in lines.read(file, remedy):
        known = {key: value for key, value in body.items() if value is not None or key not in {"id", "annotation_id"}}
        try:
            rows.append(parse({"id": where, "annotation_id": where, **known}))
        except UnusableError as error:
            refusal = DataError(f"{file}, {where}: {error}: {remedy}")
            if left_out is None:
                raise refusal from error
            left_out.add(error.reason, str(known.get("id", where)))
            first = first or refusal
        except KeyError as error:
            raise DataError(
                f"{file}, {where}: the column {error} is missing, it has {', '.join(sorted(body)) or 'none'}: {remedy}"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{file}, {where}: {error}: {remedy}") from error
    if first is not None and not rows:
        raise first
    return rows


def _of_snapshot(body: Body) -> Preference:
    """Raises ValueError, KeyError or TypeError, which `_rows` turns into a sentence with the line number."""
    known = {column.name: _value(body, column) for column in columns.read_by_training()}
    known |= {name: text_of(known[name]) for name in ("chosen", "rejected", "edited")}
    known |= {"prompt": conversations.messages(known["prompt"])}
    if known["outcome"] != WRITTEN:
        known["rejected"] = known["rejected"] or ""
    preference = _preference(known)
    if preference.outcome == "ranked" and (preference.chosen is None or preference.strength is None):
        raise ValueError("a ranked row needs a chosen response and a strength")
    return _checked(preference)


def _value(body: Body, column: Column) -> Any:
    """Raises KeyError where training needs the column and the row has none."""
    return body[column.name] if column.reader == "needs" else body.get(column.name)


def _preference(known: dict[str, Any]) -> Preference:
    """The columns of a row; those that `Preference` has no field for are kept under their names."""
    more = {name: known.pop(name) for name in known.keys() - FIELDS}
    return Preference(**known, more=more)


def _of_file(body: Body, held_out_percent: int) -> Preference:
    outcome = body.get("outcome") or "ranked"
    prompt, (chosen, rejected) = _responses(body, written=outcome == WRITTEN)
    if outcome == "ranked" and chosen is None:
        raise UnusableError("no_answer", "chosen must be text or one assistant message")
    messages, tools, weight = conversations.messages(prompt), _tools(body.get("tools")), body.get("weight")
    content = content_hash(prompt, tools)  # of what was written down: it is what Corral has hashed
    read = {
        "id": str(body["id"]),
        "prompt_hash": content.hex(),
        "prompt": messages,
        "chosen": chosen,
        "rejected": rejected,
        "edited": text_of(body.get("edited")),
        "split": body.get("split") or split_of(content, held_out_percent).value,
        "outcome": outcome,
        "tools": tools,
        "weight": 1.0 if weight is None else float(weight),
        "source": body.get("source"),
        "language": body.get("language"),
    }
    known = {column.name: body.get(column.name) for column in columns.read_by_training()}
    return _checked(_preference(known | read))


def _responses(body: Body, *, written: bool) -> tuple[list[Message], list[str | None]]:
    """The messages of the prompt, and what was compared: nothing where an answer was `written`.

    Raises:
        KeyError: a column is missing.
    """
    if written:
        prompt, _ = conversations.read(body.get("prompt"), body["edited"])
        return prompt, [None, None]
    better = body["completion"] if "completion" in body else body["chosen"]
    if "completion" not in body and body.get("rejected") is None:
        raise KeyError("rejected")
    return conversations.read(body.get("prompt"), better, body.get("rejected"))


def _tools(tools: Any) -> list[Any] | None:
    """The column `tools`, which TRL has as JSON text, where an empty one is none."""
    if isinstance(tools, str):
        tools = json.loads(tools) if tools.strip() else None
    if tools is not None and not isinstance(tools, list):
        raise ValueError("tools must be a list, or one as JSON text")
    return tools or None


def _checked(preference: Preference) -> Preference:
    """The same, with nothing chosen where no response was acceptable, and no edit where nothing was written."""
    if preference.split not in {"train", "held_out"}:
        raise ValueError(f"split is {preference.split!r}, but must be train or held_out")
    if preference.outcome not in OUTCOMES:
        raise ValueError(f"outcome is {preference.outcome!r}, but must be one of {', '.join(OUTCOMES)}")
    if preference.strength not in {None, 1, 2, 3, 4}:
        raise ValueError(f"strength is {preference.strength!r}, but must be a number from 1 to 4")
    if not 0 <= preference.weight < math.inf:
        raise ValueError(f"weight is {preference.weight}, but must be a number that is not negative")
    check_steps(preference.steps)
    edited = None if preference.edited is None or shows_nothing(preference.edited) else preference.edited
    if preference.outcome == WRITTEN and edited is None:
        raise ValueError("a written answer needs a text in edited")
    if preference.outcome == "all_unacceptable":
        return replace(preference, chosen=None, edited=None)
    return replace(preference, edited=edited) if edited != preference.edited else preference


def check_steps(steps: Any) -> None:
    """Look at the steps of a response, or of both by side.

    Raises:
        ValueError: they are not what a response that called tools came by.
    """
    for side in steps.values() if isinstance(steps, dict) else [steps]:
        for message in side or ():
            is_call = isinstance(message, dict) and message.get("role") == "assistant"
            said = message.get("said" if is_call else "content") if isinstance(message, dict) else None
            if not isinstance(said, str) or not (is_call or message.get("role") == "tool"):
                raise ValueError("steps must hold turns of the assistant with said, and answers of tools with content")
            conversations.encodable(said)


def _refuse_shared_prompts(file: Path, rows: list[Preference]) -> None:
    """A prompt in both splits would measure what was learnt by heart."""
    first: dict[str, Preference] = {}
    for row in rows:
        for key in (row.prompt_hash, content_hash(row.prompt, row.tools).hex()):
            other = first.setdefault(key, row)
            if other.split != row.split:
                raise DataError(
                    f"{file}: rows {other.id} and {row.id} have the same prompt, one for training and one held out: "
                    f"split by the hash of the prompt and export the snapshot again"
                )
