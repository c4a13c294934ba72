"""Reads every vote of a loop, and the items that two or more people judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Select, Text, and_, case, cast, func, select
from sqlalchemy.orm import Session
from sqlalchemy.types import NullType

from app.accounts.models import User
from app.annotations.models import COUNTS, Annotation
from app.board.settled import COUNTED, SETTLED
from app.candidates.models import Candidate
from app.comparisons import purposes
from app.comparisons.models import Comparison, ComparisonCandidate
from app.judgements.vocabulary import Outcome
from app.loops.models import Round
from app.prompts.models import Batch, Prompt
from training.formats.votes import Vote, votes
from workers.board.strengths import Votes


@dataclass(frozen=True)
class Ballot:
    """Every vote between two policies, with what it can be filtered by."""

    votes: Votes
    """Places in ``policies``."""
    policies: list[int]
    """Ids of checkpoints, in order."""
    capability: NDArray[np.int64]
    """Places in ``capabilities``; -1 where the prompt has none."""
    capabilities: list[str]
    round: NDArray[np.int64]
    settled: NDArray[np.bool_]


@dataclass
class Item:
    """A pair of responses and what was said of it, each judgement in the same order of the two."""

    batch_id: int
    batch: str
    day: date
    people: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    strengths: list[int] = field(default_factory=list)


_capability = func.coalesce(Prompt.capability, Batch.capability)


_shown = Annotation.order_shown
_of_two = func.cardinality(_shown) == 2


def _judgements(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(Annotation)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .join(Round, Round.id == Batch.round_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
    )


def _columns(session: Session, query: Select[Any]) -> list[list[Any]]:
    """What a query finds, by column: a row at a time would take longer than all that is computed from them."""
    rows = query.subquery()
    found = session.connection().execute(select(*(func.array_agg(column, type_=NullType()) for column in rows.c))).one()
    return [column or [] for column in found]


def read_votes(session: Session, loop_id: int) -> Ballot:
    """All votes between two different policies."""
    about = (Annotation.annotator_id, Comparison.prompt_id, _capability, Round.number, SETTLED)
    wanted = and_(COUNTED, Round.loop_id == loop_id)
    ranked = Annotation.outcome == Outcome.RANKED
    best = cast(Annotation.ranking[0][0].astext, BigInteger)
    pairs = _judgements(_shown[1], _shown[2], case((ranked, best)), *about).where(wanted, _of_two)
    first, second, better, *columns = _columns(session, pairs)
    one, other = np.minimum(_ids(first), _ids(second)), np.maximum(_ids(first), _ids(second))
    # what training.formats.votes says of two responses, for all of them at once
    best_of = np.array([each or 0 for each in better], dtype=np.int64)
    score = np.where(best_of == 0, 0.5, (best_of == one).astype(float))
    longer = _judgements(cast(Annotation.outcome, Text), Annotation.ranking, Annotation.strengths, _shown, *about)
    more: list[tuple[Any, ...]] = [
        (vote.one, vote.other, vote.score, *rest)
        for outcome, ranking, strengths, shown, *rest in session.connection().execute(longer.where(wanted, ~_of_two))
        for vote in votes(outcome, ranking, strengths, shown)
    ]
    extra = list(zip(*more, strict=True)) or [()] * (3 + len(columns))
    return _ballot(
        np.concatenate([one, _ids(extra[0])]),
        np.concatenate([other, _ids(extra[1])]),
        np.concatenate([score, np.array(extra[2], dtype=float)]),
        [[*column, *rest] for column, rest in zip(columns, extra[3:], strict=True)],
        _columns(session, _candidates(loop_id)),
    )


def _candidates(loop_id: int) -> Select[Any]:
    """What was shown: its id, the checkpoint that wrote it, and how many tokens it has."""
    columns: tuple[Any, ...] = (Candidate.id, Candidate.checkpoint_id, Candidate.completion_tokens)
    return (
        select(*columns)
        .join(ComparisonCandidate, ComparisonCandidate.candidate_id == Candidate.id)
        .join(Comparison, Comparison.id == ComparisonCandidate.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .join(Round, Round.id == Batch.round_id)
        .where(purposes.votes, Comparison.annotators_done > 0)
        .where(Round.loop_id == loop_id)
    )


def _ids(column: Sequence[Any]) -> NDArray[np.int64]:
    return np.array(column, dtype=np.int64)


def _ballot(
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    score: NDArray[np.float64],
    about: Sequence[Sequence[Any]],
    candidates: Sequence[Sequence[Any]],
) -> Ballot:
    """Put policies in the place of their responses, and leave out what is between two responses of one policy."""
    ids, wrote, tokens = map(_ids, candidates)
    order = np.argsort(ids)
    left, right = (order[np.searchsorted(ids, side, sorter=order)] for side in (one, other))
    kept = wrote[left] != wrote[right]
    policies, places = np.unique(np.concatenate([wrote[left][kept], wrote[right][kept]]), return_inverse=True)
    places = places.astype(np.int64)
    people, prompts, named, rounds, settled = about
    capabilities = sorted({name for name in named if name is not None})
    place_of = {name: place for place, name in enumerate(capabilities)}
    return Ballot(
        votes=Votes(
            places[: int(kept.sum())],
            places[int(kept.sum()) :],
            score[kept],
            (tokens[left] - tokens[right])[kept].astype(float),
            _ids(prompts)[kept],
            _ids(people)[kept],
        ),
        policies=[int(each) for each in policies],
        capability=_ids([place_of.get(name, -1) for name in named])[kept],
        capabilities=capabilities,
        round=_ids(rounds)[kept],
        settled=np.array(settled, dtype=bool)[kept],
    )


def read_items(session: Session, loop_id: int) -> list[Item]:
    """Every two responses of an item that two or more people judged, however the item was drawn.

    Without what a reward model doubted: a second judgement of just these would make people agree less than they do.
    """
    about = (Comparison.id, Batch.id, Batch.name, User.pseudonym, Annotation.created_at)
    outcome = cast(Annotation.outcome, Text)
    best = cast(Annotation.ranking[0][0].astext, BigInteger)
    wanted = and_(COUNTS, purposes.compares, Comparison.annotators_done > 1)
    wanted = and_(wanted, Round.loop_id == loop_id, Comparison.doubted_by_id.is_(None))

    def judged(*columns: Any) -> Select[Any]:
        return _judgements(*columns, *about).join(User, User.id == Annotation.annotator_id).where(wanted)

    pairs = _columns(session, judged(outcome, best, Annotation.strengths[1], _shown[1], _shown[2]).where(_of_two))
    longer = session.connection().execute(
        judged(outcome, Annotation.ranking, Annotation.strengths, _shown).where(~_of_two)
    )
    found: dict[tuple[int, int, int], Item] = {}
    for said, first, strength, one, other, *rest in zip(*pairs, strict=True):
        worse = other if first == one else one
        _add(found, votes(said, ((first,), (worse,)), (strength,), (one, other)), *rest)
    for said, ranking, strengths, shown, *rest in longer:
        _add(found, votes(said, ranking, strengths, shown), *rest)
    return [item for item in found.values() if len(item.people) > 1]


def _add(
    found: dict[tuple[int, int, int], Item],
    said: Iterable[Vote],
    comparison: int,
    batch_id: int,
    batch: str,
    pseudonym: str,
    at: datetime,
) -> None:
    for vote in said:
        item = found.setdefault((comparison, vote.one, vote.other), Item(batch_id, batch, at.date()))
        item.day = max(item.day, at.date())
        item.people.append(pseudonym)
        item.scores.append(vote.score)
        item.strengths.append(vote.strength)


def by_week(items: Iterable[Item]) -> dict[str, list[Item]]:
    """The items by the Monday of the week of their last judgement, oldest first."""
    weeks: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        weeks[(item.day - timedelta(days=item.day.weekday())).isoformat()].append(item)
    return dict(sorted(weeks.items()))
