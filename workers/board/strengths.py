"""Bradley–Terry of votes with ties, its intervals, and every two policies against each other.

A tie is half a win for each. The fit is the maximum of the likelihood, by Newton's method. Its intervals come from a sandwich
that lets votes on one prompt hang together, and votes of one person (Cameron, Gelbach and Miller 2011): votes taken as
independent cover 83 to 89% where 95 is said. Three things keep them honest where there are few votes:

- they are computed around a fit in which each policy has about two more ties, so that five wins of five are no certainty;
- their variance is at least that of independent votes, with that share of ties;
- their quantile is Student's, with the degrees of freedom of the prompts and people that the variance comes from.

People are a source of variance from ``PEOPLE`` on: two cannot say how others would judge, and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PEOPLE = 3
RIDGE = 1e-6
"""Keeps a fit finite where a policy won or lost every vote; elsewhere it moves a strength by less than 0.0001."""
STEPS = 100
LARGEST_STEP = 2.0
LARGEST = 12.0
"""Log-odds beyond which a strength says no more than "always"."""
QUANTILE = 0.975


class Clusters(NamedTuple):
    """What votes hang together with: for each vote a number from 0 without gaps, and how many numbers there are."""

    codes: Ints
    n: int


class Sides(Protocol):
    """Columns of votes, or of kinds of votes, of one length."""

    @property
    def one(self) -> Ints:
        """Places of the policies."""

    @property
    def other(self) -> Ints:
        """Places of the policies that they were compared with."""


class _Kinds(NamedTuple):
    one: Ints
    other: Ints


@dataclass(frozen=True)
class Votes:
    """Columns of one length: places of the two policies, the score of ``one``, and what a vote hangs together with."""

    one: Ints
    other: Ints
    score: Floats
    length: Floats
    """How much longer the response of ``one`` is, by any unit."""
    prompt: Ints
    person: Ints

    def __len__(self) -> int:
        return len(self.score)

    def of(self, which: NDArray[Any]) -> Votes:
        """Some of them, by a mask or by places."""
        return Votes(*(getattr(self, column.name)[which] for column in fields(self)))

    @cached_property
    def prompts(self) -> Clusters:
        """By prompt."""
        return _clusters(self.prompt)

    @cached_property
    def people(self) -> Clusters:
        """By person."""
        return _clusters(self.person)

    @cached_property
    def both(self) -> Clusters:
        """By prompt and person."""
        return _clusters(self.prompts.codes * self.people.n + self.people.codes)


@dataclass(frozen=True)
class Fit:
    """Log-strengths with their sum zero, then the effect of length where it is controlled."""

    strengths: Floats
    effect: float | None

    @property
    def all(self) -> Floats:
        """Both as one, in a copy."""
        return self.strengths.copy() if self.effect is None else np.append(self.strengths, self.effect)


@dataclass(frozen=True)
class Interval:
    """A number with both ends of its 95% interval."""

    value: float
    low: float
    high: float


def fit(
    votes: Votes,
    policies: int,
    covariate: Floats | None = None,
    ties: Floats | None = None,
    start: Fit | None = None,
) -> Fit:
    """The strengths of which the votes are likeliest.

    Args:
        votes: At least one; every policy is linked to every other by a chain of them.
        policies: How many there are.
        covariate: What ``one`` has more of in each vote, e.g. length; its effect is fitted beside the strengths.
        ties: How many more ties each vote stands for.
        start: A fit that is near.
    """
    weight = np.ones(len(votes)) if ties is None else 1.0 + ties
    score = votes.score if ties is None else (votes.score + ties / 2) / weight
    sides: Sides = votes
    if covariate is None:
        sides, score, weight = _by_pair(votes, score, weight, policies)
    found = np.zeros(policies + (covariate is not None)) if start is None else start.all
    for _ in range(STEPS):
        chance = _chance(sides, found, policies, covariate)
        slope = _slopes(sides, weight * (score - chance), policies, covariate) - RIDGE * found
        step = np.linalg.solve(_information(sides, weight * chance * (1 - chance), policies, covariate), slope)
        # far from the maximum Newton's step may overshoot into the flat; a policy that always won has no maximum at all
        found += step * min(1.0, LARGEST_STEP / max(1e-12, float(np.abs(step).max())))
        found[:policies] -= found[:policies].mean()
        if np.abs(step).max() < 1e-9 or np.abs(found).max() > LARGEST:
            break
    return Fit(found[:policies], None if covariate is None else float(found[policies]))


def _by_pair(votes: Votes, score: Floats, weight: Floats, policies: int) -> tuple[_Kinds, Floats, Floats]:
    """All votes between two policies as one of their weight and mean score: the same likelihood where nothing else counts."""
    pair = votes.one * policies + votes.other
    weights = np.bincount(pair, weight, policies**2)
    present = np.flatnonzero(weights)
    mean = np.bincount(pair, weight * score, policies**2)[present] / weights[present]
    return _Kinds(present // policies, present % policies), mean, np.asarray(weights[present], dtype=np.float64)


def _chance(votes: Sides, found: Floats, policies: int, covariate: Floats | None) -> Floats:
    odds = found[votes.one] - found[votes.other]
    if covariate is not None:
        odds = odds + found[policies] * covariate
    return np.asarray(1 / (1 + np.exp(-odds)))


def _slopes(votes: Sides, residual: Floats, policies: int, covariate: Floats | None) -> Floats:
    slope = np.bincount(votes.one, residual, policies) - np.bincount(votes.other, residual, policies)
    return np.asarray(slope if covariate is None else np.append(slope, residual @ covariate), dtype=np.float64)


def _information(votes: Sides, weight: Floats, policies: int, covariate: Floats | None) -> Floats:
    """Minus the second derivative: policies × policies, and a row and column for the covariate; never singular."""
    pairs = np.bincount(votes.one * policies + votes.other, weight, policies**2).reshape(policies, policies)
    pairs = pairs + pairs.T
    size = policies + (covariate is not None)
    made = np.zeros((size, size))
    made[:policies, :policies] = np.diag(pairs.sum(1)) - pairs + 1 / policies
    if covariate is not None:
        mixed = np.bincount(votes.one, weight * covariate, policies) - np.bincount(
            votes.other, weight * covariate, policies
        )
        made[:policies, policies] = made[policies, :policies] = mixed
        made[policies, policies] = weight @ covariate**2
    made[np.diag_indices(size)] += RIDGE
    return made


def against(
    votes: Votes, policies: int, reference: int, covariate: Floats | None = None, near: Floats | None = None
) -> tuple[list[Interval], float | None]:
    """Of each policy the log-odds of a win against ``reference``, which has 0; and the effect of the covariate.

    ``near``: log-odds that are near what will be found, to begin from.
    """
    start = None if near is None else Fit(near - near.mean(), None if covariate is None else 0.0)
    first = fit(votes, policies, covariate, start=start)
    times = np.bincount(votes.one, minlength=policies) + np.bincount(votes.other, minlength=policies)
    ties = 1 / times[votes.one] + 1 / times[votes.other]
    full = fit(votes, policies, covariate, ties, first).all
    chance = _chance(votes, full, policies, covariate)
    inverse = np.linalg.inv(_information(votes, (1 + ties) * chance * (1 - chance), policies, covariate))
    contrasts = np.eye(len(full))[:policies] - np.eye(len(full))[reference]
    # a vote's part in the estimate of each contrast: policies × parameters, times the slope of that vote
    influence = contrasts @ inverse
    residual = votes.score - chance
    parts = _Parts(votes, influence, residual, policies, covariate)
    tied = float((votes.score == 0.5).mean())
    floor = np.einsum("ij,jk,ik->i", contrasts, inverse, contrasts) * (1 - tied)
    half = parts.half_width(floor)
    odds = contrasts[:, :policies] @ first.strengths
    middle = contrasts @ full
    intervals = [
        Interval(float(o), float(min(o, m - h)), float(max(o, m + h)))
        for o, m, h in zip(odds, middle, half, strict=True)
    ]
    return intervals, first.effect


class _Parts:
    """Variance of the contrasts by what votes hang together with."""

    def __init__(
        self, votes: Votes, influence: Floats, residual: Floats, policies: int, covariate: Floats | None
    ) -> None:
        self.votes, self.influence, self.residual = votes, influence, residual
        self.policies, self.covariate = policies, covariate

    def half_width(self, floor: Floats) -> Floats:
        """Half of each interval; its variance is not below ``floor``."""
        prompts, people = self.votes.prompts, self.votes.people
        by_prompt = self._variance(prompts)
        if people.n < PEOPLE:
            variance = np.maximum(by_prompt, floor)
            return np.asarray(np.sqrt(variance) * stdtrit(max(1, prompts.n - 1), QUANTILE))
        by_person = self._variance(people)
        variance = np.maximum.reduce(
            [by_prompt + by_person - self._variance(self.votes.both), by_prompt, by_person, floor]
        )
        return np.asarray(np.sqrt(variance) * _quantile(by_prompt, prompts.n, by_person, people.n))

    def _variance(self, clusters: Clusters) -> Floats:
        """Of each contrast, where votes of one cluster may say the same."""
        cluster, n = clusters
        size, votes = self.policies, self.votes
        slopes = np.bincount(cluster * size + votes.one, self.residual, n * size)
        slopes -= np.bincount(cluster * size + votes.other, self.residual, n * size)
        parts = slopes.reshape(n, size) @ self.influence[:, :size].T
        if self.covariate is not None:
            parts += np.outer(np.bincount(cluster, self.residual * self.covariate, n), self.influence[:, size])
        return np.asarray((parts**2).sum(0) * n / max(1, n - 1))


def _clusters(values: Ints) -> Clusters:
    found, codes = np.unique(values, return_inverse=True)
    return Clusters(codes.astype(np.int64), len(found))


def _quantile(by_prompt: Any, n_prompts: Any, by_person: Any, n_people: Any) -> Floats:
    """Student's, with degrees of freedom by Satterthwaite: few people matter as much as the variance comes from them."""
    both = by_prompt + by_person
    freedom = both**2 / np.maximum(
        1e-300, by_prompt**2 / np.maximum(1, n_prompts - 1) + by_person**2 / np.maximum(1, n_people - 1)
    )
    return np.asarray(stdtrit(np.maximum(1.0, freedom), QUANTILE))


