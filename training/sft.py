"""Fine-tune the policy on good responses: what annotators wrote, or what they found best.

    python -m training.sft run.toml

    loss = mean(-log p(token of y given x and what stands before it))       over all response tokens of a step

Where a file has a column `weight`, the mean is weighted by it.

Tokens of the prompt are not trained on (arXiv 2407.21783, 4.1.3). The end of turn is: it is how a policy learns to stop.
Responses come from a snapshot (edits, or where there are none the best response of a ranking) or from a file with
`prompt` and `completion`. Of several responses to one prompt the prompt is read once (training/packing.py).

Left out: packing that lets rows see each other, which TRL's needs FlashAttention to prevent; our mask does it anywhere.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from training import models, pace, runner, stages
from training.config import RunConfig
from training.data import Example, Prepared, Row
from training.evaluate import Metrics, policy_metrics
from training.events import EventLog
from training.packing import Pack
from training.progress import Progress, resume_point
from training.trainer import RowTrainer


def train(config: RunConfig, run_dir: Path, events: EventLog) -> None:
    """One run, from the snapshot to the finished checkpoint."""
    # 1. The data, before anything heavy: what is wrong with it should be said within seconds.
    tokenizer, prepared = stages.data(config, run_dir, events)

    # 2. The model, and the held-out pairs before it has learnt anything.
    progress = Progress(config, prepared.snapshot_sha256, events, pace.evaluation_in_steps(config, prepared))
    trainer = build_trainer(config, run_dir, tokenizer, prepared, progress)
    before = trainer.logps_of(prepared.held_out)

    def held_out() -> Metrics:
        return policy_metrics(prepared.held_out, trainer.logps_of(prepared.held_out), before, beta=1.0)

    baseline = stages.baseline(
        config, events, prepared, lambda: policy_metrics(prepared.held_out, before, before, beta=1.0)
    )

    # 3. Training, from the last whole state where the run was interrupted.
    progress.evaluate = held_out
    stages.fit(trainer, events, resume_point(config, run_dir, prepared.snapshot_sha256, events))

    # 4. The result.
    final = stages.result(events, held_out, trainer.state.global_step)
    stages.publish(config, events, prepared, {"baseline": baseline, "final": final}, trainer)


def build_trainer(
    config: RunConfig, run_dir: Path, tokenizer: Any, prepared: Prepared, progress: Progress
) -> "TuningTrainer":
    """The trainer over rows that are tokenised already."""
    return TuningTrainer(config, run_dir, models.load_policy(config), prepared.rows, tokenizer, progress)


class TuningTrainer(RowTrainer):
    """The loss of the module docstring."""

    def totals(self, batch: Pack) -> Tensor:
        """Its response tokens, by weight."""
        return batch.share[batch.owner].sum()[None]

    def loss(self, model: Any, batch: Pack, totals: Tensor) -> Tensor:
        """The pack's share of the mean over tokens."""
        nll = -self.token_logps(model, batch)  # [N]
        self.record(nll_loss=nll)
        return (nll * batch.share[batch.owner]).sum() / totals[0]

    def logps_of(self, examples: Sequence[Example]) -> list[tuple[float, float]]:
        """Summed log-probabilities (nats) of chosen and rejected, for every example."""
        rows = [Row(example.row_id, example.prompt_ids, (example.chosen, example.rejected)) for example in examples]
        measured = self.over_rows(rows, lambda batch: batch.per_response(self.token_logps(self.model_wrapped, batch)))
        return [(chosen, rejected) for chosen, rejected in measured]


if __name__ == "__main__":
    sys.exit(runner.main("sft", train, sys.argv[1:]))
