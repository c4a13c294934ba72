"""The head of a language model, asked about response tokens only, and where memory is short about some of them at a time.

A head over 49,152 words is a third of a small model's work, and prompts and padding need none of it. Over 128,000 words the
logits of 8,192 tokens, their softmax and its gradient are 17 GB, more than the rest of a step: in parts, each computed again
on the way back, they are as large as one part. That is a second pass of the head, which a GPU has to spare and a processor
has not.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from training.model import losses


def token_logps(model: Any, head: torch.nn.Module, inputs: Mapping[str, Any], picks: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of each label where it is predicted, [N] in float32.

    Args:
        model: As it is wrapped for training.
        head: The head of the model inside.
        inputs: What the model is called with.
        picks: Places in the flattened [B * T], [N].
        labels: The tokens that stand behind them, [N].
    """
    with reading(head, picks):
        return losses.token_logps(model(**inputs, use_cache=False).logits[0], labels)


def token_logps_in_parts(
    model: Any, head: torch.nn.Module, inputs: Mapping[str, Any], picks: Tensor, labels: Tensor, tokens: int
) -> Tensor:
    """The same with the logits of at most so many tokens in memory; of a model that `ends_with` its head."""
    with answering(head, picks, labels, tokens):
        logps: Tensor = model(**inputs, use_cache=False).logits[0, :, 0]
    return logps


@contextmanager
def reading(head: torch.nn.Module, picks: Tensor) -> Iterator[None]:
    """A context in which a model's head sees only the picked places: the compact head.

    What a model does behind its head (scales, soft caps) it does as always.
    """

    def pick(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = inputs
        return hidden.flatten(0, 1)[picks][None], *rest

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def answering(head: torch.nn.Module, picks: Tensor, labels: Tensor, tokens: int) -> Iterator[None]:
    """A context in which a model's head answers with log-probabilities of labels, [1, N, 1], and not with logits."""
    picked: list[Tensor] = []

    def logps(hidden: Tensor, of: Tensor) -> Tensor:
        return losses.token_logps(head.forward(hidden), of)

    def pick(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = inputs
        picked.append(hidden.flatten(0, 1)[picks])
        return hidden[:1, :1], *rest  # the head itself is asked for one place, whose answer nobody reads

    def answer(_: Any, _inputs: Any, _output: Tensor) -> Tensor:
        parts = zip(torch.split(picked.pop(), tokens), torch.split(labels, tokens), strict=True)
        return torch.cat([checkpoint(logps, *part, use_reentrant=False) for part in parts])[None, :, None]

    # First of its hooks: those of sharded weights give them back behind it.
    handles = head.register_forward_pre_hook(pick), head.register_forward_hook(answer, prepend=True)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def ends_with(model: Any, head: torch.nn.Module, inputs: Mapping[str, Any]) -> bool:
    """Whether what the model answers is what its head says, with nothing done to it; without gradients and dropout."""
    said: list[Tensor] = []
    handle = head.register_forward_hook(lambda _module, _inputs, output: said.append(output))
    try:
        logits = model(**inputs, use_cache=False).logits
    finally:
        handle.remove()
    return said[0].shape == logits.shape and torch.equal(said[0].float(), logits.float())
