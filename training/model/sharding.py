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
from transformers import Trainer, TrainingArguments
from transformers.distributed import DistributedConfig

from training.formats.settings import ModelConfig
from training.model import processes

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
WEIGHTS, AVERAGES, SCHEDULE = "model.safetensors", "optimizer.pt", "scheduler.pt"  # as transformers' Trainer names them


def loading(model: ModelConfig) -> dict[str, Any]:
    """Arguments of `from_pretrained` so that each process reads only its part."""
    if not model.sharded or processes.count() == 1:
        return {}
    processes.meet()
    return {"distributed_config": DistributedConfig(fsdp_size=processes.count())}


class ShardedTrainer(Trainer):
    """Transformers' Trainer, with whole states and checkpoints where its weights are spread.

    `sharded` says that they are, `parted` that what is trained may be. The latter does not depend on how many processes there
    are now, so that one goes on from the state of many.
    """

    def __init__(self, how: ModelConfig, args: TrainingArguments, **given: Any) -> None:
        self.sharded = how.sharded and processes.count() > 1
        self.parted = how.sharded and how.trains == "all"
        # Of sharded weights transformers would save one process's averages, and so refuses to save any. Ours are whole.
        args.save_only_model = self.sharded
        super().__init__(args=args, **given)
        self.args.save_only_model = False

    def weights(self) -> dict[str, Any]:
        """All weights, or those of the adapter, whole on the first process; called on all."""
        if self.parted:
            return get_model_state_dict(self.model, options=WHOLE)
        if self.sharded:
            return {name: value for name, value in self.model.state_dict().items() if not isinstance(value, DTensor)}
        return self.accelerator.get_state_dict(self.model_wrapped)  # type: ignore[no-any-return]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """A context in which one process saves whole weights; transformers would gather them again, from all."""
        if not self.sharded:
            yield
            return
        settings = self.model.config
        known, settings.distributed_config = settings.distributed_config, None
        try:
            yield
        finally:
            settings.distributed_config = known

    def let_go(self) -> None:
        """Free what was gathered: a forward pass without a backward pass keeps its last layers whole."""
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # An adapter is saved by one process, which must not gather the weights below it.
        super()._save(output_dir, self.weights() if self.sharded and not self.parted else state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.parted:
            averages = get_optimizer_state_dict(self.model, self.optimizer, options=WHOLE)
            if processes.is_main():
                torch.save(averages, Path(output_dir) / AVERAGES)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.parted:
            set_model_state_dict(self.model, load_file(Path(resume_from_checkpoint) / WEIGHTS), options=WHOLE)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.parted:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        averages = torch.load(Path(checkpoint) / AVERAGES, map_location="cpu", weights_only=True)
        set_optimizer_state_dict(self.model, self.optimizer, averages, options=WHOLE)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULE, weights_only=True))
