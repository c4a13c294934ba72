"""A count is made again of what changed only, and is the same as one that is made anew."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy.orm import Session

from app.annotations import recording
from app.annotations.models import Decision, Review
from app.comparisons.models import Purpose
from app.judgements.vocabulary import Outcome
from app.preferences import trainable
from app.preferences.forms import ExportFilter
from app.preferences.trainable import Judged
from app.prompts.models import Prompt
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user
from training.formats.judgements import Judgement
from training.formats.prompts import Split

PERCENT = 10


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was counted yet."""
    monkeypatch.setattr(trainable._Memory, "last", trainable._Known(0, ExportFilter()))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Judgement]:
    """Judgements whose texts were read."""
    found: list[Judgement] = []
    made = trainable._judgement

    def noted(row: object) -> Judgement:
        found.append(made(row))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(trainable, "_judgement", noted)
    return found


def count(session: Session, percent: int = PERCENT) -> Counter[Judged]:
    return trainable.judged(session, percent)


def anew(session: Session, monkeypatch: pytest.MonkeyPatch) -> Counter[Judged]:
    with monkeypatch.context() as forgetful:
        forgetful.setattr(trainable._Memory, "last", trainable._Known(0, ExportFilter()))
        return count(session)


def asked(session: Session, first: int) -> Prompt:
    """A prompt whose hash begins with ``first``."""
    prompt = make_prompt(session, make_batch(session, annotators_per_prompt=2))
    prompt.content_hash = first.to_bytes(2, "big") + bytes(30)
    session.commit()
    return prompt


def test_only_the_part_of_a_new_judgement_is_read_again(session: Session, read: list[Judgement]) -> None:
    alice, dora = make_user(session, name="Alice"), make_user(session, name="Dora")
    comparisons = [make_comparison(session, prompt=asked(session, first)) for first in (16, 32, 48)]
    for comparison in comparisons:
        make_annotation(session, alice, comparison)
    assert count(session).total() == len(read) == 3
    read.clear()
    assert count(session).total() == 3
    assert not read
    make_annotation(session, dora, comparisons[1])
    assert trainable.standing(count(session)) == 4
    assert len(read) == 2, "both judgements of the one prompt"


def test_a_count_of_what_changed_is_the_count_of_everything(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged, judged twice, taken back, returned by a reviewer, and all of it gone: one after the other."""
    alice, dora, rita = (make_user(session, name=name) for name in ("Alice", "Dora", "Rita"))
    comparisons = [make_comparison(session, prompt=asked(session, first)) for first in (16, 17, 300)]
    said = [make_annotation(session, alice, comparison, strengths=[4]) for comparison in comparisons]
    assert count(session) == anew(session, monkeypatch)
    again = make_annotation(session, dora, comparisons[0], outcome=Outcome.TIE)
    assert count(session) == anew(session, monkeypatch)
    before = count(session)
    recording.undo(session, dora, again.assignment_id)
    assert count(session) == anew(session, monkeypatch) != before
    review = Review(annotation_id=said[1].id, reviewer_id=rita.id, verdict=Decision.RETURNED, note="Look again.")
    session.add(review)
    session.commit()
    assert count(session) == anew(session, monkeypatch)
    assert trainable.standing(count(session)) == 2
    assert {each.split for each in count(session)} == {Split.HELD_OUT}
    assert trainable.training_prompts(count(session, percent=0)) == 2
    for comparison in comparisons:
        comparison.purpose = Purpose.GOLD
    session.commit()
    assert not count(session)
