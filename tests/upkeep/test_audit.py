"""The audit finds each broken promise by its row, and nothing where all is well."""

from __future__ import annotations

import json
from itertools import product

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.annotations import verification
from app.comparisons.models import Comparison
from app.findings import service as checking
from app.judgements.vocabulary import Outcome
from app.preferences.export import preview
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts.models import BatchState, Prompt, PromptState
from app.quality import service as quality
from app.upkeep.audit import audit
from tests.exporting import exported
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_candidate,
    make_comparison,
    make_prompt,
    make_user,
)
from tests.findings.checking import checkable, found
from tests.living import asked
from tests.upkeep.auditing import only, spoil


@pytest.fixture
def judged(session: Session) -> Comparison:
    """A comparison that Alice and Rita have judged, of three wanted; Charlie is at work on it."""
    comparison = make_comparison(session, n=3, wanted=3)
    alice, rita, charlie = (make_user(session, name=name) for name in ("Alice", "Rita", "Charlie"))
    make_annotation(session, alice, comparison, edited_text="A better answer than any.")
    make_annotation(session, rita, comparison, outcome=Outcome.TIE)
    make_assignment(session, charlie, comparison)
    return comparison


def test_nothing_is_found_where_all_is_well(session: Session, judged: Comparison) -> None:
    make_prompt(session, make_batch(session, state=BatchState.PREPARING))
    assert audit(session) == []


def test_an_empty_database_is_well(session: Session) -> None:
    assert audit(session) == []


def test_a_seat_that_got_lost(session: Session) -> None:
    comparison = make_comparison(session, wanted=2)
    spoil(session, "UPDATE comparisons SET seats_free = 1 WHERE id = :id", id=comparison.id)
    assert "needs 2" in only(session, f"comparison {comparison.id}", "has 1 free seats").what


def test_a_counter_that_differs_from_its_annotations(session: Session, judged: Comparison) -> None:
    spoil(session, "UPDATE comparisons SET annotators_done = 1 WHERE id = :id", id=judged.id)
    only(session, f"comparison {judged.id}", "counts 1 annotations, but has 2")


def test_more_annotations_than_wanted(session: Session, judged: Comparison) -> None:
    spoil(session, "UPDATE comparisons SET seats_free = 0, annotators_done = 1, annotators_wanted = 1")
    only(session, f"comparison {judged.id}", "needs 1 annotators and has 2")


def test_one_annotator_who_counts_twice(session: Session, judged: Comparison) -> None:
    spoil(session, "UPDATE annotations SET annotator_id = (SELECT min(annotator_id) FROM annotations)")
    assert [p for p in audit(session) if "current annotations of user" in p.what]
    assert [p for p in audit(session) if "which has another comparison" in p.what]


def test_a_candidate_of_another_prompt(session: Session) -> None:
    comparison, other = make_comparison(session), make_comparison(session)
    spoil(
        session,
        "UPDATE comparison_candidates SET candidate_id = (SELECT max(id) FROM candidates WHERE prompt_id = :stranger)"
        " WHERE comparison_id = :id AND candidate_id = (SELECT max(id) FROM candidates WHERE prompt_id = :own)",
        id=comparison.id,
        own=comparison.prompt_id,
        stranger=other.prompt_id,
    )
    only(session, f"comparison {comparison.id}", "shows 2 candidates, 1 of them from another prompt")


@pytest.fixture
def known(session: Session) -> Comparison:
    """An item with a known answer."""
    rita = make_user(session, Role.REVIEWER, "Rita")
    made = quality.make_gold(session, rita, make_annotation(session, make_user(session)), "Plain.")
    session.commit()
    return made


@pytest.fixture
def verified(session: Session) -> Comparison:
    """An edit that somebody else is asked to compare with its original."""
    said = make_annotation(session, make_user(session), edited_text="Better.")
    verification.after(session, said.id, 100)
    session.commit()
    return session.scalars(select(Comparison).where(Comparison.verifies_id == said.id)).one()


def test_known_answers_and_verified_edits_are_well(session: Session, known: Comparison, verified: Comparison) -> None:
    assert audit(session) == []


def test_a_known_answer_that_is_not_shown(session: Session, known: Comparison) -> None:
    other = make_candidate(session, session.get_one(Prompt, known.prompt_id), "Not shown.", sample_index=7)
    spoil(session, "UPDATE gold_answers SET best_candidate_id = :other", other=other.id)
    only(session, f"comparison {known.id}", "none of its responses is a known answer")


def test_a_known_answer_that_is_missing(session: Session, known: Comparison) -> None:
    spoil(session, "DELETE FROM gold_answers")
    only(session, f"comparison {known.id}", "none of its responses is a known answer")


