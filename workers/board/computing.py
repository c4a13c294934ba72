"""From votes to the rows of a board: strengths by every filter of the page, and agreement."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Final

import evalica
import numpy as np
import structlog
from numpy.typing import NDArray
from scipy.special import expit
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.annotations.models import Annotation, Retraction, Review
from app.board.models import ALL, ALL_ROUNDS, Board, BoardSlice, BoardState
from app.board.results import Agreement, Alpha, Pair, Policy, Rate, Strengths
from app.registry.models import Checkpoint, CheckpointKind
from workers.board import agreement
from workers.board.reading import Ballot, Item, by_week, read_items, read_votes
from workers.board.reliability import against_a_model
from workers.board.strengths import Floats, Interval, Votes, against, direct, linked

log = structlog.get_logger()

ENOUGH_FOR_LENGTH: Final = 20
"""Votes below which the effect of length is not asked for."""
ENOUGH_OF_BOTH: Final = 50
"""Votes of one capability in one round below which they are not computed apart."""
TELLS_NOTHING: Final = 0.98
"""The width of an interval from which on a win rate is not shown."""
SLICES: Final = 200
"""Of those with the most votes; with both kinds of settling twice as many."""
ENOUGH_FOR_ALPHA: Final = 10
LISTED: Final = 100
"""Of batches and pairs of people, those with the most items; of weeks the last."""
METHOD: Final = (
    "Bradley–Terry by maximum likelihood, a tie half a win for each; 95% intervals from a two-way cluster sandwich by prompt "
    "and person. Length control: one more term, tanh of the difference in tokens over its standard deviation. "
    "Krippendorff’s α by evalica {evalica}, 95% intervals from 500 resamples of items."
)


def compute(session: Session, board: Board) -> list[BoardSlice]:
    """Fill in ``board``, and return its slices. Reads what is committed when it begins."""
    began = time.perf_counter()
    session.execute(text("SET LOCAL jit = off"))  # compiling these few statements takes longer than running them
    # what is submitted meanwhile is at most read twice: the next look at what is new begins before the votes are read
    board.last_annotation_id = session.scalar(select(func.max(Annotation.id))) or 0
    board.last_retraction_id = session.scalar(select(func.max(Retraction.id))) or 0
    board.last_review_id = session.scalar(select(func.max(Review.id))) or 0
    ballot = read_votes(session, board.loop_id)
    agreed = agree(read_items(session, board.loop_id))
    agreed.reliability = against_a_model(session, board.loop_id)
    board.agreement = agreed.model_dump(mode="json")
    names = {row.id: row.name for row in session.execute(select(Checkpoint.id, Checkpoint.name))}
    base = session.scalar(
        select(Checkpoint.id).where(Checkpoint.kind == CheckpointKind.BASE).order_by(Checkpoint.id.desc()).limit(1)
    )
    slices = list(Cut(ballot, names, base).slices(board.id))
    board.votes = len(ballot.votes)
    board.people, board.prompts = len(np.unique(ballot.votes.person)), len(np.unique(ballot.votes.prompt))
    board.method = METHOD.format(evalica=evalica.__version__)
    board.seconds = time.perf_counter() - began
    board.computed_at = session.scalar(select(func.clock_timestamp()))
    board.state = BoardState.READY
    log.info("board_computed", board=board.id, votes=board.votes, seconds=round(board.seconds, 2))
    return slices


@dataclass(frozen=True)
class Cut:
    """The votes, cut by each filter of the page."""

    ballot: Ballot
    names: Mapping[int, str]
    base: int | None

    @cached_property
    def covariate(self) -> Floats | None:
        """How much longer the one response is, between -1 and 1; None where all are equally long."""
        length = self.ballot.votes.length
        spread = float(np.sqrt((length**2).mean())) if len(length) else 0.0
        return np.asarray(np.tanh(length / spread)) if spread else None

    def slices(self, board_id: int) -> Iterator[BoardSlice]:
        """One for each filter that leaves enough votes, of all items and of settled ones."""
        done: dict[bytes, Strengths] = {}
        for capability, number in self._filters():
            some = self._where(capability, number)
            for settled in (False, True):
                which = some & self.ballot.settled if settled else some
                votes = int(which.sum())
                key = which.tobytes()
                if key not in done:
                    done[key] = self.strengths(which)
                yield BoardSlice(
                    board_id=board_id,
                    settled=settled,
                    capability=capability,
                    round=number,
                    votes=votes,
                    result=done[key].model_dump(mode="json"),
                )

    def _filters(self) -> list[tuple[str, int]]:
        """The filters by how many votes they leave, the most first; all votes always, each capability and round while few."""
        rounds = [int(number) for number in np.unique(self.ballot.round)]
        single = [(name, ALL_ROUNDS) for name in self.ballot.capabilities] + [(ALL, number) for number in rounds]
        both = [(name, number) for name in self.ballot.capabilities for number in rounds]
        left = {each: int(self._where(*each).sum()) for each in single}
        single = sorted((each for each in single if left[each]), key=lambda each: (-left[each], each))[:SLICES]
        common = {name for name, number in single if number == ALL_ROUNDS}
        counted = [(int(self._where(*each).sum()), each) for each in both if each[0] in common][: SLICES**2]
        enough = sorted((-votes, each) for votes, each in counted if votes >= ENOUGH_OF_BOTH)
        return [(ALL, ALL_ROUNDS), *single, *(each for _, each in enough)][:SLICES]

    def _where(self, capability: str, number: int) -> NDArray[np.bool_]:
        which = np.ones(len(self.ballot.votes), dtype=bool)
        if capability != ALL:
            which &= self.ballot.capability == self.ballot.capabilities.index(capability)
        if number != ALL_ROUNDS:
            which &= self.ballot.round == number
        return which

    def strengths(self, which: NDArray[np.bool_]) -> Strengths:
        """The policies by some of the votes."""
        votes, total = self.ballot.votes.of(which), len(self.ballot.policies)
        if not len(votes):
            return Strengths(
                votes=0, people=0, prompts=0, ties=0, reference=None, length_effect=None, policies=[], pairs=[]
            )
        reference = self._reference(votes)
        group = linked(votes, total, reference)
        inside = np.isin(votes.one, group)
        places = np.full(total, -1)
        places[group] = np.arange(len(group))
        fitted = votes  # where all are linked, with what it knows of its prompts and people
        if len(group) < total:
            fitted = votes.of(inside)
            fitted = replace(fitted, one=places[fitted.one], other=places[fitted.other])
        plain, _ = against(fitted, len(group), int(places[reference]))
        level: list[Interval] | None = None
        effect = None
        if self.covariate is not None and len(fitted) >= ENOUGH_FOR_LENGTH:
            near = np.array([each.value for each in plain])
            level, effect = against(fitted, len(group), int(places[reference]), self.covariate[which][inside], near)
        policies = [
            self._policy(votes, place, reference, plain, level, int(places[place]))
            for place in np.unique(np.concatenate([votes.one, votes.other]))
        ]
        return Strengths(
            votes=len(votes),
            people=votes.people.n,
            prompts=votes.prompts.n,
            ties=int((votes.score == 0.5).sum()),
            reference=self.ballot.policies[reference],
            length_effect=None if effect is None else effect * float(np.tanh(1.0)),
            policies=sorted(policies, key=lambda each: (each.strength is None, -(each.strength or 0.0), each.name)),
            pairs=self._pairs(votes),
        )

    def _reference(self, votes: Votes) -> int:
        """The base where it has votes; else the oldest of the largest group that votes link."""
        present = np.unique(np.concatenate([votes.one, votes.other]))
        ids = self.ballot.policies
        if self.base is not None and self.base in {ids[place] for place in present}:
            return ids.index(self.base)
        groups = {int(place): len(linked(votes, len(ids), int(place))) for place in present}
        return min(groups, key=lambda place: (-groups[place], ids[place]))

    def _policy(
        self, votes: Votes, place: int, reference: int, plain: list[Interval], level: list[Interval] | None, at: int
    ) -> Policy:
        mine = (votes.one == place) | (votes.other == place)
        other_than_reference = at >= 0 and place != reference
        return Policy(
            checkpoint_id=self.ballot.policies[place],
            name=self.names[self.ballot.policies[place]],
            votes=int(mine.sum()),
            prompts=len(np.unique(votes.prompt[mine])),
            strength=plain[at].value if at >= 0 else None,
            win_rate=_win_rate(plain[at]) if other_than_reference else None,
            length_controlled=_told(_win_rate(level[at])) if level and other_than_reference else None,
        )

    def _pairs(self, votes: Votes) -> list[Pair]:
        ids = self.ballot.policies
        return [
            Pair(
                one=ids[each.one],
                other=ids[each.other],
                wins=each.wins,
                ties=each.ties,
                losses=each.losses,
                prompts=each.prompts,
                people=each.people,
                score=Rate(rate=each.score.value, low=each.score.low, high=each.score.high),
            )
            for each in direct(votes, len(ids))
        ]


def _win_rate(odds: Interval) -> Rate:
    rate, low, high = expit(np.array([odds.value, odds.low, odds.high]))
    return Rate(rate=float(rate), low=float(low), high=float(high))


def _told(rate: Rate) -> Rate | None:
    """None where the interval says nothing: a policy that is always the longer one cannot be told from its length."""
    return rate if rate.high - rate.low < TELLS_NOTHING else None


def agree(items: Sequence[Item]) -> Agreement:
    """α of everything, by batch, by every two people, and by week."""
    batches: dict[int, list[Item]] = defaultdict(list)
    people: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        batches[item.batch_id].append(item)
        for one, other in combinations(sorted(set(item.people)), 2):
            people[one, other].append(_of_two(item, one, other))
    return Agreement(
        overall=_alpha("", items),
        batches=[_alpha(some[0].batch, some) for some in _largest(batches)],
        people=[_alpha(" and ".join(sorted(set(some[0].people))), some) for some in _largest(people)],
        weeks=[_alpha(monday, some) for monday, some in by_week(items).items()][-LISTED:],
    )


def _of_two(item: Item, one: str, other: str) -> Item:
    if len(item.people) == 2:
        return item
    which = [place for place, person in enumerate(item.people) if person in {one, other}]
    return replace(
        item,
        people=[item.people[place] for place in which],
        scores=[item.scores[place] for place in which],
        strengths=[item.strengths[place] for place in which],
    )


def _largest(found: Mapping[Any, list[Item]]) -> list[list[Item]]:
    """Those with the most items, the most first."""
    return [found[key] for key in sorted(found, key=lambda key: (-len(found[key]), key))[:LISTED]]


def _alpha(name: str, items: Sequence[Item]) -> Alpha:
    enough = len(items) >= ENOUGH_FOR_ALPHA
    return Alpha(
        name=name,
        items=len(items),
        judgements=sum(len(item.people) for item in items),
        nominal=_rate([item.scores for item in items], "nominal") if enough else None,
        ordinal=_rate([item.strengths for item in items], "ordinal") if enough else None,
    )


def _rate(items: Sequence[Sequence[float]], level: agreement.Level) -> Rate | None:
    value, ends = agreement.alpha(items, level), agreement.interval(items, level)
    if value is None or ends is None:
        return None
    return Rate(rate=value, low=ends[0], high=ends[1])
