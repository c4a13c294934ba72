"""Train a reward model: a scalar for (prompt, response) that agrees with what people preferred.

    python -m training.reward run.toml

The loss is Llama 2's without its margin term (arXiv 2307.09288, 3.2.2; arXiv 2407.21783, 4.1.2), averaged over pairs:

    -log sigmoid(r(prompt, better) - r(prompt, worse))

TRL's RewardTrainer computes it; a LoRA adapter and a full float32 score head are trained. Left out: the margin term
(Llama 3 found that it stops helping), ensembles, and rows that share a prompt in one sequence.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed
from trl import RewardConfig, RewardTrainer

from training import models, room, runner, stages
from training.config import RunConfig
from training.data import Example, Prepared, prepare
from training.evaluate import Metrics, reward_metrics
from training.events import EventLog
from training.progress import Progress, resume_point, training_arguments


def train(config: RunConfig, run_dir: Path, events: EventLog) -> None:
    """One run, from the snapshot to the finished checkpoint."""
    # 1. The data, before anything heavy: what is wrong with it should be said within seconds.
    models.check_base(config.base_model)
    tokenizer = models.load_tokenizer(config.base_model)
    prepared = prepare(config.snapshot, config.data, tokenizer, max_held_out=config.evaluation.max_pairs)
    stages.describe_data(events, prepared)
    room.check(config, run_dir, tokenizer)

    # 2. The model.
    progress = Progress(config, prepared.snapshot_sha256, events)
    trainer = build_trainer(config, run_dir, tokenizer, prepared, progress)

    def held_out() -> Metrics:
        return reward_metrics(prepared.held_out, lambda sequences: score(trainer, sequences))

    # 3. The untrained model, so that the result has something to stand beside.
    baseline = stages.baseline(config, events, prepared, held_out)

    # 4. Training, from the last whole state where the run was interrupted.
    progress.evaluate = held_out
    stages.fit(trainer, events, resume_point(config, run_dir, prepared.snapshot_sha256))

    # 5. The result.
    final = stages.result(events, held_out, trainer.state.global_step)
    stages.publish(
        config,
        events,
        prepared,
        {"baseline": baseline, "final": final},
        lambda folder: models.save_adapter(trainer.model, tokenizer, folder),
    )


def build_trainer(
    config: RunConfig, run_dir: Path, tokenizer: Any, prepared: Prepared, progress: Progress
) -> RewardTrainer:
    """TRL's trainer over rows that are tokenised already."""
    assert config.reward is not None  # noqa: S101  RunConfig holds it
    set_seed(config.seed)  # the score head is drawn at random
    model = models.load_reward_model(config, tokenizer.pad_token_id)
    arguments = RewardConfig(
        **training_arguments(config, run_dir),
        center_rewards_coefficient=config.reward.center_rewards or None,
    )
    return RewardTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list([_columns(example) for example in prepared.train]),
        processing_class=tokenizer,
        peft_config=models.lora(config),
        callbacks=[progress],
    )


def score(trainer: RewardTrainer, sequences: Sequence[list[int]]) -> list[float]:
    """One reward for each sequence of token ids, in their order."""
    model, pad = trainer.model, trainer.processing_class.pad_token_id
    batch_size = trainer.args.per_device_eval_batch_size
    was_training = model.training
    model.eval()
    rewards = [0.0] * len(sequences)
    by_length = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))  # little padding
    for start in range(0, len(sequences), batch_size):
        indices = by_length[start : start + batch_size]
        rows = [torch.tensor(sequences[index]) for index in indices]
        input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)  # [batch, length]
        attention = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        with torch.no_grad(), trainer.accelerator.autocast():
            device = trainer.accelerator.device
            logits = model(input_ids.to(device), attention_mask=attention.to(device)).logits  # [batch, 1]
        for index, reward in zip(indices, logits[:, 0].float().tolist(), strict=True):
            rewards[index] = reward
    model.train(was_training)
    return rewards


def _columns(example: Example) -> dict[str, list[int]]:
    return {
        "chosen_ids": example.prompt_ids + example.chosen.ids,
        "rejected_ids": example.prompt_ids + example.rejected.ids,
    }


if __name__ == "__main__":
    sys.exit(runner.main("reward", train, sys.argv[1:]))
