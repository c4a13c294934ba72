"""The board as page and API: who sees it, what stands there, and the votes behind a number."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.board import queries
from app.board.models import Board, BoardState
from app.board.queries import Wanted
from app.comparisons.models import Comparison, JudgementRead
from app.loops.models import RoundState, Verdict
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds.models import Evaluation
from tests.board.conftest import Vote, cast_all, make_item
from tests.factories import current_round, make_annotation, make_assignment, make_checkpoint, make_user, sign_in
from workers.tasks.board import compute_board


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


def id_of(session: Session, name: str) -> int:
    return session.scalars(select(Checkpoint.id).where(Checkpoint.name == name)).one()


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.mark.parametrize("path", ["/board", "/board/agreement", "/board/votes?one=1"])
def test_annotators_find_no_board(client: TestClient, session: Session, path: str) -> None:
    assert sign_in(client, make_user(session)).get(path).status_code == 404


def test_the_menu_of_admins_leads_there(client: TestClient, session: Session, bob: User) -> None:
    assert 'href="/board"' in sign_in(client, bob).get("/batches").text
    assert 'href="/board"' not in sign_in(client, make_user(session, Role.REVIEWER, "Rita")).get("/batches").text


def test_an_empty_board_says_what_it_needs(client: TestClient, bob: User) -> None:
    page = sign_in(client, bob).get("/board").text
    assert "No votes yet" in page
    assert "Not computed yet." in page
    assert "Nothing to compare yet" in client.get("/board/agreement").text


def test_bob_asks_for_a_board_and_the_worker_computes_it(
    client: TestClient, session: Session, vote: Vote, bob: User
) -> None:
    cast_all(vote, [("okapi", "zebra-base", 3), ("zebra-base", "okapi", 1)])
    sign_in(client, bob)
    assert client.post("/board").status_code == 303
    page = client.get("/board", headers={"hx-request": "true"}).text
    assert "Computing." in page
    assert 'hx-trigger="every 2s"' in page
    assert "Compute now" not in page
    compute_board(session.scalars(select(Board.id)).one())
    page = client.get("/board").text
    words = text_of(page)
    assert "4 votes on 4 prompts, 0 of them ties, judged by 1 person." in words
    assert "With so few people, the intervals do not cover how others would judge." in words
    assert "Win rate against zebra-base" in words
    assert "75%" in words
    assert "Nothing new since." in words
    assert "hx-trigger" not in page.split('id="board"')[1].split(">")[0]
    vote("okapi", "zebra-base")
    assert "1 new judgements, reviews or retractions since." in text_of(client.get("/board").text)


def test_a_second_message_finds_nothing_to_compute(session: Session, vote: Vote, compute: Callable[[], Board]) -> None:
    vote("okapi", "zebra-base")
    board = compute()
    compute_board(board.id)
    compute_board(board.id + 100)
    assert session.get_one(Board, board.id).state is BoardState.READY


def test_a_computation_that_fails_says_why(
    client: TestClient, session: Session, vote: Vote, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    vote("okapi", "zebra-base")

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr("workers.board.computing.compute", broken)
    sign_in(client, bob).post("/board")
    compute_board(session.scalars(select(Board.id)).one())
    assert "The last computation failed: ZeroDivisionError: by accident" in client.get("/board").text


def test_only_admins_may_compute(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert client.post("/board").status_code == 403
    assert "Compute now" not in client.get("/board").text
    assert session.scalar(select(Board.id)) is None


def test_the_votes_behind_a_number_are_one_click_away(
    client: TestClient, session: Session, vote: Vote, compute: Callable[[], Board], bob: User
) -> None:
    said = vote("okapi", "zebra-base", capability="math")
    vote("gnu", "zebra-base")
    compute()
    page = sign_in(client, bob).get("/board").text
    url = f"/board/votes?one={id_of(session, 'okapi')}&amp;other={id_of(session, 'zebra-base')}"
    assert url in page
    votes = client.get(url.replace("&amp;", "&")).text
    words = text_of(votes)
    assert "okapi against zebra-base" in words
    assert session.get_one(User, said.annotator_id).pseudonym in votes
    assert "okapi says: word word word" in words
    assert "A is better won" in words
    assert "gnu says" not in words
    assert f"/review/annotations/{said.id}" in votes


@pytest.mark.parametrize(
    ("filters", "found"), [({}, 2), ({"capability": "math"}, 1), ({"round": 1}, 2), ({"round": 7}, 0)]
)
def test_the_list_keeps_to_the_filters_of_the_number(
    session: Session, vote: Vote, bob: User, filters: dict[str, str | int], found: int
) -> None:
    vote("okapi", "zebra-base", capability="math")
    vote("zebra-base", "okapi")
    wanted = Wanted(one=id_of(session, "okapi"), **filters)  # type: ignore[arg-type]
    assert len(queries.items(session, bob, wanted).rows) == found


def test_the_list_comes_page_by_page(session: Session, vote: Vote, bob: User) -> None:
    cast_all(vote, [("okapi", "zebra-base", 5)])
    wanted = Wanted(one=id_of(session, "zebra-base"))
    first = queries.items(session, bob, wanted, limit=3)
    second = queries.items(session, bob, wanted, before=first.next, limit=3)
    assert [len(first.rows), len(second.rows), second.next] == [3, 2, None]
    assert all(item.votes[0].score == 0 for item in first.rows)


def test_what_is_not_settled_is_not_shown(session: Session, bob: User) -> None:
    item = make_item(session, "okapi", "zebra-base", wanted=2)
    make_annotation(session, make_user(session), item)
    wanted = Wanted(one=id_of(session, "okapi"))
    assert queries.items(session, bob, wanted).rows == []
    make_annotation(session, make_user(session, name="Anna"), item)
    [found] = queries.items(session, bob, wanted).rows
    assert len(found.votes) == 2


def test_what_the_reader_is_judging_is_not_shown(session: Session, vote: Vote, bob: User) -> None:
    said = vote("okapi", "zebra-base")
    comparison = session.get_one(Comparison, said.comparison_id)
    comparison.annotators_wanted, comparison.seats_free = 2, 1
    session.commit()
    make_assignment(session, bob, comparison)
    comparison.annotators_wanted = 1
    session.commit()
    assert queries.items(session, bob, Wanted(one=id_of(session, "okapi"))).rows == []


def test_who_has_seen_an_item_is_not_given_its_prompt(session: Session, vote: Vote, bob: User) -> None:
    said = vote("okapi", "zebra-base")
    queries.items(session, bob, Wanted(one=id_of(session, "okapi")))
    read = session.scalars(select(JudgementRead.prompt_id).where(JudgementRead.user_id == bob.id)).all()
    assert list(read) == [session.get_one(Comparison, said.comparison_id).prompt_id]


@pytest.mark.parametrize("query", ["", "?one=0", "?one=x", "?one=99999", "?one=1&other=99999", "?one=%00"])
def test_a_policy_that_is_none_is_not_found(client: TestClient, bob: User, query: str) -> None:
    assert sign_in(client, bob).get(f"/board/votes{query}").status_code == 404


@pytest.mark.parametrize(
    "query", ["round=x", "round=-1", "round=99999999999999999999", "capability=%00", "capability=no"]
)
def test_a_filter_that_cannot_be_read_is_no_fault(
    client: TestClient, vote: Vote, compute: Callable[[], Board], bob: User, query: str
) -> None:
    vote("okapi", "zebra-base")
    compute()
    assert sign_in(client, bob).get(f"/board?{query}").status_code == 200


def test_programs_read_the_same_numbers(
    client: TestClient, session: Session, vote: Vote, compute: Callable[[], Board], bob: User
) -> None:
    sign_in(client, bob)
    assert client.get("/api/v1/board").json()["strengths"] is None
    cast_all(vote, [("okapi", "zebra-base", 3), ("zebra-base", "okapi", 1)])
    answer = client.post("/api/v1/board")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert client.get("/api/v1/board").json()["computing"] is True
    compute()
    found = client.get("/api/v1/board").json()
    assert found["strengths"]["votes"] == 4
    assert found["strengths"]["policies"][0]["name"] == "okapi"
    assert found["strengths"]["policies"][0]["win_rate"]["rate"] == pytest.approx(0.75, abs=1e-3)
    assert (found["computing"], found["new"], found["settled_alone"]) == (False, 0, False)
    assert client.get("/api/v1/board?round=1").json()["strengths"]["votes"] == 4
    assert client.get("/api/v1/board/agreement").json()["agreement"]["overall"]["items"] == 0
    votes = client.get(f"/api/v1/board/votes?one={id_of(session, 'okapi')}&limit=3").json()
    assert len(votes["items"]) == 3
    assert votes["next"] == votes["items"][-1]["id"]
    assert {each["checkpoint"] for each in votes["items"][0]["responses"]} == {"okapi", "zebra-base"}


def test_annotators_get_no_numbers_by_program(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    assert client.get("/api/v1/board").status_code == 403
    assert client.post("/api/v1/board").status_code == 403


def test_reviewers_hear_that_items_are_left_out(
    client: TestClient, session: Session, vote: Vote, compute: Callable[[], Board]
) -> None:
    vote("okapi", "zebra-base")
    make_annotation(session, make_user(session), make_item(session, "gnu", "zebra-base", wanted=2))
    compute()
    page = sign_in(client, make_user(session, Role.REVIEWER, "Rita")).get("/board").text
    assert "gnu" not in page
    assert "Items that still need a judgement, or that a contest waits for, are left out." in page


def rate(value: float, prompts: int = 40) -> dict[str, float | None]:
    alone = prompts == 1
    return {
        "value": value,
        "low": None if alone else value - 0.1,
        "high": None if alone else value + 0.1,
        "prompts": prompts,
    }


def test_the_board_shows_what_policies_solve_by_capability_and_how_it_was_measured(
    client: TestClient, session: Session, bob: User
) -> None:
    base = make_checkpoint(session, "zebra-base", CheckpointKind.BASE)
    policy = make_checkpoint(session, "okapi")
    found = current_round(session)
    session.add(
        Evaluation(
            round_id=found.id,
            checkpoint_id=policy.id,
            against_id=base.id,
            passed=True,
            metrics={
                "before_metrics": {"verified/maths": rate(0.2), "verified": rate(0.2), "empty_rate": rate(0.1)},
                "after_metrics": {"verified/maths": rate(0.6), "verified/code": rate(1.0, prompts=1)},
            },
        )
    )
    session.flush()
    words = text_of(sign_in(client, bob).get("/board").text)
    assert "Held-out prompts solved, by checks" in words
    assert "60% 50 to 70% of 40 prompts" in words
    assert "20% 10 to 30% of 40 prompts" in words
    assert "over 99% of 1 prompt" in words
    assert "verifiers say which pass" in words
    solved = client.get("/api/v1/board").json()["solved"]
    assert [(each["name"], sorted(each["rates"])) for each in solved] == [
        ("okapi", ["code", "maths"]),
        ("zebra-base", ["maths"]),
    ]
    found.state = RoundState.CHALLENGING
    session.flush()
    rita = make_user(session, Role.REVIEWER, "Rita")
    assert "by checks" not in sign_in(client, rita).get("/board").text, "she judges the contest as well"
    found.state, found.verdict, found.completed_at = RoundState.COMPLETE, Verdict.REFUSED, found.created_at
    session.flush()
    assert "by checks" in client.get("/board").text
