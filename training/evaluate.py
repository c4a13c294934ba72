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
    checks = ["python", "-m", "workers.verifiers"]   # checks answers to held-out prompts that say what they must come to
    tools = ["python", "-m", "workers.tools"]        # runs the calls of prompts with tools; without it a call is the answer

`events = "events.jsonl"` is a file to which progress is told, as trainings tell theirs. `lenient = true` is for rounds, which
are checked whatever there is: where nothing is held out, the checkpoint was not made, or the reward model before cannot be
read, the report says so.

Every number has an interval by bootstrap over prompts. Left out: judges that are language models of somebody else; a
person's judgement, which the next round's annotations give.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any, Literal

from training.data import asked as prompts
from training.data import snapshot
from training.data.chat import Tokenizer
from training.data.checks import Checks
from training.data.left_out import LeftOut
from training.data.tools import Tools
from training.formats import checkpoints, files
from training.formats.errors import CheckpointError, ConfigError, DataError
from training.formats.events import EventLog
from training.formats.settings import DataConfig
from training.measure import inference, judged, policy_report, report_page, reward_report, verified
from training.measure.inference import Policy, RewardModel, Sample, Served
from training.measure.judged import Judgements
from training.measure.metrics import Intervals
from training.measure.policy_report import Answers, Question
from training.measure.reward_report import Encoded, Measured
from training.measure.stepwise import Turns, which_run
from training.measure.verified import Checked
from training.model import models
from training.run import tool


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
    checks: list[str] = field(default_factory=list)  # the command of a program that training/data/checks.py speaks to
    tools: list[str] = field(default_factory=list)  # the command of a program that training/data/tools.py speaks to
    events: Path | None = None
    lenient: bool = False

    def __post_init__(self) -> None:
        if self.kind == "policy":
            _ = self.judge
        for name in ("max_length", "max_prompts", "batch_size", "max_new_tokens", "resamples"):
            if getattr(self, name) < 1:
                raise ConfigError(f'"{name}" must be at least 1')
        if self.temperature < 0:
            raise ConfigError('"temperature" must be at least 0')

    @property
    def judge(self) -> Path:
        """What decides which answer of a policy is better.

        Raises:
            ConfigError: the file names none.
        """
        if self.reward_model is None:
            raise ConfigError('a policy is judged by a reward model: set "reward_model"')
        return self.reward_model

    @property
    def sampling(self) -> dict[str, Any]:
        """How policies are sampled."""
        return {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature, "seed": self.seed}

    @property
    def bootstrap(self) -> dict[str, int]:
        """How intervals are drawn."""
        return {"resamples": self.resamples, "seed": self.seed}


REPORT = "report.json"
POLICIES = ("policy", "sft", "base")  # kinds of checkpoint that answer
Report = dict[str, Any]
Counts = dict[str, int]


def evaluate(config: EvaluateConfig, dry_run: bool) -> None:  # noqa: FBT001  what `tool.main` calls
    """Measure, print and write the report; a dry run only says on what."""
    # 1. The checkpoints and the data, before anything heavy.
    try:
        before, after, rows, counts, measure = _prepare(config)
    except DataError as error:
        if not config.lenient or dry_run:
            raise
        tool.say(str(error))
        files.write_json(config.output / REPORT, {"format": 1, "kind": config.kind, "unmeasured": str(error)})
        return
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
    files.write_text(config.output / report_page.FIGURE, report_page.figure(report))
    files.write_text(config.output / "report.md", report_page.page(report))
    files.write_json(config.output / REPORT, report)  # last: who finds it finds all
    for line in report_page.lines(report):
        tool.say(line)
    tool.say(f"\n{config.output / REPORT} is written")


