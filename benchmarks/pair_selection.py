"""How many judgements choosing saves, and what it does to what is measured: planted worlds, the product's own head, no model.

    python -m benchmarks.pair_selection [--seeds 12]

A world has 3,000 prompts with some responses each, whose features and true rewards are drawn; people judge by Bradley–Terry, one
in ten at odds with themselves. 60 pairs are judged at random, then 30 at a time: each prompt shows the two responses that
:func:`workers.selection.choosing.most_doubtful` names, and the prompts where that is worth most come first; a fifth is drawn at
random, as in the product. Counted is how many judgements the head needs until it orders two new responses as well as one
that learnt from 600 random ones.

- ``uneven``: the responses of some prompts differ much, of most hardly: at most 60% of the judgements
- ``alike`` (two and four responses, many and few flips): at most 105% anywhere, but for one standard error over the worlds: where
  there is little to choose, curves are flat, and how many judgements lie between two of them is chance
- ``off``: the win rate of a policy and the head's accuracy, measured on the part drawn at random, at most half a point off
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from app.comparisons.drawing import AT_RANDOM, always_at_random
from benchmarks.budget import Budget, verdict
from workers.selection import head as heads
from workers.selection.choosing import most_doubtful
from workers.selection.head import Floats, Head, Judged

DIMENSIONS, PROMPTS = 32, 3000
FIRST, AT_ONCE, MOST, LONGER = 60, 30, 600, 690
TRAINING = b"\xff" * 32
"""What a prompt that is not held out is called."""
CONTRAST = 1.2
"""Of uneven prompts: standard deviation of the logarithm of how far the responses of a prompt are apart."""


@dataclass
class World:
    """``features`` [prompts, responses, dimensions], and what people find good in them."""

    seed: int
    responses: int = 2
    margin: float = 2.0
    """Standard deviation of the true difference of two responses, in logits."""
    flips: float = 0.1
    uneven: bool = False
    prompts: int = PROMPTS
    waiting: int = 200
    """Prompts to choose among: as many as are answered ahead (``generation_ahead``)."""
    features: Floats = field(init=False)
    taste: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Draw it."""
        self.dice = np.random.default_rng(self.seed)
        spread = 1.0 / np.arange(1, DIMENSIONS + 1)
        self.spread = np.sqrt(spread * DIMENSIONS / spread.sum())
        taste = self.dice.normal(size=DIMENSIONS)
        self.taste = taste * self.margin / np.sqrt(2 * ((taste * self.spread) ** 2).sum())
        shape = (self.prompts, self.responses, DIMENSIONS)
        apart = self.dice.normal(size=shape) * self.spread
        if self.uneven:
            contrast = np.exp(self.dice.normal(0, CONTRAST, (self.prompts, 1, 1)))
            middle = apart.mean(axis=1, keepdims=True)
            apart = middle + (apart - middle) * contrast / np.sqrt((contrast**2).mean())
        self.features = apart + 0.7 * self.dice.normal(size=(self.prompts, 1, DIMENSIONS)) * self.spread
        self.new = self.dice.normal(size=(4000, DIMENSIONS)) * self.spread * np.sqrt(2)

    def judge(self, prompts: list[int], pairs: list[list[int]]) -> Floats:
        """1 where people prefer the first."""
        rewards = self.features[np.array(prompts)[:, None], np.array(pairs)] @ self.taste
        better = self.dice.random(len(prompts)) < expit(rewards[:, 0] - rewards[:, 1])
        return np.where(self.dice.random(len(prompts)) < self.flips, ~better, better).astype(float)

    def right(self, weights: Floats) -> float:
        """How many of two new responses are put in the true order."""
        return float((((self.new @ weights) > 0) == ((self.new @ self.taste) > 0)).mean())


@dataclass
class Study:
    """What was judged of a world."""

    world: World
    prompts: list[int] = field(default_factory=list)
    pairs: list[list[int]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, prompts: list[int], pairs: list[list[int]]) -> None:
        """Ask people."""
        self.scores += self.world.judge(prompts, pairs).tolist()
        self.prompts += prompts
        self.pairs += pairs

    def fit(self) -> Head:
        """The product's head on what was said so far."""
        features = self.world.features[self.prompts].reshape(-1, DIMENSIONS)
        first = np.arange(len(self.prompts)) * self.world.responses
        one, other = (first + side for side in np.array(self.pairs).T)
        return heads.fit(features, Judged(one, other, np.array(self.scores), np.array(self.prompts)))

    def drawn(self, free: list[int]) -> list[list[int]]:
        """Two responses of each prompt, at random."""
        dice, responses = self.world.dice, self.world.responses
        return [[int(place) for place in dice.permutation(responses)[:2]] for _ in free]


