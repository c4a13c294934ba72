"""The playground: two models side by side, blind if wished, for admins alone, and apart from all that is judged."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.candidates import live, live_pace
from app.candidates.models import Candidate, LiveGeneration, LiveKind, LiveState
from app.kernel.errors import BadInput, Conflict, NotFound, TooMany, Unavailable
from app.kernel.settings import get_settings
from app.playground import service
from app.playground.forms import Ask
from app.playground.models import Trial
from app.prompts.models import Prompt
from app.registry.deployments import serving
from app.upkeep.audit import audit
from tests.factories import make_user, sign_in
from tests.talking import make_trial


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


def test_the_champion_answers_beside_another_model_at_one_pace(session: Session, bob: User) -> None:
    trial = make_trial(session, bob, "Why?")
    champion = serving(session).champion
    assert trial.left.deployment.checkpoint_id == champion
    assert trial.right.deployment.checkpoint_id != champion
    assert [row.kind for row in (trial.left, trial.right)] == [LiveKind.TRIAL, LiveKind.TRIAL]
    assert live.side_by_side(session, trial.right) == [trial.left, trial.right]
    trial.left.state, trial.left.text = LiveState.DONE, "A long answer."
    session.commit()
    assert live_pace.shown(session, trial.left).text == "", (
        "the other one has not begun, and time must not tell who is who"
    )


def test_the_worker_can_take_a_trial(session: Session, bob: User) -> None:
    trial = make_trial(session, bob, "Why?", system="Be short.")
    held = live.claim(session, trial.left_id)
    assert held is not None
    assert held.messages == [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]
    assert held.tools is None


def test_nothing_of_a_trial_is_a_prompt_or_a_candidate(session: Session, bob: User) -> None:
    make_trial(session, bob, "Why?", "One.", "Two.")
    assert session.scalar(select(func.count()).select_from(Prompt)) == 0
    assert session.scalar(select(func.count()).select_from(Candidate)) == 0
    assert audit(session, files=False) == []


def test_blind_sides_are_drawn_and_named_when_asked(session: Session, bob: User) -> None:
    trials = [make_trial(session, bob, "Why?", "One.", "Two.", blind=True) for _ in range(12)]
    left = {trial.left.deployment.checkpoint_id for trial in trials}
    assert len(left) == 2, "1 in 2,048 that all sides fall alike"
    assert service.names(trials[0]) is None
    revealed = service.reveal(session, bob, trials[0].id)
    assert service.names(revealed) == [row.deployment.checkpoint.name for row in (revealed.left, revealed.right)]
    moment = revealed.revealed_at
    assert service.reveal(session, bob, trials[0].id).revealed_at == moment


def test_names_wait_until_both_are_written(session: Session, bob: User) -> None:
    trial = make_trial(session, bob, "Why?", blind=True)
    with pytest.raises(Conflict, match="still being written"):
        service.reveal(session, bob, trial.id)


def test_a_conversation_goes_on_from_the_answer_that_is_taken(session: Session, bob: User) -> None:
    first = make_trial(session, bob, "Why?", "Because.", "Rayleigh.", system="Be short.")
    after = make_trial(session, bob, "Who?", after=first.id, answer="B")
    assert after.messages == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Rayleigh."},
        {"role": "user", "content": "Who?"},
    ]
    with pytest.raises(BadInput):
        service.ask(session, bob, Ask(message="x", system="Be long.", after=first.id, key="k"))
    with pytest.raises(Conflict, match="still being written"):
        service.ask(session, bob, Ask(message="x", after=after.id, key="k"))
    empty = make_trial(session, bob, "Why?", "", "Rayleigh.")
    with pytest.raises(Conflict, match="no text"):
        service.ask(session, bob, Ask(message="x", after=empty.id, key="k"))


def test_one_key_asks_once_and_means_one_thing(session: Session, bob: User) -> None:
    make_trial(session, bob, "Why?", "One.", "Two.")
    first = service.ask(session, bob, Ask(message="Why?", key="k"))
    assert service.ask(session, bob, Ask(message="Why?", key="k")).id == first.id
    with pytest.raises(BadInput):
        service.ask(session, bob, Ask(message="Who?", key="k"))


def test_a_quota_for_one_answer_asks_for_none(session: Session, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    make_trial(session, bob, "Why?")
    before = session.scalar(select(func.count()).select_from(LiveGeneration))
    monkeypatch.setenv("CORRAL_LIVE_AT_ONCE", "3")
    get_settings.cache_clear()
    with pytest.raises(TooMany):
        service.ask(session, bob, Ask(message="Why?", key="k"))
    assert session.scalar(select(func.count()).select_from(LiveGeneration)) == before


def test_only_models_in_service_are_asked(session: Session, bob: User) -> None:
    with pytest.raises(Unavailable):
        service.ask(session, bob, Ask(message="Why?", key="k"))
    make_trial(session, bob, "Why?", "One.", "Two.")
    with pytest.raises(BadInput) as refusal:
        service.ask(session, bob, Ask(message="Why?", beside=10**6, key="k"))
    assert refusal.value.extra["errors"][0]["loc"] == "beside"


def test_a_trial_is_its_admins_own(session: Session, bob: User, client: TestClient) -> None:
    trial = make_trial(session, bob, "Why?", "One.", "Two.")
    eve = make_user(session, Role.ADMIN, "Eve")
    with pytest.raises(NotFound):
        service.access(session, eve, trial.id)
    for role in (Role.ANNOTATOR, Role.REVIEWER):
        sign_in(client, make_user(session, role, "Someone"))
        assert client.get("/playground").status_code in {403, 404}
        assert client.post("/playground", data={"message": "x", "key": "k"}).status_code in {403, 404}
        assert client.get(f"/api/v1/playground/{trial.id}").status_code in {403, 404}


def test_the_pages_without_scripts(session: Session, bob: User, client: TestClient) -> None:
    sign_in(client, bob)
    assert "No model is loaded right now" in client.get("/playground").text
    make_trial(session, bob, "An earlier question", "One.", "Two.")
    assert "An earlier question" in client.get("/playground").text
    refused = client.post("/playground", data={"message": "  ", "key": "k", "blind": "true"})
    assert refused.status_code == 422
    assert "s empty: write something" in refused.text
    where = client.post("/playground", data={"message": "Why?", "key": "k", "blind": "true"}).headers["location"]
    watching = client.get(where).text
    assert "Two models are answering" in watching
    assert client.post(f"{where}/stop").headers["location"] == where
    trial = session.get_one(Trial, int(where.rpartition("/")[2]), populate_existing=True)
    for row in session.scalars(select(LiveGeneration).where(LiveGeneration.id.in_([trial.left_id, trial.right_id]))):
        row.state, row.text = LiveState.DONE, "An **answer**."
    session.commit()
    names = ("zebra-base", "okapi-policy")
    answers = client.get(where).text.partition('id="answers-head"')[2].partition("<form id=")[0]
    assert "<strong>answer</strong>" in answers
    assert not any(name in answers for name in names)
    client.post(f"{where}/reveal")
    answers = client.get(where).text.partition('id="answers-head"')[2].partition("<form id=")[0]
    assert all(name in answers for name in names)


def test_the_api_hides_who_wrote_a_blind_trial(session: Session, bob: User, client: TestClient) -> None:
    sign_in(client, bob)
    trial = make_trial(session, bob, "Why?", "One.", "Two.", blind=True)
    told = client.get(f"/api/v1/playground/{trial.id}").json()
    assert [(each["side"], each["text"], each["model"]) for each in told["answers"]] == [
        ("A", "One.", None),
        ("B", "Two.", None),
    ]
    told = client.post(f"/api/v1/playground/{trial.id}/reveal").json()
    assert {each["model"] for each in told["answers"]} == {"zebra-base", "okapi-policy"}
    asked = client.post("/api/v1/playground", json={"message": "Who?", "after": trial.id, "answer": "B", "key": "k2"})
    assert asked.status_code == 201
    assert asked.json()["messages"][1] == {"role": "assistant", "content": "Two."}
