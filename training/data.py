"""From a snapshot of preferences to token ids, with every row accounted for.

1. `read_snapshot` verifies the hash and the row count of `preferences.jsonl` and that no prompt is in both splits.
2. `training_pairs` keeps the strong judgements and expands edited > chosen > rejected into pairs.
3. `held_out_pairs` takes what annotators judged, of every strength and without edits: an edit is written, not judged,
   and a phrase that an editor likes would make it easy to recognise.
4. `prepare` tokenises both and leaves out what is too long. Nothing is dropped without being counted.

Left out: weighting by strength (filtered instead, as in Llama 3) and rows that share one prompt in one sequence.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training import checkpoints
from training.chat import Message, Response, Tokenizer, encode_chat, encode_response
from training.config import DataConfig
from training.errors import ConfigError, DataError

ROWS = "preferences.jsonl"
EDITED_CHOSEN, EDITED_REJECTED, CHOSEN_REJECTED = "edited_over_chosen", "edited_over_rejected", "chosen_over_rejected"
KINDS = (EDITED_CHOSEN, EDITED_REJECTED, CHOSEN_REJECTED)
CUT_OFF = "length"  # the finish reason of a response that ran into the limit of tokens
ROLES = frozenset({"system", "user", "assistant", "tool"})
NAMED_ROWS = 20  # how many rows a report names before it only counts


@dataclass(frozen=True)
class Row:
    """One preference of the snapshot; `chosen` is None where all responses were unacceptable."""

    id: str
    annotation_id: int
    prompt_hash: str
    prompt: tuple[Message, ...]
    chosen: str | None
    rejected: str
    edited: str | None
    strength: int | None
    split: str
    outcome: str
    tools: list[Any] | None
    chosen_finish_reason: str | None = None
    rejected_finish_reason: str | None = None


@dataclass(frozen=True)
class Pair:
    """`better` was preferred over `worse` as the answer to the row's prompt.

    A response that ran into the limit of tokens did not end. Teaching it an end would teach to stop in mid-sentence.
    """

    row: Row
    kind: str
    better: str
    worse: str
    better_ended: bool = True
    worse_ended: bool = True


@dataclass(frozen=True)
class Example:
    """A tokenised pair. Both responses stand behind the same `prompt_ids`."""

    row_id: str
    kind: str
    strength: int | None
    prompt_ids: list[int]
    chosen: Response
    rejected: Response

    @property
    def length(self) -> int:
        """Tokens of the longer of the two sequences."""
        return len(self.prompt_ids) + max(len(self.chosen.ids), len(self.rejected.ids))


@dataclass(frozen=True)
class Prepared:
    """What a run trains and is measured on, the counts behind it, and the hash of the snapshot."""

    train: list[Example]
    held_out: list[Example]
    counts: dict[str, Any]
    snapshot_sha256: str


def prepare(snapshot: Path, config: DataConfig, tokenizer: Tokenizer, *, max_held_out: int) -> Prepared:
    """Read, filter, expand and tokenise a snapshot.

    Raises:
        DataError: the snapshot is damaged, or nothing in it can be trained on.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError("the base model has no chat template: choose an instruction-tuned one")
    rows, digest = read_snapshot(snapshot)
    splits = Counter(row.split for row in rows)
    counts: dict[str, Any] = {"rows": len(rows), "train_rows": splits["train"], "held_out_rows": splits["held_out"]}
    pairs, dropped = training_pairs([row for row in rows if row.split == "train"], config.min_strength)
    train, too_long = _tokenise(pairs, tokenizer, config.max_length)
    # By prompt hash, so that two runs on the same snapshot are measured on the same pairs whatever their seeds.
    judged = sorted(
        held_out_pairs([row for row in rows if row.split == "held_out"]),
        key=lambda pair: (pair.row.prompt_hash, pair.row.id),
    )
    held_out, _ = _tokenise(judged, tokenizer, config.max_length)
    kinds = Counter(example.kind for example in train)
    counts |= dropped
    counts |= {"pairs": len(train)} | {f"pairs/{kind}": kinds[kind] for kind in KINDS}
    counts |= {"dropped_too_long": len(pairs) - len(train), "too_long_rows": sorted(set(too_long))[:NAMED_ROWS]}
    counts |= {"held_out_pairs": min(len(held_out), max_held_out), "held_out_pairs_available": len(held_out)}
    counts |= {"held_out_dropped_too_long": len(judged) - len(held_out)}
    if not train:
        raise DataError(_nothing_left(snapshot, counts, config))
    return Prepared(train, held_out[:max_held_out], counts, digest)


def read_snapshot(snapshot: Path) -> tuple[list[Row], str]:
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
    rows = list(_rows(file))
    if len(rows) != promised:
        raise DataError(f"{file} has {len(rows)} rows, its manifest says {promised}: export the snapshot again")
    _refuse_shared_prompts(file, rows)
    return rows, digest


def training_pairs(rows: Iterable[Row], min_strength: int) -> tuple[list[Pair], dict[str, int]]:
    """Strong rows as pairs edited > chosen, edited > rejected, chosen > rejected, and how many rows were left out.

    Within one annotation no pair comes twice, edited text is never the worse one, and no pairs contradict each other.
    """
    strong: dict[int, list[Row]] = defaultdict(list)
    dropped = dict.fromkeys(("ties", "all_unacceptable", "filtered_by_strength"), 0)
    for row in rows:
        if row.outcome == "tie":
            dropped["ties"] += 1
        elif row.chosen is None or row.strength is None:
            dropped["all_unacceptable"] += 1
        elif row.strength < min_strength:
            dropped["filtered_by_strength"] += 1
        else:
            strong[row.annotation_id].append(row)
    expanded = [_expand(rows) for rows in strong.values()]
    consistent = [pair for pairs in expanded for pair in _without_contradictions(pairs)]
    return consistent, dropped | {"dropped_contradictory": sum(map(len, expanded)) - len(consistent)}


