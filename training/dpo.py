"""Train the policy on preferences: DPO with the two additions of Llama 3.

    python -m training.dpo run.toml

For a prompt x, a preferred response w and the other one l (arXiv 2305.18290, eq. 7; arXiv 2407.21783, 4.1.4):

    h(y)  = log p(y|x) - log p_ref(y|x)                  over the content tokens of y
    loss  = -log sigmoid(beta * (h(w) - h(l)))           averaged over pairs
            + nll_weight * mean(-log p(token of w))      over all tokens of the w of all pairs

Both means are weighted where a file has a column `weight`.

The end of turn token and the newline behind it stand in both responses. As a shared part that one term pushes up and
the other down they make DPO unstable (tails that repeat, answers that stop too early), so the first term masks them.
The second term keeps them: it is what preserves the format. TRL can mix the two losses but has one mask for both.

The reference is the policy before its first step, the base model or the parent's adapter on it. Its log-probabilities are
computed then, once, and kept (training/run/reference.py). A prompt and its responses are one row (training/model/packing.py).

training/model/losses.py has four losses; the others of TRL's DPOTrainer, KTO and ORPO are trained by TRL
(training/run/backends/).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from training.data.rows import Example, Prepared, Row
from training.formats.events import EventLog
from training.formats.settings import DpoRun
from training.formats.trainers import ODDS, OwnLoss
from training.measure.metrics import policy_metrics
from training.model import losses, models
from training.model.packing import Pack
from training.run import reference, runner
from training.run.progress import Progress
from training.run.reference import ReferenceStore, with_reference
from training.run.trainer import Measure, Rows, RowTrainer


def build_trainer(
    config: DpoRun, run_dir: Path, tokenizer: Any, prepared: Prepared, progress: Progress
) -> "PolicyTrainer":
    """The trainer over rows that are tokenised already."""
    return PolicyTrainer(config, run_dir, models.load_policy(config), prepared.rows, tokenizer, progress)


class PolicyTrainer(RowTrainer):
    """The loss of the module docstring over all pairs of all rows of a step."""

    config: DpoRun

    def measures(self, held_out: Sequence[Example], events: EventLog) -> tuple[Measure, Measure]:
        """Held-out pairs beside what the reference thinks of them, which is now asked of the rows, too."""
        self.know_reference(events)
        before, beta = self.logps_of(held_out), self.config.dpo.beta
        return (
            lambda: policy_metrics(held_out, before, before, beta),
            lambda: policy_metrics(held_out, self.logps_of(held_out), before, beta),
        )

    def know_reference(self, events: EventLog | None = None) -> int:
        """Give every row the log-probabilities of the model as it is now; returns how many rows had to be computed."""
        if self.config.dpo.loss_type in ODDS:  # has no reference
            return 0
        self.rows, computed = self._with_reference(self.rows, events)
        self.train_dataset = Rows(self.rows)
        return computed

    def known(self, rows: list[Row]) -> list[Row]:
        """Other rows with the log-probabilities of the model as it is now, before its first step."""
        return self._with_reference(rows, None)[0]

    def _with_reference(self, rows: list[Row], events: EventLog | None) -> tuple[list[Row], int]:
        scored = "content" if self.config.dpo.mask_format_tokens else "all"
        known = reference.identity(self.config, self.form)
        store = ReferenceStore(self.config.cache / "reference", known, scored=scored)
        tokens = self.config.model.pack_tokens
        return with_reference(rows, store, lambda some: self.over_rows(some, self._summed), tokens, events)

    def totals(self, batch: Pack) -> Tensor:
        """The weight of its pairs, and the tokens of the better responses, by the weight of the pairs that these win."""
        times = losses.wins(batch.better, batch.weight, len(batch.ends))
        return torch.stack([batch.weight.sum(), times[batch.owner].sum()])

    def loss(self, model: Any, batch: Pack, totals: Tensor) -> Tensor:
        """The loss of the module docstring for one pack."""
        logps = self.token_logps(model, batch)  # [N]
        scored = self._scored(batch)
        summed = batch.per_response(logps * scored)  # [R]
        log_ratios = summed - batch.reference
        per_pair = losses.preference(
            cast("OwnLoss", self.config.dpo.loss_type),
            self.config.dpo.beta,
            log_ratios,
            batch.per_response(scored),
            batch.better,
            batch.worse,
            (1 - batch.agreement).clamp(min=self.config.dpo.label_smoothing),
        )
        times = losses.wins(batch.better, batch.weight, len(batch.ends))
        nll = -(logps * times[batch.owner]).sum() / totals[1]
        self._record(batch, summed, log_ratios, -logps[times[batch.owner] > 0])
        return (per_pair * batch.weight).sum() / totals[0] + self.config.dpo.nll_weight * nll

    def logps_of(self, examples: Sequence[Example]) -> list[tuple[float, float]]:
        """Summed log-probabilities (nats) of the scored tokens of chosen and rejected, for every example."""
        rows = [Row(example.row_id, example.prompt_ids, (example.chosen, example.rejected)) for example in examples]
        return [(chosen, rejected) for chosen, rejected in self.over_rows(rows, self._summed)]

    def _summed(self, batch: Pack) -> Tensor:
        return batch.per_response(self.token_logps(self.model_wrapped, batch) * self._scored(batch))

    def _scored(self, batch: Pack) -> Tensor:
        """1 on the tokens that the preference term reads, [N]."""
        return (
            batch.content.float()
            if self.config.dpo.mask_format_tokens
            else torch.ones_like(batch.content, dtype=torch.float32)
        )

    def _record(self, batch: Pack, logps: Tensor, log_ratios: Tensor, nll: Tensor) -> None:
        rewards = self.config.dpo.beta * log_ratios
        chosen, rejected = rewards[batch.better], rewards[batch.worse]
        self.record(
            **{
                "rewards/chosen": chosen,
                "rewards/rejected": rejected,
                "rewards/accuracies": (chosen > rejected).float(),
                "rewards/margins": chosen - rejected,
                "logps/chosen": logps[batch.better],
                "logps/rejected": logps[batch.worse],
                "nll_loss": nll,
            }
        )


if __name__ == "__main__":
    sys.exit(runner.main("dpo", build_trainer, sys.argv[1:]))
