"""What a judgement can say beyond a ranking, and what becomes of it: corrected, or taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import queries, recording, service
from app.annotations.forms import Submission
from app.annotations.models import STANDING, Annotation, Revision
from app.candidates.models import LiveGeneration, LiveKind, LiveState
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.seats import Held
from app.judgements.vocabulary import EditPolicy, EditSource, Outcome
from app.kernel.errors import AppError, BadInput, Conflict, NotFound
from app.preferences import queries as preferences
from app.preferences.forms import ExportFilter
from app.prompts.models import Batch, BatchState
from app.registry.models import Deployment
from app.upkeep.promises import CHECKS
from tests.factories import make_comparison, make_user

ASKED = [
    {"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]},
    {"name": "safe", "label": "Safe", "scale": ["no", "yes"]},
]


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="alice")


@pytest.fixture
def held(session: Session, alice: User) -> Held:
    """An item of Alice's with two responses."""
    make_comparison(session, 2)
    found = service.next_assignment(session, alice)
    assert found is not None
    return found


def judged(held: Held, **values: Any) -> Submission:
    """A over B, or what is given."""
    given = {"outcome": "ranked", "ranking": [["A"], ["B"]], "strengths": [3]} | values
    return Submission(fencing_token=held.fencing_token, **given)


def stored(session: Session, held: Held) -> Annotation:
    return session.scalars(select(Annotation).where(Annotation.assignment_id == held.id, STANDING)).one()


def batch_of(session: Session, held: Held) -> Batch:
    return session.get_one(Batch, session.get_one(Comparison, held.comparison_id).batch_id)


def findings(session: Session) -> list[Any]:
    return [list(session.execute(text(check.query), {"grace": 60})) for check in CHECKS if "comparison" in check.query]


def test_what_is_said_of_each_response_is_stored_by_candidate(session: Session, alice: User, held: Held) -> None:
    batch_of(session, held).attributes = ASKED
    session.flush()
    first, second = held.order_shown
    said = judged(
        held,
        attributes={"A": {"helpful": 3, "safe": 2}, "B": {"helpful": 1, "safe": 1}},
        flags={"B": ["unsafe", "unsafe", "private_data"]},
        spans=[{"position": "B", "start": 0, "end": 2, "label": "false", "note": "not so"}],
        nothing_to_improve=True,
    )
    recording.submit(session, alice, held.id, said, "k1")
    found = stored(session, held)
    assert found.attributes == {str(first): {"helpful": 3, "safe": 2}, str(second): {"helpful": 1, "safe": 1}}
    assert found.flags == {str(second): ["private_data", "unsafe"]}
    assert found.spans == [{"candidate_id": second, "start": 0, "end": 2, "label": "false", "note": "not so"}]
    assert found.nothing_to_improve
    again = recording.as_draft(session, found)
    assert (again.attributes, again.spans) == (said.attributes, said.spans)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"attributes": {"A": {"helpful": 3, "safe": 1}}}, "attributes"),
        ({"attributes": {name: {"helpful": 3, "safe": 3} for name in "AB"}}, "attributes"),
        ({"attributes": {name: {"helpful": 3, "safe": 1, "funny": 1} for name in "AB"}}, "attributes"),
        ({"attributes": {name: {"helpful": 1, "safe": 1} for name in "ABC"}}, "ranking"),
        ({"flags": {"C": ["unsafe"]}}, "ranking"),
        ({"spans": [{"position": "A", "start": 0, "end": 99_999, "label": "false"}]}, "spans"),
    ],
)
def test_what_the_batch_did_not_ask_for_is_refused(
    session: Session, alice: User, held: Held, given: dict[str, Any], field: str
) -> None:
    batch_of(session, held).attributes = ASKED
    session.flush()
    complete = {"attributes": {name: {"helpful": 1, "safe": 1} for name in "AB"}}
    with pytest.raises(BadInput) as caught:
        recording.submit(session, alice, held.id, judged(held, **(complete | given)), "k1")
    assert caught.value.extra["errors"][0]["loc"] == field
    assert session.scalar(select(Annotation.id)) is None


