"""Asking the model to revise a response: who may, what is sent, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.annotations import revision_api, revisions, service
from app.annotations.forms import RevisionRequest
from app.candidates.models import LiveGeneration, LiveKind
from app.comparisons.models import Comparison
from app.comparisons.seats import Held
from app.judgements.vocabulary import EditPolicy
from app.kernel.errors import BadInput, Conflict, NotFound, Unavailable
from app.prompts.models import Batch, BatchState, Prompt
from app.registry import service as registry
from app.registry.models import Checkpoint, Deployment, LoadState
from tests.factories import make_assignment, make_checkpoint, make_comparison, make_deployment, make_user
from tests.generating import load_all, promote


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def held(session: Session, alice: User) -> Held:
    make_comparison(session)
    make_deployment(session).load_state = LoadState.LOADED
    found = service.next_assignment(session, alice)
    assert found is not None
    return found


def wanted(**values: Any) -> RevisionRequest:
    given = {"position": "B", "feedback": "Shorter.", "source_text": "Long text.", "request_key": "k1"} | values
    return RevisionRequest.model_validate(given)


def batch_of(session: Session, held: Held) -> Batch:
    return session.get_one(Batch, session.get_one(Comparison, held.comparison_id).batch_id)


def test_the_model_is_sent_the_text_and_the_feedback(session: Session, alice: User, held: Held) -> None:
    revision = revisions.ask(session, alice, held.id, wanted())
    generation = session.get_one(LiveGeneration, revision.generation_id)
    prompt = session.get_one(Prompt, generation.prompt_id)
    assert generation.kind is LiveKind.REVISION
    assert generation.messages[:-2] == prompt.messages
    assert generation.messages[-2] == {"role": "assistant", "content": "Long text."}
    assert "Shorter." in generation.messages[-1]["content"]
    assert (revision.candidate_id, revision.feedback) == (held.order_shown[1], "Shorter.")


def test_the_champion_writes_and_who_was_before_it_while_the_engine_has_it_not(
    session: Session, alice: User, held: Held
) -> None:
    base = session.scalars(select(Checkpoint)).one()
    champion, challenger = make_checkpoint(session, "policy-r1"), make_checkpoint(session, "policy-r2")
    registry.ensure_rotation(session)
    promote(session, champion)
    registry.challenge(session, challenger)

    def writer(key: str) -> int:
        asked = revisions.ask(session, alice, held.id, wanted(request_key=key))
        generation = session.get_one(LiveGeneration, asked.generation_id)
        return session.get_one(Deployment, generation.deployment_id).checkpoint_id

    assert writer("k1") == base.id
    load_all(session)
    assert writer("k2") == champion.id, "not the newest, which has yet to win"


def test_asked_twice_with_one_key_it_is_written_once(session: Session, alice: User, held: Held) -> None:
    first = revisions.ask(session, alice, held.id, wanted())
    assert revisions.ask(session, alice, held.id, wanted()).id == first.id
    assert revisions.ask(session, alice, held.id, wanted(request_key="k2")).id != first.id
    assert revisions.of_assignment(session, held.id)[0].id == first.id


@pytest.mark.parametrize("other", [{"feedback": "Longer."}, {"source_text": "Another."}, {"position": "A"}])
def test_a_key_that_was_used_for_another_request_is_refused(
    session: Session, alice: User, held: Held, other: dict[str, str]
) -> None:
    revisions.ask(session, alice, held.id, wanted())
    with pytest.raises(BadInput, match="used for another request"):
        revisions.ask(session, alice, held.id, wanted(**other))
    assert len(revisions.of_assignment(session, held.id)) == 1


def test_a_key_that_was_used_on_another_item_is_refused(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    make_deployment(session).load_state = LoadState.LOADED
    mine = [make_assignment(session, alice) for _ in range(2)]
    client.headers["authorization"] = f"Bearer {accounts.create_token(session, alice, 'test', ['annotate'])}"
    session.commit()
    body = wanted().model_dump()
    answers = [client.post(f"/api/v1/assignments/{each.id}/revisions", json=body) for each in (*mine, mine[0])]
    assert [each.status_code for each in answers] == [201, 422, 201]
    assert answers[2].json() == answers[0].json()
    bob = make_user(session, name="Bob")
    others = make_assignment(session, bob)
    assert revisions.ask(session, bob, others.id, wanted()).id != answers[0].json()["id"], "a key is a person's own"


@pytest.mark.parametrize("key", ["", "k" * 101, "\0", "half \ud83d"])
def test_a_key_is_one_that_can_be_stored(key: str) -> None:
    with pytest.raises(ValidationError):
        wanted(request_key=key)


def test_an_answer_names_positions_and_no_model(session: Session, alice: User, held: Held) -> None:
    revisions.ask(session, alice, held.id, wanted())
    [shown] = revision_api.list_revisions(session, alice, held.id).revisions
    assert shown.position == "B"
    assert "zebra" not in shown.model_dump_json()


def test_what_cannot_be_revised_is_refused(session: Session, alice: User, held: Held) -> None:
    with pytest.raises(BadInput, match="not in this comparison"):
        revisions.ask(session, alice, held.id, wanted(position="H"))
    with pytest.raises(NotFound):
        revisions.ask(session, make_user(session, name="Bob"), held.id, wanted())
    batch = batch_of(session, held)
    batch.edit_policy = EditPolicy.NONE
    session.flush()
    with pytest.raises(BadInput, match="does not allow edits"):
        revisions.ask(session, alice, held.id, wanted())
    batch.edit_policy, batch.state = EditPolicy.OPTIONAL, BatchState.CLOSED
    session.flush()
    with pytest.raises(Conflict, match="closed"):
        revisions.ask(session, alice, held.id, wanted())


def test_without_a_model_it_says_so(session: Session, alice: User, held: Held) -> None:
    make_deployment(session).load_state = LoadState.PENDING
    session.flush()
    with pytest.raises(Unavailable, match="edit the text yourself"):
        revisions.ask(session, alice, held.id, wanted())
