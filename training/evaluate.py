"""Measure a checkpoint on judgements that no round has trained on, as it is served.

    python -m training.evaluate run.toml

`run.toml` of a reward model::

    kind = "reward"
    checkpoint = "../reward/final"
    data = "../snapshot"                 # or any JSON Lines file with prompt, chosen and rejected
    output = "report"                    # report.json, report.md with a plot, and pairs.jsonl to look at

`run.toml` of a policy::

    kind = "policy"
    checkpoint = "../dpo/final"
    before = "../last-round/dpo/final"   # left out: the base model
    reward_model = "../reward/final"     # decides which of the two answers is better
    data = "../snapshot"
    output = "report"                    # report.json, report.md with a plot, and answers.jsonl to look at

Every number has an interval by bootstrap over prompts. Left out: judges that are language models of somebody else; a
person's judgement, which the next round's annotations give.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from training import checkpoints, inference, judged, models, policy_report, report_page, reward_report, snapshot, tool
from training.chat import Tokenizer
from training.config import DataConfig
from training.errors import CheckpointError, ConfigError, DataError
from training.inference import Policy, RewardModel, Served
from training.judged import Judgements
from training.left_out import LeftOut
from training.metrics import Intervals, Metrics, policy_metrics, reward_metrics
from training.policy_report import Answers, Question

__all__ = ["EvaluateConfig", "Metrics", "evaluate", "policy_metrics", "reward_metrics"]


@dataclass(frozen=True)
class EvaluateConfig:
    """A run file, see the module docstring. `base_model` stands in for one that has moved since training."""

    kind: Literal["reward", "policy"]
    checkpoint: Path
    data: Path
    output: Path
    before: Path | None = None
    reward_model: Path | None = None
    base_model: str | None = None
    max_length: int = 512  # tokens of prompt and response together
    max_prompts: int = 200
    batch_size: int = 8
    max_new_tokens: int = 128
    temperature: float = 1.0  # 0 is greedy
    resamples: int = 2000
    seed: int = 17

    def __post_init__(self) -> None:
        if self.kind == "policy" and self.reward_model is None:
            raise ConfigError('a policy is judged by a reward model: set "reward_model"')
        for name in ("max_length", "max_prompts", "batch_size", "max_new_tokens", "resamples"):
            if getattr(self, name) < 1:
                raise ConfigError(f'"{name}" must be at least 1')
        if self.temperature < 0:
            raise ConfigError('"temperature" must be at least 0')

    @property
    def bootstrap(self) -> dict[str, int]:
        """How intervals are drawn."""
        return {"resamples": self.resamples, "seed": self.seed}


Report = dict[str, Any]


def evaluate(config: EvaluateConfig, dry_run: bool) -> None:  # noqa: FBT001  what `tool.main` calls
    """Measure, print and write the report; a dry run only says on what."""
    # 1. The checkpoints and the data, before anything heavy.
    kinds = ("reward",) if config.kind == "reward" else ("policy", "sft", "base")
    after = inference.served(config.checkpoint, *kinds, base_model=config.base_model)
    before = _before(config, kinds)
    rows = judged.read(config.data, _held_out_percent(config))
    tokenizer = models.load_tokenizer(after.base_model)
    prepare = _prepare_reward if config.kind == "reward" else _prepare_policy
    counts, measure = prepare(config, rows, tokenizer, before, after)
    tool.say("  ".join(f"{name}: {value}" for name, value in counts.items()))
    if dry_run:
        return

    # 2. The numbers.
    report: Report = {
        "format": 1,
        "kind": config.kind,
        "checkpoint": after.to_json(),
        "before": before.to_json() if before else None,
        "settings": _settings(config),
        "data": counts | {"sha256": rows.sha256, "train_judgements": len(rows.train), "left_out": rows.left_out},
        "versions": {package: version(package) for package in ("torch", "transformers", "peft")},
        **measure(),
    }
    tool.write_json(config.output / "report.json", report)
    tool.write_text(config.output / report_page.FIGURE, report_page.figure(report))
    tool.write_text(config.output / "report.md", report_page.page(report))
    for line in report_page.lines(report):
        tool.say(line)
    tool.say(f"\n{config.output / 'report.json'} is written")


Counts = dict[str, int]


def _prepare_reward(
    config: EvaluateConfig, rows: Judgements, tokenizer: Tokenizer, before: Served | None, after: Served
) -> tuple[Counts, Callable[[], Report]]:
    available = {row.prompt for row in rows.held_out}
    wanted = set(sorted(available)[: config.max_prompts])  # the same prompts for every checkpoint
    held_out = [row for row in rows.held_out if row.prompt in wanted]
    left_out = LeftOut()
    encoded = reward_report.encode(held_out, tokenizer, config.max_length, left_out)
    unrenderable = left_out.counts["unrenderable"]
    if not encoded:
        if left_out.refusal:
            raise left_out.refusal
        raise DataError(f"every held-out judgement is longer than max_length {config.max_length}: raise it")
    counts = {
        "held_out_judgements": len(encoded),
        "prompts": len({row.judgement.prompt for row in encoded}),
        "prompts_available": len(available),
        "too_long": len(held_out) - len(encoded) - unrenderable,
        "unrenderable": unrenderable,
    }

    def measure() -> Report:
        report: Report = {}
        for side, source in (("before", before), ("after", after)):
            if source is not None:
                model = RewardModel(source, tokenizer, config.batch_size)
                found = reward_report.measure(encoded, tokenizer, model.score, **config.bootstrap)
                report[f"{side}_metrics"] = _json(found.intervals)
        report["compared"] = _json(reward_report.compare(rows.train, found, encoded, **config.bootstrap))
        _write_lines(config.output / "pairs.jsonl", found.pairs)
        return report

    return counts, measure


def _prepare_policy(
    config: EvaluateConfig, rows: Judgements, tokenizer: Tokenizer, before: Served | None, after: Served
) -> tuple[Counts, Callable[[], Report]]:
    assert config.reward_model is not None  # noqa: S101  EvaluateConfig holds it
    assert before is not None  # noqa: S101  the base model at least
    judge = inference.served(config.reward_model, "reward", base_model=config.base_model)
    for other in (before, judge):
        _refuse_other_tokens(tokenizer, after, other)
    left_out = LeftOut()
    available = policy_report.questions(rows.asked, tokenizer, config.max_length, left_out)
    unrenderable = left_out.counts["unrenderable"]
    asked = available[: config.max_prompts]
    if not asked:
        if left_out.refusal:
            raise left_out.refusal
        raise DataError(f"every held-out prompt is longer than max_length {config.max_length}: raise it")
    counts = {
        "prompts": len(asked),
        "prompts_available": len(available),
        "too_long": len({row.prompt_hash for row in rows.asked}) - len(available) - unrenderable,
        "unrenderable": unrenderable,
        "human_edits": sum(len(question.edits) for question in asked),
    }

    def measure() -> Report:
        starts = {name: _start(source, config) for name, source in (("before", before), ("after", after))}
        old = _answers(config, before, starts["before"], tokenizer, asked)
        new = _answers(config, after, starts["after"], tokenizer, asked)
        reward_model = RewardModel(judge, models.load_tokenizer(judge.base_model), config.batch_size)
        found, lines = policy_report.compare(asked, old, new, tokenizer, reward_model.score, **config.bootstrap)
        _write_lines(config.output / "answers.jsonl", lines)
        return {
            "reward_model": judge.to_json(),
            "started_from": {name: start.to_json() for name, start in starts.items() if start},
            "before_metrics": _json(old.intervals),
            "after_metrics": _json(new.intervals),
            "compared": _json(found),
        }

    return counts, measure


def _held_out_percent(config: EvaluateConfig) -> int:
    """Of a file that says no splits all prompts are measured on; of the one that was trained on those that the run held out."""
    manifest = checkpoints.read(config.checkpoint)
    learnt = {manifest.snapshot_sha256, *manifest.config.get("snapshots", ())}  # an average has those of its parts
    if config.data.exists() and snapshot.identity(config.data) in learnt:
        return int(manifest.config.get("data", {}).get("held_out_percent", DataConfig.held_out_percent))
    return 100


def _answers(
    config: EvaluateConfig, source: Served, start: Served | None, tokenizer: Tokenizer, asked: Sequence[Question]
) -> Answers:
    policy = Policy(source, tokenizer, config.batch_size)
    sampling = {"max_new_tokens": config.max_new_tokens, "temperature": config.temperature, "seed": config.seed}
    return policy_report.answer(policy, asked, start, sampling=sampling, **config.bootstrap)


def _start(source: Served, config: EvaluateConfig) -> Served | None:
    """What a policy was trained from: its parent where that still lies where it was, else its base model."""
    if source.sha256 is None:
        return None
    manifest = checkpoints.read(source.checkpoint)
    if manifest.kind == "base":
        return None
    parent = manifest.config.get("parent_adapter")
    if manifest.parent and parent and (Path(parent) / checkpoints.MANIFEST).exists():
        found = inference.served(Path(parent), base_model=config.base_model)
        if found.sha256 == manifest.parent["manifest_sha256"]:
            return found
    return inference.base(config.base_model or manifest.base_model)


def _refuse_other_tokens(tokenizer: Tokenizer, after: Served, other: Served) -> None:
    """Prompts are encoded once for all models that read them."""
    if models.load_tokenizer(other.base_model).get_vocab() != tokenizer.get_vocab():
        raise CheckpointError(f"{other.name} and {after.name} have different tokenizers: compare models that share one")


def _before(config: EvaluateConfig, kinds: tuple[str, ...]) -> Served | None:
    if config.before is not None:
        return inference.served(config.before, *kinds, base_model=config.base_model)
    if config.kind == "reward":
        return None  # an untrained head is drawn at random: the run's own metrics.json has what it scored
    return inference.base(config.base_model or checkpoints.read(config.checkpoint).base_model)


def _settings(config: EvaluateConfig) -> dict[str, Any]:
    names = ["max_length", "max_prompts", "resamples", "seed"]
    names += ["max_new_tokens", "temperature"] if config.kind == "policy" else []
    return {name: getattr(config, name) for name in names}


def _json(found: Intervals) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in found.items()}


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    tool.write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", EvaluateConfig, evaluate, sys.argv[1:]))
