"""A mixed installation seen from every page and from the API: what counts the same thing says the same number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.candidates.models import Candidate
from app.comparisons.models import Comparison, Purpose
from app.judgements.vocabulary import Outcome
from app.preferences import files
from app.preferences import service as preferences
from app.preferences.models import Snapshot
from app.registry.models import Checkpoint
from tests.factories import (
    complete_round,
    current_round,
    make_annotation,
    make_batch,
    make_comparison,
    make_prompt,
    make_user,
    sign_in,
)
from tests.training.conftest import byte_tokenizer
from training.data.rows import prepare
from training.formats.settings import DataConfig

OF_DORA: list[dict[str, Any]] = [
    {"strengths": [3, 4]},
    {"strengths": [1, 1]},
    {"outcome": Outcome.TIE},
    {"strengths": [4, 4]},
]
CONTRADICTED = 3


@pytest.fixture
def bob(session: Session, client: TestClient) -> TestClient:
    """Bob's browser on an installation with two rounds.

    Its annotators agree, find it weaker, tie, contradict each other, edit, find nothing acceptable, meet a known answer
    and a held-out prompt; one of the edits is to be verified.
    """
    alice, dora = make_user(session, name="Alice"), make_user(session, name="Dora")
    first = current_round(session)
    for _ in range(3):
        make_annotation(session, alice, make_comparison(session), strengths=[4])
    complete_round(session, first)
    for number, of_dora in enumerate(OF_DORA):
        batch = make_batch(session, name=f"Shared {number}", annotators_per_prompt=2, candidates_per_prompt=3)
        batch.verify_percent = 100
        comparison = make_comparison(session, prompt=make_prompt(session, batch), texts=["Red.", "Blue.", "Green."])
        first_said = make_annotation(session, dora, comparison, **of_dora)
        turned = first_said.ranking[::-1] if number == CONTRADICTED else None
        make_annotation(session, alice, comparison, strengths=[3, 3], edited_text="Red, of course.", ranking=turned)
    batch = make_batch(session, name="Held out")
    held_out = make_prompt(session, batch, held_out=True)
    make_annotation(session, alice, make_comparison(session, prompt=held_out, texts=["Red.", "Blue."]), strengths=[1])
    make_annotation(session, dora, make_comparison(session), outcome=Outcome.ALL_UNACCEPTABLE)
    known = make_annotation(session, dora, make_comparison(session))
    session.get_one(Comparison, known.comparison_id).purpose = Purpose.GOLD
    session.commit()
    return sign_in(client, make_user(session, Role.ADMIN, "Bob"))


def stats(client: TestClient, path: str) -> dict[str, int]:
    """The numbers of a page by the words that stand over them."""
    found = re.findall(r"<dt>([^<]*)</dt>\s*<dd[^>]*>([\d,]+)</dd>", client.get(path).text)
    return {words: int(number.replace(",", "")) for words, number in found}


def frozen(session: Session, query: str, client: TestClient) -> Snapshot:
    """A snapshot that Bob freezes from the form, built."""
    client.post(f"/snapshots{query}")
    snapshot = session.scalars(select(Snapshot).order_by(Snapshot.id.desc()).limit(1)).one()
    preferences.build_snapshot(session, snapshot)
    session.commit()
    return snapshot


def test_pairs_to_train_on_are_one_number_on_home_on_rounds_in_the_api_and_in_training(
    session: Session, bob: TestClient, tmp_path: Path
) -> None:
    home, rounds, api = stats(bob, "/"), stats(bob, "/rounds"), bob.get("/api/v1/rounds").json()
    folder = files.folder(frozen(session, "", bob))
    data = DataConfig(min_strength=3, max_length=4096)
    found = {
        kind: prepare(folder, data, byte_tokenizer(), max_held_out=99, consumer=kind).counts
        for kind in ("reward", "dpo")
    }
    pairs, held_out = found["reward"]["pairs"], found["reward"]["held_out_pairs"]
    assert (pairs, held_out) == (21, 1)
    assert home["pairs to train on, at most"] == rounds["pairs to train on, at most"] == api["trainable_pairs"] == pairs
    assert home["held-out pairs, at most"] == rounds["held-out pairs, at most"] == api["held_out_pairs"] == held_out
    assert api["policy_pairs"] == found["dpo"]["pairs"]
    assert home["annotations of this round"] == rounds["new annotations"] == api["new_annotations"] == 10


def test_annotations_are_one_number_wherever_they_are_counted(session: Session, bob: TestClient) -> None:
    home, api = stats(bob, "/"), bob.get("/api/v1/rounds").json()
    by_round = {each["number"]: each["annotations"] for each in api["rounds"]}
    snapshot = frozen(session, "", bob)
    assert home["annotations of all rounds"] == sum(by_round.values()) == 13
    assert stats(bob, "/preferences")["annotations"] == stats(bob, f"/snapshots/{snapshot.id}")["annotations"] == 13
    assert home["annotations of this round"] == by_round[2] == stats(bob, "/rounds/2")["Annotations"] == 10
    assert stats(bob, "/preferences?round=2")["annotations"] == 10
    batches = re.findall(r"<progress value=\"(\d+)\" max=\"\d+\" aria-label=\"annotated\">", bob.get("/").text)
    assert sum(map(int, batches)) == 10


@pytest.mark.parametrize("query", ["", "?strength=3", "?strength=4&round=2", "?split=train", "?split=held_out"])
def test_what_the_preferences_page_counts_is_what_a_download_and_a_snapshot_hold(
    session: Session, bob: TestClient, query: str
) -> None:
    for shape in ("canonical", "trl"):
        page = bob.get(f"/preferences{query or '?'}&shape={shape}").text
        rows = len(bob.get(f"/preferences/export{query or '?'}&shape={shape}").text.splitlines())
        assert f"downloads as {rows} row" in page, shape
    snapshot = frozen(session, query, bob)
    held, shown = stats(bob, f"/snapshots/{snapshot.id}"), stats(bob, f"/preferences{query}")
    assert held["annotations"] == shown["annotations"]
    assert held["rows"] == held["rows of training prompts"] + held["rows of held-out prompts"]


def test_nothing_is_frozen_of_what_a_filter_leaves_no_row_of(session: Session, bob: TestClient) -> None:
    refused = bob.post("/snapshots?split=held_out&strength=4")
    assert refused.status_code == 409
    assert "Nothing to freeze" in refused.text


def test_a_persons_items_are_one_number_for_them_and_for_reviewers(session: Session, bob: TestClient) -> None:
    page = bob.get("/review/annotators").text
    for_reviewers = [int(number) for number in re.findall(r'<td class="number">(\d+)</td>', page)]
    assert sum(for_reviewers) == 14, "with the known answer, which nobody may tell from the rest"


def test_a_model_has_not_written_what_a_person_made_of_its_response(session: Session, bob: TestClient) -> None:
    edits = session.scalar(select(func.count()).where(Candidate.edited_from_id.is_not(None)))
    assert edits == len(OF_DORA)
    every = session.scalars(select(Checkpoint)).all()
    written = sum(stats(bob, f"/checkpoints/{checkpoint.id}").get("Responses written", 0) for checkpoint in every)
    assert written == session.scalar(select(func.count()).where(Candidate.edited_from_id.is_(None)))
