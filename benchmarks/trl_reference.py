"""TRL's own trainers on the rows of ours, taken apart into pairs: what ours is held to, in tests and in benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from training.data.rows import Example, Row
from training.formats.settings import RewardRun, RunConfig
from training.model import models
from training.run.progress import training_arguments


class Tokenised(DPOTrainer):  # type: ignore[misc]  # TRL is untyped
    """TRL renders and tokenises; here the tokens are ready, so that both see the same."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def reward(config: RewardRun, folder: Path, tokenizer: Any, pairs: Sequence[Example], **options: Any) -> Any:
    """RewardTrainer; of the options `margins` go by strength, the rest into RewardConfig."""
    margins = options.pop("margins", None)
    rows = [
        {"chosen_ids": pair.prompt_ids + pair.chosen.ids, "rejected_ids": pair.prompt_ids + pair.rejected.ids}
        | ({"margin": margins[pair.strength - 1]} if margins and pair.strength else {})
        for pair in pairs
    ]
    set_seed(config.seed)  # the score head is drawn as ours is
    return RewardTrainer(
        model=_as_trl_has_it(models.load_reward_model(config, tokenizer.pad_token_id)),
        args=RewardConfig(**_arguments(config, folder) | options),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def dpo(config: RunConfig, folder: Path, tokenizer: Any, pairs: Sequence[Example], **options: Any) -> Any:
    """DPOTrainer; the options go into DPOConfig."""
    rows = [
        {"prompt_ids": pair.prompt_ids, "chosen_ids": pair.chosen.ids, "rejected_ids": pair.rejected.ids}
        for pair in pairs
    ]
    return Tokenised(
        model=_as_trl_has_it(models.load_policy(config)),
        args=DPOConfig(**_arguments(config, folder) | options),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def sft(config: RunConfig, folder: Path, tokenizer: Any, rows: Sequence[Row], **options: Any) -> Any:
    """SFTTrainer on completions; the options go into SFTConfig."""
    flat = [
        {"input_ids": row.prompt_ids + response.ids, "labels": [-100] * len(row.prompt_ids) + response.ids}
        for row in rows
        for response in row.responses
    ]
    arguments = {name: value for name, value in _arguments(config, folder).items() if name != "disable_dropout"}
    return SFTTrainer(
        model=_as_trl_has_it(models.load_policy(config)),
        args=SFTConfig(**arguments | {"loss_type": "nll"} | options),
        train_dataset=Dataset.from_list(flat),
        processing_class=tokenizer,
    )


def gradients(trainer: Any, batch: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradient of TRL on a whole batch."""
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    return loss.item(), {
        name: parameter.grad.clone() for name, parameter in trainer.model.named_parameters() if parameter.requires_grad
    }


def _arguments(config: RunConfig, folder: Path) -> dict[str, Any]:
    return training_arguments(config, folder) | {"disable_dropout": False, "max_length": None}


def _as_trl_has_it(model: Any) -> Any:
    """Adapters cast their input again, as PEFT lets them."""
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = True
    return model