def test_an_edit_that_is_asked_for_may_be_nothing_to_improve(session: Session, alice: User, held: Held) -> None:
    batch_of(session, held).edit_policy = EditPolicy.REQUIRED
    session.flush()
    with pytest.raises(BadInput, match="Nothing to improve"):
        recording.submit(session, alice, held.id, judged(held), "k1")
    both = judged(held, edited_text="better", nothing_to_improve=True)
    with pytest.raises(BadInput, match="Remove one of the two"):
        recording.submit(session, alice, held.id, both, "k1")
    recording.submit(session, alice, held.id, judged(held, nothing_to_improve=True), "k1")


def revision_of(session: Session, user: User, held: Held, candidate: int, said: str) -> Revision:
    """A finished revision by the model."""
    comparison = session.get_one(Comparison, held.comparison_id)
    generation = LiveGeneration(
        user_id=user.id,
        prompt_id=comparison.prompt_id,
        kind=LiveKind.REVISION,
        request_key=f"r-{said}",
        deployment_id=session.scalars(select(Deployment.id).limit(1)).one(),
        messages=[],
        max_tokens=64,
        state=LiveState.DONE,
        text=said,
    )
    session.add(generation)
    session.flush()
    revision = Revision(
        assignment_id=held.id, candidate_id=candidate, feedback="shorter", source_text="x", generation_id=generation.id
    )
    session.add(revision)
    session.flush()
    return revision


@pytest.mark.parametrize(
    ("edited", "source"), [("As it came.", EditSource.REVISION), ("As it came, changed.", EditSource.ADJUSTED)]
)
def test_an_edit_says_that_the_model_wrote_it(
    session: Session, alice: User, held: Held, edited: str, source: EditSource
) -> None:
    revision = revision_of(session, alice, held, held.order_shown[0], "As it came.")
    recording.submit(session, alice, held.id, judged(held, edited_text=edited, revision_id=revision.id), "k1")
    found = stored(session, held)
    assert (found.edit_source, found.revision_id) == (source, revision.id)


def test_a_revision_of_another_response_is_refused(session: Session, alice: User, held: Held) -> None:
    other = revision_of(session, alice, held, held.order_shown[1], "Of B.")
    with pytest.raises(BadInput, match="another response"):
        recording.submit(session, alice, held.id, judged(held, edited_text="Of B.", revision_id=other.id), "k1")


# ── Corrections ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_correction_supersedes_and_overwrites_nothing(session: Session, alice: User, held: Held) -> None:
    first = recording.submit(session, alice, held.id, judged(held), "k1")
    better = judged(held, ranking=[["B"], ["A"]], corrects=first.id)
    second = recording.submit(session, alice, held.id, better, "k2")
    assert recording.submit(session, alice, held.id, better, "k2") == second
    kept = session.get_one(Annotation, first.id)
    assert (kept.superseded_by_id, kept.ranking) == (second.id, [[each] for each in held.order_shown])
    assert stored(session, held).id == second.id
    assert session.get_one(Comparison, held.comparison_id).annotators_done == 1
    assert [source.annotation_id for source in preferences.sources(session, ExportFilter(), 10)] == [second.id]
    assert not any(findings(session))


def test_a_correction_of_what_was_corrected_meanwhile_is_a_conflict(session: Session, alice: User, held: Held) -> None:
    first = recording.submit(session, alice, held.id, judged(held), "k1")
    recording.submit(
        session, alice, held.id, judged(held, outcome="tie", ranking=[], strengths=[], corrects=first.id), "k2"
    )
    with pytest.raises(Conflict, match="another window"):
        recording.submit(session, alice, held.id, judged(held, corrects=first.id), "k3")


def test_nothing_is_corrected_after_the_batch_is_closed(session: Session, alice: User, held: Held) -> None:
    first = recording.submit(session, alice, held.id, judged(held), "k1")
    batch_of(session, held).state = BatchState.CLOSED
    session.flush()
    with pytest.raises(Conflict, match="closed"):
        recording.submit(session, alice, held.id, judged(held, corrects=first.id), "k2")
    assert queries.access_work(session, alice, held.id, correct=True).corrects is None


