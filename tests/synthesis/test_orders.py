"""Orders of prompts: who may order what, how a worker carries one out, and the batch that it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from app.prompts.models import Batch, BatchState, Prompt
from app.prompts.origins import Origin
from app.registry.externals import add_external
from app.synthesis import ledger
from app.synthesis.forms import SynthesisOrder
from app.synthesis.ledger import Row
from app.synthesis.models import Synthesis, SynthesisRow, SynthesisState
from app.synthesis.service import order
from tests.factories import current_round, make_batch, make_prompt, make_user, sign_in
from tests.synthesis.writing import Writer, serving
from workers.synthesis import arithmetic
from workers.synthesis.protocol import Made, Order, asked
from workers.tasks import synthesis as task

SUMS = {"generator": "arithmetic", "count": 12, "settings": {"name": "Sums"}}
PASSAGE = "The office opens at nine. On Fridays it closes at noon. " * 8


@contextmanager
def setting(monkeypatch: pytest.MonkeyPatch, **values: str) -> Iterator[None]:
    """The installation with other settings."""
    with monkeypatch.context() as other:
        for name, value in values.items():
            other.setenv(name, value)
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


def bob(session: Session) -> User:
    current_round(session)
    return make_user(session, Role.ADMIN, "Bob")


def ordered(session: Session, **wanted: Any) -> int:
    made = order(session, bob(session), SynthesisOrder.model_validate(SUMS | wanted))
    session.commit()
    return made.id


def state_of(key: int) -> Synthesis:
    with session_scope() as session:
        return session.get_one(Synthesis, key)


def reasons(key: int) -> list[tuple[int, str | None]]:
    with session_scope() as session:
        rows = select(SynthesisRow).where(SynthesisRow.synthesis_id == key, SynthesisRow.reason.is_not(None))
        return [(row.number, row.reason) for row in session.scalars(rows.order_by(SynthesisRow.number))]


# ── What becomes of an order ─────────────────────────────────────────────────────────────────────────────────────────
def test_an_order_becomes_a_batch_through_the_import(committed: Engine) -> None:
    with session_scope() as session:
        key = ordered(session)
    assert task.make_prompts() == 12
    done = state_of(key)
    assert (done.state, done.made, done.dropped, done.lease_until) == (SynthesisState.DONE, 12, 0, None)
    with session_scope() as session:
        batch = session.get_one(Batch, done.batch_id)
        assert (batch.name, batch.state, batch.capability) == ("Sums", BatchState.PREPARING, "maths")
        prompts = session.scalars(select(Prompt).order_by(Prompt.id)).all()
        assert {(each.origin, each.language) for each in prompts} == {(Origin.SYNTHETIC, "en")}
        assert prompts[3].external_id == "arithmetic-0-3"
        assert prompts[3].tests == [{"kind": "answer", "value": prompts[3].reference}]
        source = prompts[3].extra["made"]
        assert source == {"generator": "arithmetic", "version": "1", "seed": 0, "number": 3, "kind": source["kind"]}
    assert task.make_prompts() == 0


def test_numbers_that_give_none_and_duplicates_are_named(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def make(_: object, order: Order, number: int) -> Made:
        if number == 1:
            raise ValueError("boom")
        text = {2: "What\0?", 3: "\ud800"}.get(number, f"What is {number // 2}?")
        return Made(asked(text), "maths")

    monkeypatch.setattr(arithmetic.Arithmetic, "make", make)
    with session_scope() as session:
        key = ordered(session, count=6)
    task.make_prompts()
    done = state_of(key)
    assert (done.state, done.made, done.dropped) == (SynthesisState.DONE, 2, 4)
    said = dict(reasons(key))
    assert sorted(said) == [1, 2, 3, 5]
    assert "boom" in str(said[1])
    assert "NUL" in str(said[2])
    assert "line 2" in str(said[5])


def test_a_name_that_is_taken_meanwhile_gets_a_number(committed: Engine) -> None:
    with session_scope() as session:
        key = ordered(session)
        make_batch(session, name="Sums")
    task.make_prompts()
    with session_scope() as session:
        assert session.get_one(Batch, state_of(key).batch_id).name == f"Sums ({key})"


def test_a_lost_worker_costs_nothing_that_was_recorded(committed: Engine) -> None:
    with session_scope() as session:
        key = ordered(session)
    with session_scope() as session:
        lost = ledger.claim(session)
        assert lost is not None
        rows = [Row(number, {"prompt": f"What is {number}?"}) for number in range(5)]
        assert ledger.record(session, lost, rows) == 7
    assert task.make_prompts() == 0  # it is leased
    with session_scope() as session:
        session.execute(update(Synthesis).values(lease_until=func.now() - func.make_interval(0, 0, 0, 0, 0, 1)))
    assert task.make_prompts() == 7
    with session_scope() as session:
        assert ledger.record(session, lost, [Row(5, {"prompt": "late"})]) is None
        assert session.scalar(select(func.count()).select_from(Prompt)) == 12
    assert state_of(key).state is SynthesisState.DONE


def test_a_step_ends_and_the_next_goes_on(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "SLICE_S", 0.0)
    monkeypatch.setattr(task, "TOGETHER_UNASKED", 5)
    with session_scope() as session:
        key = ordered(session)
    assert [task.make_prompts() for _ in range(4)] == [5, 5, 2, 0]
    assert state_of(key).state is SynthesisState.DONE


def test_it_ends_with_what_an_upload_may_hold(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_scope() as session:
        key = ordered(session)
    with setting(monkeypatch, CORRAL_UPLOAD_LIMIT_BYTES="1500"):
        task.make_prompts()
    done = state_of(key)
    assert done.state is SynthesisState.DONE
    assert 0 < done.made == done.wanted < 12


# ── A model that writes ──────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def writer() -> Iterator[Writer]:
    def says(question: str) -> str:
        return f"<think>hm</think>{json.dumps({'question': 'When does it open?', 'answer': 'At nine.'})}"

    with serving(Writer(says)) as found:
        yield found


@pytest.fixture
def teacher(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Adds the external model ``teacher``, served by the writer."""
    there = {"school": {"url": writer.url, "key": "sesame", "concurrency": 2}}

    def add(session: Session, *, may_train: bool = True) -> None:
        add_external(session, name="teacher", endpoint="school", model="big", may_train=may_train, note="", sampling={})
        session.commit()

    with setting(monkeypatch, CORRAL_ENDPOINTS=json.dumps(there)):
        yield add


