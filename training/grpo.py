"""Learn from what can be checked: the policy answers, verifiers say what is right, and that becomes more likely.

    python -m training.grpo run.toml

`run.toml`::

    name = "policy-checked"
    recipe = "laptop"                    # training/recipes/grpo.laptop.toml; without it the defaults of `GrpoRun`
    snapshot = "../snapshot"             # of which the prompts are taken that say what an answer must come to
    base_model = "../base"
    parent_adapter = "../dpo/final"      # what is trained on; without it a fresh adapter
    output = "final"
    work = "."                           # events, saved states and the report; beside the output where left out
    checks = ["python", "-m", "workers.verifiers"]
    tools = ["python", "-m", "workers.tools"]   # runs the calls of prompts with tools; without it a call is the answer
    required = ["answer"]                # whose findings count; without it those that a prompt's batch requires, or all

For a prompt x, G answers y are drawn from the policy, and each has the advantage (arXiv 2402.03300, 4.1.1)

    A(y) = (r(y) - mean r) / std r            over the G answers of a prompt
    loss = -mean(min(w A, clip(w, 1 ± eps) A))        over the tokens, w = p(token) / p(token when it was drawn)

The reward r is the mean over the findings of an answer, each its score where it has one, else 1 or 0. What could not be
checked has no reward and no part in the mean: it is neither right nor wrong. TRL's GRPOTrainer trains; Corral draws the
answers, because what a user typed must not become a control token, and because they may come from an engine
(`training/run/drawing.py`). Where all answers of a prompt are right, or all wrong, nothing is learnt from it.

Held-out prompts are answered before and after, and the report has both rates with their intervals; none of them is learnt
from, nor any prompt that repeats one. A run that was interrupted goes on from its last saved state.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.data import asked, decontamination, snapshot
from training.data.asked import Asked
from training.data.chat import Tokenizer, encode_chat
from training.data.checks import Checks
from training.data.left_out import LeftOut
from training.data.snapshot import Preference
from training.data.tools import Tools
from training.formats import checkpoints, files, snapshots
from training.formats.checkpoints import Manifest
from training.formats.errors import BusyError, CheckpointError, ConfigError, DataError
from training.formats.events import EventLog
from training.formats.settings import DataConfig, differences
from training.measure import inference, model_card, verified
from training.measure.inference import Sample
from training.measure.metrics import Intervals
from training.measure.stepwise import Turns, which_run
from training.measure.verified import Checked
from training.model import models
from training.run import tool
from training.run.drawing import AtEngine, Here
from training.run.learning import GrpoRun, Rewards, learn
from training.run.progress import trainer_dir

REPORT, TRAINED, BEFORE = "report.json", "trained", "before.json"
"""In the run's folder: both rates; what is trained, before it is measured; the answers of before."""
HELD_OUT = "held_out"
Metrics = dict[str, float]


def train(config: GrpoRun, dry_run: bool) -> None:  # noqa: FBT001  # what `tool.main` calls
    """Measure, train, measure again, and write the adapter as a checkpoint with its report.

    Raises:
        TrainingError: what is wrong with the data, the models or the checks; or another process trains there.
    """
    if dry_run:
        _read(config)
        return
    config.folder.mkdir(parents=True, exist_ok=True)
    try:
        with checkpoints.locked(config.folder / "run.lock", wait=False):
            if config.output.exists():
                _already_finished(config)
            else:
                _train(config)
            for leftover in (trainer_dir(config.folder), config.folder / TRAINED):
                shutil.rmtree(leftover, ignore_errors=True)
    except BlockingIOError:
        raise BusyError(f"another process is training in {config.folder}: wait for it or stop it") from None


def _train(config: GrpoRun) -> None:
    # 1. The data, before anything heavy.
    events = EventLog(config.folder)
    tokenizer, prompts, held_out, runs, counts = _read(config)
    events.emit("data", **counts)
    if not held_out:
        words = "No held-out prompt has something to check, so whether this policy solves more cannot be measured."
        events.emit("warning", message=words)
    # 2. The policy as it is.
    with Checks(config.checks) as checks, Tools(config.tools) as tools:
        turns = Turns(tools, runs, config.max_length, config.sampling)
        before = _before(config, held_out, tokenizer, turns)
        untrained = _metrics(verified.measure(held_out, before, before, checks).before, held_out)
        if events.last("baseline") is None and untrained:
            events.emit("baseline", metrics=untrained)
        # 3. Training, unless it was done before an interruption.
        log = _learnt(config, tokenizer, prompts, checks, turns, events)
        # 4. The policy as it is now, read from the disk.
        after = measure(config, config.folder / TRAINED, held_out, tokenizer, turns)
        found = verified.measure(held_out, before, after, checks)
    final = _metrics(found.after, held_out)
    events.emit("final", step=log[-1]["step"] if log else 0, metrics=final)
    _publish(config, {"baseline": _metrics(found.before, held_out), "final": final, "data": counts}, events)
    sides = {"before": found.before, "after": found.after, "gain": found.compared}
    rates = {side: {name: rate.to_json() for name, rate in of.items()} for side, of in sides.items()}
    files.write_json(config.folder / REPORT, {**rates, "verified": found.report, "steps": log})
    for name, rate in found.after.items():
        tool.say(f"{name}: {found.before[name]} before, {rate} after")


