"""Learn from what can be checked: the policy answers, verifiers say what is right, and that becomes more likely.

    python -m training.grpo run.toml

`run.toml`::

    name = "policy-checked"
    snapshot = "../snapshot"             # of which the prompts are taken that say what an answer must come to
    base_model = "../base"
    parent_adapter = "../dpo/final"      # what is trained on; without it a fresh adapter
    output = "final"
    checks = ["python", "-m", "workers.verifiers"]
    required = ["answer"]                # whose findings count; without it those of all verifiers that apply

For a prompt x, G answers y are drawn from the policy, and each has the advantage (arXiv 2402.03300, 4.1.1)

    A(y) = (r(y) - mean r) / std r            over the G answers of a prompt
    loss = -mean(min(w A, clip(w, 1 ± eps) A))        over the tokens, w = p(token) / p(token when it was drawn)

The reward r is the mean over the findings of an answer, each its score where it has one, else 1 or 0. What could not be
checked has no reward and no part in the mean: it is neither right nor wrong. TRL's GRPOTrainer trains; Corral draws the
answers, because what a user typed must not become a control token, and because they may come from an engine
(`training/run/drawing.py`). Where all answers of a prompt are right, or all wrong, nothing is learnt from it.

Held-out prompts are answered before and after, and the report has both rates with their intervals.
"""

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset

from training.data import asked
from training.data.asked import Asked
from training.data.chat import Message, Tokenizer, encode_chat
from training.data.checks import Case, Checks, Finding
from training.data.left_out import LeftOut
from training.formats import checkpoints, files, snapshots
from training.formats.checkpoints import Manifest
from training.formats.errors import ConfigError, DataError
from training.formats.settings import LoraSettings, ModelConfig
from training.measure import inference, model_card, verified
from training.measure.inference import Sample
from training.measure.verified import Checked
from training.model import models
from training.run import tool
from training.run.drawing import AtEngine, Drawer, EngineConfig, Here, key_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TRL imports its client of vLLM, which is not used here, and with it much else
    from trl import GRPOConfig, GRPOTrainer

METRICS = {"reward": "reward", "reward_std": "reward_std", "completions/mean_length": "tokens", "kl": "kl"}
"""What TRL logs at each step that is kept, and its name in the report."""


@dataclass(frozen=True)
class GrpoRun:
    """A run file, see the module docstring."""

    name: str
    snapshot: Path
    base_model: str
    output: Path
    checks: list[str]
    required: list[str] = field(default_factory=list)
    parent_adapter: Path | None = None
    seed: int = 0
    steps: int = 100
    prompts: int = 4  # of a step
    answers: int = 8  # of a prompt
    max_length: int = 512  # tokens of prompt and answer together; a longer prompt is left out
    max_tokens: int = 64  # of an answer
    temperature: float = 1.0
    learning_rate: float = 1e-4
    kl: float = 0.0  # weight of the divergence from where training began
    held_out: int = 200  # prompts that are answered before and after
    engine: EngineConfig | None = None  # who draws the answers; without it this process
    model: ModelConfig = field(default_factory=lambda: ModelConfig(dtype="float32", gradient_checkpointing=False))
    lora: LoraSettings = field(default_factory=lambda: LoraSettings(r=16, alpha=32, dropout=0.0, targets="all-linear"))
    kind: Literal["policy"] = "policy"

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "max_tokens", "held_out"):
            if getattr(self, name) < 1:
                raise ConfigError(f'"{name}" must be at least 1')
        if self.answers < 2:  # one answer is as good as the mean of one
            raise ConfigError('"answers" must be at least 2: an answer is compared with the others to its prompt')
        if self.model.trains == "all":
            raise ConfigError('"model.trains" must be "adapter": the engine that serves the policy loads adapters')


def train(config: GrpoRun, dry_run: bool) -> None:  # noqa: FBT001  # what `tool.main` calls
    """Measure, train, measure again, and write the adapter as a checkpoint with its report."""
    tokenizer = models.load_tokenizer(config.base_model)
    prompts, left_out = read(config, tokenizer)
    held_out = held_out_prompts(config, tokenizer)
    tool.say(f"{len(prompts)} prompts to learn from, {len(held_out)} held out, {left_out} that do not fit")
    if dry_run:
        return
    before = measure(config, None, held_out, tokenizer)
    with Checks(config.checks) as checks:
        model = models.load_policy(config)
        drawer = Here(config, tokenizer, prompts) if config.engine is None else AtEngine(config, tokenizer, prompts)
        log = learn(config, model, tokenizer, prompts, drawer, Rewards(checks, config.required, prompts))
        if checks.unavailable:
            raise DataError(f"nothing can be checked, so nothing was learnt: {checks.unavailable}")
        manifest = _manifest(config)
        with checkpoints.write(config.output, manifest) as draft:
            models.save(model, tokenizer, draft)
            files.write_json(draft / "metrics.json", {"steps": log})
            model_card.write(draft, manifest, {})
        found = verified.measure(held_out, before, measure(config, config.output, held_out, tokenizer), checks)
    sides = {"before": found.before, "after": found.after, "gain": found.compared}
    rates = {side: {name: rate.to_json() for name, rate in of.items()} for side, of in sides.items()}
    files.write_json(config.output.with_suffix(".report.json"), {**rates, "verified": found.report, "steps": log})
    for name, after in found.after.items():
        tool.say(f"{name}: {found.before[name]} before, {after} after")