def curve(world: World, *, choose: bool) -> dict[int, float]:
    """How right the head is after so many judgements."""
    study, found = Study(world), {}
    free = [int(each) for each in world.dice.permutation(world.prompts)]
    first, free = free[:FIRST], free[FIRST:]
    study.add(first, study.drawn(first))
    while True:
        head = study.fit()
        found[len(study.scores)] = world.right(head.view.axes @ head.weights)
        if len(study.scores) >= (LONGER if choose else MOST):
            return found
        at_random = round(AT_ONCE * AT_RANDOM) if choose else AT_ONCE
        some, waiting = free[:at_random], free[at_random : at_random + world.waiting]
        study.add(some, study.drawn(some))
        chosen: set[int] = set()
        if choose:
            choices = {each: most_doubtful(head, world.features[each], 2) for each in waiting}
            worth = sorted(waiting, key=lambda each: -choices[each].worth)[: AT_ONCE - at_random]
            study.add(worth, [choices[each].shown for each in worth])
            chosen = set(worth)
        free = [each for each in free[at_random:] if each not in chosen]


def needed(seeds: int, *, strict: bool = True, **kind: object) -> float:
    """Part of the judgements after which choosing is as far as drawing is at the end; ``strict``: and no standard error less."""
    by_chance, chosen = (
        [curve(World(seed, **kind), choose=choose) for seed in range(seeds)]  # type: ignore[arg-type]
        for choose in (False, True)
    )
    behind = {
        size: np.array([one[MOST] - two[size] for one, two in zip(by_chance, chosen, strict=True)])
        for size in chosen[0]
    }
    chance = {size: 0.0 if strict else float(each.std() / np.sqrt(seeds)) for size, each in behind.items()}
    reached = next((size for size, each in behind.items() if each.mean() <= chance[size]), None)
    return reached / MOST if reached else float("inf")


def off(seeds: int) -> tuple[float, float]:
    """By how much a win rate and an accuracy differ on all prompts and on what is drawn at random: means over worlds."""
    rates, accuracies = [], []
    for seed in range(seeds):
        world = World(seed, uneven=True, prompts=4000)
        study = Study(world)
        study.add(list(range(150)), study.drawn(list(range(150))))
        head = study.fit()
        rest = list(range(150, world.prompts))
        margin = (world.features[rest, 0] - world.features[rest, 1]) @ world.taste
        margin += 0.5 * np.abs(margin)  # the first is of a policy that is better where responses differ
        won = world.dice.random(len(rest)) < expit(margin)
        rewards = head.rewards(world.features[rest].reshape(-1, DIMENSIONS)).reshape(-1, 2)
        right = (rewards[:, 0] > rewards[:, 1]) == won
        drawn = np.array([always_at_random(seed * world.prompts + each, TRAINING) for each in rest])
        rates.append(won[drawn].mean() - won.mean())
        accuracies.append(right[drawn].mean() - right.mean())
    return abs(float(np.mean(rates))), abs(float(np.mean(accuracies)))


ALIKE: dict[str, dict[str, object]] = {
    "two alike": {},
    "two alike, few flips": {"flips": 0.0},
    "two alike, narrow margins": {"margin": 1.0, "flips": 0.0},
    "four alike": {"responses": 4},
}


def measure(seeds: int) -> int:
    """Everything; returns the exit status."""
    budgets = [Budget("uneven, two responses", 100 * needed(seeds, uneven=True, waiting=1000), 60, "%")]
    budgets += [Budget("uneven, eight responses", 100 * needed(seeds, uneven=True, responses=8), 60, "%")]
    budgets += [Budget(name, 100 * needed(seeds, strict=False, **kind), 105, "%") for name, kind in ALIKE.items()]
    rate, accuracy = off(seeds * 20)
    budgets += [Budget("win rate off by", 100 * rate, 0.5, "points")]
    budgets += [Budget("accuracy off by", 100 * accuracy, 0.5, "points")]
    return verdict(*budgets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    sys.exit(measure(parser.parse_args().seeds))