def _read(
    config: GrpoRun,
) -> tuple[Tokenizer, dict[str, Asked], list[Checked], dict[str, bool | None], dict[str, int]]:
    """What is learnt from and measured on, of which prompts calls are run, and the counts.

    Raises:
        DataError: no prompt is left.
    """
    models.check_base(config.base_model)
    tokenizer = models.load_tokenizer(config.base_model)
    prompts, left_out = read(config, tokenizer)
    held_out = held_out_prompts(config, tokenizer)
    runs = which_run(config.tools, [*(each.source for each in held_out), *prompts.values()], config.snapshot)
    elsewhere = {name for name, found in runs.items() if found is None}
    left_out["prompts_run_tools"] = len(elsewhere & prompts.keys())
    prompts = {name: each for name, each in prompts.items() if name not in elsewhere}
    held_out = [each for each in held_out if each.source.prompt_hash not in elsewhere]
    if not prompts:
        raise DataError(f"{config.snapshot} has no training prompt whose tools are run here: upload others")
    counts = {"checked_prompts": len(prompts), "checked_held_out": len(held_out), **left_out}
    tool.say("  ".join(f"{name}: {count}" for name, count in counts.items()))
    return tokenizer, prompts, held_out, runs, counts


def read(config: GrpoRun, tokenizer: Tokenizer) -> tuple[dict[str, Asked], dict[str, int]]:
    """The training prompts that say what an answer must come to, by their keys, and how many were left out for which reason.

    Raises:
        DataError: there is none.
    """
    every = asked.read(config.snapshot)
    judged, _ = snapshot.read(config.snapshot, held_out_percent=DataConfig.held_out_percent)
    unseen: list[Preference | Asked] = [*judged, *every]
    kept_out = {each.prompt_hash: each.prompt for each in unseen if each.split == HELD_OUT}
    contaminated = decontamination.contains_any(kept_out.values(), config.ngram, config.overlap)
    found: dict[str, Asked] = {}
    left_out = {"prompts_too_long": 0, "prompts_contaminated": 0, "prompts_unrenderable": 0}
    for each in every:
        if each.split != "train" or not each.is_checked or each.prompt_hash in found or each.prompt_hash in kept_out:
            continue
        why = _unfit(config, tokenizer, each) or ("prompts_contaminated" if contaminated(each.prompt) else None)
        if why:
            left_out[why] += 1
        else:
            found[each.prompt_hash] = each
    if not found:
        raise DataError(
            f"{config.snapshot} has no training prompt with a reference or tests that fits: upload prompts that have some"
        )
    return found, left_out


def _unfit(config: GrpoRun, tokenizer: Tokenizer, each: Asked) -> str | None:
    try:
        ids = encode_chat(tokenizer, list(each.prompt), add_generation_prompt=True, tools=each.tools)
    except (DataError, ConfigError):
        return "prompts_unrenderable"
    return "prompts_too_long" if len(ids) + config.max_tokens > config.max_length else None


def held_out_prompts(config: GrpoRun, tokenizer: Tokenizer) -> list[Checked]:
    """The prompts of the snapshot that are kept for measuring, at most so many."""
    room = config.max_length - config.max_tokens
    return verified.questions(
        asked.read(config.snapshot), tokenizer, max_length=room, most=config.held_out, left_out=LeftOut()
    )