class Steps:
    """Tells how far it is, where somebody wants to know: as events of a run, one a step."""

    def __init__(self, config: EvaluateConfig, total: int) -> None:
        self._log = EventLog(config.events.parent) if config.events else None
        self._done, self._total = 0, total

    def __call__(self) -> None:
        """One step more is done."""
        self._done += 1
        if self._log:
            self._log.emit("step", step=self._done, total_steps=max(self._done, self._total), metrics={})


def _prepare(config: EvaluateConfig) -> tuple[Served | None, Served, Judgements, Counts, Callable[[], Report]]:
    if config.lenient and not (config.checkpoint / checkpoints.MANIFEST).exists():
        raise DataError(f"{config.checkpoint.name} was not made")
    if config.kind == "reward":
        after = inference.served(config.checkpoint, "reward", base_model=config.base_model)
        rows, tokenizer = _read(config, after)
        # An untrained head is drawn at random: its run's metrics.json knows it.
        before, left_out = _reward_before(config)
        counts, measure = _prepare_reward(config, rows, tokenizer, before, after)
        return before, after, rows, counts, lambda: left_out | measure()
    after = inference.served(config.checkpoint, *POLICIES, base_model=config.base_model)
    old = _named_before(config, *POLICIES) or _base(config)
    rows, tokenizer = _read(config, after)
    return old, after, rows, *_prepare_policy(config, rows, tokenizer, old, after)


def _reward_before(config: EvaluateConfig) -> tuple[Served | None, Report]:
    try:
        return _named_before(config, "reward"), {}
    except (CheckpointError, OSError) as error:
        if not config.lenient:
            raise
        return None, {"before_left_out": str(error)}


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
        raise DataError(f"every held-out judgement is longer than max_length {config.max_length}: raise max_length")
    counts = {
        "held_out_judgements": len(encoded),
        "prompts": len({row.judgement.prompt for row in encoded}),
        "prompts_available": len(available),
        "too_long": len(held_out) - len(encoded) - unrenderable,
        "unrenderable": unrenderable,
    }

    def measure() -> Report:
        report: Report = {}
        told = Steps(config, 2 if before else 1)
        found = _scored(config, encoded, tokenizer, after, told)
        compared = reward_report.compare(rows.train, found, encoded, **config.bootstrap)
        if before is not None:
            old = _scored(config, encoded, tokenizer, before, told)
            report["before_metrics"] = _json(old.intervals)
            compared |= reward_report.paired(old, found, encoded, **config.bootstrap)
        report |= {"after_metrics": _json(found.intervals), "compared": _json(compared)}
        _write_lines(config.output / "pairs.jsonl", found.pairs)
        return report

    return counts, measure


def _scored(
    config: EvaluateConfig, encoded: Sequence[Encoded], tokenizer: Tokenizer, source: Served, told: Steps
) -> Measured:
    model = RewardModel(source, tokenizer, config.batch_size)
    found = reward_report.measure(encoded, tokenizer, model.score, **config.bootstrap)
    told()
    return found


