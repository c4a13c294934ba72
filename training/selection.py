"""Rejection sampling: of K answers to a prompt keep the one that the reward model likes best, if it is good enough.

    python -m training.selection run.toml

`run.toml`::

    samples = "samples.jsonl"            # K answers to each prompt, written by `python -m workers.rejection`
    reward_model = "../reward/final"
    snapshot = "../snapshot"             # its edits are mixed in, and its held-out prompts kept out; may be left out
    output = "sft.jsonl"                 # read by training.sft; sft.report.json beside it counts what was dropped

As in Llama 3 (arXiv 2407.21783, 4.2.2 and 4.2.3): rules drop what nobody should imitate, the reward model picks the best
of what is left of each prompt, the best quarter of these picks is kept, and of near-duplicates the best. What people
wrote stays, and what is too close to it goes. A reward is known up to a constant of the prompt only, so the quarter
favours prompts that the reward model finds easy to please; the paper does the same. Prompts that say again what a held-out
one says (`training.decontamination`) go with their samples and edits, and are counted, as where preferences are read: what
is learnt by heart from their answers would pass for progress.

Left out: difficulty and topic, which need a larger model to judge.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training import checkpoints, conversations, decontamination, inference, models, near_duplicates, snapshot, tool
from training.chat import Message, encode_chat, encode_response
from training.config import DataConfig
from training.errors import ConfigError, DataError
from training.formats.prompts import content_hash
from training.inference import RewardModel
from training.left_out import UnusableError
from training.rules import Rules, broken_rule

HUMAN, SAMPLED = "human_edit", "rejection_sampling"
# (prompt, tools) -> the name under which it is counted where it is kept for measuring or too close to such a one
KeptOut = Callable[[Sequence[Message], list[Any] | None], str | None]


@dataclass(frozen=True)
class SelectionConfig:
    """A run file, see the module docstring."""

    samples: Path
    reward_model: Path
    output: Path
    snapshot: Path | None = None
    base_model: str | None = None
    top_share: float = 0.25  # of the picks, by reward
    closest: float = 0.8  # cosine from which two dialogues are the same
    ngram: int = DataConfig.ngram  # words that are compared with held-out prompts; 0 compares nothing
    overlap: float = DataConfig.overlap  # share of a held-out prompt's n-grams from which on a prompt contains it
    max_length: int = 512  # tokens of prompt and answer together
    batch_size: int = 8
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        if not 0 < self.top_share <= 1:
            raise ConfigError('"top_share" must be above 0 and at most 1')
        if not 0 < self.closest <= 1:
            raise ConfigError('"closest" must be above 0 and at most 1')
        if self.ngram < 0:
            raise ConfigError('"ngram" must be at least 0')
        if not 0 < self.overlap <= 1:
            raise ConfigError('"overlap" must be above 0 and at most 1')
        if self.output.suffix != ".jsonl":
            raise ConfigError('"output" must be a file that ends with .jsonl')


@dataclass(frozen=True)
class Sampled:
    """K answers of one checkpoint to one prompt."""

    prompt_id: str
    prompt: tuple[Message, ...]
    tools: list[Any] | None
    checkpoint: str
    answers: tuple[tuple[str, str | None], ...]  # text and finish reason

    @property
    def question(self) -> str:
        """The last user turn, whose language an answer should have."""
        return _question(self.prompt)

    @property
    def key(self) -> str:
        """What makes two prompts the same, with or without an id."""
        return content_hash(self.prompt, self.tools).hex()


@dataclass(frozen=True)
class Pick:
    """One row of the result. `checkpoint`, `score`, `k` and `reward_model` say how a sampled answer was found."""

    source: str
    prompt_id: str
    prompt: tuple[Message, ...]
    tools: list[Any] | None
    completion: str
    checkpoint: str | None = None
    score: float | None = None
    k: int | None = None
    reward_model: str | None = None

    def to_json(self, number: int) -> dict[str, Any]:
        """As `training.sft` reads it; every row is trained on."""
        turn = {"role": "assistant", "content": self.completion}
        return asdict(self) | {"id": f"{self.source}:{number}", "split": "train", "completion": [turn]}


def select(config: SelectionConfig, dry_run: bool) -> None:  # noqa: FBT001  what `tool.main` calls
    """Read, drop, score, pick, and write the rows and the count of what was dropped by which rule."""
    # 1. What people wrote, and which prompts are kept for measuring.
    written, kept_out = read_snapshot(config)
    edits = [edit for edit in written if not kept_out(edit.prompt, edit.tools)]
    # 2. The rules, before anything is scored.
    dropped = Counter({"held_out_prompt": 0, "contaminated": 0})
    sampled = read_samples(config.samples)
    decent = [(one, _decent(one, config.rules, dropped)) for one in _wanted(sampled, kept_out, dropped)]
    counts: dict[str, Any] = {"prompts": len(sampled), "samples": sum(len(one.answers) for one in sampled)}
    counts |= {"human_edits": len(written), "human_edits_contaminated": len(written) - len(edits)}
    counts |= {"pass_the_rules": sum(len(answers) for _, answers in decent)}
    tool.say("  ".join(f"{name}: {value}" for name, value in counts.items()))
    if dry_run:
        tool.say("  ".join(f"{rule}: {count}" for rule, count in dropped.items() if count))
        return
    # 3. The reward model's choice.
    judge = inference.served(config.reward_model, "reward", base_model=config.base_model)
    picks = _best(decent, judge, config, dropped)
    # 4. The best quarter, and no near-duplicates.
    top = top_share(picks, config.top_share)
    dropped["below_top_share"] = len(picks) - len(top)
    edited_texts, sampled_texts = ([_turn(pick) for pick in side] for side in (edits, top))
    verdicts = near_duplicates.distinct(edited_texts, sampled_texts, config.closest)
    rows = edits + [pick for pick, distinct in zip(top, verdicts, strict=True) if distinct]
    dropped["near_duplicate"] = verdicts.count(False)
    if not rows:
        raise DataError(f"nothing is left to train on of {counts['samples']} samples: {dict(dropped)}: lower the rules")
    lines = [json.dumps(row.to_json(number), ensure_ascii=False) for number, row in enumerate(rows)]
    tool.write_text(config.output, "\n".join(lines) + "\n")
    report = {
        "counts": counts | {f"rows/{source}": sum(row.source == source for row in rows) for source in (HUMAN, SAMPLED)},
        "dropped": dict(dropped),
        "reward_model": judge.to_json(),
        "samples_sha256": checkpoints.sha256(config.samples),
        "sha256": checkpoints.sha256(config.output),
        "settings": {name: getattr(config, name) for name in ("top_share", "closest", "ngram", "overlap")}
        | {"rules": asdict(config.rules)},
    }
    tool.write_json(config.output.with_suffix(".report.json"), report)
    for rule, count in dropped.items():
        tool.say(f"{count:>8}  {rule}")
    tool.say(f"{len(rows)} rows are written to {config.output}")


def read_samples(file: Path) -> list[Sampled]:
    """One prompt a line: `prompt_id`, `prompt`, `tools`, `checkpoint`, and `samples` with `text` and `finish_reason`.

    Raises:
        DataError: naming the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): sample first") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
            answers = tuple((str(sample["text"]), sample.get("finish_reason")) for sample in body["samples"])
            prompt = conversations.messages(body["prompt"])
            found.append(Sampled(str(body["prompt_id"]), prompt, body.get("tools"), body["checkpoint"], answers))
        except UnusableError as error:
            raise DataError(f"{file}, line {number}: {error}: remove that line and sample again") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}, line {number}: {error!r}: remove that line and sample again") from error
    if not found:
        raise DataError(f"{file} has no samples: sample first")
    return found


