"""Reliability where every item has one judgement: against a model that was fitted on other prompts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.board.models import Board
from app.board.results import Agreement
from app.candidates import features
from app.comparisons.models import ComparisonCandidate
from app.registry import service as registry
from tests.board.conftest import make_item
from tests.factories import make_annotation, make_batch, make_checkpoint, make_deployment, make_user, sign_in
from workers.selection import reading

OF_EACH = 40


@pytest.fixture
def people(session: Session) -> dict[str, User]:
    return {name: make_user(session, Role.ANNOTATOR, name) for name in ("Alice", "Anna", "Dice")}


@pytest.fixture
def judged(session: Session, people: dict[str, User]) -> None:
    """Each judges items of their own: two prefer what has more of the first feature, one throws dice."""
    make_deployment(session, "zebra-base")
    registry.ensure_rotation(session)
    base = reading.base_id(session)
    assert base is not None
    dice = np.random.default_rng(3)
    batch = make_batch(session, name="Once")
    for number in range(OF_EACH * len(people)):
        person = list(people.values())[number % len(people)]
        item = make_item(session, "zebra-base", "okapi", batch=batch)
        query = select(ComparisonCandidate.candidate_id).where(ComparisonCandidate.comparison_id == item.id)
        ids = sorted(session.scalars(query))
        vectors = dice.normal(size=(2, 6))
        features.store(session, base, {key: row.astype("<f2").tobytes() for key, row in zip(ids, vectors, strict=True)})
        first = vectors[0, 0] > vectors[1, 0] if person.name != "Dice" else dice.random() < 0.5
        make_annotation(session, person, item, ranking=[[each] for each in (ids if first else ids[::-1])])
    session.commit()


@pytest.mark.usefixtures("judged")
def test_who_throws_dice_is_found_though_nobody_judged_the_same_item(
    session: Session, people: dict[str, User], compute: Callable[[], Board], client: TestClient
) -> None:
    found = Agreement.model_validate(compute().agreement)
    assert found.overall is not None
    assert found.overall.items == 0, "no item has two judgements"
    assert found.reliability is not None
    assert found.reliability.votes == OF_EACH * len(people)
    assert [each.name for each in found.reliability.people if each.below] == [people["Dice"].pseudonym]
    assert found.reliability.people[0].name == people["Dice"].pseudonym, "the least reliable first"
    alice = next(each for each in found.reliability.people if each.name == people["Alice"].pseudonym)
    assert alice.agrees.low <= alice.agrees.rate <= alice.agrees.high
    assert alice.agrees.rate > 0.8
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    page = client.get("/board/agreement").text
    assert "Agreement with a model" in page
    assert page.count("significantly below everybody") == 1


def test_too_few_votes_say_nothing(session: Session, people: dict[str, User], compute: Callable[[], Board]) -> None:
    item = make_item(session, "zebra-base", "okapi")
    make_annotation(session, people["Alice"], item)
    assert Agreement.model_validate(compute().agreement).reliability is None


def test_what_a_model_doubted_is_no_measure_of_agreement(
    session: Session, people: dict[str, User], compute: Callable[[], Board]
) -> None:
    doubting = make_checkpoint(session, "reward-r1")
    for number in range(12):
        item = make_item(session, "zebra-base", "okapi", wanted=2)
        if number % 2:
            item.doubted_by_id = doubting.id
        for person in list(people.values())[:2]:
            make_annotation(session, person, item)
    found = Agreement.model_validate(compute().agreement)
    assert found.overall is not None
    assert found.overall.items == 6