def test_a_submitted_item_shows_what_was_said_and_opens_for_correction(
    session: Session, alice: User, held: Held
) -> None:
    first = recording.submit(session, alice, held.id, judged(held, comment="why"), "k1")
    shown = queries.access_work(session, alice, held.id)
    assert (shown.annotation_id, shown.corrects) == (first.id, None)
    assert shown.draft is not None
    assert shown.draft["comment"] == "why"
    assert queries.access_work(session, alice, held.id, correct=True).corrects == first.id


# ── Undo ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_is_taken_back_is_in_work_again_with_everything_filled_in(
    session: Session, alice: User, held: Held
) -> None:
    said = judged(held, edited_text="better", comment="why", flags={"B": ["unsafe"]})
    first = recording.submit(session, alice, held.id, said, "k1")
    again = recording.undo(session, alice, held.id)
    assert recording.undo(session, alice, held.id).fencing_token == again.fencing_token
    session.expire_all()
    assert session.get_one(Annotation, first.id).withdrawn_at is not None
    assert session.get_one(Assignment, held.id).state is AssignmentState.ACTIVE
    assert session.get_one(Comparison, held.comparison_id).annotators_done == 0
    draft = queries.access_work(session, alice, held.id).draft
    assert draft is not None
    assert (draft["edits"], draft["comment"], draft["flags"]) == ({"A": "better"}, "why", {"B": ["unsafe"]})
    assert not list(preferences.sources(session, ExportFilter(), 10))
    assert not any(findings(session))
    second = recording.submit(session, alice, held.id, judged(again), "k2")
    assert stored(session, held).id == second.id
    assert not any(findings(session))


def test_undo_is_for_the_moment_after(
    session: Session, alice: User, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.submit(session, alice, held.id, judged(held), "k1")
    monkeypatch.setattr(recording, "UNDO_SECONDS", -recording.UNDO_PATIENCE - 1)
    with pytest.raises(Conflict, match="too late"):
        recording.undo(session, alice, held.id)
    assert stored(session, held).outcome is Outcome.RANKED


def test_a_correction_is_not_undone(session: Session, alice: User, held: Held) -> None:
    first = recording.submit(session, alice, held.id, judged(held), "k1")
    recording.submit(session, alice, held.id, judged(held, comment="now", corrects=first.id), "k2")
    with pytest.raises(Conflict, match="too late"):
        recording.undo(session, alice, held.id)


def test_only_ones_own_submission_is_taken_back(session: Session, alice: User, held: Held) -> None:
    recording.submit(session, alice, held.id, judged(held), "k1")
    with pytest.raises(NotFound):
        recording.undo(session, make_user(session, name="bob"), held.id)


def test_history_cannot_be_written_anew(session: Session, alice: User, held: Held) -> None:
    recording.submit(session, alice, held.id, judged(held), "k1")
    recording.undo(session, alice, held.id)
    with pytest.raises(Exception, match="append-only"), session.begin_nested():
        session.execute(update(Annotation).values(withdrawn_at=None))


def test_an_item_let_go_has_nothing_to_undo(session: Session, alice: User, held: Held) -> None:
    service.release(session, alice, held.id)
    with pytest.raises(AppError, match="nothing to undo"):
        recording.undo(session, alice, held.id)


def test_a_retry_from_before_an_upgrade_is_the_same_submission(session: Session, held: Held) -> None:
    """What could not be said then is not part of what is compared, so the hash of an old body stays what it was."""
    from app.annotations.forms import request_hash

    assert (
        request_hash(7, judged(held)).hex()
        == request_hash(7, judged(held, attributes={}, flags={}, spans=[], draft_version=3)).hex()
    )
    assert request_hash(7, judged(held)) != request_hash(7, judged(held, flags={"A": ["unsafe"]}))


def test_a_lease_is_by_the_databases_clock(session: Session, alice: User, held: Held) -> None:
    recording.submit(session, alice, held.id, judged(held), "k1")
    again = recording.undo(session, alice, held.id)
    assert again.lease_until - held.lease_until >= timedelta(0)