QUESTIONS = {
    "generator": "document_questions",
    "model": "teacher",
    "documents": [{"name": "office.md", "text": PASSAGE}],
}


def test_a_named_external_model_writes(committed: Engine, writer: Writer, teacher: Callable[..., None]) -> None:
    with session_scope() as session:
        teacher(session)
        key = ordered(session, **QUESTIONS)
    assert task.make_prompts() == 1
    done = state_of(key)
    assert (done.state, done.made, done.wanted) == (SynthesisState.DONE, 1, 1)
    with session_scope() as session:
        (prompt,) = session.scalars(select(Prompt))
        assert (prompt.reference, prompt.capability, prompt.language) == ("At nine.", "long context", None)
        assert prompt.extra["made"]["document"] == "office.md"
    assert writer.keys == {"Bearer sesame"}


def test_facts_bring_their_source_for_the_judge(
    committed: Engine, writer: Writer, teacher: Callable[..., None]
) -> None:
    with session_scope() as session:
        teacher(session)
        key = ordered(session, **(QUESTIONS | {"generator": "facts"}))
    task.make_prompts()
    assert state_of(key).state is SynthesisState.DONE
    with session_scope() as session:
        (prompt,) = session.scalars(select(Prompt))
        assert (prompt.reference, prompt.tests) == (PASSAGE.strip(), [{"kind": "facts"}])
        assert (prompt.origin, prompt.capability) == (Origin.SYNTHETIC, "factual")
        assert PASSAGE.strip() not in str(prompt.messages)


