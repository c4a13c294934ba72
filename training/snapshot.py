"""Preferences as files hold them: a snapshot of Corral, or any JSON Lines file in TRL's format.

A *snapshot* is a folder with `preferences.jsonl` and a manifest with its hash; `docs/formats.md` describes its rows. A
*file* has `prompt`, `chosen` and `rejected`, as text or as messages, and where known `edited`, `strength`, `weight`,
`annotation_id`, `annotator`, `tools` and `split`; for supervised fine-tuning `prompt` and `completion` are enough. Both
become the same `Preference`, and whatever is wrong with a row is said with its line.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import checkpoints
from training.chat import Message
from training.errors import DataError

ROWS = "preferences.jsonl"
ROLES = frozenset({"system", "user", "assistant", "tool"})
Body = dict[str, Any]


CUT_OFF = frozenset({"length", "stopped"})
"""Finish reasons of a response that did not end: the limit of tokens was reached, or a person stopped it as it was written."""


@dataclass(frozen=True)
class Preference:
    """One line. `chosen` is None where all responses were unacceptable, `rejected` where there is one response only.

    `strength` is None for a tie, and where the file does not say it. `weight` scales the loss of the line's pairs.
    """

    id: str
    annotation_id: int | str
    prompt_hash: str
    prompt: tuple[Message, ...]
    chosen: str | None
    rejected: str | None
    edited: str | None
    strength: int | None
    split: str
    outcome: str
    tools: list[Any] | None
    chosen_finish_reason: str | None = None
    rejected_finish_reason: str | None = None
    annotator: str | None = None
    round: int | None = None
    batch: str | None = None
    capability: str | None = None
    weight: float = 1.0


def read(path: Path, held_out_percent: int) -> tuple[list[Preference], str]:
    """Every preference of a snapshot folder or a file, and the SHA-256 of the file.

    Args:
        path: A folder is a snapshot, anything else a file in TRL's format.
        held_out_percent: How many prompts of a file without the column `split` are held out, by a hash of the prompt.

    Raises:
        DataError: naming the file, the line and what is wrong.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: name a snapshot or a JSON Lines file")
    return read_file(path, held_out_percent) if path.is_file() else read_snapshot(path)


def identity(path: Path) -> str:
    """The SHA-256 of what `read` would read.

    Raises:
        DataError: there is nothing to read.
    """
    file = path if path.is_file() else path / ROWS
    if not file.is_file():
        raise DataError(f"{path} is not a finished snapshot: it has no {ROWS}, export it again")
    return checkpoints.sha256(file)


def read_snapshot(snapshot: Path) -> tuple[list[Preference], str]:
    """Every row of a snapshot, and the SHA-256 of its file.

    Raises:
        DataError: the file is not what its manifest says, a row cannot be understood, or the splits share a prompt.
    """
    file = snapshot / ROWS
    try:
        manifest = json.loads((snapshot / checkpoints.MANIFEST).read_text(encoding="utf-8"))
        wanted, promised = manifest["sha256"], manifest["rows"]
        digest = checkpoints.sha256(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{snapshot} is not a finished snapshot ({error!r}): export it again") from error
    if digest != wanted:
        raise DataError(f"{file} has changed since it was exported (its SHA-256 differs): export the snapshot again")
    rows = list(_lines(file, _of_snapshot, "export the snapshot again"))
    if len(rows) != promised:
        raise DataError(f"{file} has {len(rows)} rows, its manifest says {promised}: export the snapshot again")
    _refuse_shared_prompts(file, rows)
    return rows, digest


def read_file(file: Path, held_out_percent: int) -> tuple[list[Preference], str]:
    """Every row of a JSON Lines file in TRL's format, and its SHA-256.

    Raises:
        DataError: a column is missing, one side is empty throughout, every row is a tie, or a row makes no sense.
    """
    rows = list(_lines(file, lambda body: _of_file(body, held_out_percent), "correct that line"))
    if not rows:
        raise DataError(f"{file} has no rows: give a file with prompt, chosen and rejected")
    for column in ("chosen", "rejected"):
        if all(getattr(row, column) == "" for row in rows):
            said = "completion" if column == "chosen" and all(row.rejected is None for row in rows) else column
            raise DataError(f"{file}: {said} is empty in all {len(rows)} rows: that class has nothing to learn from")
    if all(row.outcome == "tie" for row in rows):
        raise DataError(f"{file}: chosen and rejected are the same in all {len(rows)} rows: nothing is preferred")
    _refuse_shared_prompts(file, rows)
    return rows, checkpoints.sha256(file)


def _lines(file: Path, parse: Callable[[Body], Preference], remedy: str) -> Iterator[Preference]:
    with file.open("rb") as stream:  # lines end with \n alone: U+2028 and its like may stand inside of one
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                body = json.loads(line.decode("utf-8-sig"))
                if not isinstance(body, dict):
                    raise TypeError("a line must be one JSON object")  # noqa: TRY301  the sentence is made below
                yield parse({"id": f"line {number}", "annotation_id": f"line {number}", **body})
            except KeyError as error:
                raise DataError(
                    f"{file}, line {number}: the column {error} is missing, it has {', '.join(sorted(body)) or 'none'}: "
                    f"{remedy}"
                ) from error
            except UnicodeDecodeError as error:
                raise DataError(f"{file}, line {number}: byte {error.start + 1} is not UTF-8: {remedy}") from error
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{file}, line {number}: not JSON ({error.msg} at character {error.pos + 1}): {remedy}"
                ) from error
            except (ValueError, TypeError, AttributeError) as error:
                raise DataError(f"{file}, line {number}: {error}: {remedy}") from error


