"""Train a reward model: a scalar for (prompt, response) that agrees with what people preferred.

    python -m training.reward run.toml

The loss is Llama 2's without its margin term (arXiv 2307.09288, 3.2.2; arXiv 2407.21783, 4.1.2), averaged over pairs:

    -log sigmoid(r(prompt, better) - r(prompt, worse))

A prompt and all its responses are one row (training/model/packing.py), as in Llama 3; ours sees each response alone behind its
prompt, so that the gradients are those of pairs. A LoRA adapter and full float32 score heads are trained, or all weights.
Options, all off as in the paper: the margin term, centring, an ensemble of heads (training/model/losses.py).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import set_seed

from training.data.chat import Response
from training.data.rows import Example, Prepared, Row
from training.formats.events import EventLog
from training.formats.settings import RewardRun
from training.measure.metrics import Metrics, reward_metrics
from training.model import losses, models
from training.model.packing import Pack
from training.run import runner
from training.run.progress import Progress
from training.run.trainer import Measure, RowTrainer


def build_trainer(
    config: RewardRun, run_dir: Path, tokenizer: Any, prepared: Prepared, progress: Progress
) -> "RewardTrainer":
    """The trainer over rows that are tokenised already."""
    set_seed(config.seed)  # the score heads are drawn at random
    model = models.load_reward_model(config, tokenizer.pad_token_id)
    return RewardTrainer(config, run_dir, model, prepared.rows, tokenizer, progress)


class RewardTrainer(RowTrainer):
    """Bradley-Terry over all pairs of all rows of a step."""

    config: RewardRun

    def totals(self, batch: Pack) -> Tensor:
        """The weight of its pairs."""
        return batch.weight.sum()[None]

    def loss(self, model: Any, batch: Pack, totals: Tensor) -> Tensor:
        """The loss of the module docstring for one pack."""
        settings = self.config.reward
        rewards = self.rewards(model, batch)  # [R, heads]
        margins = rewards.new_tensor([0.0, *settings.margins])[batch.strength] if settings.margins else 0.0
        per_pair = losses.bradley_terry(rewards, batch.better, batch.worse, margins)
        if settings.center_rewards:
            per_pair = per_pair + settings.center_rewards * losses.centering(rewards, batch.better, batch.worse)
        mean = rewards.detach().mean(dim=1)
        margin = mean[batch.better] - mean[batch.worse]
        self.record(**{"rewards/accuracies": (margin > 0).float(), "rewards/margins": margin, "mean_reward": mean})
        return (per_pair * batch.weight).sum() / totals[0]

    def measures(self, held_out: Sequence[Example], events: EventLog) -> tuple[Measure, Measure]:  # noqa: ARG002
        """The same before and after: how often the preferred response scores higher."""

        def measure() -> Metrics:
            return reward_metrics(held_out, self.score)

        return measure, measure

    def rewards(self, model: Any, batch: Pack) -> Tensor:
        """The rewards of every response, read at its last token: [R, heads] in float32."""
        with self.accelerator.autocast():
            found = models.rewards(model, batch.inputs)
        return found.flatten(0, 1)[batch.ends].float()

    def score(self, sequences: Sequence[list[int]]) -> list[float]:
        """One reward for each sequence of token ids, in their order."""
        rows = [Row(str(index), ids[:-1], (Response(ids[-1:], [1]),)) for index, ids in enumerate(sequences)]
        return [reward for [reward] in self.over_rows(rows, self._scores)]

    def _scores(self, batch: Pack) -> Tensor:
        settings = self.config.reward
        return losses.ensemble(self.rewards(self.model_wrapped, batch), settings.aggregate, settings.std_weight)


if __name__ == "__main__":
    sys.exit(runner.main("reward", build_trainer, sys.argv[1:]))
