"""Whether the disk has room for what a run will write, asked before anything heavy is loaded.

A run that fills the disk after an hour has taken the room of everybody else's work, too. What it writes is known before:
at most one saved state more than it keeps, and its checkpoint. The weights are counted on a model without any.
"""

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from training import models
from training.chat import Tokenizer
from training.config import RunConfig
from training.errors import StorageError
from training.progress import trainer_dir

WEIGHT = 4  # bytes: adapters are float32
ADAM = 8  # bytes: two float32 averages of each weight
SMALL_FILES = 1_000_000  # settings, random states, the white space of the tokenizer's JSON


def check(config: RunConfig, run_dir: Path, tokenizer: Tokenizer) -> None:
    """Refuse to start a run that would fill the disk.

    Raises:
        StorageError: saying how much there is, and how much it takes.
    """
    folder = trainer_dir(run_dir)
    # A run that goes on has written a part of it already.
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    needed, free = bytes_of(config, tokenizer) - there, shutil.disk_usage(run_dir).free
    if free < needed:
        raise StorageError(
            f"{run_dir} has {_mb(free)} free, and this run writes about {_mb(needed)} ({config.checkpointing.keep + 1} "
            "saved states and the checkpoint): free some space, then start the run again"
        )


def bytes_of(config: RunConfig, tokenizer: Tokenizer) -> int:
    """About what a run writes at most: while it saves a state, the ones that it keeps are still there."""
    beside = len(tokenizer.backend_tokenizer.to_str().encode()) + SMALL_FILES
    weights = adapter_weights(config)
    state = (WEIGHT + ADAM) * weights + beside
    return (config.checkpointing.keep + 1) * state + WEIGHT * weights + beside


def adapter_weights(config: RunConfig) -> int:
    """How many weights the adapter has: r * (inputs + outputs) for each matrix that it is put on.

    Raises:
        CheckpointError: the base model's configuration cannot be loaded.
    """
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config.base_model))
    except (OSError, ValueError) as error:
        raise models.unloadable(config.base_model, error) from error
    targets = config.lora.targets
    sides = sum(
        sum(module.weight.shape)
        for name, module in model.base_model.named_modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2
        and not isinstance(module, torch.nn.Embedding)
        and (targets == "all-linear" or name.rpartition(".")[2] in targets)
    )
    return config.lora.r * int(sides)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
