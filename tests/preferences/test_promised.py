"""What the pages promise, what an export holds and what training finds are one number, whoever judged what."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording
from app.annotations.forms import Submission
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import Outcome
from app.kernel.settings import get_settings
from app.loops.models import Round
from app.preferences import freeze, queries
from app.preferences.counts import export_rows, sum_up
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts.models import Prompt
from app.rounds.readiness import readiness
from tests.exporting import exported
from tests.factories import (
    complete_round,
    current_round,
    make_annotation,
    make_assignment,
    make_batch,
    make_comparison,
    make_prompt,
    make_user,
    make_writing,
)
from tests.training.conftest import byte_tokenizer
from training.data.rows import prepare
from training.formats.errors import DataError
from training.formats.prompts import Split
from training.formats.rankings import Consumer
from training.formats.settings import DataConfig

TOKENIZER = byte_tokenizer()
EVERYTHING = ExportFilter()
# few, so that an edit and another response, or those of two batches, often say the same; two say nothing, two have no ASCII
TEXTS = ("Red.", "Blue.", "Green.", "Grey.", " ", "\u200b", "红色", "Ω")


@dataclass(frozen=True)
class Said:
    """A judgement of the responses by their places, as they were sampled."""

    outcome: Outcome
    groups: list[list[int]]
    strengths: list[int]
    edited: str | None


@dataclass(frozen=True)
class Item:
    """A question with its responses, and what each of its annotators said, one thing after the other.

    Who says nothing at last has taken it back. ``written`` is what people answered where they were shown no response.
    """

    question: int
    held_out: bool
    old: bool
    texts: list[str]
    judgements: list[list[Said | None]]
    written: list[str]


@st.composite
def words(draw: st.DrawFn, texts: list[str]) -> Said:
    outcome = draw(st.sampled_from([Outcome.RANKED] * 4 + [Outcome.TIE, Outcome.ALL_UNACCEPTABLE]))
    order = draw(st.permutations(range(len(texts))))
    cuts = sorted(draw(st.sets(st.integers(1, len(texts) - 1), min_size=1)))
    groups = [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    strengths = draw(st.lists(st.integers(1, 4), min_size=len(cuts), max_size=len(cuts)))
    better = [text for text in ("Best!", *TEXTS) if text.strip(" \u200b") and text != texts[groups[0][0]]]
    edited = draw(st.none() | st.sampled_from(better)) if outcome is Outcome.RANKED else None
    return Said(outcome, groups, strengths, edited)


@st.composite
def items(draw: st.DrawFn) -> Item:
    texts = draw(st.lists(st.sampled_from(TEXTS), min_size=2, max_size=4, unique=True))
    word: st.SearchStrategy[Said | None] = words(texts)
    said = st.lists(word, min_size=1, max_size=2) | st.tuples(word, st.none()).map(list)
    question, held_out = draw(st.integers(0, 2)), draw(st.integers(0, 3)) == 0
    judgements = draw(st.lists(said, min_size=0, max_size=3))
    own = st.lists(st.sampled_from(("Best!", "Red.", "Ω")), min_size=0 if judgements else 1, max_size=3)
    return Item(question, held_out, draw(st.booleans()), texts, judgements, draw(own))


@contextmanager
def an_example(connection: Connection) -> Iterator[Session]:
    """A session whose work is gone afterwards: every example begins with an empty database."""
    point = connection.begin_nested()
    try:
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            yield session
    finally:
        point.rollback()


def judge(session: Session, found: list[Item]) -> Round:
    """Have all of it judged, the old items in a round that is complete; the round that collects."""
    people = [make_user(session, name=name) for name in ("Alice", "Dora", "Emil")]
    first = current_round(session)
    for item in found:
        if item.old:
            _judge(session, item, people)
    second = complete_round(session, first)
    for item in found:
        if not item.old:
            _judge(session, item, people)
    return second


def _ask(prompt: Prompt, item: Item) -> None:
    prompt.messages = [{"role": "user", "content": f"Which colour, {item.question} {item.held_out}?"}]
    prompt.content_hash = (b"\0" if item.held_out else b"\xff") + bytes([item.question]) * 31


def _judge(session: Session, item: Item, people: list[User]) -> None:
    if item.written:
        blank = make_writing(session, wanted=len(people))[0]
        _ask(session.get_one(Prompt, blank.prompt_id), item)
        for user, answer in zip(people, item.written, strict=False):
            make_annotation(session, user, blank, edited_text=answer)
    batch = make_batch(session, annotators_per_prompt=len(people), candidates_per_prompt=len(item.texts))
    prompt = make_prompt(session, batch)
    _ask(prompt, item)
    session.commit()
    comparison = make_comparison(session, prompt=prompt, texts=item.texts)
    for user, judgements in zip(people, item.judgements, strict=False):
        held = make_assignment(session, user, comparison)
        places = [POSITIONS[held.order_shown.index(candidate)] for candidate in sorted(held.order_shown)]
        last: int | None = None
        for said in judgements:
            if said is None:
                recording.undo(session, user, held.id)
                continue
            ranked = said.outcome is Outcome.RANKED
            submission = Submission(
                fencing_token=held.fencing_token,
                outcome=said.outcome,
                ranking=[[places[place] for place in group] for group in said.groups] if ranked else [],
                strengths=said.strengths if ranked else [],
                edited_text=said.edited,
                edited_position=places[said.groups[0][0]] if said.edited else None,
                corrects=last,
            )
            last = recording.submit(session, user, held.id, submission, key=secrets.token_hex(16)).id
        session.commit()


def found_by_training(
    session: Session, folder: Path, consumer: Consumer, wanted: ExportFilter
) -> tuple[int, int | None]:
    """The pairs that a run makes of a snapshot, and those it can be measured on; the latter is not said where there are none.

    Fine-tuning makes none: of it the answers that people wrote from scratch.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not freeze.freeze(session, wanted, folder).rows:
        return 0, None
    settings = DataConfig(min_strength=3, max_length=4096)
    try:
        counts = prepare(folder, settings, TOKENIZER, max_held_out=10**6, consumer=consumer).counts
    except DataError as error:
        if not any(each in str(error) for each in ("leaves no pair to train on", "only training.sft can train on")):
            raise
        return 0, None
    return counts["written_answers" if consumer == "sft" else "pairs"], counts["held_out_pairs_available"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(found=st.lists(items(), min_size=1, max_size=4))
def test_rounds_promises_what_training_finds(connection: Connection, tmp_path: Path, found: list[Item]) -> None:
    with an_example(connection) as session:
        current = judge(session, found)
        promised = readiness(session, current)
        pairs, held_out = found_by_training(session, tmp_path / "s", "reward", EVERYTHING)
        assert promised.trainable == pairs
        assert held_out is None or promised.held_out == held_out
        assert promised.policy == found_by_training(session, tmp_path / "s", "dpo", EVERYTHING)[0]
        assert promised.written == found_by_training(session, tmp_path / "s", "sft", EVERYTHING)[0]
        assert promised.annotations == sum_up(queries.tally(session, EVERYTHING, 10)).annotations


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    found=st.lists(items(), min_size=1, max_size=3),
    strength=st.none() | st.integers(1, 4),
    split=st.sampled_from([None, *Split]),
)
def test_preferences_promises_what_a_download_holds(
    connection: Connection, found: list[Item], strength: int | None, split: Split | None
) -> None:
    wanted = ExportFilter(min_strength=strength, split=split)
    with an_example(connection) as session:
        judge(session, found)
        rows = queries.tally(session, wanted, get_settings().held_out_percent)
        for shape in Shape:
            file, written = exported(session, shape, Format.JSONL, wanted)
            assert export_rows(rows, shape, strength) == written, shape
            if shape is Shape.CANONICAL:
                assert sum_up(rows, strength).pairs == file.count(b'"outcome":"ranked"')


@pytest.mark.parametrize(("second", "pairs"), [([[0], [1]], 1), ([[1], [0]], 0)], ids=["agrees", "disagrees"])
def test_a_second_annotator_confirms_a_pair_or_takes_it_away(
    session: Session, tmp_path: Path, second: list[list[int]], pairs: int
) -> None:
    said: list[list[Said | None]] = [[Said(Outcome.RANKED, groups, [4], None)] for groups in ([[0], [1]], second)]
    current = judge(session, [Item(0, held_out=False, old=False, texts=["Red.", "Blue."], judgements=said, written=[])])
    promised = readiness(session, current)
    assert (promised.annotations, promised.trainable, promised.policy) == (2, pairs, pairs)
    assert found_by_training(session, tmp_path / "s", "reward", EVERYTHING)[0] == pairs
