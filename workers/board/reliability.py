"""How often people agree with a model of what was said of other prompts: reliability where an item has one judgement.

Agreement between people needs items that two of them judged. Where each item has one judgement, a reward model that is
cross-fitted stands in for the second: the linear head by which pairs are chosen (:mod:`workers.selection.head`), fitted on
the judgements of four fifths of the prompts and asked about the rest. It is often wrong itself, so a person is compared with
everybody rather than with 100%.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.models import COUNTS, Annotation
from app.board.results import Rate, Reliability, Reliable
from app.candidates import features
from app.comparisons import purposes
from app.comparisons.models import Comparison
from app.loops.models import Round
from app.prompts.models import Batch
from training.formats.votes import votes
from workers.selection import head, reading
from workers.selection.intervals import over_prompts

ENOUGH: Final = 60
"""Votes without which a head knows nothing: as for choosing (:data:`app.rounds.pair_selection.ENOUGH`)."""
ENOUGH_OF_ONE: Final = 20
"""Votes without which nothing is said of one person."""
LISTED: Final = 100


def against_a_model(session: Session, loop_id: int) -> Reliability | None:
    """Everybody, and each person with enough votes, the least reliable first; None where a model cannot be fitted.

    Of the newest judgements of which the base model has read both responses; a tie is no vote here.
    """
    base = reading.base_id(session)
    rows = [] if base is None else _judgements(session, loop_id)
    if base is None or len(rows) < ENOUGH:
        return None
    vectors = features.read(session, sorted({each for row in rows for each in row[-1]}), base)
    place = {candidate: number for number, candidate in enumerate(vectors)}
    found = [
        (place[vote.one], place[vote.other], vote.score, prompt, who)
        for prompt, who, outcome, ranking, strengths, shown in rows
        for vote in votes(outcome, ranking, strengths, shown)
        if vote.score != 0.5 and vote.one in place and vote.other in place
    ]
    if len(found) < ENOUGH or len({row[3] for row in found}) < head.FOLDS:
        return None
    one, other, score, prompts, people = zip(*found, strict=True)
    judged = head.Judged(np.array(one), np.array(other), np.array(score, dtype=float), np.array(prompts))
    margins = head.crossed(reading.as_rows(list(vectors.values())), judged)
    right = np.where(margins == 0, 0.5, (margins > 0) == (judged.score > 0.5)).astype(float)
    return _by_person(right, prompts, people)


def _by_person(right: head.Floats, prompts: tuple[int, ...], people: tuple[str, ...]) -> Reliability:
    of: dict[str, list[int]] = defaultdict(list)
    for number, person in enumerate(people):
        of[person].append(number)
    everybody = over_prompts(prompts, right.tolist())
    listed = []
    for person, numbers in of.items():
        found = over_prompts([prompts[each] for each in numbers], right[numbers].tolist())
        if len(numbers) >= ENOUGH_OF_ONE and found["low"] is not None:
            below = bool(found["high"] < everybody["value"])
            listed.append(Reliable(name=person, votes=len(numbers), agrees=_rate(found), below=below))
    listed.sort(key=lambda each: (each.agrees.rate, each.name))
    return Reliability(votes=len(people), agrees=_rate(everybody), people=listed[:LISTED])


def _rate(found: dict[str, Any]) -> Rate:
    return Rate(rate=found["value"], low=found["low"], high=found["high"])


def _judgements(session: Session, loop_id: int) -> list[Any]:
    """Prompt, pseudonym, outcome, ranking, strengths and what was shown; the newest."""
    query = (
        select(
            Comparison.prompt_id,
            User.pseudonym,
            Annotation.outcome,
            Annotation.ranking,
            Annotation.strengths,
            Annotation.order_shown,
        )
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .join(Round, Round.id == Batch.round_id)
        .join(User, User.id == Annotation.annotator_id)
        .where(COUNTS, purposes.compares, Round.loop_id == loop_id)
        .order_by(Annotation.id.desc())
        .limit(reading.NEWEST)
    )
    return list(session.execute(query))
