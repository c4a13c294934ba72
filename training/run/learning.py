"""GRPO by TRL: its trainer around rewards and whoever draws answers, what it tells, and the states it resumes from."""

import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import TrainerCallback

from training.data.asked import Asked
from training.data.chat import Message, Tokenizer
from training.data.checks import Case, Checks, Finding
from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.formats.errors import ConfigError, DataError, NonFiniteError
from training.formats.events import EventLog
from training.formats.settings import DataConfig, LoraSettings, ModelConfig
from training.run.drawing import Drawer, EngineConfig, key_of
from training.run.progress import resume_point, trainer_dir

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TRL imports its client of vLLM, which is not used here, and with it much else
    from trl import GRPOConfig, GRPOTrainer

METRICS = {
    "loss": "loss",
    "reward": "reward",
    "reward_std": "reward_std",
    "completions/mean_length": "tokens",
    "kl": "kl",
    "grad_norm": "grad_norm",
}
"""What TRL logs at each step that is kept, and its name in events and the report."""
PLACES = ("snapshot", "output", "work", "checks", "tools", "lenient", "parent_adapter", "base_model", "engine")
"""Settings that say where things are on one machine, and nothing of what is learnt."""


class UnavailableError(DataError):
    """What checks answers is missing or has stopped to answer."""


@dataclass(frozen=True)
class GrpoRun:
    """A run file, see the docstring of `training.grpo`."""

    name: str
    snapshot: Path
    base_model: str
    output: Path
    checks: list[str]
    recipe: str = ""  # of training/recipes/grpo.*.toml, which this file goes over
    required: list[str] = field(default_factory=list)
    parent_adapter: Path | None = None
    work: Path | None = None  # events, saved states and the report; beside the output where left out
    tools: list[str] = field(default_factory=list)  # the command of a program that training/data/tools.py speaks to
    lenient: bool = False  # where checks stop to answer, what was learnt until then is kept, and a warning says so
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
    save_steps: int = 10
    ngram: int = DataConfig.ngram  # words; a training prompt with
    overlap: float = DataConfig.overlap  # of a held-out prompt's n-grams is left out
    engine: EngineConfig | None = None  # who draws the answers; without it this process
    model: ModelConfig = field(default_factory=lambda: ModelConfig(dtype="float32", gradient_checkpointing=False))
    lora: LoraSettings = field(default_factory=lambda: LoraSettings(r=16, alpha=32, dropout=0.0, targets="all-linear"))
    kind: Literal["grpo"] = "grpo"

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "max_tokens", "held_out", "save_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f'"{name}" must be at least 1')
        if self.answers < 2:  # one answer is as good as the mean of one
            raise ConfigError('"answers" must be at least 2: an answer is compared with the others to its prompt')
        if self.model.trains == "all":
            raise ConfigError('"model.trains" must be "adapter": the engine that serves the policy loads adapters')

    @property
    def folder(self) -> Path:
        """Where everything lies that is not the checkpoint."""
        return self.work or self.output.with_suffix(".run")

    @property
    def sampling(self) -> dict[str, Any]:
        """How held-out prompts are answered."""
        return {"max_new_tokens": self.max_tokens, "temperature": self.temperature, "seed": self.seed}

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of the run: all that decides what is learnt."""
        told: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return {name: value for name, value in told.items() if name not in PLACES}


class Rewards:
    """The reward of each answer as TRL asks for it: a number, or None where nothing could be checked."""

    __name__ = "checks"  # under which TRL logs it

    def __init__(self, checks: Checks, required: Sequence[str], prompts: Mapping[str, Asked]) -> None:
        self._checks, self._required, self._prompts = checks, set(required), prompts

    def __call__(
        self,
        prompts: list[list[Message]],
        completions: list[list[Message]],
        said: list[str] | None = None,
        steps: list[list[Message]] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """One reward for each answer; ``prompts`` hold the key of the prompt that it answers.

        Of answers that may have called tools, ``said`` are the last turns and ``steps`` what came before them.

        Raises:
            UnavailableError: nothing answers what the checks find.
        """
        sources = (self._prompts[key_of(prompt)] for prompt in prompts)
        texts = said or [answer[0]["content"] for answer in completions]
        before = steps or [[] for _ in texts]
        found = [self._reward(*each) for each in zip(sources, texts, before, strict=True)]
        if self._checks.unavailable:
            raise UnavailableError(f"nothing can be checked, so nothing can be learnt: {self._checks.unavailable}")
        return found

    def _reward(self, each: Asked, text: str, steps: list[Message]) -> float | None:
        case = Case(each.prompt, text, each.reference, each.tests, each.tools, steps or None)
        required = self._required or set(each.required or ())
        found = self._checks.of(case, each.verifiers)
        return reward_of([one for one in found if not required or one.verifier in required])


def reward_of(findings: Sequence[Finding]) -> float | None:
    """The mean over the findings, between 0 and 1; None where nothing could be checked."""
    known = [
        float(finding.passed if finding.score is None else finding.score)
        for finding in findings
        if finding.passed is not None
    ]
    return sum(known) / len(known) if known else None


def learn(
    config: GrpoRun,
    model: Any,
    tokenizer: Tokenizer,
    prompts: Mapping[str, Asked],
    drawer: Drawer,
    rewards: Rewards,
    *,
    events: EventLog,
    snapshot_sha256: str,
) -> list[dict[str, float]]:
    """Train the adapter of ``model``, from the last whole state where the run was interrupted.

    TRL is handed the keys of the prompts: Arrow would make one shape of all messages, tests and tools.

    Returns:
        What was logged at each step, by the names of `METRICS`.

    Raises:
        NonFiniteError: the loss or the gradient is not a number.
        UnavailableError: see `Rewards`; it is caught where the run is lenient.
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
            callbacks=[Told(config, events, snapshot_sha256)],
        )
    resume: Any = config  # it has what is asked of one
    state = resume_point(resume, config.folder, snapshot_sha256, events)
    try:
        _fit(trainer, state, events)
    except UnavailableError as error:
        if not config.lenient:
            raise
        events.emit("warning", message=f"Learning from checks ended at step {trainer.state.global_step}: {error}.")
    return [
        {"step": entry["step"], **{ours: entry[its] for its, ours in METRICS.items() if its in entry}}
        for entry in trainer.state.log_history
        if "reward" in entry
    ]