@dataclass(frozen=True)
class Direct:
    """Two policies by the votes between them."""

    one: int
    other: int
    wins: int
    ties: int
    losses: int
    prompts: int
    people: int
    score: Interval


def direct(votes: Votes, policies: int) -> list[Direct]:
    """Every two policies that have votes between them, the one in front first."""
    turned = votes.one > votes.other
    one, other = np.where(turned, votes.other, votes.one), np.where(turned, votes.one, votes.other)
    score = np.where(turned, 1 - votes.score, votes.score)
    names, pair = np.unique(one * policies + other, return_inverse=True)
    n = len(names)
    count = np.bincount(pair, minlength=n)
    ties = np.bincount(pair, score == 0.5, n)
    mean = np.bincount(pair, score, n) / count
    middle = (mean * count + 1) / (count + 2)
    residual = score - middle[pair]
    by_prompt, prompts = _mean_variance(pair, n, votes.prompts, residual)
    by_person, people = _mean_variance(pair, n, votes.people, residual)
    both, _ = _mean_variance(pair, n, votes.both, residual)
    floor = (1 - ties / count) * middle * (1 - middle) / (count + 2)
    many = people >= PEOPLE
    variance = np.maximum.reduce(
        [by_prompt, floor, np.where(many, np.maximum(by_person, by_prompt + by_person - both), 0.0)]
    )
    quantile = np.where(
        many, _quantile(by_prompt, prompts, by_person, people), stdtrit(np.maximum(1, prompts - 1), QUANTILE)
    )
    half = quantile * np.sqrt(variance)
    wins = np.bincount(pair, score == 1, n)
    return [
        Direct(
            one=int(names[i] // policies),
            other=int(names[i] % policies),
            wins=int(wins[i]),
            ties=int(ties[i]),
            losses=int(count[i] - wins[i] - ties[i]),
            prompts=int(prompts[i]),
            people=int(people[i]),
            score=Interval(
                float(mean[i]),
                float(min(mean[i], max(0.0, middle[i] - half[i]))),
                float(max(mean[i], min(1.0, middle[i] + half[i]))),
            ),
        )
        for i in range(n)
    ]


def _mean_variance(pair: Ints, pairs: int, clusters: Clusters, residual: Floats) -> tuple[Floats, Ints]:
    """Of the mean of each pair, where votes of one cluster may say the same; and how many clusters each pair has."""
    found, inverse = np.unique(pair * clusters.n + clusters.codes, return_inverse=True)
    sums = np.bincount(inverse, residual)
    owner = found // clusters.n
    count = np.bincount(owner, minlength=pairs)
    squares = np.bincount(owner, sums**2, pairs)
    return squares / np.bincount(pair, minlength=pairs) ** 2 * count / np.maximum(1, count - 1), count


def linked(votes: Votes, policies: int, to: int) -> Ints:
    """The policies to which a chain of votes leads from ``to``, itself among them; in order."""
    near = np.zeros((policies, policies), dtype=bool)
    near[votes.one, votes.other] = near[votes.other, votes.one] = True
    reached = np.zeros(policies, dtype=bool)
    reached[to] = True
    while True:
        further = reached | near[reached].any(0)
        if (further == reached).all():
            return np.flatnonzero(reached)
        reached = further
