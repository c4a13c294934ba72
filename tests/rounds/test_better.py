"""Is it better? Rounds with and without contests, as the front page, its API and the contest's own doors say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.loops.models import Round, RoundState, Verdict
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import better
from app.rounds.models import Evaluation
from tests.factories import (
    current_round,
    make_checkpoint,
    make_comparison,
    make_user,
    sign_in,
)
from tests.rounds.history import challenge, crown, settle


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def rita(session: Session) -> User:
    return make_user(session, Role.REVIEWER, "Rita")


@pytest.fixture
def base(session: Session) -> Checkpoint:
    return make_checkpoint(session, "zebra-base", CheckpointKind.BASE)


@contextmanager
def queries_of(session: Session) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(*arguments: Any) -> None:
        sent.append(arguments[2])

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    yield sent
    event.remove(connection, "before_cursor_execute", note)


# ── The answer ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_before_a_round_is_trained_nothing_is_known(session: Session, client: TestClient, bob: User) -> None:
    current_round(session)
    page = sign_in(client, bob).get("/").text
    assert "Is it better?" in page
    assert "No round has been trained." in page
    assert "Nothing to show yet." in page


def test_a_policy_without_a_contest_is_said_to_be_unknown(session: Session, bob: User) -> None:
    session.add(Round(number=1, state=RoundState.COMPLETE))
    crown(session, make_checkpoint(session, "okapi-r1"))
    assert better.better(session, bob).answer.words == "okapi-r1 became the champion without a contest."


def test_the_champion_is_compared_with_the_base_through_all_contests(
    session: Session, bob: User, base: Checkpoint
) -> None:
    first = settle(session, 1, base, Verdict.PROMOTED, 0.6)
    settle(session, 2, first, Verdict.REFUSED, 0.45)
    third = settle(session, 3, first, Verdict.PROMOTED, 0.6)
    crown(session, third)
    found = better.better(session, bob)
    assert [round(entry.over_base.value, 2) for entry in found.entries if entry.over_base] == [0.6, 0.55, 0.69]
    assert [entry.over_before.value for entry in found.entries if entry.over_before] == [0.6, 0.45, 0.6]
    assert found.answer.word == "Yes."
    assert "okapi-r3 wins 69%" in found.answer.words


@pytest.mark.parametrize(
    ("verdict", "score", "word"),
    [
        (Verdict.OVERRIDDEN, 0.6, "Yes."),
        (Verdict.OVERRIDDEN, 0.53, "Not shown."),
        (Verdict.OVERRIDDEN, 0.4, "No."),
        (Verdict.PROMOTED, 0.53, "Yes."),
    ],
)
def test_the_word_follows_the_interval_and_the_evidence(
    session: Session, bob: User, base: Checkpoint, verdict: Verdict, score: float, word: str
) -> None:
    crown(session, settle(session, 1, base, verdict, score))
    assert better.better(session, bob).answer.word == word


def test_one_that_was_promoted_over_an_override_is_not_shown_to_beat_the_base(
    session: Session, bob: User, base: Checkpoint
) -> None:
    first = settle(session, 1, base, Verdict.OVERRIDDEN, 0.48)
    crown(session, settle(session, 2, first, Verdict.PROMOTED, 0.55))
    assert better.better(session, bob).answer.word == "Not shown."


def test_after_a_rollback_the_one_that_serves_again_is_spoken_of(session: Session, bob: User, base: Checkpoint) -> None:
    first = settle(session, 1, base, Verdict.PROMOTED, 0.58)
    settle(session, 2, first, Verdict.PROMOTED, 0.6)
    crown(session, first)
    assert "okapi-r1 wins 58%" in better.better(session, bob).answer.words


def test_while_every_policy_was_refused_the_base_serves_on(session: Session, bob: User, base: Checkpoint) -> None:
    settle(session, 1, base, Verdict.REFUSED, 0.4)
    crown(session, base)
    assert better.better(session, bob).answer.word == "Not yet."


def test_who_beat_a_champion_that_never_met_the_base_is_not_called_better_than_it(session: Session, bob: User) -> None:
    crown(session, settle(session, 2, make_checkpoint(session, "okapi-old"), Verdict.PROMOTED, 0.6))
    found = better.better(session, bob)
    assert found.answer.word == "Not known."
    assert "60% [54, 66]" in found.answer.words
    assert found.entries[-1].over_base is None


def test_a_page_with_many_rounds_reads_few_times(session: Session, bob: User, base: Checkpoint) -> None:
    champion = base
    for number in range(1, 12):
        champion = settle(session, number, champion, Verdict.PROMOTED, 0.55)
    challenge(session, 12, champion)
    session.expire_all()
    with queries_of(session) as sent:
        better.better(session, session.get_one(User, bob.id))
    assert len(sent) <= 9, sent


# ── The front page ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_bob_sees_every_number_of_the_charts_as_a_table_without_scripts(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    crown(session, settle(session, 1, base, Verdict.PROMOTED, 0.6))
    page = sign_in(client, bob).get("/").text
    assert page.count('role="img"') == page.count("</desc>") == 2
    assert "60% [54, 66]" in page
    assert re.search('<td class="number">143</td>', page)


def test_the_page_says_what_the_gate_found_with_its_words(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    policy = settle(session, 1, base, Verdict.REFUSED, 0.4)
    finding = {"step": 2, "level": "refuses", "words": "It repeats <itself> in 9% of answers."}
    found = session.get_one(Round, session.query(Round).one().id)
    session.add(Evaluation(round_id=found.id, checkpoint_id=policy.id, passed=False, findings=[finding]))
    session.commit()
    for path in ("/", "/rounds/1"):
        page = sign_in(client, bob).get(path).text
        assert "It repeats &lt;itself&gt; in 9% of answers." in page
        assert "Said so." in page


def test_the_next_act_in_a_contest_is_to_judge(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    challenge(session, 1, base)
    make_comparison(session)
    page = sign_in(client, bob).get("/").text
    more = re.search("About ([0-9]+) more judgements decide it", page)
    assert more
    assert 30 <= int(more[1]) <= 150


def test_a_contest_with_nothing_to_judge_asks_for_prompts(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    challenge(session, 1, base)
    page = sign_in(client, bob).get("/").text
    assert "Upload prompts" in page


def test_no_door_tells_a_reviewer_how_an_open_contest_stands(
    session: Session, client: TestClient, rita: User, base: Checkpoint
) -> None:
    """Rita judges as well: neither the score, nor who is in it, nor how the challenger differs reaches her."""
    contest = challenge(session, 1, base, counted=7791, budget=9000)
    said = {"step": 2, "level": "warns", "words": "Answers are 1.2 times as long."}
    session.add(
        Evaluation(round_id=contest.round_id, checkpoint_id=contest.challenger_id, passed=True, findings=[said])
    )
    session.commit()
    sign_in(client, rita)
    for path in ("/", "/rounds", "/rounds/1", "/api/v1/rounds", "/api/v1/contests", "/api/v1/better"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        for secret in ("okapi-r1", "1.2 times", "7791", "7,791", "60%", "0.6,", "evidence"):
            assert secret not in answer.text, (path, secret)
    assert "Only admins see the numbers until" in client.get("/").text
    assert "only for admins until the verdict" in client.get("/rounds/1").text
    assert client.get(f"/api/v1/contests/{contest.id}").status_code == 404


@pytest.mark.parametrize("path", ["/api/v1/contests", "/api/v1/contests/1", "/api/v1/better", "/api/v1/rounds"])
def test_annotators_have_no_door_to_contests(session: Session, client: TestClient, path: str) -> None:
    assert sign_in(client, make_user(session, name="Charlie")).get(path).status_code == 403


def test_alices_front_page_knows_of_no_contest(session: Session, client: TestClient, base: Checkpoint) -> None:
    challenge(session, 1, base)
    make_comparison(session)
    page = sign_in(client, make_user(session, name="Alice")).get("/").text
    for word in ("better?", "contest", "champion", "okapi", "Round"):
        assert word not in page, word


# ── The API ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_api_says_what_the_pages_say(session: Session, client: TestClient, bob: User, base: Checkpoint) -> None:
    champion = settle(session, 1, base, Verdict.PROMOTED, 0.6)
    crown(session, champion)
    contest = challenge(session, 2, champion)
    sign_in(client, bob)
    listed = client.get("/api/v1/contests", params={"limit": 1}).json()
    assert [each["id"] for each in listed["contests"]] == [contest.id]
    assert (
        client.get("/api/v1/contests", params={"before": listed["next"]}).json()["contests"][0]["verdict"] == "promoted"
    )
    one = client.get(f"/api/v1/contests/{contest.id}").json()
    assert one == listed["contests"][0]
    assert (one["challenger"], one["champion"], one["score"]["value"]) == ("okapi-r2", "okapi-r1", 0.6)
    assert one["by_person"] == [
        {"name": "annotator-aa", "counted": 22, "score": {"value": 0.64, "low": None, "high": None}, "without": 0.55}
    ]
    answer = client.get("/api/v1/better").json()
    assert answer["answer"] == "Yes."
    assert [each["over_before"] and each["over_before"]["value"] for each in answer["rounds"]] == [0.6, 0.6, None]
    rounds = client.get("/api/v1/rounds").json()["rounds"]
    assert [(each["state"], each["verdict"]) for each in rounds] == [
        ("collecting", None),
        ("challenging", None),
        ("complete", "promoted"),
    ]
    assert rounds[1]["contest_id"] == contest.id


# ── Rounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("state", list(RoundState))
@pytest.mark.parametrize("role", [Role.ADMIN, Role.REVIEWER])
def test_every_state_of_a_round_has_its_pages(
    session: Session, client: TestClient, state: RoundState, role: Role
) -> None:
    session.add(Round(number=1, state=state))
    session.commit()
    sign_in(client, make_user(session, role))
    for path in ("/", "/rounds", "/rounds/1", "/api/v1/rounds"):
        assert client.get(path).status_code == 200, path
    for path in ("/rounds", "/rounds/1"):
        assert f'">{state.label}</span>' in client.get(path).text, path


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_said_in_words_with_its_reason(
    session: Session, client: TestClient, bob: User, base: Checkpoint, verdict: Verdict
) -> None:
    settle(session, 1, base, verdict, 0.5)
    page = sign_in(client, bob).get("/rounds/1").text
    assert verdict.label in page
    assert verdict.words in page
    assert "Said so." in page


def test_a_round_that_was_refused_before_its_contest_says_where_it_ended(
    session: Session, client: TestClient, bob: User, base: Checkpoint
) -> None:
    found = Round(number=1, state=RoundState.COMPLETE, verdict=Verdict.REFUSED, verdict_reason="It repeats itself.")
    session.add(found)
    session.flush()
    finding = {"step": 2, "level": "refuses", "words": "It repeats itself in 9% of answers."}
    session.add(Evaluation(round_id=found.id, checkpoint_id=base.id, passed=False, findings=[finding]))
    session.commit()
    page = sign_in(client, bob).get("/rounds/1").text
    assert 'In contest<span class="visually-hidden"> (not reached)' in page
