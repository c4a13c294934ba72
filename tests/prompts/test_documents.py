"""Documents of a batch: uploaded, listed, deleted, and refused by name."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import AuditEvent, Role
from app.kernel.errors import BadInput, Conflict
from app.prompts import documents
from app.prompts.models import BatchState, Document, PromptState
from tests.factories import make_batch, make_prompt, make_user, sign_in

SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}


def names(session: Session, batch_id: int) -> list[str]:
    return list(documents.texts(session, batch_id))


@pytest.mark.parametrize(
    ("filename", "content", "why"),
    [
        ("scan.pdf", b"%PDF-1.7", "“scan.pdf” is no text by its name"),
        ("empty.txt", b" \n", "“empty.txt” is empty"),
        ("latin.txt", "é".encode("latin-1"), "“latin.txt” cannot be read as text. The text is not UTF-8"),
        ("binary.txt", b"a\0b" + b"text" * 100, "“binary.txt” contains a NUL character"),
        ("half.txt", b"\xed\xa0\x80", "“half.txt” contains half a character"),
        ("large.md", b"x" * (documents.MOST_BYTES + 1), "“large.md” has 2,097,153 bytes, 2,097,152 is the most"),
    ],
)
def test_what_is_no_text_is_refused_by_name(session: Session, filename: str, content: bytes, why: str) -> None:
    with pytest.raises(BadInput) as refused:
        documents.add(session, None, make_batch(session), filename, content)
    assert refused.value.message.startswith(why)


def test_a_batch_has_room_for_so_many(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch(session)
    monkeypatch.setattr(documents, "MOST_OF_A_BATCH", 10)
    documents.add(session, None, batch, "a.txt", b"12345678")
    with pytest.raises(BadInput, match=r"“b\.txt” is too much"):
        documents.add(session, None, batch, "b.txt", b"123")
    documents.add(session, None, batch, "a.txt", b"1234567890")
    monkeypatch.setattr(documents, "MOST_DOCUMENTS", 1)
    with pytest.raises(BadInput, match=r"“c\.txt” is one too many"):
        documents.add(session, None, batch, "c.txt", b"1")


def test_a_document_of_the_same_name_takes_its_place_under_another_id(session: Session) -> None:
    batch = make_batch(session)
    first = documents.add(session, None, batch, "a.txt", "\ufeffone\r\ntwo".encode()).id
    assert documents.texts(session, batch.id) == {"a.txt": "one\ntwo"}
    assert documents.add(session, None, batch, "a.txt", "\ufeffone\r\ntwo".encode()).id == first, "it is the same"
    assert documents.add(session, None, batch, "a.txt", b"other").id != first
    assert documents.texts(session, batch.id) == {"a.txt": "other"}


def test_prompts_that_waited_for_documents_are_tried_again(session: Session) -> None:
    batch = make_batch(session)
    waits, other = make_prompt(session, batch), make_prompt(session, batch)
    waits.state = other.state = PromptState.QUARANTINED
    waits.last_error, other.last_error = documents.NO_DOCUMENTS, "Another reason."
    session.flush()
    documents.add(session, None, batch, "a.txt", b"text")
    session.expire_all()
    assert (waits.state, other.state) == (PromptState.PENDING, PromptState.QUARANTINED)


def test_a_closed_batch_takes_none(session: Session) -> None:
    with pytest.raises(Conflict):
        documents.add(session, None, make_batch(session, state=BatchState.CLOSED), "a.txt", b"text")


def test_bob_adds_and_deletes_documents_on_the_page_of_the_batch(client: TestClient, session: Session) -> None:
    bob, batch = make_user(session, Role.ADMIN, "Bob"), make_batch(session)
    prompt = make_prompt(session, batch)
    prompt.tools = [SEARCH]
    session.commit()
    sign_in(client, bob)
    url = f"/batches/{batch.id}"
    assert "quarantined until there is a document" in client.get(url).text
    sent = {"file": ("كتاب.txt", "鲁迅".encode())}
    client.post(f"{url}/documents", files=sent)
    page = client.get(url).text
    assert "كتاب.txt" in page
    assert "quarantined until" not in page
    refused = client.post(f"{url}/documents", files={"file": ("a.exe", b"MZ")})
    assert refused.status_code == 422
    assert "“a.exe” is no text by its name" in refused.text
    made = session.scalars(select(Document)).one()
    client.post(f"{url}/documents/{made.id}/delete")
    session.expire_all()
    assert names(session, batch.id) == []
    events = session.scalars(select(AuditEvent).where(AuditEvent.subject_type == "document").order_by(AuditEvent.id))
    assert [(each.action, each.actor_id, each.details["filename"]) for each in events] == [
        ("document.add", bob.id, "كتاب.txt"),
        ("document.delete", bob.id, "كتاب.txt"),
    ]


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
def test_nobody_else_changes_them(client: TestClient, session: Session, role: Role) -> None:
    batch = make_batch(session)
    made = documents.add(session, None, batch, "a.txt", b"text")
    session.commit()
    user = make_user(session, role, "Charlie")
    sign_in(client, user)
    assert client.post(f"/batches/{batch.id}/documents", files={"file": ("b.txt", b"b")}).status_code in {403, 404}
    assert client.post(f"/batches/{batch.id}/documents/{made.id}/delete").status_code in {403, 404}
    assert client.delete(f"/api/v1/batches/{batch.id}/documents/{made.id}").status_code in {403, 404}
    assert names(session, batch.id) == ["a.txt"]


def test_the_interface_adds_lists_and_deletes(client: TestClient, session: Session) -> None:
    bob, batch, other = make_user(session, Role.ADMIN, "Bob"), make_batch(session), make_batch(session)
    secret = accounts.create_token(session, bob, "documents", ["read", "admin"])
    session.commit()
    bearer = {"authorization": f"Bearer {secret}", "idempotency-key": "k"}
    url = f"/api/v1/batches/{batch.id}/documents"
    made = client.post(url, files={"file": ("a.txt", b"text")}, headers=bearer)
    again = client.post(url, files={"file": ("a.txt", b"text")}, headers=bearer)
    assert (made.status_code, again.status_code, again.json()) == (201, 201, made.json())
    reads = {"authorization": f"Bearer {secret}"}
    assert client.get(url, headers=reads).json() == {"documents": [made.json()]}
    assert (made.json()["filename"], made.json()["bytes"]) == ("a.txt", 4)
    assert client.post(url, headers=reads, files={"other": ("a.txt", b"a")}).status_code == 422
    elsewhere = f"/api/v1/batches/{other.id}/documents/{made.json()['id']}"
    assert client.delete(elsewhere, headers=reads).status_code == 404
    assert client.delete(f"{url}/{made.json()['id']}", headers=reads).status_code == 204
    assert client.get(url, headers=reads).json() == {"documents": []}