def test_a_verified_edit_without_its_original(session: Session, verified: Comparison) -> None:
    spoil(session, "UPDATE candidates SET edited_from_id = NULL WHERE edited_from_id IS NOT NULL")
    only(session, f"comparison {verified.id}", "does not show its edit")


def test_a_ready_prompt_that_nobody_can_annotate(session: Session) -> None:
    prompt = make_prompt(session, make_batch(session), state=PromptState.READY)
    only(session, f"prompt {prompt.id}", "is ready and has 0 comparisons")
    only(session, f"prompt {prompt.id}", "ready with 0 candidates")


def test_a_withdrawn_prompt_that_people_are_asked_about(session: Session) -> None:
    comparison = make_comparison(session, wanted=2)
    spoil(session, "UPDATE prompts SET state = 'withdrawn' WHERE id = :id", id=comparison.prompt_id)
    only(session, f"prompt {comparison.prompt_id}", "is withdrawn, and 2 people are asked")


def test_a_prompt_that_waits_although_it_has_its_comparison(session: Session) -> None:
    comparison = make_comparison(session)
    spoil(session, "UPDATE prompts SET state = 'pending' WHERE id = :id", id=comparison.prompt_id)
    only(session, f"prompt {comparison.prompt_id}", "is pending and has 1 comparisons")


def test_candidates_that_were_recorded_twice(session: Session) -> None:
    comparison = make_comparison(session)
    prompt = session.get_one(Prompt, comparison.prompt_id)
    make_candidate(session, prompt, "One too many.", sample_index=7)
    only(
        session, f"prompt {prompt.id}", "has 3 candidates, but its batch asks for 2 per claim, and its claim count is 1"
    )


def test_candidates_of_a_try_that_gave_the_same_text_are_no_doubles_also_after_a_retry(session: Session) -> None:
    comparison = make_comparison(session)
    prompt = session.get_one(Prompt, comparison.prompt_id)
    make_candidate(session, prompt, "Of the first try.", sample_index=7)
    spoil(session, "UPDATE prompts SET fencing_token = 2, attempts = 0")
    assert audit(session) == []


def test_a_generation_lease_that_nobody_took_back(session: Session) -> None:
    prompt = make_prompt(session, make_batch(session))
    spoil(session, "UPDATE prompts SET state = 'generating', lease_until = now() - interval '10 seconds'")
    assert audit(session) == []
    spoil(session, "UPDATE prompts SET lease_until = now() - interval '2 minutes'")
    only(session, f"prompt {prompt.id}", "held by a generation worker whose lease ended")


def test_a_text_whose_worker_is_long_gone(session: Session) -> None:
    generation = asked(make_user(session))
    spoil(session, "UPDATE live_generations SET state = 'streaming', lease_until = now() - interval '10 seconds'")
    assert audit(session) == []
    spoil(session, "UPDATE live_generations SET lease_until = now() - interval '2 minutes'")
    only(session, f"live generation {generation.id}", "held by a worker whose lease ended")


def test_a_seat_that_is_held_beyond_its_lease(session: Session) -> None:
    assignment = make_assignment(session, make_user(session))
    spoil(session, "UPDATE assignments SET lease_until = now() - interval '2 minutes'")
    only(session, f"assignment {assignment.id}", "holds a seat although its lease ended")


def test_a_submission_without_its_annotation(session: Session) -> None:
    assignment = make_assignment(session, make_user(session))
    spoil(session, "UPDATE assignments SET state = 'submitted'")
    only(session, f"assignment {assignment.id}", "is submitted and has 0 current annotations")


def test_an_order_shown_that_leaves_a_response_out(session: Session) -> None:
    assignment = make_assignment(session, make_user(session), make_comparison(session, n=3))
    spoil(session, "UPDATE assignments SET order_shown = order_shown[1:2]")
    only(session, f"assignment {assignment.id}", "was shown")


def test_a_ranking_that_does_not_cover_what_was_shown(session: Session) -> None:
    annotation = make_annotation(session, make_user(session), make_comparison(session, n=2))
    spoil(session, "UPDATE annotations SET ranking = jsonb_build_array(ranking -> 0, ranking -> 0)")
    only(session, f"annotation {annotation.id}", "ranks")


def test_an_edit_that_changes_nothing(session: Session) -> None:
    annotation = make_annotation(session, make_user(session), edited_text="Another text.")
    spoil(
        session,
        "UPDATE annotations SET edited_text = (SELECT k.text FROM candidates k WHERE k.id = edited_candidate_id)",
    )
    only(session, f"annotation {annotation.id}", "has an edited text that is the text of candidate")


