"""What a reviewer returned, and what an admin retracted, counts nowhere until it is settled, and everywhere the same."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import recording
from app.annotations.forms import Submission
from app.annotations.models import Annotation, Decision, RetractionScope
from app.comparisons.models import Assignment
from app.judgements.vocabulary import Outcome
from app.kernel.settings import get_settings
from app.lineage import service
from app.preferences import export, queries
from app.preferences.counts import sum_up
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.quality import measuring
from app.quality import service as quality
from app.rounds.readiness import readiness
from tests.factories import current_round, make_annotation, make_batch, make_comparison, make_user, sign_in


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


@pytest.fixture
def said(session: Session, alice: User) -> list[Annotation]:
    """Two judgements of Alice."""
    batch = make_batch(session)
    return [make_annotation(session, alice, make_comparison(session, batch=batch)) for _ in range(2)]


@pytest.fixture
def rita(session: Session) -> User:
    return make_user(session, Role.REVIEWER, "Rita")


def everywhere(session: Session, alice: User) -> dict[str, int]:
    """How many annotations each place counts."""
    session.expire_all()
    progress = export.Progress()
    list(export.stream(session, Shape.CANONICAL, Format.JSONL, ExportFilter(), progress))
    percent = get_settings().held_out_percent
    ready = readiness(session, current_round(session))
    return {
        "export": len(progress.annotation_ids),
        "preferences page": sum_up(queries.tally(session, ExportFilter(), percent)).annotations,
        "training": ready.annotations,
        "new": ready.new_annotations,
        "statistics": measuring.measure(session, [alice.id], exact=True)[alice.id].annotations,
    }


def all_say(session: Session, alice: User, number: int) -> None:
    found = everywhere(session, alice)
    assert found == dict.fromkeys(found, number)


def correct(session: Session, user: User, annotation: Annotation) -> None:
    held = session.get_one(Assignment, annotation.assignment_id)
    wish: dict[str, Any] = {"fencing_token": held.fencing_token, "outcome": Outcome.TIE, "corrects": annotation.id}
    recording.submit(session, user, held.id, Submission(**wish), key=secrets.token_hex(8))


def test_returned_it_is_gone_everywhere_and_corrected_it_is_back(
    session: Session, alice: User, rita: User, said: list[Annotation]
) -> None:
    all_say(session, alice, 2)
    quality.review(session, rita, said[0], Decision.RETURNED, "Read B again.")
    all_say(session, alice, 1)
    correct(session, alice, said[0])
    all_say(session, alice, 2)


def test_accepted_after_all_it_is_back(session: Session, alice: User, rita: User, said: list[Annotation]) -> None:
    quality.review(session, rita, said[0], Decision.RETURNED, "Read B again.")
    quality.review(session, rita, said[0], Decision.ACCEPTED)
    all_say(session, alice, 2)


def test_retracted_it_is_gone_everywhere_and_restored_it_is_back(
    session: Session, alice: User, bob: User, said: list[Annotation]
) -> None:
    made = service.retract(session, bob, RetractionScope.ANNOTATION, said[0].id, "Why not.")
    all_say(session, alice, 1)
    service.restore(session, bob, made)
    all_say(session, alice, 2)


def test_the_preferences_page_says_what_it_leaves_out(
    client: TestClient, session: Session, rita: User, bob: User, said: list[Annotation]
) -> None:
    sign_in(client, bob)
    assert "Left out" not in client.get("/preferences").text
    quality.review(session, rita, said[0], Decision.RETURNED, "Read B again.")
    service.retract(session, bob, RetractionScope.ANNOTATION, said[1].id, "Why not.")
    session.commit()
    page = client.get("/preferences").text
    assert "1 returned annotation, until it is corrected or accepted" in page
    assert "1 retracted annotation." in page


def test_a_retracted_judgement_is_not_reviewed_any_more(
    client: TestClient, session: Session, rita: User, bob: User, said: list[Annotation]
) -> None:
    service.retract(session, bob, RetractionScope.ANNOTATION, said[0].id, "Why not.")
    session.commit()
    sign_in(client, rita)
    page = client.get(f"/review/annotations/{said[0].id}").text
    assert "An admin retracted it" in page
    assert "Return with this note" not in page
    assert client.post(f"/review/annotations/{said[0].id}/accept").status_code == 409