def _of_snapshot(body: Body) -> Preference:
    """Raises ValueError, KeyError or TypeError, which `_lines` turns into a sentence with the line number."""
    preference = Preference(
        id=body["id"],
        annotation_id=body["annotation_id"],
        prompt_hash=body["prompt_hash"],
        prompt=_messages(body["prompt"]),
        chosen=_text(body["chosen"]),
        rejected=_text(body["rejected"]) or "",
        edited=_text(body.get("edited")),
        strength=body["strength"],
        split=body["split"],
        outcome=body["outcome"],
        tools=body.get("tools"),
        chosen_finish_reason=body.get("chosen_finish_reason"),
        rejected_finish_reason=body.get("rejected_finish_reason"),
        annotator=body.get("annotator"),
        round=body.get("round"),
        batch=body.get("batch"),
        capability=body.get("capability"),
    )
    if preference.outcome == "ranked" and (preference.chosen is None or preference.strength is None):
        raise ValueError("a ranked row needs a chosen response and a strength")
    return _checked(preference)


def _of_file(body: Body, held_out_percent: int) -> Preference:
    chosen, rejected = body["completion"] if "completion" in body else body["chosen"], body.get("rejected")
    if "completion" not in body and rejected is None:
        raise KeyError("rejected")
    prompt = body.get("prompt")
    if prompt is None and isinstance(chosen, list) and isinstance(rejected, list):
        prompt, chosen, rejected = _implicit_prompt(chosen, rejected)
    if prompt is None:
        raise KeyError("prompt")
    messages = _messages([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)
    tools = json.loads(body["tools"]) if isinstance(body.get("tools"), str) else body.get("tools")
    content = hashlib.sha256(_content(messages, tools).encode()).hexdigest()
    better, worse = _text(chosen), _text(rejected)
    if better is None:
        raise ValueError("chosen must be text or one assistant message")
    return _checked(
        Preference(
            id=str(body["id"]),
            annotation_id=body["annotation_id"],
            prompt_hash=content,
            prompt=messages,
            chosen=better,
            rejected=worse,
            edited=_text(body.get("edited")),
            strength=body.get("strength"),
            split=body.get("split") or ("held_out" if int(content[:8], 16) % 100 < held_out_percent else "train"),
            outcome="tie" if better == worse else "ranked",
            tools=tools,
            chosen_finish_reason=body.get("chosen_finish_reason"),
            rejected_finish_reason=body.get("rejected_finish_reason"),
            annotator=body.get("annotator"),
            round=body.get("round"),
            batch=body.get("batch"),
            capability=body.get("capability"),
            weight=float(body.get("weight", 1.0)),
        )
    )


def _checked(preference: Preference) -> Preference:
    if preference.split not in {"train", "held_out"}:
        raise ValueError(f"split is {preference.split!r}, but must be train or held_out")
    if preference.strength not in {None, 1, 2, 3, 4}:
        raise ValueError(f"strength is {preference.strength!r}, but must be a number from 1 to 4")
    if not 0 <= preference.weight < math.inf:
        raise ValueError(f"weight is {preference.weight}, but must be a number that is not negative")
    return preference


def _implicit_prompt(
    chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[Message], list[Message]]:
    """The messages that both conversations begin with are the prompt, as in TRL."""
    shared = next((at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), len(chosen) - 1)
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _messages(prompt: Any) -> tuple[Message, ...]:
    wanted = "prompt must be text or a list of messages with a known role and text"
    if not isinstance(prompt, list) or not all(isinstance(turn, dict) for turn in prompt):
        raise ValueError(wanted)
    messages = tuple(dict(turn) for turn in prompt)  # with its tool calls: the response was sampled behind them
    if not messages or any(
        turn.get("role") not in ROLES or not isinstance(turn.get("content"), str) for turn in messages
    ):
        raise ValueError(wanted)
    return tuple(turn | {"content": _encodable(turn["content"])} for turn in messages)


def _text(turns: Any) -> str | None:
    if turns is None:
        return None
    if isinstance(turns, str):
        return _encodable(turns)
    turn = turns[0] if isinstance(turns, list) and len(turns) == 1 and isinstance(turns[0], dict) else {}
    if turn.get("role") != "assistant" or not isinstance(turn.get("content"), str):
        raise ValueError("a response must be text or a list of one assistant message with text")
    if turn.get("tool_calls"):
        raise ValueError("a response that calls a tool cannot be learnt from, its call would be lost")
    return _encodable(turn["content"])


def _encodable(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a text holds half of a surrogate pair, which no tokenizer takes")
    return text


def _content(prompt: tuple[Message, ...], tools: list[Any] | None) -> str:
    """What makes two prompts the same (app/prompts/content.py): the same question with a tool is another prompt."""
    return json.dumps([prompt, tools or None], ensure_ascii=False, sort_keys=True)


def _refuse_shared_prompts(file: Path, rows: list[Preference]) -> None:
    """A prompt in both splits would measure what was learnt by heart."""
    first: dict[str, Preference] = {}
    for row in rows:
        for key in (row.prompt_hash, _content(row.prompt, row.tools)):
            other = first.setdefault(key, row)
            if other.split != row.split:
                raise DataError(
                    f"{file}: rows {other.id} and {row.id} have the same prompt, one to train on and one held out: "
                    "split by the hash of the prompt and export the snapshot again"
                )