def read(config: GrpoRun, tokenizer: Tokenizer) -> tuple[dict[str, Asked], int]:
    """The training prompts that say what an answer must come to, by their keys, and how many leave no room for one.

    Raises:
        DataError: there is none.
    """
    found: dict[str, Asked] = {}
    too_long = 0
    for each in asked.read(config.snapshot):
        if each.split != "train" or not each.is_checked or each.prompt_hash in found:
            continue
        ids = encode_chat(tokenizer, list(each.prompt), add_generation_prompt=True, tools=each.tools)
        if len(ids) + config.max_tokens > config.max_length:
            too_long += 1
        else:
            found[each.prompt_hash] = each
    if not found:
        raise DataError(
            f"{config.snapshot} has no training prompt with a reference or tests that fits: upload prompts that have some"
        )
    return found, too_long


def held_out_prompts(config: GrpoRun, tokenizer: Tokenizer) -> list[Checked]:
    """The prompts of the snapshot that are kept for measuring, at most so many."""
    room = config.max_length - config.max_tokens
    return verified.questions(
        asked.read(config.snapshot), tokenizer, max_length=room, most=config.held_out, left_out=LeftOut()
    )


class Rewards:
    """The reward of each answer as TRL asks for it: a number, or None where nothing could be checked."""

    __name__ = "checks"  # under which TRL logs it

    def __init__(self, checks: Checks, required: Sequence[str], prompts: Mapping[str, Asked]) -> None:
        self._checks, self._required, self._prompts = checks, set(required), prompts

    def __call__(self, prompts: list[list[Message]], completions: list[list[Message]], **_: Any) -> list[float | None]:
        """One reward for each answer; ``prompts`` hold the key of the prompt that it answers."""
        sources = (self._prompts[key_of(prompt)] for prompt in prompts)
        return [self._reward(each, answer[0]["content"]) for each, answer in zip(sources, completions, strict=True)]

    def _reward(self, each: Asked, text: str) -> float | None:
        case = Case(each.prompt, text, each.reference, each.tests, each.tools)
        found = self._checks.of(case, each.verifiers)
        return reward_of([one for one in found if not self._required or one.verifier in self._required])


def reward_of(findings: Sequence[Finding]) -> float | None:
    """The mean over the findings, between 0 and 1; None where nothing could be checked."""
    known = [
        float(finding.passed if finding.score is None else finding.score)
        for finding in findings
        if finding.passed is not None
    ]
    return sum(known) / len(known) if known else None


def learn(
    config: GrpoRun, model: Any, tokenizer: Tokenizer, prompts: Mapping[str, Asked], drawer: Drawer, rewards: Any
) -> list[dict[str, float]]:
    """Train the adapter of ``model``; returns what was logged at each step.

    TRL is handed the keys of the prompts: Arrow would make one shape of all messages, tests and tools.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using 'rollout_func'")  # tests hold it to what we need of it
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=[rewards],
            args=_arguments(config),
            train_dataset=Dataset.from_dict({"prompt": [[{"role": "user", "content": key}] for key in prompts]}),
            processing_class=tokenizer,
            rollout_func=drawer.answers,
        )
    trainer.train()
    return [
        {"step": entry["step"], **{ours: entry[its] for its, ours in METRICS.items() if its in entry}}
        for entry in trainer.state.log_history
        if "reward" in entry
    ]


def _arguments(config: GrpoRun) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(config.output.with_suffix(".state")),
        seed=config.seed,
        max_steps=config.steps,
        per_device_train_batch_size=config.answers,
        gradient_accumulation_steps=config.prompts,
        num_generations=config.answers,
        max_completion_length=config.max_tokens,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=min(5, config.steps),
        beta=config.kl,
        mask_truncated_completions=False,  # one that goes on for ever is to be found wrong, not to be passed over
        logging_steps=1,
        log_level="error",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        bf16=config.model.dtype == "bfloat16" and torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=bool(config.model.gradient_checkpointing is True),
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def measure(config: GrpoRun, adapter: Path | None, held_out: Sequence[Checked], tokenizer: Tokenizer) -> list[Sample]:
    """One answer of the policy to each held-out prompt, drawn with the same seed before and after."""
    at = adapter or config.parent_adapter
    source = inference.base(config.base_model) if at is None else inference.served(at, base_model=config.base_model)
    policy = inference.Policy(source, tokenizer, batch_size=config.answers * config.prompts)
    how = {"max_new_tokens": config.max_tokens, "temperature": config.temperature, "seed": config.seed}
    return policy.sample([each.prompt_ids for each in held_out], **how)  # type: ignore[arg-type]  # named above


def _manifest(config: GrpoRun) -> Manifest:
    parent = config.parent_adapter
    told = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()}
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
        config=told | {"kind": "grpo"},
        versions={package: version(package) for package in ("torch", "transformers", "trl", "peft")},
    )


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", GrpoRun, train, sys.argv[1:]))
