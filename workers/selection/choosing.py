"""Which responses of a prompt are shown, and which prompts come first: one function a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from app.comparisons.drawing import AT_RANDOM
from workers.selection.head import Floats, Head


@dataclass(frozen=True)
class Choice:
    """Places of the responses that are shown, and how much their judgement is worth beside that of other prompts'."""

    shown: list[int]
    worth: float


def most_doubtful(head: Head, features: Floats, k: int) -> Choice:
    """The two responses that the heads contradict one another about most, then whichever adds most to what is shown."""
    doubt = head.doubt(features)
    shown = [int(place) for place in np.unravel_index(doubt.argmax(), doubt.shape)]
    if shown[0] == shown[1]:  # no doubt anywhere
        shown = [0, 1]
    while len(shown) < k:
        adds = doubt[:, shown].sum(axis=1)
        adds[shown] = -1.0
        shown.append(int(adds.argmax()))
    return Choice(shown, float(doubt[np.ix_(shown, shown)].sum()))


def best_and_worst(head: Head, features: Floats, k: int) -> Choice:
    """The best by its reward, the worst, the second best and so on."""
    order = [int(place) for place in np.argsort(-head.rewards(features), kind="stable")]
    shown = [order.pop(0 if number % 2 == 0 else -1) for number in range(k)]
    return Choice(shown, 0.0)


def different_policies(policies: Sequence[int], k: int, dice: np.random.Generator) -> Choice:
    """One response of each policy in turn, which one of a policy's being drawn."""
    order = [int(place) for place in dice.permutation(len(policies))]
    turn: dict[int, int] = {}
    place_in_turn = {}
    for place in order:
        place_in_turn[place] = turn.get(policies[place], 0)
        turn[policies[place]] = place_in_turn[place] + 1
    return Choice(sorted(order, key=lambda place: place_in_turn[place])[:k], 0.0)


def propensity(n: int, k: int) -> float:
    """How probable it was that just these ``k`` of ``n`` responses are shown: some prompts are drawn at random."""
    return 1 - AT_RANDOM + AT_RANDOM / comb(n, k)