def test_an_edit_of_a_response_that_was_not_chosen(session: Session) -> None:
    annotation = make_annotation(session, make_user(session), edited_text="Another text.")
    spoil(session, "UPDATE annotations SET edited_candidate_id = (ranking -> 1 ->> 0)::bigint")
    only(session, f"annotation {annotation.id}", "which is not in first place")


def test_no_round_to_collect_for(session: Session) -> None:
    make_batch(session)
    spoil(session, "UPDATE rounds SET state = 'complete'")
    assert any("is one of 0 rounds that collect" in problem.what for problem in audit(session))


LOOSE = [
    {"role": "user", "content": "Weather?", "name": 7},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "w", "arguments": {"city": "Oslo"}}]},
    {"role": "tool", "content": "sunny"},
    {"role": "assistant", "content": "One moment.", "tool_calls": "none"},
    {"role": "user", "content": "So?"},
]


def test_a_prompt_of_before_messages_had_one_form_is_named_and_can_be_exported(session: Session) -> None:
    comparison = make_comparison(session)
    make_annotation(session, make_user(session, name="Alice"), comparison)
    spoil(session, "UPDATE prompts SET messages = :m WHERE id = :id", m=json.dumps(LOOSE), id=comparison.prompt_id)

    only(session, f"prompt {comparison.prompt_id}", "a message 1 that is not in the export format")
    assert not any(problem.row.startswith("annotation") for problem in audit(session))
    # nobody wrote or labelled steps; some tools have no place for calls; KTO takes each response by itself
    rows = dict.fromkeys((Shape.SFT, Shape.STEPWISE, Shape.AXOLOTL, Shape.AXOLOTL_REWARD, Shape.LLAMAFACTORY_ALPACA), 0)
    rows[Shape.KTO] = 2
    for shape, form in product(Shape, Format):
        assert exported(session, shape, form, ExportFilter())[1] == rows.get(shape, 1), (shape, form)
    (row,) = preview(session, Shape.TRL, ExportFilter(), 1)
    assert preview(session, Shape.CANONICAL, ExportFilter(), 1)[0]["prompt"] == row["prompt"]
    call = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": '{"city":"Oslo"}'}}
    assert row["prompt"][0] == {"role": "user", "content": "Weather?", "name": "7"}
    assert row["prompt"][1]["tool_calls"] == [call]
    assert row["prompt"][2]["tool_call_id"] == "call_1"
    assert row["prompt"][3] == {"role": "assistant", "content": "One moment."}


def test_a_row_that_no_column_can_hold_is_named(session: Session) -> None:
    comparison = make_comparison(session)
    annotation = make_annotation(session, make_user(session, name="Alice"), comparison)
    make_annotation(session, make_user(session, name="Rita"), make_comparison(session))
    spoil(
        session,
        "UPDATE annotations SET attributes = :a WHERE id = :id",
        a=json.dumps({"1": {"helpful": 70_000}}),
        id=annotation.id,
    )

    found = [problem for problem in audit(session) if problem.row.startswith("annotation")]
    assert {problem.row for problem in found} == {f"annotation {annotation.id}"}
    assert all("cannot be written as Parquet" in problem.what for problem in found)


def test_what_is_wrong_with_checks_and_findings_is_found(session: Session) -> None:
    first, second = checkable(session), checkable(session)
    while (claim := checking.claim(session)) is not None:
        checking.record(session, claim, "", [found()])
    session.commit()
    assert list(audit(session)) == []
    spoil(session, "UPDATE findings SET candidate_id = candidate_id + 1 WHERE id = (SELECT min(id) FROM findings)")
    only(session, f"finding {session.scalar(text('SELECT min(id) FROM findings'))}", "is of another text")
    done = session.scalar(text("SELECT max(id) FROM checks"))
    spoil(session, "UPDATE checks SET found_token = NULL WHERE id = :id", id=done)
    only(session, f"check {done}", "does not say under which lease")
    spoil(session, "UPDATE checks SET prompt_id = :other WHERE id = :id", id=done, other=first.prompt_id)
    only(session, f"check {done}", f"belongs to prompt {second.prompt_id}")
    spoil(
        session, "UPDATE checks SET state = 'checking', lease_until = now() - interval '1 day' WHERE id = :id", id=done
    )
    only(session, f"check {done}", "is held by a worker")


def test_a_unanimous_prompt_whose_responses_did_not_pass_is_found(session: Session) -> None:
    prompt = make_prompt(session, make_batch(session), state=PromptState.UNANIMOUS)
    only(session, f"prompt {prompt.id}", "is unanimous")
