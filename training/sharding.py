"""Weights that are spread over the processes of a run: each holds a part, and gathers a layer when it computes it.

Fully sharded data parallelism (Zhao et al., arXiv 2304.11277) as transformers does it when it loads a model: nobody holds
the whole of it at any time, measuring before the first step included, and it works on every device. An adapter on it stays
whole on every process, being small. All processes must make as many forward passes, because each of them gathers.

States and checkpoints are those of one process: whole weights, and whole averages of the optimizer. So a run goes on, and a
checkpoint is served, without knowing over how many processes it was trained.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers.distributed import DistributedConfig

from training import processes

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
WEIGHTS, AVERAGES = "model.safetensors", "optimizer.pt"  # as transformers' Trainer names them


def loading() -> dict[str, Any]:
    """What `from_pretrained` is told so that every process reads its part."""
    if processes.count() == 1:
        return {}
    PartialState(cpu=not torch.accelerator.is_available())  # the processes find each other as in every other run
    return {"distributed_config": DistributedConfig(fsdp_size=processes.count())}


def weights(model: Any) -> dict[str, Any]:
    """All weights, whole, on the first process; called on all."""
    return get_model_state_dict(model, options=WHOLE)


def adapter(model: Any) -> dict[str, torch.Tensor]:
    """The weights that every process holds whole: those of an adapter and its heads."""
    return {name: value for name, value in model.state_dict().items() if not isinstance(value, DTensor)}


@contextmanager
def gathered(model: Any) -> Iterator[None]:
    """A context in which whole weights are saved by one process; transformers would gather them again, from all."""
    config, model.config.distributed_config = model.config.distributed_config, None
    try:
        yield
    finally:
        model.config.distributed_config = config


def part(model: Any) -> None:
    """Let go of what was gathered: a forward pass without a backward pass keeps its last layers whole."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def save_averages(model: Any, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write the optimizer's averages, whole, by the names of the weights; called on all processes."""
    state = get_optimizer_state_dict(model, optimizer, options=WHOLE)
    if processes.is_main():
        torch.save(state, folder / AVERAGES)


def load_weights(model: Any, folder: Path) -> None:
    """Give every process its part of whole weights."""
    set_model_state_dict(model, load_file(folder / WEIGHTS), options=WHOLE)


def load_averages(model: Any, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Give every process its part of the optimizer's averages."""
    state = torch.load(folder / AVERAGES, map_location="cpu", weights_only=True)
    set_optimizer_state_dict(model, optimizer, state, options=WHOLE)
