"""Labels of steps as TRL's stepwise rows: in their own export alone, for whoever counts, and back in training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Annotation, Decision, RetractionScope
from app.lineage import service as lineage
from app.preferences import queries, trainable
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts.models import Prompt
from app.quality import service as quality
from app.rounds.readiness import readiness
from tests.exporting import exported as file_of
from tests.factories import (
    current_round,
    make_annotation,
    make_comparison,
    make_labelling,
    make_labels,
    make_user,
    sign_in,
)
from tests.preferences.test_export import as_table, exported
from training.data import stepwise

SOLUTION = "2 + 2 = 4\n\n4 + 1 = 6\nSo it is 6."


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


@pytest.fixture
def said(session: Session, alice: User) -> Annotation:
    """Alice's labels of a wrong solution, with the right step, beside a comparison of hers."""
    make_annotation(session, alice, make_comparison(session))
    return make_labels(session, alice, make_labelling(session, SOLUTION)[0], 0, -1, right_step="4 + 1 = 5\nSo 5.")


def test_a_row_ends_at_the_wrong_step_and_another_has_the_right_one(session: Session, said: Annotation) -> None:
    wrong, right = exported(session, Shape.STEPWISE)
    assert (wrong["completions"], wrong["labels"]) == (["2 + 2 = 4", "4 + 1 = 6"], [True, False])
    assert (wrong["ratings"], wrong["source"]) == ([0, -1], "human")
    assert (right["completions"], right["labels"]) == (["2 + 2 = 4", "4 + 1 = 5", "So 5."], [True, True, True])
    assert (right["ratings"], right["source"], right["annotation_id"]) == ([0, 1, 1], "human_edit", said.id)
    assert isinstance(wrong["prompt"], str)
    assert as_table(session, Shape.STEPWISE) == [wrong, right]
    assert queries.count_labelled(session, ExportFilter(), 10) == 2


def test_it_is_in_no_other_export_and_no_preference(session: Session, said: Annotation) -> None:
    for shape in (Shape.CANONICAL, Shape.TRL, Shape.SFT):
        assert said.id not in {row["annotation_id"] for row in exported(session, shape)}, shape
    assert [row.annotations for row in queries.tally(session, ExportFilter(), 10)] == [1]
    assert readiness(session, current_round(session)).annotations == 1
    assert sum(trainable.judged(session, 10).values()) == 1


def test_what_was_returned_or_retracted_is_left_out(session: Session, alice: User, said: Annotation) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    quality.review(session, rita, said, Decision.RETURNED, "Look again.")
    session.commit()
    assert exported(session, Shape.STEPWISE) == []
    quality.review(session, rita, said, Decision.ACCEPTED, "")
    session.commit()
    assert len(exported(session, Shape.STEPWISE)) == 2
    lineage.retract(session, make_user(session, Role.ADMIN, "Bob"), RetractionScope.ANNOTATION, said.id, "Careless.")
    session.commit()
    assert exported(session, Shape.STEPWISE) == []


def test_reviewers_download_it_and_annotators_do_not(session: Session, client: TestClient, said: Annotation) -> None:
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    page = client.get("/preferences?shape=stepwise&split=all").text
    assert "This selection downloads as 2 rows." in page
    rows = client.get("/api/v1/preferences/export?shape=stepwise&split=all").text.splitlines()
    assert [json.loads(row)["source"] for row in rows] == ["human", "human_edit"]
    sign_in(client, make_user(session, name="Dora"))
    assert client.get("/api/v1/preferences/export?shape=stepwise").status_code == 403


def test_it_is_what_training_reads_and_datasets_loads(session: Session, said: Annotation, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    split = exported(session, Shape.STEPWISE)[0]["split"]
    for form in (Format.JSONL, Format.PARQUET):
        rows, path = exported(session, Shape.STEPWISE), tmp_path / f"steps.{form.value}"
        path.write_bytes(file_of(session, Shape.STEPWISE, form, ExportFilter())[0])
        kind = "json" if form is Format.JSONL else "parquet"
        found = datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        assert {"prompt", "completions", "labels"} <= set(found.column_names)
        assert found["labels"][:] == [row["labels"] for row in rows]
    solutions = stepwise.read(tmp_path / "steps.jsonl", 10)
    assert [solution.right for solution in solutions] == [(True, False), (True, True, True)]
    assert {solution.held_out for solution in solutions} == {split == "held_out"}
    asked = session.scalars(select(Prompt).order_by(Prompt.id.desc()).limit(1)).one()
    assert solutions[0].prompt[0]["content"] == asked.messages[0]["content"]
