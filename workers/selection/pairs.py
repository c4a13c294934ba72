"""Chooses what is shown of prompts whose responses wait for it: a few at a time, by what was said a moment ago.

No more are chosen ahead than a team begins within minutes, because every judgement changes what teaches most. Which of them came
first is not to be seen: their places in the queue are drawn as all others are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from math import comb

import numpy as np
import structlog
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.candidates import features
from app.candidates.models import Candidate
from app.comparisons.models import ChoiceAwaited, Comparison, Drawn, Purpose
from app.comparisons.service import create_comparison, distinct_candidates
from app.prompts.models import Batch, BatchState, PairSelection, Prompt
from app.rounds import pair_selection
from workers.selection import head as heads
from workers.selection import reading
from workers.selection.choosing import Choice, best_and_worst, different_policies, most_doubtful, propensity
from workers.selection.head import Floats, Head

log = structlog.get_logger()

AHEAD = 30
"""Chosen comparisons of a batch that nobody has begun."""
PATIENCE = timedelta(minutes=10)
"""How long a prompt waits for features; then some of its responses are shown, whichever, and nobody waits for an item."""
LOCK = 0x50414952

BY_HEAD: dict[PairSelection, Callable[[Head, Floats, int], Choice]] = {
    PairSelection.BALD: most_doubtful,
    PairSelection.BEST_WORST: best_and_worst,
}


def choose(session: Session) -> int:
    """Choose what is shown of as many prompts as there is room for; how many comparisons were made."""
    if not session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
        return 0  # another worker is at it
    batches = session.scalars(
        select(Batch)
        .where(Batch.id.in_(select(ChoiceAwaited.batch_id)), Batch.state.in_((BatchState.PREPARING, BatchState.OPEN)))
        .order_by(Batch.id)
    ).all()
    made = sum(_choose_in(session, batch) for batch in batches)
    if made:
        log.info("pairs_chosen", comparisons=made)
    return made


def _choose_in(session: Session, batch: Batch) -> int:
    # What waits was sampled before a contest and shows nothing of its challenger: it comes when there is nothing else to judge.
    held_back = pair_selection.gate_is_open(session)
    room = AHEAD - _unstarted(session, batch, *(() if held_back else (Comparison.drawn == Drawn.SELECTED,)))
    if room <= 0 or (held_back and room < AHEAD):
        return 0
    waiting = reading.waiting_prompts(session, batch.id)
    shows = batch.candidates_per_prompt
    if batch.selection is PairSelection.DIFFERENT_POLICIES:
        found = {prompt: _of_policies(session, prompt, shows) for prompt in waiting[:room]}
    else:
        found = _by_head(session, batch.selection, waiting, shows)
    first = sorted(found, key=lambda prompt: -found[prompt][1].worth)[:room]
    late = [prompt for prompt in _late(session, batch) if prompt not in found][: room - len(first)]
    for prompt in late:
        found[prompt] = _drawn(session, prompt, shows)
    for prompt in [*first, *late]:
        candidates, choice = found[prompt]
        shown = [candidates[place] for place in choice.shown]
        probable = 1 / comb(len(candidates), len(shown)) if prompt in late else propensity(len(candidates), len(shown))
        create_comparison(session, session.get_one(Prompt, prompt), shown, probable)
    return len(first) + len(late)


def _by_head(
    session: Session, by: PairSelection, waiting: Sequence[int], k: int
) -> dict[int, tuple[list[int], Choice]]:
    """For each prompt whose responses have features, these and the choice; nothing where there is no head yet."""
    base = reading.base_id(session)
    if by not in BY_HEAD:
        return {}
    said = None if base is None or not waiting else reading.said(session, base)
    if base is None or said is None:
        return {}
    head = heads.fit(said.features, said.judged)
    found = {}
    for prompt in waiting:
        candidates = distinct_candidates(session, prompt)
        vectors = features.read(session, candidates, base)
        if len(vectors) == len(candidates):
            rows = reading.as_rows([vectors[each] for each in candidates])
            found[prompt] = (candidates, BY_HEAD[by](head, rows, min(k, len(candidates))))
    return found


def _of_policies(session: Session, prompt: int, k: int) -> tuple[list[int], Choice]:
    candidates = distinct_candidates(session, prompt)
    rows = session.execute(select(Candidate.id, Candidate.checkpoint_id).where(Candidate.id.in_(candidates)))
    wrote = {candidate: policy for candidate, policy in rows}  # noqa: C416 - a Row is no pair to mypy
    dice = np.random.default_rng()
    return candidates, different_policies([wrote[each] for each in candidates], min(k, len(candidates)), dice)


def _drawn(session: Session, prompt: int, k: int) -> tuple[list[int], Choice]:
    """Some of a prompt's responses, whichever. It is not one of those drawn at random: others were chosen before it."""
    candidates = distinct_candidates(session, prompt)
    drawn = np.random.default_rng().permutation(len(candidates))[:k]
    return candidates, Choice(sorted(int(place) for place in drawn), 0.0)


def _unstarted(session: Session, batch: Batch, *which: ColumnElement[bool]) -> int:
    some = (
        select(Comparison.id)
        .where(
            Comparison.batch_id == batch.id,
            Comparison.seats_free > 0,
            Comparison.seats_free == Comparison.annotators_wanted,
            Comparison.purpose == Purpose.COLLECT,
            *which,
        )
        .limit(AHEAD)
    )
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


def _late(session: Session, batch: Batch) -> list[int]:
    """Prompts that have waited for too long."""
    query = select(ChoiceAwaited.prompt_id).where(
        ChoiceAwaited.batch_id == batch.id, ChoiceAwaited.created_at < func.now() - PATIENCE
    )
    return list(session.scalars(query.order_by(ChoiceAwaited.created_at, ChoiceAwaited.prompt_id)))
