"""What runs beside the optimisation: events, held-out evaluation, sealed state to resume from, and the brake.

Transformers' own resume takes the checkpoint with the highest number and trusts it. A process that is killed while it
saves leaves exactly such a folder behind, so a folder counts only once its manifest is written, last.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback

from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.formats.errors import CheckpointError, ConfigError, NonFiniteError
from training.formats.events import EventLog
from training.formats.settings import RunConfig, differences
from training.model import processes
from training.run.pace import evaluated_every

# A run has diverged when the losses of so many steps in a row are so many times those that it began with (and one more,
# because a loss may begin at nearly nothing). A single batch may be as bad as that; three are not.
PATIENCE, DIVERGED = 3, 5.0


def trainer_dir(run_dir: Path) -> Path:
    """The folder of an unfinished run's state."""
    return run_dir / "trainer"


def training_arguments(config: RunConfig, run_dir: Path) -> dict[str, Any]:
    """Our settings as arguments of transformers' Trainer and of TRL's.

    Raises:
        ConfigError: the rows of a step cannot be divided among the processes, or these are told to shard by themselves.
    """
    optim = config.optim
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":  # it would shard after the first measurements
        raise ConfigError("accelerate launch was given --use_fsdp: leave it out and set model.sharded = true instead")
    if optim.batch_size % processes.count():
        raise ConfigError(
            f"optim.batch_size is {optim.batch_size}, which {processes.count()} processes cannot share evenly: "
            "choose a multiple"
        )
    return {
        "output_dir": str(trainer_dir(run_dir)),
        "seed": config.seed,
        "data_seed": config.seed,
        "learning_rate": optim.learning_rate,
        "num_train_epochs": optim.epochs,
        "max_steps": optim.max_steps,
        "per_device_train_batch_size": optim.batch_size // processes.count(),
        "warmup_steps": optim.warmup_steps,
        "lr_scheduler_type": optim.schedule,
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.max_grad_norm,
        "gradient_checkpointing": config.model.gradient_checkpointing is True,
        "use_cpu": not torch.accelerator.is_available(),  # bf16 on a processor has to be asked for
        "bf16": config.model.dtype == "bfloat16",
        "save_steps": config.checkpointing.save_steps,
        "save_total_limit": config.checkpointing.keep,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it replaces a loss that is not a number by the mean of the others
        "ddp_find_unused_parameters": False,  # every trained weight takes part in every pass
        "ddp_broadcast_buffers": False,  # there are none that a step changes
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "report_to": [],
    }


def resume_point(config: RunConfig, run_dir: Path, snapshot_sha256: str, events: EventLog) -> Path | None:
    """The newest saved state that is whole; damaged ones and those in another precision are removed, with a warning.

    Returns:
        None where training starts from the beginning.

    Raises:
        CheckpointError: the state is of other settings or data. It may be hours of work, so it is not removed.
    """
    return processes.agreed(_resume_point(config, run_dir, snapshot_sha256, events) if processes.is_main() else None)


