"""From sampled responses to a comparison: who is chosen, when, and what is drawn at random all the same."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import service as annotating
from app.candidates import features
from app.candidates.models import Candidate
from app.comparisons import drawing
from app.comparisons import service as comparing
from app.comparisons.models import ChoiceAwaited, Comparison, ComparisonCandidate, Drawn
from app.prompts.models import Batch, PairSelection, Prompt, PromptState
from app.rounds import pair_selection
from app.rounds.models import ContestKind
from tests.factories import (
    make_annotation,
    make_batch,
    make_candidate,
    make_checkpoint,
    make_comparison,
    make_contest,
    make_deployment,
    make_prompt,
    make_user,
)
from workers.selection import pairs, reading

GOOD = np.array([1.0, 0.0, 0.0])


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


def features_of(session: Session, candidate_ids: Sequence[int], rows: Sequence[Sequence[float]]) -> None:
    base = reading.base_id(session)
    assert base is not None
    vectors = np.asarray(rows, dtype="<f2")
    features.store(session, base, {key: row.tobytes() for key, row in zip(candidate_ids, vectors, strict=True)})
    session.commit()


@pytest.fixture
def judged(session: Session, alice: User, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A few judgements by which what is greater in the first feature is better; the second was never seen to differ."""
    monkeypatch.setattr(pair_selection, "ENOUGH", 12)
    batch = make_batch(session, name="Judged before")
    dice = np.random.default_rng(0)
    for _ in range(12):
        comparison = make_comparison(session, batch=batch)
        ids = list(session.scalars(_shown(comparison)))
        rows = dice.normal(size=(2, 3)) * [1, 0.05, 0.05]
        features_of(session, ids, rows.tolist())
        order = sorted(ids, key=lambda each: -rows[ids.index(each)] @ GOOD)
        make_annotation(session, alice, comparison, ranking=[[each] for each in order])
    return batch


def _shown(comparison: Comparison) -> Select[int]:
    return (
        select(ComparisonCandidate.candidate_id)
        .where(ComparisonCandidate.comparison_id == comparison.id)
        .order_by(ComparisonCandidate.candidate_id)
    )


def wait(
    session: Session,
    by: PairSelection,
    rows: Sequence[Sequence[float]] | None,
    *,
    n: int = 4,
    batch: Batch | None = None,
) -> Prompt:
    """A prompt with responses that have ``rows`` for features, whose choice is awaited."""
    if batch is None:
        batch = make_batch(session)
        batch.selection = by
    prompt = make_prompt(session, batch, state=PromptState.READY)
    made = [make_candidate(session, prompt, f"Response {index} of {n}.") for index in range(len(rows) if rows else n)]
    if rows:
        features_of(session, [each.id for each in made], rows)
    comparing.await_choice(session, prompt)
    session.commit()
    return prompt


def places(session: Session, prompt: Prompt) -> list[int]:
    """Which of a prompt's responses are shown."""
    comparison = session.scalars(select(Comparison).where(Comparison.prompt_id == prompt.id)).one()
    every = list(session.scalars(select(Candidate.id).where(Candidate.prompt_id == prompt.id).order_by(Candidate.id)))
    return [every.index(each) for each in session.scalars(_shown(comparison))]


def test_the_pair_is_shown_that_the_heads_contradict_one_another_about(session: Session, judged: Batch) -> None:
    # the first three differ in what is known, hardly; the last in what nobody has judged
    prompt = wait(session, PairSelection.BALD, [[0, 0, 0], [0.01, 0, 0], [0.02, 0, 0], [0, 40, -40]])
    assert pairs.choose(session) == 1
    assert 3 in places(session, prompt)
    comparison = session.scalars(select(Comparison).where(Comparison.prompt_id == prompt.id)).one()
    assert comparison.drawn is Drawn.SELECTED
    assert comparison.propensity == pytest.approx(0.8 + 0.2 / 6)
    assert comparison.position > 0, "its place in the queue is drawn"
    assert session.scalars(select(ChoiceAwaited)).all() == []


def test_best_against_worst_shows_just_these(session: Session, judged: Batch) -> None:
    prompt = wait(session, PairSelection.BEST_WORST, [[0, 0, 0], [3, 0, 0], [-3, 0, 0], [1, 0, 0]])
    assert pairs.choose(session) == 1
    assert places(session, prompt) == [1, 2]


def test_a_pair_of_different_policies_needs_no_features(session: Session) -> None:
    batch = make_batch(session)
    batch.selection = PairSelection.DIFFERENT_POLICIES
    prompt = make_prompt(session, batch, state=PromptState.READY)
    for index in range(8):
        source = make_deployment(session, "zebra-base" if index < 4 else "okapi-policy")
        make_candidate(session, prompt, f"Response {index}.", deployment=source)
    comparing.await_choice(session, prompt)
    assert pairs.choose(session) == 1
    one, other = places(session, prompt)
    assert one < 4 <= other


def test_where_texts_are_the_same_they_are_one(session: Session, judged: Batch) -> None:
    batch = make_batch(session, candidates_per_prompt=2)
    batch.selection = PairSelection.BALD
    prompt = make_prompt(session, batch, state=PromptState.READY)
    made = [make_candidate(session, prompt, text) for text in ("Yes.", "Yes. ", "No.")]
    features_of(session, [each.id for each in made], [[0, 0, 0], [0, 30, 30], [0, 1, 0]])
    comparing.await_choice(session, prompt)
    assert pairs.choose(session) == 1
    assert places(session, prompt) == [0, 2]


