"""Answers from scratch in every export, and back in training: one row each, with its origin, in no pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Annotation
from app.board.settled import COUNTED
from app.comparisons.models import Comparison
from app.preferences import files
from app.preferences import service as snapshots
from app.preferences.exporters import Shape
from app.preferences.forms import ExportFilter
from app.quality.measuring import measure
from app.rounds import recent
from app.rounds.readiness import readiness
from tests.factories import current_round, make_annotation, make_comparison, make_user, make_writing, sign_in
from tests.preferences.test_export import as_table, exported
from tests.training.conftest import byte_tokenizer
from training.data.rows import prepare
from training.data.snapshot import read, read_file
from training.formats.settings import DataConfig
from workers.board.reading import read_items

EVERYTHING = ExportFilter()


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


@pytest.fixture
def written(session: Session, alice: User) -> Annotation:
    """Alice's answer, beside a comparison with an edit of hers."""
    make_annotation(session, alice, make_comparison(session, texts=["Red.", "Blue."]), edited_text="Red!")
    return make_annotation(session, alice, make_writing(session, "Why 红?")[0], edited_text="Because.\n")


def of(rows: list[dict[str, Any]], written: Annotation) -> dict[str, Any]:
    return next(row for row in rows if row["annotation_id"] == written.id)


def test_it_is_one_canonical_row_in_every_format(session: Session, alice: User, written: Annotation) -> None:
    row = of(exported(session), written)
    assert (row["id"], row["outcome"], row["edit_source"]) == (f"{written.id}::", "written", "direct")
    assert (row["chosen"], row["rejected"], row["strength"], row["ranking"]) == (None, None, None, [])
    assert row["edited"] == [{"role": "assistant", "content": "Because.\n"}]
    assert row["annotator"] == alice.pseudonym
    assert row["sampling"] == row["position_shown"] == {"chosen": None, "rejected": None}
    assert of(as_table(session), written)["edited"] == row["edited"]
    assert of(as_table(session), written)["chosen"] is None
    assert exported(session, min_strength=1) == exported(session)[:1], "a strength that was never said is not enough"


def test_it_is_no_pair_for_a_trainer_and_a_row_to_fine_tune_on(session: Session, written: Annotation) -> None:
    assert {row["annotation_id"] for row in exported(session, Shape.TRL)}.isdisjoint({written.id})
    rows = exported(session, Shape.SFT)
    assert [(row["source"], row["completion"][0]["content"]) for row in rows] == [
        ("human_edit", "Red!"),
        ("human", "Because.\n"),
    ]
    assert as_table(session, Shape.SFT) == rows


def test_training_reads_both_files_back(session: Session, written: Annotation, tmp_path: Path) -> None:
    for shape, texts in ((Shape.CANONICAL, {"Red!", "Because.\n"}), (Shape.SFT, {"Red!", "Because.\n"})):
        file = tmp_path / f"{shape}.jsonl"
        file.write_bytes(b"\n".join(orjson.dumps(row) for row in exported(session, shape)))
        rows, _ = read_file(file, 0)
        assert {row.edited or row.chosen for row in rows} == texts
        limits = DataConfig(min_strength=1, max_length=4096)
        found = prepare(file, limits, byte_tokenizer(), max_held_out=9, consumer="sft")
        assert found.counts["responses"] == 2, shape


def test_a_snapshot_says_how_many_it_holds(session: Session, client: TestClient, written: Annotation) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    snapshot = snapshots.request_snapshot(session, bob, EVERYTHING)
    snapshots.build_snapshot(session, snapshot)
    session.commit()
    rows, _ = read(files.folder(snapshot), 10)
    assert [row.edited for row in rows if row.outcome == "written"] == ["Because.\n"]
    sign_in(client, bob)
    assert "<dt>answers written from scratch</dt><dd>1</dd>" in client.get(f"/snapshots/{snapshot.id}").text
    assert client.get(f"/api/v1/snapshots/{snapshot.id}").json()["written"] == 1
    page = client.get("/preferences").text
    assert "<dt>answers written from scratch</dt><dd>1</dd>" in page
    assert "Because." in page
    assert "Because." in client.get("/preferences?shape=sft").text


def test_pages_of_rounds_say_how_many_are_written(session: Session, client: TestClient, written: Annotation) -> None:
    make_annotation(session, make_user(session), make_writing(session, held_out=True)[0])
    current = current_round(session)
    assert recent.by_round(session) == {current.number: (3, 2)}
    assert readiness(session, current).written == 1, "the other prompt is held out"
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    assert "<dt>answers to fine-tune on, at most</dt><dd>1</dd>" in client.get("/rounds").text
    assert "<dt>answers to fine-tune on, at most</dt><dd>1</dd>" in client.get("/").text
    assert '<dt>Written from scratch</dt><dd class="number">2</dd>' in client.get(f"/rounds/{current.number}").text
    found = client.get("/api/v1/rounds").json()
    assert (found["written_answers"], found["rounds"][0]["written"]) == (1, 2)


def test_two_answers_agree_about_nothing_and_are_no_votes(session: Session, alice: User) -> None:
    item = make_writing(session, "Why?", wanted=2)[0]
    for user in (alice, make_user(session, name="Dora")):
        make_annotation(session, user, item)
    assert read_items(session, current_round(session).loop_id) == []
    query = select(Annotation.id).join(Comparison, Comparison.id == Annotation.comparison_id)
    assert session.scalars(query.where(COUNTED)).all() == []
    found = measure(session, [alice.id], exact=True)[alice.id]
    assert found.annotations == 1