def _fit(trainer: Any, state: Path | None, events: EventLog) -> None:
    if state is None:
        trainer.train()
        return
    saved = json.loads((state / "trainer_state.json").read_text(encoding="utf-8"))
    events.emit("resumed", step=saved["global_step"])
    if saved["global_step"] < saved["max_steps"]:
        trainer.train(resume_from_checkpoint=str(state))
    else:  # all steps are done; the trainer would take one more before it looks
        trainer._load_from_checkpoint(str(state))  # noqa: SLF001
        trainer.state.global_step, trainer.state.log_history = saved["global_step"], saved["log_history"]


class Told(TrainerCallback):
    """One event a step, a brake, and states that a run may be resumed from."""

    def __init__(self, config: GrpoRun, events: EventLog, snapshot_sha256: str) -> None:
        self._config, self._events, self._snapshot_sha256 = config, events, snapshot_sha256
        self._began = time.monotonic()
        self._seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Say how far it is.

        Raises:
            NonFiniteError: the loss or the norm of the gradient is NaN or infinite.
        """
        if not logs or "reward" not in logs:
            return
        self._seconds.append(max(time.monotonic() - self._began, 1e-9))
        left = median(self._seconds[-20:]) * (state.max_steps - state.global_step)
        # How long answers are is for the report alone: whoever judges them blind may read what a run tells.
        told = {ours: logs[its] for its, ours in METRICS.items() if its in logs and ours != "tokens"}
        self._events.emit(
            "step", step=state.global_step, total_steps=state.max_steps, seconds_left=round(left, 1), metrics=told
        )
        for name in ("loss", "grad_norm"):
            if not math.isfinite(told.get(name, 0.0)):
                raise NonFiniteError(
                    f"{name} is {told[name]} at step {state.global_step} of {state.max_steps}, nothing was published: "
                    f"lower learning_rate (now {self._config.learning_rate})"
                )

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Make the folder that the trainer has just filled one that may be resumed from."""
        config = self._config
        checkpoints.seal(
            Path(args.output_dir) / f"checkpoint-{state.global_step}",
            Manifest(
                name=f"{config.name}@{state.global_step}",
                kind="trainer_state",
                base_model=config.base_model,
                snapshot_sha256=self._snapshot_sha256,
                seed=config.seed,
                config=config.to_json(),
            ),
        )


def _arguments(config: GrpoRun) -> GRPOConfig:
    gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(trainer_dir(config.folder)),
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
        logging_nan_inf_filter=False,  # it replaces a loss that is not a number by the mean of the others
        log_level="error",
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        bf16=config.model.dtype == "bfloat16",
        use_cpu=not gpu,
        gradient_checkpointing=config.model.gradient_checkpointing is True,
        dataloader_pin_memory=gpu,
    )
