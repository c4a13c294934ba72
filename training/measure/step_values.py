"""What a stepwise reward model thinks of each step, and how well that tells right from wrong."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from training.data import stepwise
from training.data.chat import Tokenizer
from training.data.sampled import Sampled
from training.data.stepwise import Stepped
from training.measure.inference import RewardModel
from training.model import models

WRONG_STEP = "wrong_step"
"""What an answer is counted as that is dropped by its worst step."""


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


def without_wrong_steps(
    answered: Sequence[tuple[Sampled, list[str]]],
    model: StepModel,
    tokenizer: Tokenizer,
    *,
    floor: float,
    max_length: int,
    capabilities: Sequence[str],
) -> tuple[list[tuple[Sampled, list[str]]], dict[str, int]]:
    """Drop the answers with a step that is less probably right than `floor`, of prompts of these capabilities alone.

    What could not be measured, because it is too long, says nothing or called tools, is not wrong and stays.

    Returns:
        The answers that stay, of every prompt; and how many were measured, could not be, and were dropped.
    """
    asked = [
        (place, text, _encoded(tokenizer, sampled, text, max_length))
        for place, (sampled, answers) in enumerate(answered)
        if sampled.capability in capabilities
        for text in answers
    ]
    measured = [(place, text, steps) for place, text, steps in asked if steps is not None]
    values = model.values([steps for _, _, steps in measured])
    wrong = {(place, text) for (place, text, _), each in zip(measured, values, strict=True) if min(each) < floor}
    kept = [
        (sampled, [text for text in answers if (place, text) not in wrong])
        for place, (sampled, answers) in enumerate(answered)
    ]
    counts = {"steps_measured": len(measured), "steps_unmeasured": len(asked) - len(measured), WRONG_STEP: len(wrong)}
    return kept, counts


def _encoded(tokenizer: Tokenizer, sampled: Sampled, text: str, max_length: int) -> Stepped | None:
    """None also of an answer that called tools: no labelled solution did, and half of its way would be missing."""
    return None if sampled.steps_of(text) else stepwise.encode_text(tokenizer, sampled.prompt, text, max_length)


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
