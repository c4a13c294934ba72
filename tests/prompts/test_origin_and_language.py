"""Where prompts come from, and which language they are in: said by the file, by the batch, or detected afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from alembic import command
from fastapi.testclient import TestClient
from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.batches import settings
from app.comparisons.models import Comparison
from app.comparisons.service import create_comparison, follow_detection
from app.prompts import detection, service
from app.prompts.detection import Detected
from app.prompts.forms import BatchChange, BatchSettings
from app.prompts.models import Batch, Prompt
from app.prompts.origins import Origin
from app.prompts.queries import Share, shares
from app.services.migrating import config
from tests.earlier import before
from tests.factories import current_round, make_batch, make_candidate, make_prompt, make_user, sign_in
from tests.prompts.pages import jsonl
from tests.prompts.reading import one

GERMAN = "Wie lange dauert es, bis ein Brief aus München in Hamburg ankommt?"


def imported(session: Session, *records: object, language: str | None = None) -> Batch:
    current_round(session)
    bob = make_user(session, Role.ADMIN, "Bob")
    upload = service.create_upload(session, bob, "x.jsonl", jsonl(*records))
    return service.confirm_upload(session, bob, upload, BatchSettings(name="Letters", language=language))


def prompts_of(session: Session, batch: Batch) -> list[Prompt]:
    return list(session.scalars(select(Prompt).where(Prompt.batch_id == batch.id).order_by(Prompt.id)))


@pytest.mark.parametrize("said", [each.value for each in Origin])
def test_a_file_may_say_where_a_prompt_comes_from(said: str) -> None:
    parsed = one({"prompt": "Why?", "origin": said})
    assert (parsed.origin, parsed.metadata) == (Origin(said), {})


@pytest.mark.parametrize("said", ["Berlin", 7, ["human"], ""])
def test_another_word_stays_metadata(said: object) -> None:
    parsed = one({"prompt": "Why?", "origin": said})
    assert parsed.origin is Origin.IMPORTED
    assert parsed.metadata == ({"origin": said} if said else {})


def test_an_import_stores_it_and_knows_no_language(session: Session) -> None:
    batch = imported(session, {"prompt": GERMAN, "origin": "synthetic"}, {"prompt": "Why?", "language": "English"})
    synthetic, plain = prompts_of(session, batch)
    assert (synthetic.origin, synthetic.language, synthetic.language_detected) == (Origin.SYNTHETIC, None, None)
    assert (plain.origin, plain.language) == (Origin.IMPORTED, "en")
    assert [each.id for each in detection.waiting(session)] == [synthetic.id]


def test_a_detection_is_noted_once_and_never_over_what_the_file_says(session: Session) -> None:
    silent, said = prompts_of(session, imported(session, {"prompt": GERMAN}, {"prompt": "Why?", "language": "en"}))
    both = [Detected(silent.id, "de"), Detected(said.id, "fr")]
    assert detection.record(session, both) == {silent.id: "de"}
    assert detection.record(session, [Detected(silent.id, "nl")]) == {}
    session.refresh(silent)
    session.refresh(said)
    assert (silent.language, silent.language_detected) == (None, "de")
    assert (said.language, said.language_detected) == ("en", None)
    assert not detection.waiting(session)


def test_what_cannot_be_told_is_not_looked_at_again(session: Session) -> None:
    (silent,) = prompts_of(session, imported(session, {"prompt": "42?"}))
    assert detection.record(session, [Detected(silent.id, None)]) == {}
    assert not detection.waiting(session)


def test_the_batch_knows_better_than_a_detection(session: Session) -> None:
    batch = imported(session, {"prompt": GERMAN}, language="nl")
    (silent,) = prompts_of(session, batch)
    assert detection.record(session, [Detected(silent.id, "de")]) == {}
    assert shares(session, batch) == [Share(Origin.IMPORTED, "nl", detected=False, prompts=1)]


def compared(session: Session, prompt: Prompt) -> Comparison:
    for answer in ("Zwei Tage.", "Drei Tage."):
        make_candidate(session, prompt, answer)
    comparison = create_comparison(session, prompt)
    assert comparison is not None
    return comparison


def test_a_comparison_follows_a_detection_before_and_after_it_is_made(session: Session) -> None:
    batch = make_batch(session)
    early, late = make_prompt(session, batch, GERMAN), make_prompt(session, batch, f"{GERMAN} Danke!")
    waiting = compared(session, early)
    assert waiting.language == ""
    follow_detection(session, detection.record(session, [Detected(early.id, "de"), Detected(late.id, "de")]))
    session.expire_all()
    assert waiting.language == "de"
    assert compared(session, late).language == "de"


def test_a_language_that_a_batch_loses_leaves_the_detected_one(session: Session) -> None:
    bob, batch = make_user(session, Role.ADMIN, "Bob"), make_batch(session)
    prompt = make_prompt(session, batch, GERMAN)
    detection.record(session, [Detected(prompt.id, "de")])
    comparison = compared(session, prompt)
    for said, follows in (("Dutch", "nl"), ("", "de")):
        settings.change(session, bob, batch, BatchChange(language=said))
        session.expire_all()
        assert comparison.language == follows


def test_rita_sees_origin_and_language_and_lists_by_them(session: Session, client: TestClient) -> None:
    batch = imported(
        session, {"prompt": GERMAN, "origin": "synthetic", "id": "g"}, {"prompt": "Why?", "language": "en"}
    )
    silent = prompts_of(session, batch)[0]
    detection.record(session, [Detected(silent.id, "de")])
    session.commit()
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    page = client.get(f"/batches/{batch.id}").text
    assert "synthetic" in page
    assert "German" in page
    assert "detected" in page
    only = client.get(f"/batches/{batch.id}?origin=synthetic&language=de").text
    assert "Wie lange" in only
    assert "Why?" not in only
    assert "German, detected" in client.get(f"/prompts/{silent.id}").text


def test_the_api_lists_prompts_with_origin_and_language(session: Session, client: TestClient) -> None:
    batch = imported(
        session, {"prompt": GERMAN, "origin": "synthetic", "id": "g"}, {"prompt": "Why?", "language": "en"}
    )
    detection.record(session, [Detected(prompts_of(session, batch)[0].id, "de")])
    session.commit()
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))

    def listed(query: str = "") -> list[tuple[str, str, str | None, str | None]]:
        rows = client.get(f"/api/v1/batches/{batch.id}/prompts{query}").json()["prompts"]
        return [(row["source_id"], row["origin"], row["language"], row["language_from"]) for row in rows]

    german, english = ("g", "synthetic", "de", "detected"), ("line-2", "imported", "en", "file")
    assert listed() == [german, english]
    assert listed("?language=de") == listed("?origin=synthetic") == [german]
    assert listed("?language=unknown") == listed("?state=ready") == []
    assert client.get(f"/api/v1/batches/{batch.id}/prompts?language=German").status_code == 422


def test_alice_lists_no_prompts(session: Session, client: TestClient) -> None:
    batch = make_batch(session)
    sign_in(client, make_user(session, name="Alice"))
    assert client.get(f"/api/v1/batches/{batch.id}/prompts").status_code == 403


MIGRATION = "4b7e1c9d2f60"


@pytest.fixture
def earlier(server_url: str) -> Iterator[Connection]:
    with before(server_url, MIGRATION) as connection:
        yield connection


def test_turns_of_dialogues_are_of_people_after_the_upgrade(earlier: Connection) -> None:
    earlier.execute(text("SET session_replication_role = replica"))  # rows stand for themselves here
    for dialogue, name in ((None, "file"), (1, "turn")):
        row = {"dialogue": dialogue, "name": name, "said": json.dumps([{"role": "user", "content": name}])}
        earlier.execute(
            text("""
                INSERT INTO prompts (batch_id, external_id, dialogue_id, messages, content_hash, state)
                VALUES (1, :name, :dialogue, CAST(:said AS jsonb), '\\x00', 'ready')
            """),
            row,
        )
    earlier.commit()
    command.upgrade(config(earlier), MIGRATION)
    origins = earlier.execute(text("SELECT external_id, origin, language_detected FROM prompts ORDER BY id")).all()
    assert [tuple(row) for row in origins] == [("file", "imported", None), ("turn", "human", None)]
    command.downgrade(config(earlier), "-1")
    columns = {
        row[0]
        for row in earlier.execute(
            text("SELECT column_name FROM information_schema.columns WHERE table_name = 'prompts'")
        )
    }
    assert not columns & {"origin", "language_detected"}
