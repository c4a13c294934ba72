"""A person who said what they read is not given what they do not read; who said nothing is given everything."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service
from app.comparisons import claims
from app.comparisons.models import Comparison
from app.comparisons.purposes import Asked, count_fresh
from app.prompts.models import Batch, Prompt
from tests.comparisons.test_claim_plan import explained
from tests.factories import current_round, make_batch, make_comparison, make_prompt, make_user, sign_in
from training.formats import languages


def waiting(session: Session, batch: Batch, *codes: str | None) -> list[Comparison]:
    """An item in each language."""
    found = []
    for code in codes:
        prompt = make_prompt(session, batch)
        prompt.language = code
        session.commit()
        found.append(make_comparison(session, batch=batch, prompt=prompt))
    return found


def reader(session: Session, *codes: str) -> User:
    user = make_user(session)
    user.languages = list(codes)
    session.commit()
    return user


def given(session: Session, user: User) -> list[str]:
    """The languages of all items that the user is given, in order."""
    found = []
    while (held := service.next_assignment(session, user)) is not None:
        comparison = session.get_one(Comparison, held.comparison_id)
        found.append(comparison.language)
        service.skip(session, user, held.id, "next")
        session.commit()
    return found


def test_alice_is_given_what_she_reads_and_what_nobody_knows_the_language_of(session: Session) -> None:
    waiting(session, make_batch(session), "fr", "de", None, "ja", "en")

    assert sorted(given(session, reader(session, "de", "en"))) == ["", "de", "en"]
    assert given(session, reader(session, "sw")) == [""]


def test_who_did_not_say_what_they_read_is_given_everything_in_the_order_of_the_queue(session: Session) -> None:
    waiting(session, make_batch(session), "fr", "de", None)

    assert given(session, reader(session)) == ["fr", "de", ""]


def test_what_a_page_counts_is_what_a_claim_gives(session: Session) -> None:
    batch = make_batch(session)
    waiting(session, batch, "fr", "fr", "de")
    for user, wanted in ((reader(session, "de"), 1), (reader(session, "ja"), 0), (reader(session), 3)):
        counted = session.scalar(select(count_fresh(Batch.id, literal(user.id), up_to=10)).where(Batch.id == batch.id))
        assert counted == wanted
        assert claims.waits(session, user.id, batch.id) is (wanted > 0)


def test_prompts_that_say_nothing_have_the_language_of_their_batch_and_follow_it(
    client: TestClient, session: Session
) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    batch = make_batch(session)
    batch.language = "de"
    session.commit()
    silent, own = waiting(session, batch, None, "fr")
    assert (silent.language, own.language) == ("de", "fr")

    sign_in(client, bob)
    answer = client.patch(f"/api/v1/batches/{batch.id}", json={"language": "Japanese"})
    assert (answer.status_code, answer.json()["language"]) == (200, "ja")
    session.expire_all()
    assert (silent.language, own.language) == ("ja", "fr")

    assert "German or de" in client.patch(f"/api/v1/batches/{batch.id}", json={"language": "Klingon"}).text
    answer = client.post(f"/batches/{batch.id}/settings", data={"language": ""}, follow_redirects=False)
    assert answer.status_code == 303
    session.expire_all()
    assert (session.get_one(Batch, batch.id).language, silent.language) == (None, "")


def test_alice_says_in_her_profile_what_she_reads(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    sign_in(client, alice)

    answer = client.post("/profile/languages", data={"languages": "German; en, pt-BR"}, follow_redirects=False)
    assert answer.status_code == 303
    session.refresh(alice)
    assert alice.languages == ["de", "en", "pt"]
    assert 'value="German, English, Portuguese"' in client.get("/profile").text

    refused = client.post("/profile/languages", data={"languages": "German, Klingon"})
    assert refused.status_code == 422
    assert "Not known: Klingon" in refused.text
    assert 'value="German, Klingon"' in refused.text
    session.refresh(alice)
    assert alice.languages == ["de", "en", "pt"]

    client.post("/profile/languages", data={"languages": " "})
    session.refresh(alice)
    assert alice.languages == []


def test_a_file_says_the_languages_of_its_prompts(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    current_round(session)
    lines = (
        '{"prompt": "Warum ist der Himmel blau?", "language": "de"}\n'
        '{"prompt": "Reverse a list.", "language": "python"}\n'
        '{"prompt": "Why is the sky blue?"}\n'
        '{"prompt": "Pourquoi ?", "lang": "French"}\n'
    )
    files = {"file": ("sky.jsonl", lines.encode(), "application/x-ndjson")}
    answer = client.post("/api/v1/batches", files=files, data={"settings": '{"name": "Sky", "language": "en"}'})
    assert answer.status_code in {200, 201}, answer.text

    prompts = session.scalars(select(Prompt).order_by(Prompt.id)).all()
    assert [prompt.language for prompt in prompts] == ["de", None, None, "fr"]
    assert prompts[1].extra == {"language": "python"}
    assert answer.json()["language"] == "en"


@pytest.mark.parametrize("asked", Asked)
def test_a_claim_in_one_language_walks_its_queue_alone(session: Session, asked: Asked) -> None:
    make_comparison(session)
    said = explained(session, claims._takes_in[asked], spoken="de")

    assert "Index Scan using ix_comparisons_language" in said, said
    for reading_all in ("Seq Scan", "Sort", "Hash", "Materialize"):
        assert reading_all not in said, said


def test_names_and_codes_of_languages_are_read_as_people_write_them() -> None:
    assert languages.codes_of("de-CH, english;nb\nZH, de") == ["de", "en", "no", "zh"]
    assert languages.codes_of(" ,; ") == []
    assert languages.codes_of("yue, iw") == ["zh", "he"]
    with pytest.raises(ValueError, match="Klingon, xx"):
        languages.codes_of("de, Klingon, xx")
