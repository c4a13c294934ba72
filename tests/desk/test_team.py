"""The team and one person's work: who works, what is left and until when, what it costs, and who may see it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, User
from app.annotations import gold
from app.annotations.models import Annotation, RetractionScope
from app.board.models import Board, BoardState
from app.comparisons.models import Comparison
from app.desk import plots, rates, team_forms
from app.desk.counting import Work
from app.desk.forecast import forecast
from app.desk.models import Per, WorkRate
from app.desk.team import person, team
from app.judgements.vocabulary import Outcome
from app.kernel.errors import BadInput, NotFound
from app.lineage import service as lineage
from app.loops.models import FIRST_LOOP
from app.prompts.models import Batch, BatchState
from app.quality import service as quality
from tests.factories import make_annotation, make_assignment, make_batch, make_comparison, make_user, sign_in
from tests.upkeep.auditing import spoil

PAGES = ("/desk/team", "/desk/people/{}", "/api/v1/desk/team", "/api/v1/desk/people/{}")


def today() -> date:
    """Asked in each test: a run of all of them may begin the day before."""
    return datetime.now(UTC).date()


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice Liddell")


def work(session: Session, user: User, batch: Batch, *, ago: int, items: int, seconds: float = 8) -> None:
    """What ``user`` did some days ago, as counts alone."""
    spoil(
        session,
        "INSERT INTO work_counts (user_id, batch_id, day, time_class, items, milliseconds)"
        " VALUES (:user, :batch, :day, time_class(:seconds), :items, :ms)",
        user=user.id,
        batch=batch.id,
        day=today() - timedelta(ago),
        seconds=seconds,
        items=items,
        ms=round(1000 * seconds * items),
    )


def board_of(session: Session, *pairs: tuple[User, User, int]) -> None:
    """A board on which people agree."""
    rate = {"rate": 0.42, "low": 0.31, "high": 0.53}
    session.add(
        Board(
            loop_id=FIRST_LOOP,
            state=BoardState.READY,
            computed_at=func.now(),
            agreement={
                "overall": {"name": "", "items": 9, "judgements": 18, "nominal": rate, "ordinal": None},
                "people": [
                    {
                        "name": " and ".join(sorted([one.pseudonym, other.pseudonym])),
                        "items": items,
                        "judgements": 2 * items,
                        "nominal": rate,
                        "ordinal": None,
                    }
                    for one, other, items in pairs
                ],
            },
        )
    )
    session.commit()


# ── Who may see it ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("url", PAGES)
def test_annotators_find_neither_the_team_nor_themselves(
    client: TestClient, session: Session, alice: User, url: str
) -> None:
    make_annotation(session, alice)
    assert sign_in(client, alice).get(url.format(alice.id)).status_code in {403, 404}
    with pytest.raises(NotFound):
        team(session, alice, 30)
    with pytest.raises(NotFound):
        person(session, alice, alice.id, 30)


@pytest.mark.parametrize("url", PAGES)
def test_admins_see_names_and_reviewers_pseudonyms(
    client: TestClient, session: Session, alice: User, rita: User, bob: User, url: str
) -> None:
    said = make_annotation(session, alice)
    dora = make_user(session, name="Dora Dent")
    make_annotation(session, dora)
    board_of(session, (alice, dora, 9))
    seen = sign_in(client, rita).get(url.format(alice.id)).text
    assert alice.pseudonym in seen
    assert not [name for name in ("Liddell", "Dent", "zebra") if name in seen]
    assert f"/annotations/{said.id}" not in seen
    assert "Liddell" in sign_in(client, bob).get(url.format(alice.id)).text


def test_reviewers_set_no_rate(client: TestClient, session: Session, rita: User) -> None:
    form = {"amount": "1", "per": "item", "currency": "EUR"}
    reviewer = sign_in(client, rita)
    assert reviewer.post("/desk/rate", data=form).status_code in {403, 404}
    assert reviewer.post("/desk/rate/remove").status_code in {403, 404}
    assert reviewer.put("/api/v1/desk/rate", json=form).status_code in {403, 404}
    assert reviewer.delete("/api/v1/desk/rate").status_code in {403, 404}
    assert "What work costs" not in reviewer.get("/desk/team").text
    assert session.scalar(select(func.count()).select_from(WorkRate)) == 0


def test_there_is_no_page_of_nobody(client: TestClient, rita: User) -> None:
    reviewer = sign_in(client, rita)
    assert reviewer.get("/desk/people/999999").status_code == 404
    assert reviewer.get("/api/v1/desk/people/999999").status_code == 404
    assert reviewer.get("/desk/people/alice").status_code == 404


# ── The team ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_empty_team_says_so(client: TestClient, session: Session, rita: User, alice: User) -> None:
    page = sign_in(client, rita).get("/desk/team").text
    assert "No work in these days" in page
    assert "Working now" not in page.split("How these numbers")[0]
    found = team(session, rita, 30)
    assert (found.at_work, found.people, found.left, found.forecast, found.batches) == ([], [], 0, None, [])
    page = client.get(f"/desk/people/{alice.id}").text
    assert "No work in these days" in page
    assert "Agreement has not been computed yet" in page


def test_who_works_now_has_an_item_open_or_has_just_submitted(
    session: Session, rita: User, alice: User, bob: User
) -> None:
    make_assignment(session, alice)
    said, old = make_annotation(session, bob), make_annotation(session, make_user(session, name="Old"))
    spoil(session, "UPDATE annotations SET created_at = now() - interval '2 min' WHERE id = :id", id=said.id)
    spoil(session, "UPDATE annotations SET created_at = now() - interval '16 min' WHERE id = :id", id=old.id)
    found = team(session, rita, 30).at_work
    assert [(each.who.id, each.open_items) for each in found] == [(alice.id, 1), (bob.id, 0)]
    spoil(session, "UPDATE assignments SET lease_until = now() - interval '1 s' WHERE state = 'active'")
    assert [each.who.id for each in team(session, rita, 30).at_work] == [bob.id]


def test_what_is_left_is_what_open_batches_still_ask_for(session: Session, rita: User, alice: User, bob: User) -> None:
    batch = make_batch(session, annotators_per_prompt=2)
    items = [make_comparison(session, batch=batch) for _ in range(3)]
    make_annotation(session, alice, items[0])
    make_assignment(session, bob, items[0])
    paused = make_comparison(session)
    session.get_one(Batch, paused.batch_id).state = BatchState.PAUSED
    session.commit()
    found = team(session, rita, 30)
    wanted = select(func.sum(Comparison.annotators_wanted - Comparison.annotators_done))
    assert found.left == session.scalar(wanted.where(Comparison.batch_id == batch.id)) == 5
    assert [(each.id, each.work.items, each.left) for each in found.batches] == [(batch.id, 1, 5)]


def test_the_forecast_is_left_over_the_pace_of_full_days(session: Session, rita: User, alice: User) -> None:
    item = make_comparison(session, wanted=20)
    batch = session.get_one(Batch, item.batch_id)
    for ago in range(1, 6):
        work(session, alice, batch, ago=ago, items=10)
    work(session, alice, batch, ago=0, items=500)
    found = team(session, rita, 30)
    assert found.forecast is not None
    assert (found.forecast.days, found.forecast.pace, found.forecast.over) == (2.0, 10.0, 5)
    assert found.people[0].work == Work(550, 4_400_000, 550)
    assert found.people[0].median_seconds == pytest.approx(8, rel=0.42)


def test_there_is_no_forecast_of_too_little() -> None:
    assert forecast(100, [0] * 10 + [20] * 4) is None, "four days"
    assert forecast(100, [9] * 5) is None, "45 items"
    assert forecast(0, [20] * 14) is None, "nothing left"
    assert forecast(100, []) is None
    even = forecast(100, [0, 0] + [20] * 12)
    assert even is not None
    assert (even.days, even.low, even.high, even.over) == (5.0, 5.0, 5.0, 12)
    wild = forecast(100, [70, 0, 0, 0, 0])
    assert wild is not None
    assert wild.low < wild.days
    assert wild.high is None, "days differ too much"


def test_four_people_have_a_colour_and_the_others_share_one(session: Session, rita: User) -> None:
    batch = make_batch(session)
    people = [make_user(session, name=f"P{n}") for n in range(6)]
    for place, user in enumerate(people):
        work(session, user, batch, ago=1, items=20 - place)
    found = team(session, rita, 30)
    plot = plots.throughput(found.counts, {each.id: each.name for each in people})
    assert plot.columns == ["P0", "P1", "P2", "P3", "2 others"]
    day, cells = plot.rows[-2]
    assert day == today() - timedelta(1)
    assert [cell.value for cell in cells] == [20, 19, 18, 17, 31]
    assert [cell.value for cell in plot.rows[-1][1]] == [0] * 5
    assert len(plot.rows) == 30


def test_the_page_holds_what_its_plots_draw(client: TestClient, session: Session, rita: User, alice: User) -> None:
    batch = make_batch(session)
    work(session, alice, batch, ago=40, items=12)
    make_annotation(session, alice)
    board_of(session, (alice, rita, 9))
    reviewer = sign_in(client, rita)
    page = reviewer.get("/desk/team?days=90").text
    assert page.count('data-value="12"') == 1
    assert 'data-table="throughput-table"' in page
    assert "0.42" in page
    assert f"/desk/people/{alice.id}?days=90" in page
    assert 'data-value="12"' not in reviewer.get("/desk/team").text
    assert 'data-value="12"' not in reviewer.get("/desk/team?days=91").text, "another number of days is 30"
    assert "/desk/team" in reviewer.get("/desk").text


# ── One person ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_person_is_shown_with_their_days_gold_and_agreement(
    client: TestClient, session: Session, rita: User, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_annotation(session, bob)
    known = quality.make_gold(session, bob, source, "Because.")
    session.commit()
    item = session.get_one(Comparison, known.id)
    right = session.get_one(Annotation, source.id).ranking
    batch = session.get_one(Batch, item.batch_id)
    monkeypatch.setattr(gold, "is_due", lambda _: True)
    make_comparison(session, batch=batch)
    make_annotation(session, alice, item, ranking=right)
    gone = make_user(session)
    board_of(session, (alice, rita, 9), (bob, rita, 5), (gone, alice, 4))
    found = person(session, rita, alice.id, 30)
    assert found.counts.people == {alice.id: Work(1, 12_500, 1)}
    assert [(share.k, share.n) for _, share in found.gold] == [(1, 1)]
    assert found.gold[0][0] == today() - timedelta(today().weekday())
    assert found.statistics.annotations == 1
    assert [(pair.items, getattr(other, "id", other)) for other, pair in found.agreement] == [
        (9, rita.id),
        (4, gone.id),
    ]
    page = sign_in(client, rita).get(f"/desk/people/{alice.id}").text
    assert "Known answers by week" in page
    assert "100% (1 of 1)" in page
    assert rita.pseudonym in page
    assert f"/desk?annotator={alice.pseudonym}" in page


def test_two_who_disagree_are_shown_with_what_each_did(session: Session, rita: User, alice: User, bob: User) -> None:
    item = make_comparison(session, wanted=2)
    make_annotation(session, alice, item)
    make_annotation(session, bob, item, outcome=Outcome.TIE)
    board_of(session, (alice, bob, 1))
    for one, other in ((alice, bob), (bob, alice)):
        found = person(session, rita, one.id, 30)
        assert found.counts.people == {one.id: Work(1, 12_500, 1)}
        assert [each.id for each, _ in found.agreement if not isinstance(each, str)] == [other.id]


def test_an_erased_person_has_a_page_without_work(client: TestClient, session: Session, alice: User, bob: User) -> None:
    make_annotation(session, alice)
    lineage.retract(session, bob, RetractionScope.PERSON, alice.id, "They asked.", erase=True)
    session.commit()
    admin = sign_in(client, bob)
    page = admin.get(f"/desk/people/{alice.id}").text
    assert "No work in these days" in page
    assert "Liddell" not in page
    assert alice.pseudonym not in admin.get("/desk/team").text


# ── What work costs ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_rate_by_the_hour_and_by_the_item(client: TestClient, session: Session, alice: User, bob: User) -> None:
    batch, untimed = make_batch(session), make_batch(session)
    work(session, alice, batch, ago=1, items=90, seconds=40)
    spoil(
        session,
        "INSERT INTO work_counts (user_id, batch_id, day, time_class, items, milliseconds)"
        " VALUES (:u, :a, now(), -1, 10, 0), (:u, :b, now(), -1, 10, 0)",
        u=alice.id,
        a=batch.id,
        b=untimed.id,
    )
    admin = sign_in(client, bob)
    assert "Cost per item" not in admin.get("/desk/team").text
    for _ in range(2):
        answer = admin.post("/desk/rate", data={"amount": "18.50", "per": "hour", "currency": " EUR "})
        assert answer.status_code == 303
    page = admin.get("/desk/team").text
    assert "18.50 EUR" in page, "an hour"
    assert "0.2056 EUR" in page, "of those that were timed"
    assert "not timed" in page
    assert 'value="18.5"' in page
    assert admin.put("/api/v1/desk/rate", json={"amount": "0.35", "per": "item", "currency": "CHF"}).json() == {
        "amount": "0.35",
        "per": "item",
        "currency": "CHF",
    }
    found = admin.get("/api/v1/desk/team").json()["batches"]
    assert [(each["cost"], each["cost_per_item"]) for each in found] == [("3.5000", "0.3500"), ("35.0000", "0.3500")]
    for _ in range(2):
        assert admin.post("/desk/rate/remove").status_code == 303
    assert admin.delete("/api/v1/desk/rate").status_code == 204
    assert "Cost per item" not in admin.get("/desk/team").text
    events = select(AuditEvent.action).where(AuditEvent.action.startswith("rate.")).order_by(AuditEvent.id)
    assert session.scalars(events).all() == ["rate.set", "rate.set", "rate.remove"]


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "1,5"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "0.00001"}, "amount"),
        ({"amount": "1e99"}, "amount"),
        ({"amount": ""}, "amount"),
        ({"currency": " "}, "currency"),
        ({"currency": "thirteen char"}, "currency"),
        ({"per": "year"}, "per"),
    ],
)
def test_what_is_no_rate_is_refused_at_its_field(
    client: TestClient, session: Session, bob: User, form: dict[str, str], field: str
) -> None:
    answer = sign_in(client, bob).post("/desk/rate", data={"amount": "1", "per": "item", "currency": "EUR"} | form)
    assert answer.status_code == 422
    assert f'id="error-{field}"' in answer.text
    assert session.scalar(text("SELECT count(*) FROM work_rates")) == 0


def test_money_has_cents_and_of_small_amounts_more(session: Session, bob: User) -> None:
    assert rates.money(Decimal("1234.5"), "EUR") == "1,234.50 EUR"
    assert rates.money(Decimal("0.1234"), "¥") == "0.1234 ¥"
    rate = rates.set_rate(session, bob, "2", Per.HOUR, "EUR")
    assert rates.cost(rate, Work(3, 0, 0)) is None
    assert rates.cost_per_item(rate, Work(0, 0, 0)) is None
    assert rates.cost(None, Work(3, 0, 3)) is None
    with pytest.raises(BadInput):
        rates.set_rate(session, bob, "2", Per.HOUR, "a\x00")


# ── From a program ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_api_says_what_the_pages_show(client: TestClient, session: Session, rita: User, alice: User) -> None:
    make_annotation(session, alice)
    make_assignment(session, alice)
    api = sign_in(client, rita)
    found = api.get("/api/v1/desk/team", params={"days": 7}).json()
    assert (found["since"], found["until"]) == (str(today() - timedelta(6)), str(today()))
    done = {"items": 1, "active_seconds": 12.5}
    who = {"user_id": alice.id, "pseudonym": alice.pseudonym, "name": None}
    assert found["days"] == [{"day": str(today()), "user_id": alice.id} | done]
    assert found["people"] == [who | done | {"median_seconds": None}]
    assert [(each["user_id"], each["open_items"]) for each in found["at_work"]] == [(alice.id, 1)]
    assert (found["left"], found["forecast"], found["rate"]) == (1, None, None)
    one = api.get(f"/api/v1/desk/people/{alice.id}").json()
    assert (one["days"], one["statistics"]["annotations"], one["agreement"], one["gold"]) == (found["days"], 1, [], [])
    for days in (0, 91):
        assert api.get("/api/v1/desk/team", params={"days": days}).status_code == 422


@pytest.mark.parametrize("model", [each for each in vars(team_forms).values() if isinstance(each, type)])
def test_an_example_is_what_its_model_takes(model: Any) -> None:
    for example in getattr(model, "model_config", {}).get("json_schema_extra", {}).get("examples", []):
        assert model.model_validate(example)
