"""Rejection sampling: of K answers to a prompt keep the one that the reward model likes best, if it is good enough.

    python -m training.selection run.toml

`run.toml`::

    samples = "samples.jsonl"            # K answers to each prompt, written by `python -m workers.training.rejection`
    reward_model = "../reward/final"
    snapshot = "../snapshot"             # what people wrote in it is mixed in, and its held-out prompts kept out; may be left out
    best_responses = true                # and where people wrote nothing, what they found best
    checks = ["python", "-m", "workers.verifiers"]     # what tells right answers from wrong ones; may be left out
    corrections = "corrections.jsonl"    # wrong answers put right, by `python -m workers.training.correction`; may be left out
    steps_model = "../steps/final"       # a stepwise reward model, which drops answers to maths by a step; may be left out
    solutions = "solutions.jsonl"        # steps and programs, by `python -m workers.training.solutions`; may be left out
    judged = "judged.jsonl"              # what a judge of facts says of the samples, by `python -m workers.training.judged`
    refusals = true                      # and where all answers claim what is wrong, learn to say that one does not know
    required = ["maths"]                 # of its verifiers those that have to pass; left out: all that apply
    output = "sft.jsonl"                 # read by training.sft; sft.report.json beside it counts what was dropped

As in Llama 3 (arXiv 2407.21783, 4.2.2 and 4.2.3): rules drop what nobody should imitate, checks what is wrong
(`training.data.passing`), a stepwise reward model what it takes for wrong (`training.measure.step_values`); the reward model
picks the best of what is left of each prompt, the best quarter of these picks is kept, and of near-duplicates the best. What
people wrote, edits and whole answers, stays, and what is too close to it goes. A reward is known up to a constant of the prompt
only, so the quarter favours prompts that the reward model finds easy to please; the paper does the same. Prompts that say again
what a held-out one says (`training.data.decontamination`) go with their samples and what people wrote, and are counted, as where
preferences are read: what is learnt by heart from their answers would pass for progress.

Left out: difficulty and topic, which need a larger model to judge.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.data import asked, decontamination, judged, near_duplicates, passing, put_right, snapshot
from training.data import sampled as samples
from training.data.asked import Asked
from training.data.chat import Message, encode_chat, encode_response
from training.data.checks import Checks
from training.data.picks import (
    CORRECTED,
    FROM_SCRATCH,
    HUMAN,
    PREFERRED,
    REFUSED,
    SAMPLED,
    SOLVED,
    Pick,
    pick_of,
    preferred,
    refusals_of,
    top_share,
    turn,
)
from training.data.put_right import KeptOut
from training.data.rules import Rules, broken_rule
from training.data.sampled import Sampled
from training.data.snapshot import Preference
from training.formats import checkpoints, files
from training.formats.errors import ConfigError, DataError
from training.formats.events import EventLog
from training.formats.pairs import WRITTEN
from training.formats.prompts import content_hash
from training.formats.settings import DataConfig
from training.measure import inference
from training.measure.inference import RewardModel
from training.measure.step_values import WRONG_STEP, StepModel, without_wrong_steps
from training.model import models
from training.run import tool


@dataclass(frozen=True)
class SelectionConfig:
    """A run file, see the module docstring."""

    samples: Path
    reward_model: Path
    output: Path
    snapshot: Path | None = None
    best_responses: bool = False  # of the snapshot's prompts for which nobody wrote anything
    leave_out: list[str] = field(default_factory=list)  # checkpoints whose answers in it may not be learnt from
    checks: list[str] = field(default_factory=list)  # the command of a program that training/data/checks.py speaks to
    steps_model: Path | None = None  # a checkpoint of kind "steps", see training/steps.py
    steps_floor: float = 0.5  # an answer with a step that is less probably right is dropped
    steps_capabilities: list[str] = field(default_factory=lambda: ["maths"])  # of whose prompts answers are dropped so
    corrections: Path | None = None  # what `python -m workers.training.correction` wrote
    solutions: Path | None = None  # what `python -m workers.training.solutions` wrote
    judged: Path | None = None  # what `python -m workers.training.judged` wrote
    refusals: bool = False  # learn one where all answers to a prompt claim what is wrong
    required: list[str] | None = None  # verifiers that have to pass, where a line of the samples does not say
    base_model: str | None = None
    top_share: float = 0.25  # of the picks, by reward
    closest: float = 0.8  # cosine from which two dialogues are the same
    ngram: int = DataConfig.ngram  # words that are compared with held-out prompts; 0 compares nothing
    overlap: float = DataConfig.overlap  # share of a held-out prompt's n-grams from which on a prompt contains it
    max_length: int = 512  # tokens of prompt and answer together
    batch_size: int = 8
    pairs: Path | None = None  # where pairs of a right and a wrong answer are written
    events: Path | None = None  # where progress is told, as trainings tell theirs
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        if not 0 < self.top_share <= 1:
            raise ConfigError('"top_share" must be above 0 and at most 1')
        if not 0 < self.closest <= 1:
            raise ConfigError('"closest" must be above 0 and at most 1')
        if not 0 <= self.steps_floor <= 1:
            raise ConfigError('"steps_floor" must be at least 0 and at most 1')
        if self.ngram < 0:
            raise ConfigError('"ngram" must be at least 0')
        if not 0 < self.overlap <= 1:
            raise ConfigError('"overlap" must be above 0 and at most 1')
        if self.output.suffix != ".jsonl":
            raise ConfigError('"output" must be a file that ends with .jsonl')


def select(config: SelectionConfig, dry_run: bool) -> None:  # noqa: FBT001  what `tool.main` calls
    """Read, drop, score, pick, and write the rows and the count of what was dropped by which rule."""
    # 1. What people wrote or preferred, and which prompts are kept for measuring.
    said, barred, kept_out = read_snapshot(config)
    by_people = [pick for pick in said if not kept_out(pick.prompt, pick.tools)]
    # 2. The rules, before anything is scored.
    dropped = Counter({"held_out_prompt": 0, "contaminated": 0})
    sampled = samples.read(config.samples)
    decent = [(one, _decent(one, config.rules, dropped)) for one in _wanted(sampled, kept_out, dropped)]
    counts: dict[str, Any] = {
        "prompts": len(sampled),
        "samples": sum(len(one.answers) for one in sampled),
        **_by_people(said, by_people, config),
        "left_out_by_checkpoint": barred,
        "pass_the_rules": sum(len(answers) for _, answers in decent),
    }
    tool.say("  ".join(f"{name}: {value}" for name, value in counts.items()))
    if dry_run:
        tool.say("  ".join(f"{rule}: {count}" for rule, count in dropped.items() if count))
        return
    # 3. What is known to be wrong.
    said_of = judged.read(config.judged)
    decent, refused = judged.without_wrong(decent, said_of, config.required, dropped, refusals=config.refusals)
    counts |= judged.counted(said_of) if config.judged else {}
    with Checks(config.checks) as checks:
        checked = passing.check(decent, checks, config.required, lambda done: _still_checks(done, len(decent)))
    if config.pairs:
        counts |= {"verifier_pairs": passing.write_pairs(checked, config.pairs)}
    corrected, solved = _put_right(config, kept_out, counts)
    dropped.update(checked.dropped)
    counts |= {"solved": checked.solved, "unsolved": checked.unsolved}
    say_checks(checks)
    kept, by_step = _without_wrong_steps(checked.kept, config)
    if by_step:
        dropped[WRONG_STEP] = by_step.pop(WRONG_STEP)
        counts |= by_step
    # 4. The reward model's choice.
    judge = inference.served(config.reward_model, "reward", base_model=config.base_model)
    picks = _best(kept, judge, config, dropped)
    # 5. The best quarter, and no near-duplicates.
    top = top_share(picks, config.top_share)
    dropped["below_top_share"] = len(picks) - len(top)
    peoples_texts, sampled_texts = ([turn(pick) for pick in side] for side in (by_people, top))
    verdicts = near_duplicates.distinct(peoples_texts, sampled_texts, config.closest)
    rows = (
        by_people
        + corrected
        + solved
        + refusals_of(refused)
        + [pick for pick, distinct in zip(top, verdicts, strict=True) if distinct]
    )
    dropped["near_duplicate"] = verdicts.count(False)
    if not rows:
        raise DataError(
            f"none of {counts['samples']} samples is left to train on: {dict(dropped)}: lower the rules, or require less"
        )
    sources = [FROM_SCRATCH, HUMAN, *([PREFERRED] if config.best_responses else []), CORRECTED, SAMPLED]
    sources += ([REFUSED] if config.refusals else []) + ([SOLVED] if config.solutions else [])
    counts |= {f"rows/{source}": sum(row.source == source for row in rows) for source in sources}
    written = [json.dumps(row.to_json(number), ensure_ascii=False) for number, row in enumerate(rows)]
    files.write_text(config.output, "\n".join(written) + "\n")
    _report(config, {"counts": counts, "dropped": dict(dropped), "checks": checks.to_json()}, judge)
    for rule, count in dropped.items():
        tool.say(f"{count:>8}  {rule}")
    tool.say(f"{len(rows)} rows are written to {config.output}")


def _put_right(config: SelectionConfig, kept_out: KeptOut, counts: dict[str, Any]) -> tuple[list[Pick], list[Pick]]:
    """What was corrected, and what was solved, which is counted: how many prompts were tried, dropped and put right."""
    again = "write them again"
    corrected = put_right.read(config.corrections, CORRECTED, config.rules, kept_out, again)
    solved = put_right.read(config.solutions, SOLVED, config.rules, kept_out, again)
    if config.solutions:
        counts |= {
            "solutions": solved.tried,
            "solutions_dropped": solved.tried - len(solved.picks),
            "solutions_corrected": solved.corrected,
        }
    return corrected.picks, solved.picks


def _by_people(said: list[Pick], clean: list[Pick], config: SelectionConfig) -> dict[str, int]:
    """How many texts people wrote or preferred, and how many of these are of prompts that repeat held-out ones."""
    counts: dict[str, int] = {}
    for source, name in ((HUMAN, "human_edits"), (FROM_SCRATCH, "written_answers")):
        found, kept = (sum(pick.source == source for pick in some) for some in (said, clean))
        counts |= {name: found, f"{name}_contaminated": found - kept}
    if config.best_responses:
        counts |= {"preferred": sum(pick.source == PREFERRED for pick in said)}
    return counts


def _report(config: SelectionConfig, told: dict[str, Any], judge: inference.Served) -> None:
    """Write what was kept and dropped beside the rows, and tell whoever watches the run."""
    names = ("top_share", "closest", "ngram", "overlap", "steps_floor", "required", "refusals")
    report = told | {
        "reward_model": judge.to_json(),
        "steps_model": str(config.steps_model) if config.steps_model else None,
        "samples_sha256": checkpoints.sha256(config.samples),
        "sha256": checkpoints.sha256(config.output),
        "settings": {name: getattr(config, name) for name in names} | {"rules": asdict(config.rules)},
    }
    files.write_json(config.output.with_suffix(".report.json"), report)
    if config.events:
        EventLog(config.events.parent).emit("chosen", **told)


def _without_wrong_steps(
    answered: list[tuple[Sampled, list[str]]], config: SelectionConfig
) -> tuple[list[tuple[Sampled, list[str]]], dict[str, int]]:
    """What a stepwise reward model leaves of the answers, and its counts; without one all of them, and none."""
    if config.steps_model is None:
        return answered, {}
    source = inference.served(config.steps_model, "steps", base_model=config.base_model)
    tokenizer = models.load_tokenizer(source.base_model)
    kept, counts = without_wrong_steps(
        answered,
        StepModel(source, tokenizer, config.batch_size),
        tokenizer,
        floor=config.steps_floor,
        max_length=config.max_length,
        capabilities=config.steps_capabilities,
    )
    tool.say("  ".join(f"{name}: {value}" for name, value in counts.items()))
    return kept, counts


def _still_checks(done: int, prompts: int) -> None:
    if done and done % 10 == 0:  # whoever watches a run must not take it for dead
        tool.say(f"answers to {done} of {prompts} prompts are checked")


def say_checks(checks: Checks) -> None:
    """What was found, or why nothing was."""
    if checks.unavailable:
        tool.say(f"no answer is checked: {checks.unavailable}")
    for name, counts in checks.to_json()["verifiers"].items():
        tool.say(f"{name}: " + "  ".join(f"{word}: {count}" for word, count in counts.items()))


def read_snapshot(config: SelectionConfig) -> tuple[list[Pick], int, KeptOut]:
    """What annotators wrote for training prompts or preferred, each text once, and which prompts may not be learnt from.

    Between the two: how many rows are left out because of who wrote them.

    Raises:
        DataError: the snapshot is damaged.
    """
    if config.snapshot is None:
        return [], 0, lambda *_: None
    # A file that says no splits is split as it was when the reward model was trained.
    split = (
        checkpoints.read(config.reward_model)
        .config.get("data", {})
        .get("held_out_percent", DataConfig.held_out_percent)
    )
    rows, _ = snapshot.read(config.snapshot, held_out_percent=split)
    unseen: list[Preference | Asked] = [*rows, *asked.read(config.snapshot)]
    held_out = {content_hash(each.prompt, each.tools): each.prompt for each in unseen if each.split == "held_out"}
    contaminated = decontamination.contains_any(held_out.values(), config.ngram, config.overlap)
    judged = [row for row in rows if row.split == "train"]
    train = [row for row in judged if not row.written_by(config.leave_out)]
    by_hand: dict[tuple[str, str], Pick] = {}
    for row in train:
        if row.edited and row.edited.strip():
            source = FROM_SCRATCH if row.outcome == WRITTEN else HUMAN
            pick = Pick(
                source,
                row.prompt_hash,
                row.prompt,
                row.tools,
                row.edited,
                row.capability,
                steps=row.steps_of("chosen"),
            )
            by_hand.setdefault((row.prompt_hash, row.edited), pick)
    liked = preferred(train, config.rules) if config.best_responses else []

    def kept_out(prompt: Sequence[Message], tools: list[Any] | None) -> str | None:
        if content_hash(prompt, tools) in held_out:
            return "held_out_prompt"
        return "contaminated" if contaminated(prompt) else None

    return [*by_hand.values(), *liked], len(judged) - len(train), kept_out


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
    """The different answers to a prompt that break no rule and whose calls all ran; the others are counted."""
    decent: list[str] = []
    for answer in sampled.answers:
        rule = answer.broken or broken_rule(sampled.question, answer.text, answer.finish_reason, rules)
        if rule is None and answer.text in decent:
            rule = "same_text"
        if rule is None:
            decent.append(answer.text)
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
            encoded = [
                encode_response(tokenizer, prompt, text, sampled.tools, steps=sampled.steps_of(text)).ids
                for text in answers
            ]
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
            how = {"score": reward, "reward_model": judge.name, "steps": sampled.steps_of(text)}
            best[sampled.key] = pick_of(sampled, SAMPLED, text, **how)
    dropped["not_the_best"] = len(candidates) - len(best)
    return list(best.values())


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", SelectionConfig, select, sys.argv[1:]))
