"""Prompts with their responses: from the file to a blind item, the rows of an export and the board, without an engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role, User
from app.accounts.service import create_token
from app.batches import importing
from app.board.queries import Wanted, strengths
from app.board.service import claim, finish, request
from app.candidates.models import Candidate
from app.candidates.service import SampledText, claim_prompts, record_candidates
from app.comparisons.models import Comparison, ComparisonCandidate, Drawn, Purpose
from app.comparisons.service import create_comparison
from app.findings.models import Check
from app.kernel.errors import BadInput, Conflict
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts import service
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, BatchState, BatchTask, PairSelection, Prompt, PromptState
from app.registry.externals import left_out_of_training
from app.registry.models import Checkpoint, CheckpointKind, Deployment, External
from app.registry.service import deploy, in_rotation
from app.synthesis.queries import writers
from tests.exporting import exported
from tests.factories import make_annotation, make_batch, make_checkpoint, make_deployment, make_user, sign_in
from tests.prompts.test_upkeep import OBJECT, changed, stored_then


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def two_models(number: int) -> dict[str, Any]:
    return {
        "id": f"q{number}",
        "prompt": f"Name fish number {number}.",
        "responses": [
            {"model": "rival/A 7B", "text": f"Cod {number}", "temperature": 0.5, "rating": 7.5},
            {"model": "rival-b", "text": f"Cow {number}", "finish_reason": "length", "ratings": {"truth": 1}},
        ],
    }


def imported(session: Session, bob: User, content: bytes, name: str = "x.jsonl", **settings: Any) -> Batch:
    upload = service.create_upload(session, bob, name, content)
    batch = importing.confirm(session, bob, upload, BatchSettings(name="Rivals", **settings))
    session.commit()
    return batch


def candidates(session: Session, batch: Batch) -> list[Candidate]:
    query = select(Candidate).join(Prompt).where(Prompt.batch_id == batch.id).order_by(Candidate.id)
    return list(session.scalars(query.options(joinedload(Candidate.checkpoint))))


def items(session: Session, batch: Batch) -> list[Comparison]:
    return list(session.scalars(select(Comparison).where(Comparison.batch_id == batch.id).order_by(Comparison.id)))


def shown(session: Session, item: Comparison) -> list[str]:
    query = select(Candidate.text).join(ComparisonCandidate).where(ComparisonCandidate.comparison_id == item.id)
    return sorted(session.scalars(query))


def states(session: Session, batch: Batch) -> set[PromptState]:
    return set(session.scalars(select(Prompt.state).where(Prompt.batch_id == batch.id)))


def judged(session: Session, batch: Batch, better: str, annotator: User) -> None:
    """Open ``batch``, and let ``annotator`` prefer the responses of one model in every item."""
    batch.state = BatchState.OPEN
    for place, item in enumerate(items(session, batch)):
        item.position = place
    session.commit()
    names = {each.id: each.checkpoint.name for each in candidates(session, batch)}
    for item in items(session, batch):
        rows = select(ComparisonCandidate.candidate_id).where(ComparisonCandidate.comparison_id == item.id)
        ranked = sorted(session.scalars(rows), key=lambda each: names[each] != better)
        make_annotation(session, annotator, item, ranking=[[each] for each in ranked])


def test_two_models_answers_become_a_blind_comparison_with_a_result_on_the_board(session: Session, bob: User) -> None:
    from workers.board.computing import compute

    batch = imported(session, bob, lines(*(two_models(number) for number in range(10))), candidates_per_prompt=2)

    assert claim_prompts(session, 10) == [], "nothing is generated for it"
    assert states(session, batch) == {PromptState.READY}
    assert [len(shown(session, item)) for item in items(session, batch)] == [2] * 10
    assert {item.drawn for item in items(session, batch)} == {Drawn.RANDOM}

    judged(session, batch, "rival/A 7B", make_user(session, Role.ANNOTATOR, "Alice"))
    board = claim(session, request(session, None).id)
    assert board is not None
    finish(session, board, compute(session, board))
    found = strengths(session, bob, board, Wanted())
    assert found is not None
    names = {each.checkpoint_id: each.name for each in found.policies}
    (pair,) = found.pairs
    assert set(names.values()) == {"rival/A 7B", "rival-b"}
    assert (pair.wins if names[pair.one] == "rival/A 7B" else pair.losses) == 10


def test_a_prompt_under_an_earlier_name_keeps_the_responses_of_its_file(session: Session, bob: User) -> None:
    old, _ = stored_then(session, make_batch(session), OBJECT), changed(session)
    batch = imported(session, bob, lines(two_models(1) | {"prompt": old.messages}))
    assert session.scalars(select(Prompt.content_hash).where(Prompt.batch_id == batch.id)).all() == [old.content_hash]
    assert [each.text for each in candidates(session, batch)] == ["Cod 1", "Cow 1"]
    assert len(items(session, batch)) == 1


def test_what_the_file_said_comes_out_again_in_the_export(session: Session, bob: User) -> None:
    batch = imported(session, bob, lines(two_models(1)))
    judged(session, batch, "rival/A 7B", make_user(session, Role.ANNOTATOR, "Alice"))

    content, rows = exported(session, Shape.CANONICAL, Format.JSONL, ExportFilter(batch_ids=(batch.id,)))

    assert rows == 1
    row = json.loads(content)
    assert (row["source_id"], row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("q1", "Cod 1", "Cow 1")
    assert (row["chosen_checkpoint"], row["rejected_checkpoint"]) == ("rival/A 7B", "rival-b")
    assert row["said_of_response"] == {"chosen": {"rating": 7.5}, "rejected": {"ratings": {"truth": 1}}}
    assert row["sampling"]["chosen"] == {"model": "rival/A 7B", "temperature": 0.5}
    assert (row["chosen_finish_reason"], row["rejected_finish_reason"]) == ("stop", "length")


def test_nothing_of_where_they_come_from_reaches_the_annotator(session: Session, bob: User, client: TestClient) -> None:
    batch = imported(session, bob, lines(two_models(1)))
    batch.state = BatchState.OPEN
    session.commit()
    sign_in(client, make_user(session, Role.ANNOTATOR, "Alice"))

    page = client.post("/annotate", data={"batch": batch.id}, follow_redirects=True).text

    assert "Cod 1" in page
    assert "Cow 1" in page
    assert not [word for word in ("rival", "7.5", "truth", "imported", "unnamed", "preference") if word in page]


def test_only_the_admin_sees_where_the_responses_of_a_prompt_come_from(
    session: Session, bob: User, client: TestClient
) -> None:
    batch = imported(session, bob, lines(two_models(1) | {"winner": "the second one"}))
    prompt = session.scalars(select(Prompt.id).where(Prompt.batch_id == batch.id)).one()

    page = client.get(f"/prompts/{prompt}").text
    assert "rival/A 7B" in page
    assert "imported" in page
    assert "rating: 7.5" in page
    assert "the second one" in page

    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    page = client.get(f"/prompts/{prompt}").text
    assert "Cod 1" in page
    assert "rival" not in page
    assert "7.5" not in page
    assert "the second one" not in page, "the metadata may say which is better"
    assert "rival" not in client.get(f"/batches/{batch.id}").text


# ── Whose they are ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_model_of_a_file_is_an_external_one_that_nobody_serves(session: Session, bob: User) -> None:
    imported(session, bob, lines(two_models(1)))

    model = session.scalars(select(Checkpoint).where(Checkpoint.name == "rival-b")).one()
    assert (model.kind, model.is_imported, model.manifest_sha256) == (CheckpointKind.EXTERNAL, True, None)
    assert session.get_one(External, model.id).note == "Imported from x.jsonl"
    assert in_rotation(session) == []
    assert left_out_of_training(session) == ["rival-b", "rival/A 7B"]
    with pytest.raises(Conflict, match="no endpoint serves it"):
        deploy(session, model)


def test_whether_responses_may_be_trained_on_is_a_setting_of_the_import(session: Session, bob: User) -> None:
    imported(session, bob, lines(two_models(1)), may_train=True)
    assert left_out_of_training(session) == []

    upload = service.create_upload(session, bob, "y.jsonl", lines(two_models(2)))
    with pytest.raises(BadInput, match="The answers of rival-b may be trained on, as its page says"):
        importing.confirm(session, bob, upload, BatchSettings(name="Later"))


def test_an_import_that_is_refused_on_its_page_leaves_nothing(session: Session, bob: User, client: TestClient) -> None:
    imported(session, bob, lines(two_models(1)))
    upload = service.create_upload(session, bob, "y.jsonl", lines(two_models(2)))
    session.commit()

    fields = {"name": "Later", "may_train": "true", "unnamed_model": "unnamed"}
    answer = client.post(f"/uploads/{upload.id}/confirm", data=fields)

    assert answer.status_code == 422
    assert "may not be trained on, as its page says, and this import says that they may" in answer.text
    assert [each.name for each in session.scalars(select(Batch))] == ["Rivals"]


def test_the_page_that_follows_an_import_says_that_people_can_judge(
    session: Session, bob: User, client: TestClient
) -> None:
    upload = service.create_upload(session, bob, "y.jsonl", lines(two_models(1)))
    session.commit()

    page = client.post(f"/uploads/{upload.id}/confirm", data={"name": "B"}, follow_redirects=True).text

    assert "Its responses came with it. Open it, and people can judge." in page


def test_the_preview_shows_responses_and_who_wrote_them(session: Session, bob: User, client: TestClient) -> None:
    content = lines(two_models(1), {"prompt": "x", "responses": ["only"]}, {"prompt": ""}, {"messages": []})
    upload = service.create_upload(session, bob, "y.jsonl", content)
    session.commit()

    page = client.get(f"/uploads/{upload.id}").text

    assert "Response, rival/A 7B" in page
    assert "1 prompt has enough to compare" in page
    assert "1 has one text alone" in page
    assert 'name="unnamed_model"' in page
    assert 'name="may_train"' in page
    assert "By reason, for example" in page


def test_the_page_of_a_batch_says_to_its_admin_what_came(session: Session, bob: User, client: TestClient) -> None:
    batch = imported(session, bob, lines(two_models(1)))

    page = client.get(f"/batches/{batch.id}").text

    assert "Responses from the file" in page
    assert "rival/A 7B</a>" in page
    assert "left out" in page


def test_a_later_import_of_the_same_model_joins_it(session: Session, bob: User) -> None:
    first = imported(session, bob, lines(two_models(1)))
    upload = service.create_upload(session, bob, "y.jsonl", lines(two_models(2)))
    second = importing.confirm(session, bob, upload, BatchSettings(name="Later"))

    of_first, of_second = ({each.deployment_id for each in candidates(session, of)} for of in (first, second))
    assert of_first == of_second
    assert len(session.scalars(select(Deployment)).all()) == 2


def test_a_file_that_names_one_of_our_own_checkpoints_writes_nothing_under_its_name(
    session: Session, bob: User
) -> None:
    ours = make_checkpoint(session, "policy-r1-a1b2c3d4")
    record = {"prompt": "x", "responses": [{"text": "a", "model": ours.name}, {"text": "b", "model": "rival"}]}

    batch = imported(session, bob, lines(record))

    names = {each.checkpoint.name for each in candidates(session, batch)}
    assert names == {"policy-r1-a1b2c3d4 (imported)", "rival"}


def test_responses_without_a_model_have_the_stated_name(session: Session, bob: User) -> None:
    batch = imported(session, bob, lines({"prompt": "x", "chosen": "a", "rejected": "b"}))
    other = service.create_upload(session, bob, "y.jsonl", lines({"prompt": "y", "chosen": "a", "rejected": "b"}))
    named = importing.confirm(session, bob, other, BatchSettings(name="Named", unnamed_model="hh-rlhf"))

    assert {each.checkpoint.name for each in candidates(session, batch)} == {"unnamed"}
    assert {each.checkpoint.name for each in candidates(session, named)} == {"hh-rlhf"}


# ── Fewer, more, and the same ────────────────────────────────────────────────────────────────────────────────────────
def test_two_different_responses_are_enough_and_one_waits_for_others(session: Session, bob: User) -> None:
    alone = {"prompt": "alone", "responses": ["only"]}
    batch = imported(session, bob, lines({"prompt": "two", "responses": ["a", "b"]}, alone), candidates_per_prompt=4)

    (item,) = items(session, batch)
    assert shown(session, item) == ["a", "b"]
    (waiting,) = claim_prompts(session, 10)
    assert (waiting.messages[0]["content"], waiting.imported, waiting.wanted) == ("alone", 1, 4)
    assert len(candidates(session, batch)) == 3


def test_what_is_generated_stands_beside_the_response_that_came_alone(session: Session, bob: User) -> None:
    from workers.tasks.generation import _more_to_choose_from

    imported(session, bob, lines({"prompt": "alone", "responses": ["only"]}), candidates_per_prompt=2)
    (claimed,) = claim_prompts(session, 10)
    asked = _more_to_choose_from(session, claimed)
    ours = make_deployment(session)
    sampled = SampledText(ours.checkpoint_id, ours.id, "ours", "stop", 1, 1, {}, "fake-1")

    assert (asked.wanted, asked.selection) == (1, PairSelection.RANDOM)
    assert record_candidates(session, asked, [sampled])
    item = create_comparison(session, session.get_one(Prompt, claimed.prompt_id))
    assert item is not None
    assert shown(session, item) == ["only", "ours"]


def test_a_model_that_nobody_serves_writes_no_prompts(session: Session, bob: User) -> None:
    imported(session, bob, lines(two_models(1)), may_train=True)

    assert writers(session) == []


def test_bad_rows_refuse_the_file_or_are_left_out_and_counted(session: Session, bob: User) -> None:
    """One row in ten is bad, in two ways."""
    bad = [{"prompt": ""}, {"prompt": "x", "chosen": "a"}]
    rows = [two_models(number) if number % 10 else bad[number % 20 == 0] for number in range(200)]
    upload = service.create_upload(session, bob, "x.jsonl", lines(*rows))

    with pytest.raises(BadInput, match="20 lines are refused"):
        importing.confirm(session, bob, upload, BatchSettings(name="B"))
    assert session.scalars(select(Candidate.id)).all() == []
    batch = importing.confirm(session, bob, upload, BatchSettings(name="B", leave_out_refused=True))

    assert len(items(session, batch)) == 180
    assert [each["count"] for each in upload.report["reasons"]] == [10, 10]


def test_no_more_are_shown_than_the_batch_asks_for_and_one_of_each_model_first(session: Session, bob: User) -> None:
    responses = [{"model": model, "text": f"{model}{number}"} for model in "ab" for number in range(3)]
    records = [{"prompt": f"p{number}", "responses": responses} for number in range(8)]

    batch = imported(session, bob, lines(*records), candidates_per_prompt=2)

    pairs = [shown(session, item) for item in items(session, batch)]
    assert all([text[0] for text in pair] == ["a", "b"] for pair in pairs)
    assert len({tuple(pair) for pair in pairs}) > 1, "drawn, and not the first ones of the file"
    assert len(candidates(session, batch)) == 48


@pytest.mark.parametrize(("reference", "state"), [(None, PromptState.PENDING), ("4", PromptState.UNANIMOUS)])
def test_responses_that_all_say_the_same_are_kept_and_are_no_item(
    session: Session, bob: User, reference: str | None, state: PromptState
) -> None:
    record = {"prompt": "2 + 2?", "responses": ["4", " 4 "]} | ({"reference": reference} if reference else {})

    batch = imported(session, bob, lines(record))

    assert states(session, batch) == {state}
    assert items(session, batch) == []
    assert [each.text for each in candidates(session, batch)] in (["4", " 4 "], [" 4 ", "4"])


def test_where_steps_are_labelled_one_response_is_enough(session: Session, bob: User) -> None:
    batch = imported(session, bob, lines({"prompt": "x", "responses": ["2 + 2 = 4"]}), task=BatchTask.STEPS)

    (item,) = items(session, batch)
    assert (item.purpose, shown(session, item)) == (Purpose.STEPS, ["2 + 2 = 4"])
    assert states(session, batch) == {PromptState.READY}


def test_where_people_write_responses_are_refused_and_nothing_is_made(session: Session, bob: User) -> None:
    upload = service.create_upload(session, bob, "x.jsonl", lines(two_models(1)))

    with pytest.raises(BadInput, match="nobody is shown any"):
        importing.confirm(session, bob, upload, BatchSettings(name="B", task=BatchTask.WRITE))
    assert session.scalars(select(Batch)).all() == []


def test_an_import_confirmed_twice_records_its_responses_once(session: Session, bob: User) -> None:
    upload = service.create_upload(session, bob, "x.jsonl", lines(two_models(1)))
    first = importing.confirm(session, bob, upload, BatchSettings(name="B"))

    assert importing.confirm(session, bob, upload, BatchSettings(name="B")).id == first.id
    assert len(candidates(session, first)) == 2


def test_checks_are_ordered_of_responses_that_came_with_a_prompt(session: Session, bob: User) -> None:
    record = {"prompt": "2 + 2?", "responses": ["4", "5"], "reference": "4"}

    batch = imported(session, bob, lines(record))

    checked = set(session.scalars(select(Check.candidate_id).where(Check.batch_id == batch.id)))
    assert checked == {each.id for each in candidates(session, batch)}


# ── By the API ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_api_makes_the_batch_in_one_call_and_says_what_came(
    session: Session, bob: User, client: TestClient
) -> None:
    token = create_token(session, bob, "script", ["admin"])
    session.commit()
    content = lines(two_models(1), {"prompt": ""}, {"prompt": "y", "responses": ["a", "b"]}, {"prompt": ""})

    answer = client.post(
        "/api/v1/batches",
        headers={"authorization": f"Bearer {token}"},
        files={"file": ("x.jsonl", content)},
        data={"settings": json.dumps({"name": "B", "leave_out_refused": True})},
    )

    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["responses"] == {"prompts": 2, "count": 4, "models": {"unnamed": 2, "rival/A 7B": 1, "rival-b": 1}}
    assert made["left_out_by_reason"] == [{"reason": 'has a blank "prompt": write the prompt or remove it', "count": 2}]
    assert made["progress"]["comparisons"] == 2
    assert [each["line"] for each in made["left_out"]] == [2, 4]
