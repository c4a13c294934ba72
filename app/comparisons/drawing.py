"""Which comparisons are drawn at random whatever a batch chooses by: what is measured is measured on these alone."""

from __future__ import annotations

import random

from app.kernel.settings import get_settings
from training.formats.prompts import Split, split_of

AT_RANDOM = 0.2
"""Part of the training prompts."""


def always_at_random(prompt_id: int, content_hash: bytes) -> bool:
    """Whether this prompt's responses are never chosen: it is held out, or one of the part that is drawn.

    It is decided before anything is sampled, and always alike: a lot that knew the responses would be a choice.
    """
    if split_of(content_hash, get_settings().held_out_percent) is Split.HELD_OUT:
        return True
    return _lot("drawn at random", prompt_id) < AT_RANDOM


def asked_twice(prompt_id: int, percent: int) -> bool:
    """Whether this prompt is one of those that a second person judges; it does not depend on what is in it."""
    return _lot("asked twice", prompt_id) * 100 < percent


def _lot(what: str, prompt_id: int) -> float:
    """From 0 to 1, the same for a prompt however often it is drawn."""
    return random.Random(f"{what} {prompt_id}").random()  # noqa: S311 - nobody gains by guessing it
