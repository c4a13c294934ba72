"""A share of prompts gets a second annotator: who agrees with whom is known by these."""

from __future__ import annotations

import pytest
from sqlalchemy import func
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.annotations import service as annotating
from app.comparisons import drawing
from app.comparisons.models import Comparison
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, PromptState
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user


def item(session: Session, batch: Batch, *, twice: bool) -> Comparison:
    while True:
        prompt = make_prompt(session, batch, state=PromptState.READY)
        if drawing.asked_twice(prompt.id, batch.overlap_percent or 10) is twice:
            return make_comparison(session, prompt=prompt)


def overlapping(session: Session, annotators: int = 1, percent: int = 10) -> Batch:
    batch = make_batch(session, annotators_per_prompt=annotators)
    batch.overlap_percent = percent
    session.commit()
    return batch


def test_one_in_ten_is_the_default_and_the_lot_is_drawn_by_the_prompt_alone() -> None:
    assert BatchSettings(name="Plain").overlap_percent == 10
    drawn = [drawing.asked_twice(prompt, 10) for prompt in range(5000)]
    assert sum(drawn) / 5000 == pytest.approx(0.1, abs=0.015)
    assert drawn == [drawing.asked_twice(prompt, 10) for prompt in range(5000)]
    assert not any(drawing.asked_twice(prompt, 0) for prompt in range(500))
    assert all(drawing.asked_twice(prompt, 100) for prompt in range(500))


def test_alice_and_anna_both_judge_what_is_asked_twice_and_one_of_them_the_rest(session: Session) -> None:
    alice, anna = make_user(session), make_user(session, name="Anna")
    batch = overlapping(session)
    both, one = item(session, batch, twice=True), item(session, batch, twice=False)
    assert (both.annotators_wanted, both.seats_free) == (2, 2)
    assert (one.annotators_wanted, one.seats_free) == (1, 1)
    make_annotation(session, alice, both)
    make_annotation(session, anna, both)
    make_annotation(session, alice, one)
    assert annotating.next_assignment(session, anna, batch.id) is None


@pytest.mark.parametrize("other", [None, "disabled", Role.REVIEWER])
def test_where_nobody_else_annotates_nothing_waits_for_a_second_judgement(
    session: Session, other: Role | str | None
) -> None:
    make_user(session)
    if other == "disabled":
        make_user(session, name="Anna").disabled_at = func.now()
        session.commit()
    elif isinstance(other, Role):
        make_user(session, other, "Rita")
    assert item(session, overlapping(session), twice=True).annotators_wanted == 1


def test_where_several_are_asked_anyway_nobody_is_added(session: Session) -> None:
    make_user(session)
    make_user(session, name="Anna")
    assert item(session, overlapping(session, annotators=3), twice=True).annotators_wanted == 3


def test_batches_from_before_ask_once(session: Session) -> None:
    make_user(session)
    make_user(session, name="Anna")
    batch = make_batch(session)
    assert batch.overlap_percent == 0
    assert item(session, batch, twice=True).annotators_wanted == 1