def _prepare_policy(
    config: EvaluateConfig, rows: Judgements, tokenizer: Tokenizer, before: Served, after: Served
) -> tuple[Counts, Callable[[], Report]]:
    judge = inference.served(config.judge, "reward", base_model=config.base_model)
    for other in (before, judge):
        _refuse_other_tokens(tokenizer, after, other)
    left_out = LeftOut()
    available = policy_report.questions(rows.asked, tokenizer, config.max_length, left_out)
    unrenderable = left_out.counts["unrenderable"]
    checked = _checked(config, tokenizer)
    asked = available[: config.max_prompts]
    if not asked:
        if left_out.refusal:
            raise left_out.refusal
        raise DataError(f"every held-out prompt is longer than max_length {config.max_length}: raise max_length")
    sources = [*(each.source for each in asked), *(each.source for each in checked)]
    runs = which_run(config.tools, sources, config.data)
    counts = {
        "prompts": len(asked),
        "prompts_available": len(available),
        "too_long": len({row.prompt_hash for row in rows.asked}) - len(available) - unrenderable,
        "unrenderable": unrenderable,
        "human_edits": sum(len(question.edits) for question in asked),
        "checked_prompts": len(checked),
        "runs_tools": sum(found is None for found in runs.values()),
    }

    def measure() -> Report:
        starts = {name: _start(source, config) for name, source in (("before", before), ("after", after))}
        parts = 2 + sum(start is not None for start in starts.values())
        told = Steps(config, parts * ceil(len(asked) / config.batch_size) + 2 * ceil(len(checked) / config.batch_size))
        with Tools(config.tools) as tools:
            turns = Turns(tools, runs, config.max_length, config.sampling, told)
            old, old_checked = _answers(config, turns, before, starts["before"], tokenizer, asked, checked)
            new, new_checked = _answers(config, turns, after, starts["after"], tokenizer, asked, checked)
        reward_model = RewardModel(judge, models.load_tokenizer(judge.base_model), config.batch_size)
        found, lines = policy_report.compare(asked, old, new, tokenizer, reward_model.score, **config.bootstrap)
        _write_lines(config.output / "answers.jsonl", lines)
        with Checks(config.checks) as checks:
            known = verified.measure(checked, old_checked, new_checked, checks, **config.bootstrap)
        _write_lines(config.output / "checked.jsonl", known.lines)
        return {
            "verified": known.report,
            "reward_model": judge.to_json(),
            "started_from": {name: start.to_json() for name, start in starts.items() if start},
            "before_metrics": _json(old.intervals | known.before),
            "after_metrics": _json(new.intervals | known.after),
            "compared": _json(found | known.compared),
        }

    return counts, measure


def _checked(config: EvaluateConfig, tokenizer: Tokenizer) -> list[Checked]:
    """Where nothing can check answers, none are asked for."""
    if not config.checks:
        return []
    options = {"max_length": config.max_length, "most": config.max_prompts}
    return verified.questions(prompts.read(config.data), tokenizer, left_out=LeftOut(), **options)


def _held_out_percent(config: EvaluateConfig) -> int:
    """Of a file that says no splits all prompts are measured on; of the one that was trained on those that the run held out."""
    manifest = checkpoints.read(config.checkpoint)
    learnt = {manifest.snapshot_sha256, *manifest.config.get("snapshots", ())}  # an average has those of its parts
    if config.data.exists() and snapshot.identity(config.data) in learnt:
        return int(manifest.config.get("data", {}).get("held_out_percent", DataConfig.held_out_percent))
    return 100


def _answers(
    config: EvaluateConfig,
    turns: Turns,
    source: Served,
    start: Served | None,
    tokenizer: Tokenizer,
    asked: Sequence[Question],
    checked: Sequence[Checked],
) -> tuple[Answers, list[Sample]]:
    policy = Policy(source, tokenizer, config.batch_size)
    samples = turns.of(policy, asked)
    answers = policy_report.answer(policy, asked, samples, start, told=turns.told, **config.bootstrap)
    return answers, turns.of(policy, checked)


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


def _named_before(config: EvaluateConfig, *kinds: str) -> Served | None:
    return inference.served(config.before, *kinds, base_model=config.base_model) if config.before else None


def _base(config: EvaluateConfig) -> Served:
    return inference.base(config.base_model or checkpoints.read(config.checkpoint).base_model)


def _read(config: EvaluateConfig, after: Served) -> tuple[Judgements, Tokenizer]:
    rows = judged.read(config.data, _held_out_percent(config))
    return rows, models.load_tokenizer(after.base_model)


def _settings(config: EvaluateConfig) -> dict[str, Any]:
    names = ["max_length", "max_prompts", "resamples", "seed"]
    names += ["max_new_tokens", "temperature"] if config.kind == "policy" else []
    return {name: getattr(config, name) for name in names}


def _json(found: Intervals) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in found.items()}


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    files.write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", EvaluateConfig, evaluate, sys.argv[1:]))
