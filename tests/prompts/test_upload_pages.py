"""Bob uploads a file, looks at what is in it, and confirms or discards it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.kernel.jobs import Job
from app.prompts.models import Batch, BatchState, Prompt, Upload
from tests.factories import (
    make_batch,
    make_prompt,
)
from tests.prompts.pages import count, jsonl, upload

SETTINGS = {
    "name": "Questions",
    "guidelines": "Be kind.",
    "candidates_per_prompt": "3",
    "annotators_per_prompt": "2",
    "edit_policy": "required",
    "max_tokens": "99",
    "temperature": "0.5",
    "top_p": "",
}


def test_bob_uploads_looks_and_confirms(client: TestClient, session: Session, bob: User, rung: list[Job]) -> None:
    page = upload(client, jsonl({"prompt": "One?", "capability": "maths"}, {"prompt": "Two?", "x": 1}))
    preview = client.get(page).text
    assert "One?" in preview
    assert "maths" in preview
    assert "Import 2 prompts" in preview
    assert count(session, Prompt) == 0

    confirmed = client.post(f"{page}/confirm", data=SETTINGS)

    batch = session.scalars(select(Batch)).one()
    assert confirmed.headers["location"] == f"/batches/{batch.id}"
    assert (batch.name, batch.guidelines, batch.candidates_per_prompt) == ("Questions", "Be kind.", 3)
    assert (batch.annotators_per_prompt, batch.edit_policy, batch.max_tokens) == (2, "required", 99)
    assert batch.sampling == {"temperature": 0.5}
    assert batch.state is BatchState.PREPARING
    assert [prompt.messages[-1]["content"] for prompt in session.scalars(select(Prompt).order_by(Prompt.id))] == [
        "One?",
        "Two?",
    ]
    assert rung == [Job.GENERATE, Job.DETECT_LANGUAGES]
    assert "One?" in client.get(f"/batches/{batch.id}").text


def test_a_second_click_on_import_finds_the_batch_that_the_first_made(
    client: TestClient, session: Session, bob: User
) -> None:
    page = upload(client, jsonl({"prompt": "One?"}))

    answers = [client.post(f"{page}/confirm", data=SETTINGS) for _ in range(3)]

    assert len({answer.headers["location"] for answer in answers}) == 1
    assert count(session, Batch) == count(session, Prompt) == 1
    assert client.get(page).headers["location"] == answers[0].headers["location"]


def test_refused_lines_are_named_and_left_out_only_when_bob_says_so(
    client: TestClient, session: Session, bob: User
) -> None:
    page = upload(client, jsonl({"prompt": "One?"}, {"prompt": " "}, {"messages": [{"role": "king", "content": "x"}]}))
    preview = client.get(page).text
    assert "2 refused lines" in preview
    assert "blank" in preview
    assert "king" in preview

    unasked = client.post(f"{page}/confirm", data=SETTINGS)
    assert unasked.status_code == 422
    assert "2 lines are refused" in unasked.text
    assert count(session, Batch) == 0

    client.post(f"{page}/confirm", data=SETTINGS | {"leave_out_refused": "true"})
    assert count(session, Prompt) == 1


def test_a_file_without_a_valid_prompt_offers_nothing_to_confirm(
    client: TestClient, session: Session, bob: User
) -> None:
    page = upload(client, jsonl({"prompt": ""}))

    assert "/confirm" not in client.get(page).text
    assert client.post(f"{page}/confirm", data=SETTINGS | {"leave_out_refused": "true"}).status_code == 422
    assert count(session, Batch) == 0


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "  ", "Please fill this in"),
        ("name", "a\0b", "NUL"),
        ("candidates_per_prompt", "9", "less than or equal to 8"),
        ("candidates_per_prompt", "many", "valid integer"),
        ("annotators_per_prompt", "0", "greater than or equal to 1"),
        ("edit_policy", "maybe", "optional"),
        ("temperature", "nan", "temperature"),
        ("top_p", "0", "greater than 0"),
        ("max_tokens", "", "valid integer"),
        ("guidelines", "x" * 20_001, "20000 characters"),
    ],
)
def test_a_wrong_setting_is_said_beside_its_field_and_nothing_is_typed_twice(
    client: TestClient, session: Session, bob: User, field: str, value: str, said: str
) -> None:
    page = upload(client, jsonl({"prompt": "One?"}))

    answer = client.post(f"{page}/confirm", data=SETTINGS | {"guidelines": "Typed with love."} | {field: value})

    assert answer.status_code == 422
    assert f'id="error-{field}"' in answer.text
    assert said in answer.text
    assert field == "guidelines" or "Typed with love." in answer.text
    assert count(session, Batch) == 0


def test_a_name_that_is_taken_is_said_beside_the_name(client: TestClient, session: Session, bob: User) -> None:
    make_batch(session, name="Questions")
    page = upload(client, jsonl({"prompt": "One?"}))

    answer = client.post(f"{page}/confirm", data=SETTINGS)

    assert answer.status_code == 422
    assert 'id="error-name"' in answer.text


def test_an_unknown_field_is_refused(client: TestClient, session: Session, bob: User) -> None:
    page = upload(client, jsonl({"prompt": "One?"}))

    assert client.post(f"{page}/confirm", data=SETTINGS | {"state": "open"}).status_code == 422
    assert count(session, Batch) == 0


def test_a_file_that_cannot_be_used_is_said_beside_the_file(client: TestClient, session: Session, bob: User) -> None:
    answer = client.post("/batches/new", files={"file": ("x.jsonl", b"\x1f\x8b\x08")})

    assert answer.status_code == 422
    assert 'id="error-file"' in answer.text
    assert "gzip" in answer.text
    assert count(session, Upload) == 0


def test_a_header_that_cannot_be_written_down_is_refused_in_words(client: TestClient, bob: User) -> None:
    answer = client.post("/batches/new", files={"file": ("x.csv", b"tex\xed\xa0\x80t,id\nhello,1\n")})

    assert answer.status_code == 422
    assert "lone surrogate \\ud800" in answer.text


@pytest.mark.parametrize("key", ["\\u0000", "\\ud800"])
def test_a_key_that_cannot_be_stored_costs_its_line_only(
    client: TestClient, session: Session, bob: User, key: str
) -> None:
    page = upload(client, f'{{"{key}": 1, "{key}": 2}}\n{{"prompt": "One?"}}'.encode())

    assert f"has the key &#34;{key}&#34; twice" in client.get(page).text
    client.post(f"{page}/confirm", data=SETTINGS | {"leave_out_refused": "true"})
    assert count(session, Prompt) == 1


def test_a_file_with_too_many_bad_lines_names_the_first_of_them(
    client: TestClient, session: Session, bob: User
) -> None:
    answer = client.post("/batches/new", files={"file": ("x.jsonl", b"{}\n" * 10_001)})

    assert answer.status_code == 422
    assert "at least 9,901 more are not" in answer.text
    assert answer.text.count("It has no &#34;prompt&#34;") == 100
    assert count(session, Upload) == 0


def test_a_form_without_a_file_asks_for_one(client: TestClient, bob: User) -> None:
    answer = client.post("/batches/new", files={"other": ("x.jsonl", b"{}")}, data={})

    assert client.post("/batches/new", data={"a": "b"}).status_code == 422
    assert answer.status_code == 422


def test_a_body_over_the_limit_is_refused_before_it_is_read(
    client: TestClient, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.prompts.intake.FORM_BYTES", 1000)
    page = upload(client, jsonl({"prompt": "One?"}))
    fields = {"guidelines": "x" * 2000}

    def trickle() -> Iterable[bytes]:
        yield from (b"guidelines=" if n == 0 else b"x" * 100 for n in range(40))

    announced = client.post(f"{page}/confirm", data=fields)
    unannounced = client.post(
        f"{page}/confirm", content=trickle(), headers={"content-type": "application/x-www-form-urlencoded"}
    )

    assert announced.status_code == unannounced.status_code == 413


def test_discarding_forgets_the_file(client: TestClient, session: Session, bob: User) -> None:
    page = upload(client, jsonl({"prompt": "One?"}))

    assert client.post(f"{page}/discard").headers["location"] == "/batches"
    assert count(session, Upload) == 0
    assert client.get(page).status_code == 404


def test_a_file_that_waits_for_its_confirmation_is_found_again(client: TestClient, bob: User) -> None:
    page = upload(client, jsonl({"prompt": "One?"}), name="waiting.jsonl")
    assert f'href="{page}">waiting.jsonl' in client.get("/batches").text

    client.post(f"{page}/confirm", data=SETTINGS)
    assert "waiting.jsonl" not in client.get("/batches").text


def test_importing_the_same_file_again_is_pointed_out(client: TestClient, bob: User) -> None:
    content = jsonl({"prompt": "One?"})
    client.post(f"{upload(client, content)}/confirm", data=SETTINGS)

    assert "This exact file was already imported" in client.get(upload(client, content)).text


def test_html_in_every_field_stays_text(client: TestClient, session: Session, bob: User) -> None:
    attack = "<img src=x onerror=alert(1)>"
    record = {"prompt": attack, "id": attack, "capability": attack, "metadata": {attack: attack}, "reference": attack}
    page = upload(client, jsonl(record, {attack: attack}), name=f"{attack}.jsonl")
    shown = [client.get(page).text]
    client.post(f"{page}/confirm", data=SETTINGS | {"name": attack, "guidelines": attack, "leave_out_refused": "true"})
    batch, prompt = session.scalars(select(Batch)).one(), session.scalars(select(Prompt)).one()
    shown += [client.get(url).text for url in ("/batches", f"/batches/{batch.id}", f"/prompts/{prompt.id}")]

    assert prompt.messages[0]["content"] == attack
    assert not any(attack in page for page in shown)
    assert all("&lt;img" in page for page in shown)


def test_a_prompt_that_begins_with_a_line_break_is_shown_with_it(
    client: TestClient, session: Session, bob: User
) -> None:
    prompt = make_prompt(session, make_batch(session), "\nfirst line is empty")

    assert ">\n\nfirst line is empty</pre>" in client.get(f"/prompts/{prompt.id}").text


def test_why_a_line_is_refused_is_stored_in_english_whoever_uploads_it(
    client: TestClient, session: Session, bob: User
) -> None:
    client.cookies.set("locale", "en-XA")

    page = upload(client, jsonl({"prompt": "One?"}, {"prompt": ""}))

    report = session.scalars(select(Upload)).one().report
    assert report["errors"] == [{"line": 2, "reason": 'has a blank "prompt": write the prompt or remove it'}]
    assert "⟦1 réfûséd lîñé" in client.get(page).text
