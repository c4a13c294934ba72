"""Fine-tune the policy on good responses: what annotators wrote, or what they found best.

    python -m training.sft run.toml

    loss = mean(-log p(token of y given x and what stands before it))       over all response tokens of a step

Where a file has a column `weight`, the mean is weighted by it.

Tokens of the prompt are not trained on (arXiv 2407.21783, 4.1.3). The end of turn is: it is how a policy learns to stop.
Responses come from a snapshot (edits, or where there are none the best response of a ranking) or from a file with
`prompt` and `completion`. Of several responses to one prompt the prompt is read once (training/model/packing.py).

Left out: packing that lets rows see each other, which TRL's needs FlashAttention to prevent; our mask does it anywhere.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from training.data.rows import Example, Prepared, Row
from training.formats.events import EventLog
from training.formats.settings import SftRun
from training.measure.metrics import policy_metrics
from training.model import models
from training.model.packing import Pack
from training.run import runner
from training.run.progress import Progress
from training.run.trainer import Measure, RowTrainer


def build_trainer(
    config: SftRun, run_dir: Path, tokenizer: Any, prepared: Prepared, progress: Progress
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

    def measures(self, held_out: Sequence[Example], events: EventLog) -> tuple[Measure, Measure]:  # noqa: ARG002
        """Held-out pairs beside what the untrained policy thinks of them."""
        before = self.logps_of(held_out)
        return (
            lambda: policy_metrics(held_out, before, before, beta=1.0),
            lambda: policy_metrics(held_out, self.logps_of(held_out), before, beta=1.0),
        )

    def logps_of(self, examples: Sequence[Example]) -> list[tuple[float, float]]:
        """Summed log-probabilities (nats) of chosen and rejected, for every example."""
        rows = [Row(example.row_id, example.prompt_ids, (example.chosen, example.rejected)) for example in examples]
        measured = self.over_rows(rows, lambda batch: batch.per_response(self.token_logps(self.model_wrapped, batch)))
        return [(chosen, rejected) for chosen, rejected in measured]


if __name__ == "__main__":
    sys.exit(runner.main("sft", build_trainer, sys.argv[1:]))
