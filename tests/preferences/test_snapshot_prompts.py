"""A snapshot knows every prompt, judged or not, with what its answers can be checked against."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.annotations.models import RetractionScope
from app.kernel.settings import get_settings
from app.lineage import service as lineage
from app.preferences import freeze, prompt_lines
from app.preferences.forms import ExportFilter
from app.prompts.models import Prompt
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user
from training.formats import snapshots
from training.formats.prompts import Split
from workers.training.rejection import questions

SUM = {"kind": "answer", "value": "42"}


def frozen(session: Session, wanted: ExportFilter | None = None) -> Path:
    folder = get_settings().snapshots_dir / "frozen"
    freeze.freeze(session, wanted or ExportFilter(), folder)
    return folder


def prompts_of(folder: Path) -> dict[int, dict[str, Any]]:
    return {row["prompt_id"]: row for row in snapshots.asked(folder)}


@pytest.fixture
def judged(session: Session) -> Prompt:
    """Alice judged two responses to a prompt that has a reference."""
    comparison = make_comparison(session)
    prompt = session.get_one(Prompt, comparison.prompt_id)
    prompt.reference, prompt.capability = "42", "maths"
    make_annotation(session, make_user(session, name="Alice"), comparison)
    return prompt


def test_prompts_that_nobody_judged_are_in_a_snapshot_with_their_tests_and_are_asked(
    session: Session, judged: Prompt
) -> None:
    batch = make_batch(session, name="sums")
    batch.capability = "maths"
    unjudged, kept = make_prompt(session, batch), make_prompt(session, batch, held_out=True)
    unjudged.tests, unjudged.tools = [SUM], [{"type": "function", "function": {"name": "add"}}]
    session.flush()
    folder = frozen(session)
    rows = prompts_of(folder)
    assert [*rows] == [judged.id, unjudged.id, kept.id]
    assert rows[unjudged.id] == {
        "prompt_id": unjudged.id,
        "source_id": unjudged.external_id,
        "prompt_hash": unjudged.content_hash.hex(),
        "prompt": unjudged.messages,
        "tools": unjudged.tools,
        "reference": None,
        "tests": [SUM],
        "capability": "maths",
        "origin": "imported",
        "language": None,
        "language_from": None,
        "verifiers": None,
        "required": [],
        "batch": "sums",
        "round": 1,
        "split": "train",
    }
    assert (rows[judged.id]["reference"], rows[kept.id]["split"]) == ("42", "held_out")
    asked = {question.prompt_id: question.known for question in questions(folder) if not question.tools}
    assert set(asked) == {judged.content_hash.hex()}
    known = asked[judged.content_hash.hex()]
    assert {name: known[name] for name in ("reference", "tests", "capability", "required")} == {
        "reference": "42",
        "tests": None,
        "capability": "maths",
        "required": [],
    }
    [other] = [question for question in questions(folder) if question.tools]
    assert (other.prompt_id, other.known["tests"]) == (unjudged.content_hash.hex(), [SUM])


def test_the_manifest_names_them_and_knows_when_they_changed(session: Session, judged: Prompt) -> None:
    folder = frozen(session)
    manifest = json.loads((folder / "manifest.json").read_text())
    body = (folder / "prompts.jsonl").read_bytes()
    assert (manifest["prompts"], manifest["prompts_sha256"]) == (1, hashlib.sha256(body).hexdigest())
    assert manifest["sha256"] == hashlib.sha256((folder / "preferences.jsonl").read_bytes()).hexdigest()
    assert not snapshots.prompts_changed(folder)
    (folder / "prompts.jsonl").write_bytes(body + b"\n")
    assert snapshots.prompts_changed(folder)


def test_a_snapshot_of_an_earlier_release_asks_what_was_judged(session: Session, judged: Prompt) -> None:
    folder = frozen(session)
    (folder / "prompts.jsonl").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({key: manifest[key] for key in manifest if "prompts" not in key}))
    assert not snapshots.prompts_changed(folder)
    assert [question.prompt_id for question in questions(folder)] == [judged.content_hash.hex()]


def test_they_follow_batches_and_sides_of_the_snapshot_and_no_judgement(session: Session, judged: Prompt) -> None:
    other = make_prompt(session, make_batch(session))
    held_out = make_prompt(session, make_batch(session), held_out=True)
    session.flush()

    def found(**wanted: Any) -> set[int]:
        return {json.loads(line)["prompt_id"] for line in prompt_lines.lines(session, ExportFilter(**wanted))}

    assert found(batch_ids=(judged.batch_id,)) == {judged.id}
    assert found(rounds=(2,)) == set()
    assert found(split=Split.HELD_OUT) == {held_out.id}
    assert found(until=0, settled=True, min_strength=4) == {judged.id, other.id, held_out.id}


def test_a_number_of_thirty_digits_and_a_text_of_any_script_stay_as_they_are(session: Session, judged: Prompt) -> None:
    judged.tests = [{"kind": "answer", "value": 10**29 + 1}, {"kind": "answer", "value": "七\u2028x"}]
    session.flush()
    row = prompts_of(frozen(session))[judged.id]
    assert row["tests"] == judged.tests


def test_retracting_a_judgement_leaves_the_prompts_as_if_it_had_never_been(session: Session) -> None:
    alice, bob = make_user(session, name="Alice"), make_user(session, name="Bob")
    kept, gone = make_comparison(session), make_comparison(session)
    make_annotation(session, alice, kept)
    before = frozen(session)
    never = [(before / name).read_bytes() for name in ("preferences.jsonl", "prompts.jsonl")]
    annotation = make_annotation(session, alice, gone)
    lineage.retract(session, bob, RetractionScope.ANNOTATION, annotation.id, "Alice judged with the sides swapped.")
    after = frozen(session)
    assert [(after / name).read_bytes() for name in ("preferences.jsonl", "prompts.jsonl")] == never


def test_the_room_that_a_snapshot_needs_counts_its_prompts(session: Session, judged: Prompt) -> None:
    before = freeze.estimated_bytes(session, ExportFilter())
    make_prompt(session, make_batch(session), text="word " * 2000)
    assert freeze.estimated_bytes(session, ExportFilter()) > before + 10_000