@pytest.mark.parametrize("raw", [b"<html>502</html>", b"{}", b'{"choices": []}', b""])
def test_a_model_that_answers_nothing_usable_costs_that_number(
    committed: Engine, writer: Writer, teacher: Callable[..., None], raw: bytes
) -> None:
    writer.raw = raw
    with session_scope() as session:
        teacher(session)
        key = ordered(session, **QUESTIONS)
    task.make_prompts()
    found = state_of(key)
    if (
        found.state is SynthesisState.RUNNING
    ):  # it looks like an endpoint that is away: nothing is lost, and the page says so
        assert "Waiting for the model that writes" in str(found.last_error)
        assert found.next_number == 0
    else:
        assert found.state is SynthesisState.FAILED
        assert reasons(key)


def test_a_model_that_is_away_is_waited_for(
    committed: Engine, writer: Writer, teacher: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with session_scope() as session:
        teacher(session)
        key = ordered(session, **QUESTIONS)
    with setting(monkeypatch, CORRAL_ENDPOINTS="{}"):
        assert task.make_prompts() == 0
    found = state_of(key)
    assert (found.state, found.lease_until, found.next_number) == (SynthesisState.RUNNING, None, 0)
    assert "No endpoint called school" in str(found.last_error)
    assert task.make_prompts() == 0  # not before its time


# ── Who may order what ───────────────────────────────────────────────────────────────────────────────────────────────
REFUSED = [
    (
        {"generator": "document_questions", "documents": [{"name": "a", "text": "b"}]},
        "name its endpoint in CORRAL_ENDPOINTS",
    ),
    ({"model": "teacher"}, "asks no model"),
    ({"languages": ["de"]}, "takes no languages"),
    ({"generator": "translation"}, "into which languages"),
    ({"generator": "repository"}, "there is none: add them"),
    ({"generator": "repository", "batch_id": 7}, "takes no batch"),
    ({"generator": "repository", "documents": [{"name": "a", "text": "b"}] * 2}, "same name"),
    ({"documents": [{"name": "a", "text": "b"}]}, "is made of nothing"),
    ({"generator": "document_questions", "documents": [{"name": "a", "text": "b"}], "model": "a\0"}, "contains"),
    ({"generator": "document_questions", "documents": [{"name": "a", "text": "b\0"}]}, "contains"),
    ({"generator": "nonsense"}, "No generator is called"),
    ({"count": 2001}, "2000"),
    ({"count": 0}, "1"),
    ({"generator": "translation", "languages": ["Klingon"]}, "not known: Klingon"),
]


@pytest.mark.parametrize(("wanted", "why"), REFUSED)
def test_what_cannot_be_carried_out_is_refused_in_a_sentence(
    session: Session, client: TestClient, wanted: dict[str, Any], why: str
) -> None:
    sign_in(client, bob(session))
    answer = client.post("/api/v1/syntheses", json=SUMS | wanted)
    assert answer.status_code == 422
    assert why in answer.text
    assert session.scalar(select(func.count()).select_from(Synthesis)) == 0


def test_a_model_that_may_not_be_trained_on_writes_nothing(
    session: Session, client: TestClient, teacher: Callable[..., None]
) -> None:
    teacher(session, may_train=False)
    sign_in(client, bob(session))
    answer = client.post("/api/v1/syntheses", json=SUMS | QUESTIONS)
    assert answer.status_code == 422
    assert "may not be trained on" in answer.text


def test_admins_order_and_reviewers_read(session: Session, client: TestClient) -> None:
    sign_in(client, bob(session))
    answer = client.post("/api/v1/syntheses", json=SUMS)
    assert answer.status_code == 202, answer.text
    key = answer.json()["id"]
    assert session.scalars(select(AuditEvent.action).where(AuditEvent.subject_type == "synthesis")).all() == [
        "synthesis.order"
    ]
    assert "arithmetic" in [each["name"] for each in client.get("/api/v1/generators").json()["generators"]]
    for role, read, write in ((Role.REVIEWER, 200, 403), (Role.ANNOTATOR, 403, 403)):
        sign_in(client, make_user(session, role, "Rita"))
        assert client.get(f"/api/v1/syntheses/{key}").status_code == read
        assert client.get("/api/v1/syntheses").status_code == read
        assert client.post("/api/v1/syntheses", json=SUMS).status_code == write
        assert client.post(f"/api/v1/syntheses/{key}/stop").status_code == write


def test_bob_orders_on_the_page_follows_and_stops(session: Session, client: TestClient) -> None:
    sign_in(client, bob(session))
    assert "Make prompts" in client.get("/syntheses/new").text
    form = {
        "generator": "translation",
        "name": "In German",
        "count": "5",
        "seed": "",
        "languages": "German",
        "text": "Why?",
    }
    wrong = client.post("/syntheses", data=form)
    assert wrong.status_code == 422
    assert "needs an external model" in wrong.text
    form |= {"generator": "arithmetic", "languages": "", "text": "", "name": ""}
    assert "Please fill this in" in client.post("/syntheses", data=form).text
    sent = client.post("/syntheses", data=form | {"name": "Sums"})
    assert sent.status_code == 303, sent.text
    page = client.get(sent.headers["location"]).text
    assert "0 of 5" in page
    assert "Stop, and keep what is made" in page
    assert "Sums" in client.get("/syntheses").text
    assert client.post(f"{sent.headers['location']}/stop").status_code == 303
    assert "Stopped before anything was made" in client.get(sent.headers["location"]).text
    assert client.post(f"{sent.headers['location']}/stop").status_code == 409


def test_what_is_made_when_it_is_stopped_becomes_the_batch(committed: Engine) -> None:
    from app.synthesis.service import stop

    with session_scope() as session:
        key = ordered(session)
        claim = ledger.claim(session)
        assert claim is not None
        ledger.record(session, claim, [Row(0, {"prompt": "What is 2 + 2?"})])
        ledger.release(session, claim)
    with session_scope() as session:
        found = session.get_one(Synthesis, key)
        stop(session, session.get_one(User, found.created_by_id), found)
    task.make_prompts()
    assert (state_of(key).state, state_of(key).made) == (SynthesisState.DONE, 1)


def test_the_prompts_of_a_batch_are_translated(
    session: Session, client: TestClient, teacher: Callable[..., None]
) -> None:
    teacher(session)
    batch = make_batch(session)
    plain = make_prompt(session, batch, "Why is the sky blue?")
    talk = make_prompt(session, batch, "And now?")
    talk.messages = [{"role": "system", "content": "Be brief."}, *talk.messages]
    session.commit()
    sign_in(client, bob(session))
    wanted = {"generator": "translation", "model": "teacher", "languages": "German", "batch_id": batch.id}
    answer = client.post("/api/v1/syntheses", json=SUMS | wanted)
    assert answer.status_code == 202, answer.text
    made = session.get_one(Synthesis, answer.json()["id"])
    assert made.material == [{"name": plain.external_id, "text": "Why is the sky blue?"}]
    assert made.options == {"languages": ["de"]}


FILES = [
    ("notes.txt", b"One text.", None),
    ("many.jsonl", b'{"name": "a", "text": "A"}\n\n{"prompt": "B"}\n', None),
    ("bad.jsonl", b'{"name": "a"}', "has no text"),
    ("bad.jsonl", b"prose", "no JSON object"),
    ("bad.txt", b"\xff\xfe\x00", "no UTF-8 text"),
]


@pytest.mark.parametrize(("name", "content", "why"), FILES)
def test_a_file_is_one_text_or_one_a_line(
    session: Session, client: TestClient, teacher: Callable[..., None], name: str, content: bytes, why: str | None
) -> None:
    teacher(session)
    sign_in(client, bob(session))
    form = {"generator": "document_questions", "model": "teacher", "name": "Texts", "count": "5"}
    answer = client.post("/syntheses", data=form, files={"file": (name, content)})
    if why is None:
        assert answer.status_code == 303, answer.text
        assert len(session.scalars(select(Synthesis)).one().material) in {1, 2}
    else:
        assert answer.status_code == 422
        assert why in answer.text