def read_snapshot(config: SelectionConfig) -> tuple[list[Pick], KeptOut]:
    """What annotators wrote for training prompts, each text once, and which prompts may not be learnt from.

    Raises:
        DataError: the snapshot is damaged.
    """
    if config.snapshot is None:
        return [], lambda *_: None
    # A file that says no splits is split as it was when the reward model was trained.
    split = (
        checkpoints.read(config.reward_model)
        .config.get("data", {})
        .get("held_out_percent", DataConfig.held_out_percent)
    )
    rows, _ = snapshot.read(config.snapshot, held_out_percent=split)
    held_out = {content_hash(row.prompt, row.tools): row.prompt for row in rows if row.split == "held_out"}
    contaminated = decontamination.contains_any(held_out.values(), config.ngram, config.overlap)
    edits = {
        (row.prompt_hash, row.edited): Pick(HUMAN, row.prompt_hash, row.prompt, row.tools, row.edited)
        for row in rows
        if row.split == "train" and row.edited and row.edited.strip()
    }

    def kept_out(prompt: Sequence[Message], tools: list[Any] | None) -> str | None:
        if content_hash(prompt, tools) in held_out:
            return "held_out_prompt"
        return "contaminated" if contaminated(prompt) else None

    return list(edits.values()), kept_out


