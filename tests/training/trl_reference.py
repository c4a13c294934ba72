"""TRL's own trainers on the same pairs, one row each: what ours is held to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from training import models
from training.config import RunConfig
from training.data import Example, Row
from training.progress import training_arguments


class Tokenised(DPOTrainer):
    """TRL renders and tokenises; here the tokens are ready, so that both see the same."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def arguments(config: RunConfig, folder: Path) -> dict[str, Any]:
    return training_arguments(config, folder) | {"disable_dropout": False, "max_length": None}


def reward(config: RunConfig, folder: Path, tokenizer: Any, pairs: Sequence[Example], **options: Any) -> Any:
    rows = [
        {"chosen_ids": pair.prompt_ids + pair.chosen.ids, "rejected_ids": pair.prompt_ids + pair.rejected.ids}
        | ({"margin": options["margins"][pair.strength - 1]} if "margins" in options and pair.strength else {})
        for pair in pairs
    ]
    return RewardTrainer(
        model=models.load_reward_model(config, tokenizer.pad_token_id),
        args=RewardConfig(
            **{k: v for k, v in arguments(config, folder).items() if k != "disable_dropout"},
            disable_dropout=False,
            center_rewards_coefficient=options.get("center_rewards"),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def dpo(config: RunConfig, folder: Path, tokenizer: Any, pairs: Sequence[Example], **options: Any) -> Any:
    rows = [
        {"prompt_ids": pair.prompt_ids, "chosen_ids": pair.chosen.ids, "rejected_ids": pair.rejected.ids}
        for pair in pairs
    ]
    model = options.pop("model", None) or models.load_policy(config)
    return Tokenised(
        model=model,
        args=DPOConfig(**arguments(config, folder), **options),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def sft(config: RunConfig, folder: Path, tokenizer: Any, rows: Sequence[Row]) -> Any:
    flat = [
        {
            "input_ids": row.prompt_ids + response.ids,
            "labels": [-100] * len(row.prompt_ids) + response.ids,
        }
        for row in rows
        for response in row.responses
    ]
    given = {k: v for k, v in arguments(config, folder).items() if k != "disable_dropout"}
    return SFTTrainer(
        model=models.load_policy(config),
        args=SFTConfig(**given, loss_type="nll"),
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