def test_what_was_said_a_moment_ago_is_heard(session: Session, judged: Batch, alice: User) -> None:
    """No more are chosen ahead than a team begins soon; the next ones are chosen by what it said meanwhile."""
    batch = make_batch(session)
    batch.selection = PairSelection.BEST_WORST
    for _ in range(pairs.AHEAD + 2):
        wait(session, batch.selection, [[0, 0, 0], [1, 0, 0], [0, 0, 0.5]], batch=batch)
    assert pairs.choose(session) == pairs.AHEAD
    assert pairs.choose(session) == 0
    session.commit()
    held = annotating.next_assignment(session, alice, batch.id)
    assert held is not None
    assert pairs.choose(session) == 1


def test_without_features_it_waits_a_while_and_then_nobody_waits_for_an_item(session: Session, judged: Batch) -> None:
    prompt = wait(session, PairSelection.BALD, None)
    assert pairs.choose(session) == 0
    session.execute(update(ChoiceAwaited).values(created_at=func.now() - pairs.PATIENCE - timedelta(seconds=1)))
    assert pairs.choose(session) == 1
    comparison = session.scalars(select(Comparison).where(Comparison.prompt_id == prompt.id)).one()
    # others of this batch were chosen before it, so it is not one of those that are drawn at random
    assert comparison.drawn is Drawn.SELECTED
    assert comparison.propensity == pytest.approx(1 / 6)


def test_paused_batches_are_left_alone(session: Session, judged: Batch) -> None:
    prompt = wait(session, PairSelection.BALD, [[0, 0, 0], [1, 0, 0]])
    session.get_one(Batch, prompt.batch_id).state = type(judged.state).PAUSED
    session.commit()
    assert pairs.choose(session) == 0


def test_during_a_contest_what_waits_comes_only_when_there_is_nothing_else(session: Session, judged: Batch) -> None:
    rows = [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    prompt = wait(session, PairSelection.BALD, rows)
    batch = session.get_one(Batch, prompt.batch_id)
    there = make_comparison(session, batch=batch)
    make_contest(session, make_checkpoint(session, "okapi"), make_checkpoint(session, "zebra"))
    session.commit()
    assert pairs.choose(session) == 0
    there.seats_free = 0
    session.commit()
    assert pairs.choose(session) == 1


def training_prompt(session: Session, batch: Batch, *, chosen: bool) -> Prompt:
    while True:
        prompt = make_prompt(session, batch)
        if drawing.always_at_random(prompt.id, prompt.content_hash) is not chosen:
            return prompt


def test_a_fifth_of_the_training_prompts_and_all_held_out_ones_are_drawn_at_random() -> None:
    train = [b"\xff" + hashlib.sha256(bytes([n % 256, n // 256])).digest()[1:] for n in range(4000)]
    part = np.mean([drawing.always_at_random(number, each) for number, each in enumerate(train)])
    assert part == pytest.approx(drawing.AT_RANDOM, abs=0.02)
    assert all(drawing.always_at_random(number, b"\0" + secrets.token_bytes(31)) for number in range(50))


@pytest.mark.parametrize("by", [PairSelection.BALD, PairSelection.BEST_WORST, PairSelection.DIFFERENT_POLICIES])
def test_while_a_gate_is_open_everything_is_drawn_at_random(session: Session, judged: Batch, by: PairSelection) -> None:
    prompt = training_prompt(session, judged, chosen=True)
    assert pair_selection.selection(session, by, prompt.id, prompt.content_hash) is by
    okapi, zebra = make_checkpoint(session, "okapi"), make_checkpoint(session, "zebra")
    make_contest(session, okapi, zebra, kind=ContestKind.WATCH)
    assert pair_selection.selection(session, by, prompt.id, prompt.content_hash) is by, "the watch is no hindrance"
    make_contest(session, okapi, zebra)
    assert pair_selection.selection(session, by, prompt.id, prompt.content_hash) is PairSelection.RANDOM


def test_held_out_prompts_are_never_chosen(session: Session, judged: Batch) -> None:
    prompt = make_prompt(session, judged, held_out=True)
    found = pair_selection.selection(session, PairSelection.BALD, prompt.id, prompt.content_hash)
    assert found is PairSelection.RANDOM


def test_without_judgements_or_their_features_all_count(
    session: Session, judged: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = training_prompt(session, judged, chosen=True)
    monkeypatch.setattr(pair_selection, "ENOUGH", 13)
    assert pair_selection.selection(session, PairSelection.BALD, prompt.id, prompt.content_hash) is PairSelection.RANDOM
    make_annotation(session, make_user(session), make_comparison(session, batch=judged))  # of this one nothing is known
    assert pair_selection.selection(session, PairSelection.BALD, prompt.id, prompt.content_hash) is PairSelection.RANDOM
    monkeypatch.setattr(pair_selection, "ENOUGH", 12)
    judged.selection = PairSelection.BALD
    session.commit()
    assert pair_selection.features_are_wanted(session)
