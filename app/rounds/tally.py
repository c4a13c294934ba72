"""What votes say: observations in their order, the evidence after each, and the first at which a rule of the gate is met.

Pure: votes go in, a :class:`Tally` comes out. The verdict is read off the whole path and not off its end, so whoever looks
late finds what somebody who looks after every vote would have found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import log, sqrt, tanh
from statistics import fmean

from app.rounds.evidence import EqualLength, evidence
from app.rounds.models import ContestKind

DECIDES = 20.0
"""Evidence that promotes against "no better than the champion"; of the watch, and in one capability, against "as good"."""
REFUSES = 10.0
"""Evidence that refuses against :data:`WORTH_IT`."""
WORTH_IT = 0.575
"""The score of a challenger that wins 60% of what is no tie, at a quarter of ties: one that surely scores less is refused."""
MANY = 3
"""People from whom on none of them may decide alone."""
SHARE, FLOOR = 0.4, 5
"""A vote counts while its author has given less than this share of the counted votes, or fewer than these."""
PATIENCE = 2
"""Budgets of judged prompts after which it ends, however few of them were counted: where one of several people does all the
work, most of it is left out, and without this it would never end."""


class LeftOut(StrEnum):
    """Why a vote is not counted."""

    SELECTED = "selected"
    """Its answers were chosen to be compared, not drawn at random."""
    LEARNT = "learnt"
    """The challenger was trained on this prompt."""
    GATE = "gate"
    """The prompt was counted when the policy was promoted, and is not counted again."""
    SHARE = "share"
    """Its author had given their share."""
    BUDGET = "budget"
    """It came after the last one that is counted."""


class Rule(StrEnum):
    """What can end a contest by itself."""

    BETTER = "better"
    NOT_USEFUL = "not_useful"
    WORSE = "worse"
    WORSE_IN_CAPABILITY = "worse_in_capability"
    SPENT = "spent"


@dataclass(frozen=True)
class Vote:
    """An annotation as seen by a contest."""

    annotation_id: int
    author: int
    pseudonym: str
    content: bytes
    """Hash of the prompt: votes on one prompt are one observation."""
    score: float
    longer: float
    """Tokens by which the challenger's answers are longer, on the average: the measure of the board, too."""
    capability: str | None
    left_out: LeftOut | None = None


@dataclass
class Observation:
    """What people said of one prompt."""

    capability: str | None
    votes: list[Vote] = field(default_factory=list)

    @cached_property
    def score(self) -> float:
        """Mean of its votes; asked for once they are all there."""
        return fmean(vote.score for vote in self.votes)

    def without(self, author: int) -> float:
        """Advantage over a half as the others see it; 0 where there are none."""
        others = [vote.score for vote in self.votes if vote.author != author]
        return fmean(others) - 0.5 if others else 0.0


@dataclass
class Others:
    """What the advantages over a half add up to without each of the people; one :meth:`add` an observation."""

    total: float = 0.0
    parts: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """What goes with each person."""

    def add(self, observation: Observation) -> None:
        """One more."""
        advantage = observation.score - 0.5
        self.total += advantage
        for author in {vote.author for vote in observation.votes}:
            self.parts[author] += advantage - observation.without(author)

    @property
    def least(self) -> float:
        """Without the one whose absence would tell most."""
        return self.total - max(self.parts.values(), default=0.0)


@dataclass(frozen=True)
class Found:
    """The rule that is met, at which observation (from 1), and in which capability."""

    rule: Rule
    at: int
    capability: str = ""


