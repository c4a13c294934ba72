"""Public files of preferences come in whole or counted by reason, and go out equal; skipped by name where they are missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role
from app.batches import importing
from app.candidates.models import Candidate
from app.comparisons.models import Comparison
from app.kernel.settings import ROOT
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts import service
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, BatchState, Prompt
from app.prompts.parsing import Refusal, parse
from app.prompts.records import ParsedPrompt
from tests.exporting import exported
from tests.factories import current_round, make_annotation, make_user
from tests.prompts.reading import LIMITS

DATA = ROOT.parent / "shared" / "data"
HH = "preferences/hh_helpful_rejection_sampled.jsonl.gz"
LLAMA = "preferences/llamafactory_dpo_en_demo.json"
LLMBAR = "preferences/llmbar_natural.json"
OASST = "preferences/oasst_en_100_trees.jsonl"
PANDALM = "agreement/pandalm_first_200.json"
JUDGED = 12


def public(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"the public file {path.name} is not beside the checkout")
    return path


def parsed(name: str) -> tuple[list[ParsedPrompt], Counter[str]]:
    path = public(name)
    prompts, refused = [], Counter[str]()
    for each in parse(path.name, path.read_bytes(), LIMITS)[1]:
        if isinstance(each, Refusal):
            refused[" ".join(each.reason.split()[:6])] += 1
        else:
            prompts.append(each)
    return prompts, refused


def pairs(prompt: ParsedPrompt) -> Iterator[tuple[str, str]]:
    """What the file prefers to what, row by row."""
    marked = [each for each in prompt.responses if each.said.get("preference") in ("chosen", "rejected")]
    for one, other in zip(marked[::2], marked[1::2], strict=True):
        chosen, rejected = sorted((one, other), key=lambda each: each.said["preference"])
        yield chosen.text, rejected.text


def test_every_transcript_of_hh_is_a_pair_or_counted_by_its_reason() -> None:
    prompts, refused = parsed(HH)

    assert len(prompts) == 2713
    assert sum(len(list(pairs(each))) for each in prompts) == 2714
    assert refused == {'has the same text as "chosen"': 32, 'has a "chosen" and a "rejected"': 3}


def test_every_pair_of_llama_factory_comes_in_as_it_was() -> None:
    rows = json.loads(public(LLAMA).read_bytes())
    prompts, refused = parsed(LLAMA)

    assert refused == {"has the same content as item": 5}, "five rows are there twice"
    found = {(each.messages[-1]["content"], *pair) for each in prompts for pair in pairs(each)}
    assert found == {
        (row["conversations"][-1]["value"], row["chosen"]["value"], row["rejected"]["value"]) for row in rows
    }


def test_every_row_of_llmbar_comes_in_as_it_was() -> None:
    rows = json.loads(public(LLMBAR).read_bytes())
    prompts, refused = parsed(LLMBAR)

    assert not refused
    better = {row["input"]: row[f"output_{row['label']}"] for row in rows}
    assert {each.messages[0]["content"]: chosen for each in prompts for chosen, _ in pairs(each)} == better


def test_every_turn_of_the_trees_with_several_answers_comes_in_with_their_ranks() -> None:
    ranks: dict[str, list[Any]] = {}

    def walk(node: dict[str, Any]) -> None:
        replies = [each for each in node["replies"] if not each["deleted"]]
        if node["role"] == "prompter" and len({each["text"].strip() for each in replies}) > 1:
            ranks[node["message_id"]] = [(each["message_id"], each.get("rank")) for each in replies]
        for each in replies:
            walk(each)

    for line in public(OASST).read_text(encoding="utf-8").splitlines():
        walk(json.loads(line)["prompt"])
    prompts, refused = parsed(OASST)

    assert not refused
    found = {
        each.external_id: [(one.said["message_id"], one.said.get("rank")) for one in each.responses] for each in prompts
    }
    assert found == ranks
    assert len(ranks) > 100


def test_the_three_judgements_of_pandalm_are_kept_with_their_models() -> None:
    rows = [row for row in json.loads(public(PANDALM).read_bytes()) if _usable(row)]
    prompts, refused = parsed(PANDALM)

    assert refused.total() == 200 - len(rows)
    kept = {said["idx"]: said["annotator1"] for each in prompts for said in each.metadata["judgements"]}
    assert kept == {row["idx"]: row["annotator1"] for row in rows}
    texts = {(one.model, one.text) for each in prompts for one in each.responses}
    assert texts == {
        (model, row[f"response{at}"]) for row in rows for at, model in enumerate(row["cmp_key"].split("_"), 1)
    }


def _usable(row: dict[str, Any]) -> bool:
    return all(isinstance(row[key], str) and row[key].strip() for key in ("response1", "response2"))


@pytest.mark.parametrize("name", [HH, LLAMA, LLMBAR, OASST, PANDALM], ids=lambda name: Path(name).name)
def test_a_public_file_goes_out_as_it_came_in(session: Session, name: str) -> None:
    """All of it is stored; a dozen prompts are judged, and the rows of the export say what the file said."""
    path = public(name)
    prompts, _ = parsed(name)
    current_round(session)
    bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session, Role.ANNOTATOR, "Alice")
    upload = service.create_upload(session, bob, path.name, path.read_bytes())
    batch = importing.confirm(
        session, bob, upload, BatchSettings(name="Public", candidates_per_prompt=2, leave_out_refused=True)
    )
    batch.state = BatchState.OPEN
    _in_order(session, batch)
    stored = session.scalars(
        select(Candidate).join(Prompt).where(Prompt.batch_id == batch.id).options(joinedload(Candidate.checkpoint))
    )
    came = Counter(
        (each.model or "unnamed", each.text, json.dumps(each.said, sort_keys=True))
        for of in prompts
        for each in of.responses
    )
    assert (
        Counter((each.checkpoint.name, each.text, json.dumps(each.extra or {}, sort_keys=True)) for each in stored)
        == came
    )

    for item in session.scalars(
        select(Comparison).where(Comparison.batch_id == batch.id).order_by(Comparison.position).limit(JUDGED)
    ):
        make_annotation(session, alice, item)
    content, rows = exported(session, Shape.CANONICAL, Format.JSONL, ExportFilter(batch_ids=(batch.id,)))

    assert rows == JUDGED
    by_id = {each.external_id: each for each in prompts}
    for row in map(json.loads, content.splitlines()):
        of = by_id[row["source_id"]]
        assert row["prompt"] == of.messages
        assert (row["metadata"] or {}) == of.metadata
        known = [(each.text, each.model or "unnamed", each.said or None) for each in of.responses]
        for side in ("chosen", "rejected"):
            assert (row[side][0]["content"], row[f"{side}_checkpoint"], row["said_of_response"][side]) in known


def _in_order(session: Session, batch: Batch) -> None:
    """Give items out in the order of their prompts."""
    session.execute(update(Comparison).where(Comparison.batch_id == batch.id).values(position=Comparison.id))
    session.commit()
