"""What is told, once; what is not taken, again, until it is given up; and by whom that can be seen and changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.comparisons.models import Comparison
from app.kernel.db import session_scope
from app.kernel.errors import Conflict
from app.kernel.settings import get_settings
from app.loops.models import Verdict
from app.prompts.models import Batch, BatchKind, BatchState
from app.webhooks import occasions, service
from app.webhooks.forms import WORDS, WebhookIn
from app.webhooks.models import Delivery, DeliveryState, Occasion, Webhook
from tests.factories import complete_round, current_round, make_annotation, make_comparison, make_user, sign_in
from tests.webhooks.receiving import Receiver, receiving
from workers.tasks.webhooks import deliver


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def api(client: TestClient, bob: User) -> TestClient:
    return sign_in(client, bob)


def listens(session: Session, bob: User, *wanted: str) -> Webhook:
    """A webhook that was there before what the test does: time stands still in a transaction."""
    made, _ = service.add(session, bob, WebhookIn(url="https://example.org/hook", occasions=list(wanted or WORDS)))  # type: ignore[arg-type]
    made.created_at = func.now() - timedelta(minutes=1)
    session.flush()
    return made


def told(session: Session) -> list[tuple[str, int, dict[str, Any]]]:
    query = select(Delivery.occasion, Delivery.subject_id, Delivery.data).order_by(Delivery.id)
    return [(occasion.value, subject, data) for occasion, subject, data in session.execute(query)]


# ── Occasions ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_batch_is_done_once_everything_in_it_is(session: Session, bob: User) -> None:
    hook = listens(session, bob, "batch.done")
    alice = make_user(session)
    first = make_comparison(session)
    batch = first.batch_id
    make_annotation(session, alice, first)
    second = make_comparison(session)
    session.get_one(Comparison, second.id).batch_id = batch
    session.flush()
    occasions.find(session)
    assert told(session) == [], "the second is not judged"
    make_annotation(session, alice, second)
    assert [occasions.find(session) for _ in range(3)] == [1, 0, 0]
    ((occasion, subject, data),) = told(session)
    assert (occasion, subject, data["batch_id"], data["path"]) == ("batch.done", batch, batch, f"/batches/{batch}")
    assert session.scalars(select(Delivery)).one().webhook_id == hook.id


def test_dialogues_are_done_when_their_batch_is_closed_and_not_between_two_turns(session: Session, bob: User) -> None:
    listens(session, bob, "batch.done")
    first = make_comparison(session)
    make_annotation(session, make_user(session), first)
    batch = session.get_one(Batch, first.batch_id)
    batch.kind = BatchKind.DIALOGUE
    session.flush()
    assert occasions.find(session) == 0
    batch.state = BatchState.CLOSED
    session.flush()
    assert occasions.find(session) == 1


def test_a_verdict_and_a_snapshot_are_told_to_those_who_asked(session: Session, bob: User) -> None:
    both, one = listens(session, bob, "round.verdict", "export.ready"), listens(session, bob, "export.ready")
    ended = current_round(session)
    complete_round(session, ended, verdict=Verdict.REFUSED, verdict_reason="It was worse.", completed_at=func.now())
    assert occasions.find(session) == 3, "what the round was trained on is a snapshot"
    by_hook = session.execute(select(Delivery.webhook_id, Delivery.occasion)).all()
    assert sorted((hook, occasion.value) for hook, occasion in by_hook) == sorted(
        [(both.id, "export.ready"), (both.id, "round.verdict"), (one.id, "export.ready")]
    )
    verdict = next(data for occasion, _, data in told(session) if occasion == "round.verdict")
    assert (verdict["verdict"], verdict["reason"]) == ("refused", "It was worse.")


def test_what_was_before_a_webhook_is_not_told_to_it(session: Session, bob: User) -> None:
    make_annotation(session, make_user(session), make_comparison(session))
    late, _ = service.add(session, bob, WebhookIn(url="https://example.org/", occasions=["batch.done"]))
    late.created_at = func.now() + timedelta(minutes=1)
    session.flush()
    assert occasions.find(session) == 0


# ── The ledger ───────────────────────────────────────────────────────────────────────────────────────────────────────
def tries(session: Session, delivery: Delivery, *errors: str | None) -> None:
    for error in errors:
        session.execute(update(Delivery).values(next_try_at=func.now()).where(Delivery.id == delivery.id))
        (due,) = service.claim(session, 5)
        service.record(session, due, error)
    session.refresh(delivery)


def test_what_is_not_taken_is_tried_at_growing_intervals_and_then_given_up(session: Session, bob: User) -> None:
    delivery = service.test(session, bob, listens(session, bob))
    tries(session, delivery, "It answers 500.")
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.PENDING, 1, "It answers 500.")
    waits = session.scalar(select(func.extract("epoch", Delivery.next_try_at - func.now())))
    assert waits == service.PAUSES[0]
    assert service.claim(session, 5) == [], "it is not due yet"
    tries(session, delivery, *["It answers 500."] * len(service.PAUSES))
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, len(service.PAUSES) + 1)
    service.again(session, bob, delivery)
    tries(session, delivery, None)
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.DELIVERED, 1, None)
    assert delivery.delivered_at is not None
    with pytest.raises(Conflict):
        service.again(session, bob, delivery)


def test_a_try_that_comes_back_late_changes_nothing(session: Session, bob: User) -> None:
    delivery = service.test(session, bob, listens(session, bob))
    (slow,) = service.claim(session, 5)
    session.execute(update(Delivery).values(next_try_at=func.now()))
    (other,) = service.claim(session, 5)
    assert other.attempt == slow.attempt + 1
    service.record(session, other, None)
    service.record(session, slow, "It did not answer.")
    session.refresh(delivery)
    assert (delivery.state, delivery.last_error) == (DeliveryState.DELIVERED, None)


# ── End to end ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("CORRAL_WEBHOOK_HOSTS", "127.0.0.1")
    get_settings.cache_clear()
    with receiving() as found:
        yield found


def test_a_worker_delivers_what_is_signed_and_tries_again_what_failed(committed: Engine, receiver: Receiver) -> None:
    with session_scope() as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        hook, secret = service.add(session, bob, WebhookIn(url=receiver.url, occasions=["round.verdict"]))
        gone, _ = service.add(session, bob, WebhookIn(url="http://127.0.0.1:1/", occasions=["round.verdict"]))
        delivery, lost = (service.test(session, bob, each).id for each in (hook, gone))
    receiver.status = 500
    assert deliver() == 0
    with session_scope() as session:
        assert session.get_one(Delivery, delivery).last_error == "It answers 500."
        assert "The connection failed" in str(session.get_one(Delivery, lost).last_error)
        session.execute(update(Delivery).values(next_try_at=func.now()))
    receiver.status = 200
    assert deliver() == 1
    (first, _), (again, body) = receiver.arrived
    assert first["webhook-id"] == again["webhook-id"] == f"msg_{delivery}"
    said = json.loads(body)
    assert (said["type"], said["data"]) == ("test", {"webhook_id": hook.id})
    signed = f"{again['webhook-id']}.{again['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert again["webhook-signature"] == f"v1,{mac}"
    with session_scope() as session:
        states = {each.id: each.state for each in session.scalars(select(Delivery))}
    assert states == {delivery: DeliveryState.DELIVERED, lost: DeliveryState.PENDING}
    assert deliver() == 0, "nothing is due"


def test_a_webhook_that_is_deleted_meanwhile_is_told_nothing(committed: Engine, receiver: Receiver) -> None:
    with session_scope() as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        hook, _ = service.add(session, bob, WebhookIn(url=receiver.url, occasions=["round.verdict"]))
        service.test(session, bob, hook)
        service.remove(session, bob, hook)
    assert deliver() == 0
    assert receiver.arrived == []
    with session_scope() as session:
        assert session.scalar(select(func.count()).select_from(Delivery)) == 0


# ── Who may ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_bob_adds_tests_and_deletes_one_by_the_pages(api: TestClient, session: Session) -> None:
    assert "Nobody yet" in api.get("/webhooks").text
    made = api.post("/webhooks", data={"url": "https://example.org/hook", "occasions": ["round.verdict"]})
    assert made.status_code == 200
    assert "whsec_" in made.text
    assert "whsec_" not in api.get("/webhooks").text, "it is shown once"
    hook = session.scalars(select(Webhook)).one()
    assert api.post(f"/webhooks/{hook.id}/test").status_code == 303
    delivery = session.scalars(select(Delivery)).one()
    delivery.state, delivery.last_error = DeliveryState.FAILED, "It answers 500."
    session.commit()
    page = api.get(f"/webhooks/{hook.id}").text
    assert "It answers 500." in page
    assert api.post(f"/webhooks/{hook.id}/deliveries/{delivery.id}/again").status_code == 303
    assert api.post(f"/webhooks/{hook.id + 1}/deliveries/{delivery.id}/again").status_code == 404
    assert api.post(f"/webhooks/{hook.id}/delete").status_code == 303
    actions = list(session.scalars(select(AuditEvent.action).where(AuditEvent.subject_type == "webhook")))
    assert actions == ["webhook.created", "webhook.tested", "webhook.sent_again", "webhook.deleted"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"url": "http://example.org/", "occasions": ["round.verdict"]}, "Use https"),
        ({"url": "https://example.org/"}, "Choose at least one"),
        ({"url": "", "occasions": ["round.verdict"]}, "Say where"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(
    api: TestClient, session: Session, form: dict[str, Any], said: str
) -> None:
    refused = api.post("/webhooks", data=form)
    assert refused.status_code == 422
    assert said in refused.text
    assert session.scalars(select(Webhook)).all() == []


def test_a_program_does_the_same(api: TestClient, session: Session) -> None:
    wish = {"url": "https://example.org/hook", "occasions": ["batch.done", "batch.done"]}
    made = api.post("/api/v1/webhooks", json=wish, headers={"idempotency-key": "one"})
    assert (made.status_code, made.json()["occasions"]) == (201, ["batch.done"])
    again = api.post("/api/v1/webhooks", json=wish, headers={"idempotency-key": "one"})
    assert again.status_code == 409
    assert made.json()["secret"] not in again.text
    url = f"/api/v1/webhooks/{made.json()['id']}"
    assert [each["id"] for each in api.get("/api/v1/webhooks").json()["webhooks"]] == [made.json()["id"]]
    delivery = api.post(f"{url}/test").json()
    assert (delivery["occasion"], delivery["state"]) == (Occasion.TEST.value, "pending")
    assert api.get(f"{url}/deliveries").json()["deliveries"] == [delivery]
    assert api.post(f"{url}/deliveries/{delivery['id']}/again").status_code == 409
    assert api.delete(url).status_code == 204
    assert api.get(f"{url}/deliveries").status_code == 404
    assert api.post("/api/v1/webhooks", json=wish | {"occasions": ["test"]}).status_code == 422


def test_rita_reads_none_of_it(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert client.get("/webhooks").status_code == 403
    assert client.get("/api/v1/webhooks").status_code == 403


def test_the_two_ledgers_words_are_the_databases(session: Session) -> None:
    checks = session.scalars(
        text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_webhook_deliveries_occasion'")
    ).one()
    assert all(f"'{each.value}'" in checks for each in Occasion)