def held_out_pairs(rows: Iterable[Row]) -> list[Pair]:
    """What annotators judged, as chosen > rejected pairs of every strength."""
    judged = [replace(row, edited=None) for row in rows if row.chosen is not None and row.strength is not None]
    return [pair for row in judged for pair in _expand([row])]


def _expand(rows: list[Row]) -> list[Pair]:
    """The distinct pairs of one annotation, those with the edited text first."""
    found: dict[tuple[str, str], Pair] = {}
    for kind in KINDS:
        for row in rows:
            edited = (row.edited, True)  # a person wrote it to its end
            chosen = (row.chosen, row.chosen_finish_reason != CUT_OFF)
            rejected = (row.rejected, row.rejected_finish_reason != CUT_OFF)
            (better, better_ended), (worse, worse_ended) = {
                EDITED_CHOSEN: (edited, chosen),
                EDITED_REJECTED: (edited, rejected),
                CHOSEN_REJECTED: (chosen, rejected),
            }[kind]
            if better is not None and worse is not None and better != worse:
                found.setdefault((better, worse), Pair(row, kind, better, worse, better_ended, worse_ended))
    return list(found.values())


def _without_contradictions(pairs: list[Pair]) -> list[Pair]:
    """Leave out the pairs on a cycle: two candidates with the same text at different ranks say nothing about it."""
    worse_than: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        worse_than[pair.better].add(pair.worse)

    def reaches(start: str, goal: str) -> bool:
        seen, stack = set(), [start]
        while stack:
            text = stack.pop()
            if text == goal:
                return True
            if text not in seen:
                seen.add(text)
                stack.extend(worse_than[text])
        return False

    return [pair for pair in pairs if not reaches(pair.worse, pair.better)]


def _tokenise(pairs: list[Pair], tokenizer: Tokenizer, max_length: int) -> tuple[list[Example], list[str]]:
    """Examples that fit into `max_length`, and the rows of those that do not."""
    examples, too_long = [], []
    for pair in pairs:
        row, prompt = pair.row, list(pair.row.prompt)
        try:
            example = Example(
                row_id=row.id,
                kind=pair.kind,
                strength=row.strength,
                prompt_ids=encode_chat(tokenizer, prompt, add_generation_prompt=True, tools=row.tools),
                chosen=encode_response(tokenizer, prompt, pair.better, row.tools, ended=pair.better_ended),
                rejected=encode_response(tokenizer, prompt, pair.worse, row.tools, ended=pair.worse_ended),
            )
        except DataError as error:
            raise DataError(f"row {row.id}: {error}") from None
        if example.length <= max_length:
            examples.append(example)
        else:
            too_long.append(row.id)
    return examples, too_long


def _rows(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield _row(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{file}, line {number}: {error!r}: export the snapshot again") from error


def _row(body: dict[str, Any]) -> Row:
    """Raises ValueError, KeyError or TypeError, which `_rows` turns into a sentence with the line number."""
    prompt = tuple(dict(turn) for turn in body["prompt"])  # with its tool calls: the response was sampled behind them
    if not prompt or any(turn["role"] not in ROLES or not isinstance(turn["content"], str) for turn in prompt):
        raise ValueError("prompt must be messages with a known role and text")
    row = Row(
        id=body["id"],
        annotation_id=body["annotation_id"],
        prompt_hash=body["prompt_hash"],
        prompt=prompt,
        chosen=_text(body["chosen"]),
        rejected=_text(body["rejected"]) or "",
        edited=_text(body.get("edited")),
        strength=body["strength"],
        split=body["split"],
        outcome=body["outcome"],
        tools=body.get("tools"),
        chosen_finish_reason=body.get("chosen_finish_reason"),
        rejected_finish_reason=body.get("rejected_finish_reason"),
    )
    if row.split not in {"train", "held_out"} or row.strength not in {None, 1, 2, 3, 4}:
        raise ValueError(f"split {row.split!r} or strength {row.strength!r} is unknown")
    if row.outcome == "ranked" and (row.chosen is None or row.strength is None):
        raise ValueError("a ranked row needs a chosen response and a strength")
    return row


def _text(turns: list[Message] | None) -> str | None:
    if turns is None:
        return None
    [turn] = turns
    if turn["role"] != "assistant" or not isinstance(turn["content"], str):
        raise ValueError("a response must be one assistant message with text")
    return turn["content"]


def _refuse_shared_prompts(file: Path, rows: list[Row]) -> None:
    """A prompt in both splits would measure what was learnt by heart."""
    first: dict[str, Row] = {}
    for row in rows:
        # What the hash is made of (app/prompts/content.py): the same question with a tool is another prompt.
        content = json.dumps([row.prompt, row.tools or None], ensure_ascii=False, sort_keys=True)
        for key in (row.prompt_hash, content):
            other = first.setdefault(key, row)
            if other.split != row.split:
                raise DataError(
                    f"{file}: rows {other.id} and {row.id} have the same prompt, one to train on and one held out: "
                    "split by the hash of the prompt and export the snapshot again"
                )


def _nothing_left(snapshot: Path, counts: dict[str, Any], config: DataConfig) -> str:
    return (
        f"{snapshot} leaves no pair to train on: of {counts['train_rows']} training rows "
        f"{counts['filtered_by_strength']} are weaker than data.min_strength {config.min_strength}, "
        f"{counts['ties']} are ties, {counts['all_unacceptable']} have no acceptable response, and "
        f"{counts['dropped_too_long']} pairs are longer than data.max_length {config.max_length}: "
        "annotate more prompts or lower min_strength"
    )
