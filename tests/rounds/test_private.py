"""Private and unsafe texts in what a round trains on: kept, masked or left out, as the settings choose, and counted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.judgements.vocabulary import Flag
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.preferences import files, trainable, treated
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter, Treatment
from app.preferences.models import Snapshot
from app.preferences.private import search as searching
from app.rounds import recent, service
from app.rounds.readiness import readiness
from tests.exporting import exported
from tests.factories import (
    complete_round,
    current_round,
    make_annotation,
    make_batch,
    make_comparison,
    make_deployment,
    make_prompt,
    make_user,
    sign_in,
)
from tests.rounds.conftest import annotate, build_snapshots
from training.formats.prompts import Split, split_of

Choose = Callable[..., None]
PLANTED = ("jane@example.com", "+49 30 901820")


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Choose]:
    """Sets what becomes of private and unsafe texts in training."""

    def say(private: str = "keep", without: str = "") -> None:
        monkeypatch.setenv("CORRAL_TRAINING_PRIVATE", private)
        monkeypatch.setenv("CORRAL_TRAINING_WITHOUT", without)
        get_settings.cache_clear()

    yield say
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def planted(alice: User, annotated: None) -> int:
    """A judgement with private data beside ten without, really committed."""
    return plant(alice)


def plant(alice: User, flags: dict[str, list[Flag]] | None = None) -> int:
    """A judgement on a training prompt; the prompt and the responses hold an e-mail address and a phone number."""
    texts = (f"Call {PLANTED[1]} now.", f"Ask {PLANTED[0]}.")
    percent = get_settings().held_out_percent
    asked = (f"Question {n}: how do I write to {PLANTED[0]}?" for n in range(100))
    question = next(each for each in asked if split_of(sha256(each.encode()).digest(), percent) is Split.TRAIN)
    with session_scope() as session:
        prompt = make_prompt(session, make_batch(session), question)
        comparison = make_comparison(session, prompt=prompt, texts=texts)
        return make_annotation(session, alice, comparison, strengths=[3], flags=flags).id


def trained(bob: User) -> Snapshot:
    """What a training that Bob starts is frozen to."""
    with session_scope() as session:
        snapshot_id = service.start_training(session, bob)[0].snapshot_id
    build_snapshots()
    with session_scope() as session:
        return session.get_one(Snapshot, snapshot_id)


def said(snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
    """All of its files but the manifest, and that."""
    folder = files.folder(snapshot)
    rest = "".join(file.read_text() for file in sorted(folder.iterdir()) if file.name != "manifest.json")
    return rest, json.loads((folder / "manifest.json").read_text())


def test_as_long_as_nobody_chooses_a_round_trains_on_the_texts_as_they_are(
    bob: User, planted: int, messages: list[tuple[Job, int]]
) -> None:
    snapshot = trained(bob)
    text, manifest = said(snapshot)
    assert all(word in text for word in PLANTED)
    assert "private" not in manifest
    assert "as they were written" in " ".join(treated.of_snapshot(snapshot))


def test_a_masked_round_has_none_of_it_in_any_file_counts_as_the_export_does_and_hashes_alike(
    bob: User, planted: int, choose: Choose, messages: list[tuple[Job, int]]
) -> None:
    choose("mask")
    snapshot = trained(bob)
    text, manifest = said(snapshot)
    assert not [word for word in PLANTED if word in text]
    assert "[EMAIL]" in text
    assert "[PHONE]" in text
    with session_scope() as session:
        part = searching.search(session, Shape.CANONICAL, ExportFilter(), seconds=60)
        assert part.judgements == manifest["private"]["judgements_or_prompts"] == 1
        assert {kind.value: n for kind, n in part.passages.items()} == {
            key: n for key, n in manifest["private"].items() if key != "judgements_or_prompts"
        }
        rows = exported(session, Shape.CANONICAL, Format.JSONL, ExportFilter(private=Treatment.MASK))[0]
        assert rows == (files.folder(snapshot) / "preferences.jsonl").read_bytes()
    words = " ".join(treated.of_snapshot(snapshot))
    assert "masked in 1 judgement and 1 prompt" in words
    assert "e-mail addresses: 2, phone numbers: 1" in words


def test_two_snapshots_of_the_same_judgements_have_the_same_hash(
    bob: User, planted: int, choose: Choose, messages: list[tuple[Job, int]]
) -> None:
    from app.preferences import service as preferences

    choose("mask", "unsafe")
    with session_scope() as session:
        first, second = (preferences.request_snapshot(session, bob, trainable.selection()) for _ in range(2))
    build_snapshots()
    with session_scope() as session:
        found = session.scalars(select(Snapshot).where(Snapshot.id.in_([first.id, second.id]))).all()
        assert len({each.sha256 for each in found}) == 1
        assert len({said(each)[1]["prompts_sha256"] for each in found}) == 1


def test_what_is_left_out_begins_no_training_of_its_own(
    bob: User, alice: User, planted: int, choose: Choose, messages: list[tuple[Job, int]]
) -> None:
    choose("leave_out")
    text, manifest = said(trained(bob))
    assert not [word for word in PLANTED if word in text]
    assert manifest["private"]["judgements_or_prompts"] == manifest["private_in_prompts"]["judgements_or_prompts"] == 1
    with session_scope() as session:
        rows = session.scalars(select(Snapshot)).all()
        assert len(rows) == 1
        held = rows[0]
        assert recent.judged(session, held) == 0
    annotate(alice, 2, held_out=0, first=50)
    with session_scope() as session:
        assert recent.judged(session, session.get_one(Snapshot, held.id)) == 2


def test_what_people_flagged_is_left_out_of_counts_and_snapshot(
    bob: User, alice: User, annotated: None, choose: Choose, messages: list[tuple[Job, int]]
) -> None:
    plant(alice, {"A": [Flag.PRIVATE_DATA]})
    with session_scope() as session:
        before = readiness(session, current_round(session)).trainable
    choose(without="private_data,unsafe")
    with session_scope() as session:
        assert readiness(session, current_round(session)).trainable == before - 1
    snapshot = trained(bob)
    text, manifest = said(snapshot)
    assert not [word for word in PLANTED if word in text]
    assert manifest["flagged"] == {"judgements": 1, "private_data": 1, "unsafe": 0}
    assert "flagged: 1 judgement (Private data: 1, Unsafe: 0)." in " ".join(treated.of_snapshot(snapshot))


def test_another_choice_is_a_reason_to_train_again(
    alice: User, annotated: None, choose: Choose, messages: list[tuple[Job, int]]
) -> None:
    with session_scope() as session:
        complete_round(session, current_round(session))
        assert "no new annotations" in (readiness(session, current_round(session)).blocked or "")
    choose("mask")
    with session_scope() as session:
        assert readiness(session, current_round(session)).blocked is None


def test_the_pages_say_what_is_chosen_and_what_was_done(
    session: Session, client: TestClient, choose: Choose, messages: list[tuple[Job, int]]
) -> None:
    alice, bob = make_user(session, name="Alice"), make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    annotate(alice, 10)
    plant(alice)
    make_deployment(session)
    assert "Nothing looks for private data" in _words(client.get("/rounds").text)
    choose("mask", "unsafe")
    page = _words(client.get("/rounds").text)
    assert "Private data that patterns find is masked" in page
    assert "(unsafe)" in page.lower()
    snapshot = trained(bob)
    for path in ("/rounds/1", f"/snapshots/{snapshot.id}"):
        page = _words(client.get(path).text)
        assert "masked in 1 judgement and 1 prompt" in page, path
        assert "Left out for what people flagged" in page, path
    (files.folder(snapshot) / "manifest.json").unlink()
    assert "not on this machine" in _words(client.get("/rounds/1").text)


def _words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))
