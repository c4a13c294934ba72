"""Teams: who is in them, on pages and in JSON, and what is left when one is deleted or somebody is erased."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.models import AuditEvent, Role, TeamMember, User
from app.kernel.errors import BadInput
from app.lineage import erasing
from app.prompts.models import Batch, BatchPerson, BatchTeam
from tests.factories import make_batch, make_user, sign_in

URL = "/api/v1/teams"


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def api(client: TestClient, bob: User) -> TestClient:
    client.follow_redirects = True
    return sign_in(client, bob)


def actions(session: Session) -> list[str]:
    made = select(AuditEvent.action).where(AuditEvent.subject_type == "team").order_by(AuditEvent.id)
    return list(session.scalars(made))


def test_the_json_of_a_team_from_its_making_to_its_end(api: TestClient, session: Session) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    made = api.post(URL, json={"name": "  Night   shift ", "people": [alice.id]})
    assert (made.status_code, made.json()["name"]) == (201, "Night shift")
    team = f"{URL}/{made.json()['id']}"
    assert api.post(URL, json={"name": "night SHIFT"}).json()["errors"][0]["loc"] == "name"

    changed = api.post(f"{team}/members", json={"add": [rita.id, alice.id], "remove": [alice.id]})
    assert changed.status_code == 422, "nobody is added and taken out at once"
    changed = api.post(f"{team}/members", json={"add": [rita.id], "remove": [alice.id, 10**9]}).json()
    assert changed["members"] == [{"id": rita.id, "name": "Rita"}]
    assert "nobody with the number" in api.post(f"{team}/members", json={"add": [10**9]}).text
    assert api.patch(team, json={"name": "Day shift"}).json()["name"] == "Day shift"

    batch = make_batch(session)
    assert api.patch(f"/api/v1/batches/{batch.id}", json={"teams": [changed["id"]]}).status_code == 200
    listed = api.get(URL).json()["teams"]
    assert [each["batches"] for each in listed] == [[{"id": batch.id, "name": batch.name}]]
    gone = api.delete(team)
    assert (gone.status_code, gone.json()["batches"]) == (200, [{"id": batch.id, "name": batch.name}])
    assert api.get(team).status_code == 404
    now = api.get(f"/api/v1/batches/{batch.id}").json()
    assert (now["assigned_only"], now["teams"], now["people"]) == (True, [], [])
    assert not session.scalars(select(TeamMember)).all()
    assert not session.scalars(select(BatchTeam)).all()
    assert actions(session) == ["team.create", "team.members", "team.members", "team.rename", "team.delete"]


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
def test_teams_are_the_admins_alone(client: TestClient, session: Session, bob: User, role: Role) -> None:
    team = teams.create(session, bob, "Night shift")
    session.commit()
    sign_in(client, make_user(session, role, "Charlie"))
    for method, path in (("GET", URL), ("POST", URL), ("GET", f"{URL}/{team.id}"), ("DELETE", f"{URL}/{team.id}")):
        assert client.request(method, path, json={"name": "x"}).status_code in {403, 404}, path
    for path in ("/teams", f"/teams/{team.id}"):
        assert client.get(path).status_code in {403, 404}
    assert client.post(f"/teams/{team.id}/delete").status_code in {403, 404}


def test_an_admin_makes_a_team_and_fills_it_by_ticks_and_pasted_addresses(api: TestClient, session: Session) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita", email="rita@example.org")
    assert "No team yet" in api.get("/teams").text
    there = api.post("/teams", data={"name": "Night shift"}, follow_redirects=False).headers["location"].split("?")[0]

    page = api.post(
        f"{there}/add", data={"people": [alice.id], "addresses": "Rita <rita@example.org>\nnobody@example.org"}
    )
    assert page.status_code == 422
    assert "line 2: nobody@example.org" in page.text
    assert f'value="{alice.id}" checked' in page.text
    assert session.scalars(select(TeamMember)).all() == [], "all of them or nobody"
    page = api.post(f"{there}/add", data={"people": [alice.id], "addresses": "Rita <RITA@example.org>"})
    assert "2 people added" in page.text
    assert "Rita, rita@example.org" in page.text

    page = api.post(f"{there}/remove", data={"people": [alice.id]})
    assert "1 person taken out" in page.text
    assert session.scalars(select(TeamMember.user_id)).all() == [rita.id]
    assert api.post(f"{there}/add", data={"peeple": "1"}).status_code == 422
    assert "Name saved" in api.post(there, data={"name": "Owls"}).text
    assert api.post(there, data={"name": " "}).status_code == 422


def test_deleting_a_team_says_what_was_assigned_to_it(api: TestClient, session: Session, bob: User) -> None:
    team = teams.create(session, bob, "Night shift", [bob.id])
    batch = make_batch(session, name="Everyday questions")
    session.commit()
    api.post(f"/batches/{batch.id}/assign", data={"teams": [team.id]})
    assert "It is assigned to 1 batch" in api.get(f"/teams/{team.id}").text

    page = api.post(f"/teams/{team.id}/delete")
    assert "It was assigned to “Everyday questions”" in page.text
    assert "Nobody gets items of this batch" in api.get(f"/batches/{batch.id}").text
    assert '<span class="bad">nobody</span>' in api.get("/batches").text


def test_who_is_erased_is_in_no_team_and_on_no_list_and_their_batch_is_not_opened_to_all(
    session: Session, bob: User
) -> None:
    alice = make_user(session)
    batch = make_batch(session)
    batch.assigned_only = True
    teams.create(session, bob, "Night shift", [alice.id])
    session.add(BatchPerson(batch_id=batch.id, user_id=alice.id, barred=False))
    session.commit()
    erasing.erase(session, bob, alice.id)
    session.commit()
    assert not session.scalars(select(TeamMember)).all()
    assert not session.scalars(select(BatchPerson)).all()
    assert session.scalars(select(Batch.assigned_only)).all() == [True]


def test_addresses_of_people_are_read_as_those_to_invite(session: Session, bob: User) -> None:
    alice = make_user(session, email="alice@example.org")
    assert teams.people_at(session, 'email;role\n"alice@example.org";annotator') == [alice.id]
    assert teams.people_at(session, " ") == []
    with pytest.raises(BadInput, match="and 2 more"):
        teams.people_at(session, ", ".join(f"n{number}@example.org" for number in range(7)))
