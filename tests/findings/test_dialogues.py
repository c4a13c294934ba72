"""Steering: the answers to every turn of a dialogue are checked against what its beginning asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.dialogues import service as conversing
from app.dialogues.forms import Seed
from app.dialogues.models import DialogueSeed
from app.findings.models import Check
from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from app.preferences import freeze
from app.preferences.forms import ExportFilter
from app.prompts.models import Batch, BatchState, Prompt
from app.upkeep.audit import audit
from tests.factories import make_annotation, make_comparison, make_user, sign_in
from tests.findings.checking import standing, states
from tests.talking import begin_dialogue, judge_turn, make_dialogue_batch, say, write_replies
from training.formats import snapshots
from workers.tasks import checks
from workers.verifiers.checker import Checker

LOWER = {"kind": "instructions", "ids": ["change_case:english_lowercase"], "kwargs": [{}]}
KEEPS, FORGETS = "all of this is written in small letters.", "This is written in Capital Letters."


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as checker:
        yield checker


@pytest.fixture(autouse=True)
def made_here(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "checker", lambda: checker)
    monkeypatch.setattr("app.kernel.jobs.ring", lambda *_: True)


def seed(**more: object) -> Seed:
    return Seed.model_validate({"system": "Write in lower case only.", "tests": [LOWER], **more})


def test_the_answers_to_every_turn_are_checked_by_the_verifiers_themselves(committed: Engine) -> None:
    with session_scope() as session:
        alice = make_user(session)
        dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, seed()))
        first = say(session, alice, dialogue, "What is rain?")
        write_replies(session, first, KEEPS, FORGETS)
        judge_turn(session, alice, first)
        second = say(session, alice, dialogue, "And snow?", first)
        write_replies(session, second, FORGETS + " Again.", KEEPS)
        conversing.judge(session, alice, dialogue.id, second.id)
        conversing.judge(session, alice, dialogue.id, second.id)
        assert [first.tests, second.tests] == [[LOWER], [LOWER]]
    assert checks.check() == 4
    with session_scope() as session:
        assert states(session) == {"done": 4}
        assert [passed for _, passed, _ in standing(session)] == [True, False, False, True]
        assert {verifier for verifier, _, _ in standing(session)} == {"instructions"}
        assert audit(session, files=False) == []


def test_a_beginning_without_tests_has_nothing_checked(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, seed(tests=[])))
    turn = say(session, alice, dialogue, "What is rain?")
    write_replies(session, turn, KEEPS, FORGETS)
    judge_turn(session, alice, turn)
    assert (turn.tests, session.scalars(select(Check)).all()) == (None, [])


def test_an_admin_says_what_is_checked_and_the_annotator_sees_it_after_judging(
    client: TestClient, session: Session
) -> None:
    alice = make_user(session)
    begin_dialogue(session, alice)  # makes the round, and two policies that could answer
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    form = {"name": "Small letters", "systems": "Write in lower case only.", "dialogues": "1", "max_turns": "3"}
    refused = client.post("/batches/new/dialogues", data=form | {"tests": '[{"ids": []}]'})
    assert refused.status_code == 422
    assert 'id="error-tests"' in refused.text
    assert "[{&#34;ids&#34;: []}]" in refused.text, "nothing is typed twice"
    made = client.post("/batches/new/dialogues", data=form | {"tests": json.dumps([LOWER])})
    assert made.status_code == 303, made.text
    batch = session.scalars(select(Batch).where(Batch.name == "Small letters")).one()
    assert session.scalars(select(DialogueSeed.tests).where(DialogueSeed.batch_id == batch.id)).all() == [[LOWER]]
    batch.state = BatchState.OPEN

    sign_in(client, alice)
    dialogue = begin_dialogue(session, alice, batch)
    turn = say(session, alice, dialogue, "What is rain?")
    write_replies(session, turn, KEEPS, FORGETS)
    item = conversing.judge(session, alice, dialogue.id, turn.id)
    session.commit()
    checks.check()
    where = f"/assignments/{item}/findings/"
    assert "finding__chip" not in client.get(f"{where}A").text + client.get(f"{where}B").text
    judge_turn(session, alice, turn)
    assert "Passed:" in client.get(f"{where}A").text
    assert "Failed:" in client.get(f"{where}B").text


def test_tests_of_a_beginning_come_over_the_api_too(client: TestClient, session: Session) -> None:
    begin_dialogue(session, make_user(session))
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    body = {"name": "Small letters", "seeds": [{"system": "Lower case only.", "tests": [LOWER]}, {"system": "Any."}]}
    made = client.post("/api/v1/batches/dialogues", json=body)
    assert made.status_code == 201, made.text
    tests = session.scalars(select(DialogueSeed.tests).where(DialogueSeed.batch_id == made.json()["id"]))
    assert tests.all() == [[LOWER], None]
    wrong = body | {"name": "Other", "seeds": [{"system": "Lower case only.", "tests": [{"ids": []}]}]}
    refused = client.post("/api/v1/batches/dialogues", json=wrong)
    assert refused.status_code == 422
    assert "without a kind" in refused.text


def test_turns_are_no_prompts_of_a_snapshot_and_their_judgements_are(session: Session) -> None:
    alice: User = make_user(session)
    dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, seed()))
    turn = say(session, alice, dialogue, "What is rain?")
    write_replies(session, turn, KEEPS, FORGETS)
    judge_turn(session, alice, turn)
    comparison = make_comparison(session)
    make_annotation(session, alice, comparison)
    folder = get_settings().snapshots_dir / "frozen"
    freeze.freeze(session, ExportFilter(), folder)
    assert [row["prompt_id"] for row in snapshots.asked(folder)] == [comparison.prompt_id]
    rows = [json.loads(line) for line in (folder / "preferences.jsonl").read_text().splitlines()]
    assert {row["prompt_id"] for row in rows} == {comparison.prompt_id, turn.id}
    assert session.get_one(Prompt, turn.id).dialogue_id == dialogue.id
