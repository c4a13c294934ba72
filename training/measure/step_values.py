"""What a stepwise reward model thinks of each step, and how well that tells right from wrong."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from training.data.stepwise import Stepped
from training.measure.inference import RewardModel
from training.model import models


class StepModel(RewardModel):
    """The probability that each step is right, read at its last token."""

    def values(self, sequences: Sequence[Stepped]) -> list[list[float]]:
        """Probabilities between 0 and 1, one for each step of each sequence, in their order."""
        found: dict[int, list[float]] = {}
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index].ids))  # little padding
        for start in range(0, len(order), self._batch_size):
            some = order[start : start + self._batch_size]
            with torch.inference_mode():
                logits = at_ends(self.model, [sequences[index] for index in some], self._pad)
            each = iter(logits.sigmoid().tolist())
            for index in some:
                found[index] = [next(each) for _ in sequences[index].ends]
        return [found[index] for index in range(len(sequences))]


def at_ends(model: torch.nn.Module, sequences: Sequence[Stepped], pad: int) -> Tensor:
    """The logits at the last token of every step, [S] in float32, sequence by sequence.

    A base in bf16 is computed with in bf16, beside an adapter and a head in float32.
    """
    device, rough = next(model.parameters()).device, any(each.dtype == torch.bfloat16 for each in model.parameters())
    width = max(len(sequence.ids) for sequence in sequences)
    input_ids = torch.full((len(sequences), width), pad)  # [B, T]
    mask = torch.zeros_like(input_ids)
    for row, sequence in enumerate(sequences):
        input_ids[row, : len(sequence.ids)] = torch.tensor(sequence.ids)
        mask[row, : len(sequence.ids)] = 1
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=rough):
        every = models.rewards(
            model, {"input_ids": input_ids.to(device), "attention_mask": mask.to(device)}
        )  # [B, T, 1]
    rows = [row for row, sequence in enumerate(sequences) for _ in sequence.ends]
    places = [end for sequence in sequences for end in sequence.ends]
    return every[rows, places, 0].float()


def auc(values: Sequence[float], right: Sequence[bool]) -> float | None:
    """How often a right one has the higher value of a right and a wrong one, equal values half; None where one kind lacks."""
    positive = sum(right)
    negative = len(right) - positive
    if not positive or not negative:
        return None
    ranks = rankdata(values)
    above = float(ranks[np.asarray(right)].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)
