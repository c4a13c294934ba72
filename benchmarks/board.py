"""Whether the board's 95% intervals cover what they should, and how long 100,000 votes take.

Four designs: votes on few and on many prompts, of few and of many people, each prompt and each person with a taste of
their own for each policy. The target of a design is what the fit converges to with everybody and every prompt. Beside the board's
intervals stand those of votes taken as independent.

    python -m benchmarks.board [--repetitions 300]
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.board.strengths import Votes, against, direct, fit


class Design(NamedTuple):
    """How many votes there are, and how much of a vote is the prompt's and the person's own (standard deviations in logits)."""

    votes: int
    prompts: int
    people: int
    prompt_taste: float
    person_taste: float


DESIGNS = (
    Design(1200, 80, 10, 0.6, 0.3),
    Design(1200, 400, 10, 0.6, 0.3),
    Design(1200, 1200, 5, 0.6, 0.3),
    Design(3000, 80, 60, 0.6, 0.15),
)
STRENGTHS = np.array([0.5, 0.2, -0.2, -0.5])
TIES = 0.2


def draw(design: Design, rng: np.random.Generator, strengths: NDArray[np.float64] = STRENGTHS) -> Votes:
    """Votes of one installation."""
    n, policies = design.votes, len(strengths)
    prompt, person = rng.integers(0, design.prompts, n), rng.integers(0, design.people, n)
    one = rng.integers(0, policies, n)
    other = (one + rng.integers(1, policies, n)) % policies
    liked = rng.normal(0, design.prompt_taste, (design.prompts, policies))
    taste = rng.normal(0, design.person_taste, (design.people, policies))
    odds = (strengths[one] + liked[prompt, one] + taste[person, one]) - (
        strengths[other] + liked[prompt, other] + taste[person, other]
    )
    score = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float)
    score[rng.random(n) < TIES] = 0.5
    return Votes(one, other, score, rng.normal(0, 100, n), prompt, person)


def target(design: Design, rng: np.random.Generator) -> float:
    """The strength of the first over the last, from so many votes that chance is gone."""
    everybody = draw(design._replace(votes=400_000, prompts=20_000, people=20_000), rng)
    found = fit(everybody, len(STRENGTHS)).strengths
    return float(found[0] - found[-1])


def naive(votes: Votes) -> tuple[float, float]:
    """The interval of the first over the last if all votes were independent and had no ties."""
    found = fit(votes, len(STRENGTHS)).strengths
    chance = 1 / (1 + np.exp(-(found[votes.one] - found[votes.other])))
    information = np.zeros((len(STRENGTHS), len(STRENGTHS)))
    for place, sign in ((votes.one, 1), (votes.other, -1)):
        for there, signed in ((votes.one, sign), (votes.other, -sign)):
            np.add.at(information, (place, there), signed * chance * (1 - chance))
    inverse = np.linalg.pinv(information)
    half = 1.96 * np.sqrt(inverse[0, 0] + inverse[-1, -1] - 2 * inverse[0, -1])
    middle = found[0] - found[-1]
    return middle - half, middle + half


def covered(design: Design, repetitions: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Share of intervals that hold the target, and their mean width; then the same of independent votes, and of a pair's."""
    wanted = target(design, rng)
    hits = width = plain = 0.0
    pairs = 0.0
    direct_rate = _direct_target(design, rng)
    for _ in range(repetitions):
        votes = draw(design, rng)
        found = against(votes, len(STRENGTHS), len(STRENGTHS) - 1)[0][0]
        hits += found.low <= wanted <= found.high
        width += found.high - found.low
        low, high = naive(votes)
        plain += low <= wanted <= high
        score = next(each for each in direct(votes, len(STRENGTHS)) if (each.one, each.other) == (0, 3)).score
        pairs += score.low <= direct_rate <= score.high
    return hits / repetitions, width / repetitions, plain / repetitions, pairs / repetitions


def _direct_target(design: Design, rng: np.random.Generator) -> float:
    everybody = draw(design._replace(votes=400_000, prompts=20_000, people=20_000), rng)
    return next(each for each in direct(everybody, len(STRENGTHS)) if (each.one, each.other) == (0, 3)).score.value


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Coverage and speed of the board's intervals.")
    parser.add_argument("--repetitions", type=int, default=300)
    wanted = parser.parse_args().repetitions
    rng = np.random.default_rng(2)
    print("votes  prompts  people   covered  width   votes independent   a pair's score")
    for design in DESIGNS:
        hits, width, plain, pairs = covered(design, wanted, rng)
        print(
            f"{design.votes:5}  {design.prompts:7}  {design.people:6}   {hits:7.3f}  {width:5.2f}   {plain:17.3f}   {pairs:14.3f}"
        )
    votes = draw(Design(100_000, 5000, 50, 0.6, 0.2), rng, np.linspace(-1, 1, 8))
    for name, work in (
        ("strengths and intervals", lambda: against(votes, 8, 0)),
        ("the same, length-controlled", lambda: against(votes, 8, 0, np.tanh(votes.length / 100))),
        ("every two policies", lambda: direct(votes, 8)),
    ):
        began = time.perf_counter()
        work()
        print(f"100,000 votes of 8 policies, {name}: {1000 * (time.perf_counter() - began):.0f} ms")


if __name__ == "__main__":
    main()