@dataclass
class Tally:
    """A contest as its votes stand."""

    kind: ContestKind
    budget: int
    votes: Sequence[Vote]
    team: frozenset[int] = frozenset()
    """People who are known to judge here although they may not have voted yet."""
    observations: list[Observation] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    """Number of the observation by annotation, from 1."""
    left_out: dict[int, LeftOut] = field(default_factory=dict)
    judged: int = 0
    """Prompts with a vote that could have been counted."""
    ruled: bool = False
    """Whether so many people judge that the rules about single persons apply."""
    found: Found | None = None
    unmet: tuple[str, ...] = ()
    """What keeps it from a promotion although there is evidence enough: ``length``, ``person``."""

    def __post_init__(self) -> None:
        self._sort()
        self.found = self._first_rule()

    # ── Which votes count ────────────────────────────────────────────────────────────────────────────────────────────
    def _sort(self) -> None:
        voters = {vote.author for vote in self.votes if vote.left_out is None}
        self.ruled = len(voters | self.team) >= MANY
        by_content: dict[bytes, int] = {}
        judged: set[bytes] = set()
        given: Counter[int] = Counter()
        for vote in self.votes:
            reason = vote.left_out
            if reason is None:
                if len(judged) < PATIENCE * self.budget:
                    judged.add(vote.content)
                reason = self._reason(vote, by_content, judged, given)
            if reason is not None:
                self.left_out[vote.annotation_id] = reason
                continue
            given[vote.author] += 1
            if vote.content not in by_content:
                self.observations.append(Observation(vote.capability))
                by_content[vote.content] = len(self.observations)
            place = by_content[vote.content]
            self.observations[place - 1].votes.append(vote)
            self.places[vote.annotation_id] = place
        self.judged = len(judged)

    def _reason(
        self, vote: Vote, known: Collection[bytes], judged: Collection[bytes], given: Counter[int]
    ) -> LeftOut | None:
        if vote.content not in known and (len(known) >= self.budget or vote.content not in judged):
            return LeftOut.BUDGET
        if self.ruled and given[vote.author] >= max(FLOOR, SHARE * (given.total() + 1)):
            return LeftOut.SHARE
        return None

    # ── What they say ────────────────────────────────────────────────────────────────────────────────────────────────
    @cached_property
    def scores(self) -> list[float]:
        """Of each observation."""
        return [observation.score for observation in self.observations]

    @cached_property
    def better(self) -> list[float]:
        """Log evidence after each observation that the challenger is better than the champion."""
        return evidence(self.scores)

    @cached_property
    def worse(self) -> list[float]:
        """Log evidence against it: of a gate that it is not clearly better, of a watch that it is worse."""
        return evidence(self.scores, WORTH_IT if self.kind is ContestKind.GATE else 0.5, better=False)

    @cached_property
    def lengths(self) -> list[float]:
        """Of each observation in [-1, 1]: ``tanh`` of the difference in standard deviations."""
        longer = [fmean(vote.longer for vote in observation.votes) for observation in self.observations]
        mean = fmean(longer) if longer else 0.0
        spread = sqrt(fmean((each - mean) ** 2 for each in longer)) if longer else 0.0
        return [tanh(difference / spread) if spread else 0.0 for difference in longer]

    @cached_property
    def capabilities(self) -> dict[str, list[int]]:
        """Numbers of the observations of each capability."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, observation in enumerate(self.observations, start=1):
            if observation.capability:
                found[observation.capability].append(number)
        return dict(sorted(found.items()))

    def of(self, numbers: Iterable[int]) -> list[float]:
        """The scores of these observations."""
        return [self.scores[number - 1] for number in numbers]

    @cached_property
    def others(self) -> Others:
        """How each person's absence would tell."""
        found = Others()
        for observation in self.observations:
            found.add(observation)
        return found

    # ── The rules ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _first_rule(self) -> Found | None:
        gate = self.kind is ContestKind.GATE
        sunk = self._worse_in_capability() if gate else {}
        fit, others = EqualLength(), Others()
        for number, observation in enumerate(self.observations, start=1):
            fit.add(observation.score, self.lengths[number - 1])
            others.add(observation)
            self.unmet = ()
            if gate and self.better[number - 1] >= log(DECIDES):
                self.unmet = tuple(self._unmet(fit, others))
                if not self.unmet:
                    return Found(Rule.BETTER, number)
            if number in sunk:
                return Found(Rule.WORSE_IN_CAPABILITY, number, sunk[number])
            if self.worse[number - 1] >= log(REFUSES if gate else DECIDES):
                return Found(Rule.NOT_USEFUL if gate else Rule.WORSE, number)
        if len(self.observations) >= self.budget or self.judged >= PATIENCE * self.budget:
            return Found(Rule.SPENT, len(self.observations))
        return None

    def _unmet(self, fit: EqualLength, others: Others) -> Iterable[str]:
        if fit.score <= 0.5:
            yield "length"
        if self.ruled and others.least <= 0:
            yield "person"

    def _worse_in_capability(self) -> dict[int, str]:
        """The first observation of each capability at which it is surely worse there."""
        found: dict[int, str] = {}
        for capability, numbers in self.capabilities.items():
            path = evidence(self.of(numbers), better=False)
            at = next((number for number, value in zip(numbers, path, strict=True) if value >= log(DECIDES)), None)
            if at is not None:
                found[at] = capability
        return found


def greatest(path: Sequence[float]) -> float:
    """The most evidence that there ever was; before the first observation it is none."""
    return max(path, default=0.0) if path and max(path) > 0 else 0.0