def _resume_point(config: RunConfig, run_dir: Path, snapshot_sha256: str, events: EventLog) -> Path | None:
    folder = trainer_dir(run_dir)
    found = [path for path in folder.glob("checkpoint-*") if path.name.split("-")[1].isdecimal() and path.is_dir()]
    found.sort(key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for path in found:
        try:
            state = checkpoints.verify(path, "trainer_state")
        except CheckpointError as error:
            events.emit("warning", message=f"{error}. The run does not resume from this saved state.")
            shutil.rmtree(path)
            continue
        changed = differences(state.config, config.to_json())
        if state.snapshot_sha256 != snapshot_sha256:
            changed.append("the data differs")
        if changed:
            raise CheckpointError(
                f"{path} is the state of a run with other settings ({'; '.join(changed[:3])}): restore them to "
                f"resume, choose another folder for this run, or remove {folder} to start again"
            )
        before, now = state.config["model"]["dtype"], config.model.dtype
        if before == now:
            return path
        events.emit(
            "warning",
            message=f"{path} was computed in {before}, and this machine uses {now}: the run starts again from the beginning.",
        )
        shutil.rmtree(path)
    return None


class Progress(TrainerCallback):
    """Writes events, evaluates in between, seals saved states, and stops a run that diverges."""

    def __init__(
        self, config: RunConfig, snapshot_sha256: str, events: EventLog, evaluation_steps: float = 0.0
    ) -> None:
        self.config = config
        self._evaluation_steps = evaluation_steps  # what one evaluation costs, in training steps
        self._every = evaluated_every(config, evaluation_steps)
        self.snapshot_sha256 = snapshot_sha256
        self.events = events
        self.evaluate: Callable[[], dict[str, float]] | None = None  # set once the trainer exists
        self._began = time.monotonic()
        self._tokens = 0.0  # trained on until the last step
        self._seconds: list[float] = []  # of the steps so far
        self._losses: list[float] = []

    def fitted(self, config: RunConfig) -> None:
        """Say so where memory is short; `config` is what the model is run with."""
        asked, given = self.config.model, config.model
        if given.pack_tokens < asked.pack_tokens or (
            given.gradient_checkpointing and asked.gradient_checkpointing == "auto"
        ):
            twice = ", and activations are computed twice" if given.gradient_checkpointing else ""
            self.events.emit(
                "warning",
                message=f"Memory is short: a pass takes {given.pack_tokens} tokens instead of "
                f"{asked.pack_tokens}{twice}. The result is the same but takes longer.",
            )

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Remember the run's first losses when it resumes after an interruption."""
        logged = [entry for entry in state.log_history if "loss" in entry]
        self._losses = [entry["loss"] for entry in logged]
        self._tokens = float(logged[-1].get("num_tokens", 0.0)) if logged else 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock of tokens per second: what lies between two steps, saving and measuring, is not training."""
        self._began = time.monotonic()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """One event a step, and a held-out evaluation every so many; the last step has the final one.

        Raises:
            NonFiniteError: the loss or the norm of the gradient is NaN or infinite, or the loss has diverged.
        """
        if not logs or "loss" not in logs:
            return
        self._seconds.append(max(time.monotonic() - self._began, 1e-9))
        before, self._tokens = self._tokens, float(logs.get("num_tokens", 0.0))
        metrics = {**logs, "tokens_per_second": (self._tokens - before) / self._seconds[-1]}
        left = median(self._seconds[-20:]) * self._left(state.global_step, state.max_steps)
        self.events.emit(
            "step", step=state.global_step, total_steps=state.max_steps, seconds_left=round(left, 1), metrics=metrics
        )
        self._brake(logs, f"at step {state.global_step} of {state.max_steps}")
        every = self._every
        if self.evaluate and every and state.global_step % every == 0 and state.global_step < state.max_steps:
            held_out = self.evaluate()
            if held_out:
                self.events.emit("evaluation", step=state.global_step, metrics=held_out)

    def on_save(self, args: Any, state: Any, _control: Any, model: Any = None, **_: Any) -> None:
        """Make the folder that the trainer has just filled one that may be resumed from.

        Raises:
            NonFiniteError: what was saved is broken. The state before it stays the one to resume from.
        """
        if any(not p.isfinite().all() for p in model.parameters() if p.requires_grad):
            raise self._diverged(f"a weight is not a number after step {state.global_step} of {state.max_steps}")
        if self._losses and self._losses[-1] > self._limit():
            return  # it may be diverging: a run that goes on does so from where it was well, and is not sealed here
        PartialState().wait_for_everyone()  # each process has written the state of its dice
        if not processes.is_main():
            return
        checkpoints.seal(
            Path(args.output_dir) / f"checkpoint-{state.global_step}",
            Manifest(
                name=f"{self.config.name}@{state.global_step}",
                kind="trainer_state",
                base_model=self.config.base_model,
                snapshot_sha256=self.snapshot_sha256,
                seed=self.config.seed,
                config=self.config.to_json(),
            ),
        )

    def _left(self, step: int, steps: int) -> float:
        """The work that is left after `step`, in steps: the evaluations to come, the final one among them, cost some, too."""
        between = (steps - 1) // self._every - (step - 1) // self._every if self._every else 0
        return steps - step + self._evaluation_steps * (between + 1)

    def _brake(self, logs: dict[str, float], where: str) -> None:
        """Stop on what is not a number, and on losses that stay far above those of the first steps."""
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise self._diverged(f"{name} is {logs[name]} {where}")
        self._losses.append(logs["loss"])
        last = self._losses[PATIENCE:][-PATIENCE:]
        if len(last) == PATIENCE and min(last) > self._limit():
            began = mean(self._losses[:PATIENCE])
            raise self._diverged(f"the loss is {logs['loss']:.3g} {where}, and was {began:.3g} in its first steps")

    def _limit(self) -> float:
        return DIVERGED * (1 + abs(mean(self._losses[:PATIENCE])))

    def _diverged(self, what: str) -> NonFiniteError:
        rate = self.config.optim.learning_rate
        return NonFiniteError(f"{what}, nothing was published: lower optim.learning_rate (now {rate})")