def _learnt(
    config: GrpoRun,
    tokenizer: Tokenizer,
    prompts: Mapping[str, Asked],
    checks: Checks,
    turns: Turns,
    events: EventLog,
) -> list[dict[str, float]]:
    """Train and keep the adapter in the run's folder; returns what was logged at each step."""
    trained = config.folder / TRAINED
    if not (trained / checkpoints.MANIFEST).exists():
        model = models.load_policy(config)
        kind = Here if config.engine is None else AtEngine
        drawer = kind(config, tokenizer, prompts, turns.tools, turns.runs)
        manifest = _manifest(config)
        sha256 = manifest.snapshot_sha256 or ""
        rewards = Rewards(checks, config.required, prompts)
        log = learn(config, model, tokenizer, prompts, drawer, rewards, events=events, snapshot_sha256=sha256)
        with checkpoints.write(trained, manifest) as draft:
            models.save(model, tokenizer, draft)
            files.write_json(draft / "metrics.json", {"steps": log})
    checkpoints.verify(trained, "policy")
    steps: list[dict[str, float]] = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["steps"]
    return steps


def _before(config: GrpoRun, held_out: Sequence[Checked], tokenizer: Tokenizer, turns: Turns) -> list[Sample]:
    """The answers before training; of a run that goes on those that it began with."""
    place, of = config.folder / BEFORE, [each.source.prompt_hash for each in held_out]
    if place.exists():
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["prompts"] == of:
            return [Sample(**each) for each in kept["answers"]]
    answers = measure(config, None, held_out, tokenizer, turns)
    files.write_json(place, {"prompts": of, "answers": [asdict(each) for each in answers]})
    return answers


def measure(
    config: GrpoRun, adapter: Path | None, held_out: Sequence[Checked], tokenizer: Tokenizer, turns: Turns
) -> list[Sample]:
    """One answer of the policy to each held-out prompt, drawn with the same seed before and after."""
    if not held_out:
        return []
    at = adapter or config.parent_adapter
    source = inference.base(config.base_model) if at is None else inference.served(at, base_model=config.base_model)
    policy = inference.Policy(source, tokenizer, batch_size=config.answers * config.prompts)
    return turns.of(policy, held_out)


def _metrics(rates: Intervals, held_out: Sequence[Checked]) -> Metrics:
    """As pages and cards read them: `held_out/verified`, and by capability, with the ends of their intervals."""
    found: Metrics = {"held_out/verified_prompts": float(len(held_out))} if rates else {}
    for name, rate in rates.items():
        key = f"{HELD_OUT}/{name}"
        found[key] = rate.value
        if rate.low is not None and rate.high is not None:  # of one prompt alone there is no interval
            found |= {f"{key}/low": rate.low, f"{key}/high": rate.high}
    return found


def _publish(config: GrpoRun, metrics: Mapping[str, Any], events: EventLog) -> None:
    """Write the final checkpoint, its last step being a rename, and report it."""
    manifest = replace(_manifest(config), metrics=metrics["final"])
    trained = config.folder / TRAINED
    steps = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    with checkpoints.write(config.output, manifest) as draft:
        shutil.copytree(trained, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(checkpoints.MANIFEST))
        files.write_json(draft / "metrics.json", {**steps, **metrics})
        model_card.write(draft, manifest, metrics, events.every())
    _report(config, events)


def _report(config: GrpoRun, events: EventLog) -> None:
    events.emit("checkpoint", path=str(config.output), manifest_sha256=checkpoints.manifest_sha256(config.output))


def _already_finished(config: GrpoRun) -> None:
    """A run that is started again after it finished has nothing to do, unless its checkpoint is not its own."""
    manifest = checkpoints.verify(config.output, "policy")
    changed = differences(manifest.config, config.to_json())
    if manifest.name != config.name or changed:
        what = f"was trained with other settings ({'; '.join(changed[:3])})" if changed else f"is {manifest.name}"
        raise CheckpointError(f"{config.output} {what}: choose another output")
    sys.stderr.write(f"{config.output} is already finished: nothing to do\n")
    events = EventLog(config.folder)
    if events.last("checkpoint") is None:  # killed between the rename and the report
        _report(config, events)


def _manifest(config: GrpoRun) -> Manifest:
    parent = config.parent_adapter
    return Manifest(
        name=config.name,
        kind="policy",
        base_model=config.base_model,
        base_sha256=models.weights_sha256(config.base_model),
        parent=None
        if parent is None
        else {"name": checkpoints.read(parent).name, "manifest_sha256": checkpoints.manifest_sha256(parent)},
        snapshot_sha256=snapshots.seal(config.snapshot).sha256,
        seed=config.seed,
        config=config.to_json() | ({} if parent is None else {"parent_adapter": str(parent)}),
        versions={package: version(package) for package in ("torch", "transformers", "trl", "peft")},
    )


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", GrpoRun, train, sys.argv[1:]))