def top_share(picks: Sequence[Pick], share: float) -> list[Pick]:
    """The best of all picks by reward, at least one, the best first; of equal ones those that came first."""
    ordered = sorted(picks, key=lambda pick: -(pick.score or 0.0))
    return ordered[: max(1, round(share * len(ordered)))] if ordered else []


def _wanted(sampled: Sequence[Sampled], kept_out: KeptOut, dropped: Counter[str]) -> list[Sampled]:
    """The prompts that may be learnt from; the samples of the others are counted."""
    wanted = []
    for one in sampled:
        reason = kept_out(one.prompt, one.tools)
        if reason is None:
            wanted.append(one)
        else:
            dropped[reason] += len(one.answers)
    return wanted


def _decent(sampled: Sampled, rules: Rules, dropped: Counter[str]) -> list[str]:
    """The different answers to a prompt that break no rule; the others are counted."""
    decent: list[str] = []
    for text, finish_reason in sampled.answers:
        rule = broken_rule(sampled.question, text, finish_reason, rules)
        if rule is None and text in decent:
            rule = "same_text"
        if rule is None:
            decent.append(text)
        else:
            dropped[rule] += 1
    return decent


def _best(
    decent: Sequence[tuple[Sampled, list[str]]],
    judge: inference.Served,
    config: SelectionConfig,
    dropped: Counter[str],
) -> list[Pick]:
    tokenizer = models.load_tokenizer(judge.base_model)
    candidates: list[tuple[Sampled, str]] = []
    sequences: list[list[int]] = []
    for sampled, answers in decent:
        prompt = list(sampled.prompt)
        try:
            prompt_ids = encode_chat(tokenizer, prompt, add_generation_prompt=True, tools=sampled.tools)
            encoded = [encode_response(tokenizer, prompt, text, sampled.tools).ids for text in answers]
        except (DataError, ConfigError):
            dropped["unrenderable"] += len(answers)
            continue
        for text, response in zip(answers, encoded, strict=True):
            ids = prompt_ids + response
            if len(ids) > config.max_length:
                dropped["too_long"] += 1
            else:
                candidates.append((sampled, text))
                sequences.append(ids)
    rewards = RewardModel(judge, tokenizer, config.batch_size).score(sequences)
    best: dict[str, Pick] = {}
    for (sampled, text), reward in zip(candidates, rewards, strict=True):
        found = best.get(sampled.key)
        if found is None or reward > (found.score or 0.0):
            best[sampled.key] = Pick(
                source=SAMPLED,
                prompt_id=sampled.prompt_id,
                prompt=sampled.prompt,
                tools=sampled.tools,
                completion=text,
                checkpoint=sampled.checkpoint,
                score=reward,
                k=len(sampled.answers),
                reward_model=judge.name,
            )
    dropped["not_the_best"] = len(candidates) - len(best)
    return list(best.values())


def _turn(pick: Pick) -> str:
    """Question and answer: a system prompt that many have in common would make all of them alike."""
    return f"{_question(pick.prompt)}\n{pick.completion}"


def _question(prompt: Sequence[Message]) -> str:
    return next((str(turn["content"]) for turn in reversed(prompt) if turn["role"] == "user"), "")


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", SelectionConfig, select, sys.argv[1:]))
