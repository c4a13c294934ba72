"""Before an export leaves, page, API, client and command say what it holds that looks private: how much and where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from app.accounts.models import Role, User
from app.commands.cli import app as commands
from app.preferences.exporters import Shape
from app.preferences.forms import ExportFilter
from app.preferences.private import search as searching
from app.preferences.private.kinds import Kind, Passage
from app.preferences.private.masking import Where
from tests.factories import make_annotation, make_comparison, make_user, sign_in

PRIVATE = ["Write to jane@example.com or bob@example.com.", "Nothing here."]
PLAIN = ["One answer.", "Another."]


@pytest.fixture
def bob(client: TestClient, session: Session) -> User:
    bob = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    return bob


def judged(session: Session, *of: list[str]) -> list[int]:
    alice = make_user(session)
    return [make_annotation(session, alice, make_comparison(session, texts=texts)).id for texts in of]


def test_a_search_ends_where_it_has_enough_and_goes_on_there(session: Session) -> None:
    ids = judged(session, PRIVATE, PLAIN, PRIVATE, PLAIN)
    first = searching.search(session, Shape.CANONICAL, ExportFilter(), places=2, seconds=60)
    assert (first.searched, first.judgements, first.rows, first.next) == (1, 1, 1, ids[0])
    assert [each.annotation_id for each in first.places] == [ids[0], ids[0]]
    rest = searching.search(session, Shape.CANONICAL, ExportFilter(), after=ids[0], seconds=60)
    assert (rest.searched, rest.judgements, rest.next, rest.passages) == (3, 1, None, {Kind.EMAIL: 2})
    one = searching.search(session, Shape.CANONICAL, ExportFilter(), seconds=0)
    assert one.searched == 1, "a part looks at one judgement at least, so that a search comes to its end"
    assert searching.count(session, Shape.CANONICAL, ExportFilter()) == 4


def test_of_a_judgement_with_very_many_some_are_listed_and_all_counted(session: Session) -> None:
    judged(session, [" ".join(f"n{number}@example.com" for number in range(500)), "b"])
    part = searching.search(session, Shape.CANONICAL, ExportFilter(), places=10, seconds=60)
    assert (len(part.places), part.passages[Kind.EMAIL]) == (10, 500)


def test_an_excerpt_shows_what_stands_around_and_no_passage() -> None:
    text = "a" * 60 + " jane@example.com, bob@example.com\n and " + "z" * 60
    there = [Passage(61, 77, Kind.EMAIL), Passage(79, 94, Kind.EMAIL)]
    said = searching.excerpt_of(Where("response", 1, text, there), there[0])
    assert re.fullmatch(r"…a+ \[EMAIL\], \[EMAIL\] and z+…", said)
    clipped = searching.excerpt_of(Where("response", 1, text, [there[0], Passage(100, 130, Kind.SECRET)]), there[0])
    assert clipped.endswith("[SECRET]…")


def test_the_api_tells_a_part_and_what_no_pattern_finds(session: Session, client: TestClient, bob: User) -> None:
    ids = judged(session, PRIVATE, PLAIN)
    said = client.get("/api/v1/preferences/private?limit=1").json()
    assert (said["of"], said["searched"], said["judgements"], said["rows"]) == (2, 1, 1, 1)
    assert (said["passages"], said["next"]) == ({"email": 2}, ids[0])
    (place,) = said["places"]
    assert (place["annotation_id"], place["column"], place["kind"]) == (ids[0], "response", "email")
    assert place["excerpt"] == "Write to [EMAIL] or [EMAIL]."
    assert "names" in said["misses"]
    assert "google-re2" in said["found_by"]
    rest = client.get(f"/api/v1/preferences/private?after={ids[0]}").json()
    assert (rest["of"], rest["searched"], rest["places"], rest["next"]) == (None, 1, [], None)
    narrowed = client.get("/api/v1/preferences/private?outcome=tie").json()
    assert (narrowed["of"], narrowed["searched"]) == (0, 0)
    assert client.get("/api/v1/preferences/private?limit=0").status_code == 422


def test_the_export_of_api_and_page_takes_the_choice(session: Session, client: TestClient, bob: User) -> None:
    judged(session, PRIVATE, PLAIN)
    for url in ("/preferences/export", "/api/v1/preferences/export"):
        masked = client.get(f"{url}?private=mask").text
        assert "example.com" not in masked
        assert len(masked.splitlines()) == 2
        assert len(client.get(f"{url}?private=leave_out").text.splitlines()) == 1
        assert "example.com" in client.get(url).text
    assert client.get("/api/v1/preferences/export?private=shred").status_code == 422
    changed = client.get("/api/v1/preferences/export?private=mask&since=start")
    assert (changed.status_code, "example.com" in changed.text) == (200, False)


def test_the_page_shows_how_much_and_where_and_what_is_missed(session: Session, client: TestClient, bob: User) -> None:
    judged(session, PRIVATE, PLAIN)
    page = client.get("/preferences/private?shape=trl&split=all").text
    assert "1 judgement with 1 row holds something that looks private." in page
    assert "Write to [EMAIL] or [EMAIL]." in page
    assert "jane@" not in page
    assert "Patterns miss names" in page
    assert "hx-trigger" not in page.partition('id="private-count"')[2].partition(">")[0], "it is done"
    form = client.get("/preferences?private=mask").text
    assert 'formaction="/preferences/private"' in form
    assert "[EMAIL]" in form
    assert "jane@" not in form, "the first rows are as the download begins"


def test_a_count_goes_on_where_it_was_and_can_be_stopped(
    session: Session, client: TestClient, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(session, PRIVATE, PLAIN, PRIVATE)
    monkeypatch.setattr(searching, "SECONDS", 0)
    page = client.get("/preferences/private").text
    assert "so far." in page
    seen = 0
    while found := re.search(r'hx-get="([^"]+)" hx-trigger="load"', page):
        page, seen = client.get(found[1].replace("&amp;", "&")).text, seen + 1
    assert seen == 2
    assert "2 judgements with 2 rows hold something that looks private." in page
    first = client.get("/preferences/private").text
    stop = re.search(r'hx-get="([^"]+paused=true)"', first)
    assert stop
    stopped = client.get(stop[1].replace("&amp;", "&")).text
    assert 'hx-trigger="load"' not in stopped
    assert "Search on" in stopped


def test_further_places_are_on_a_page_of_their_own(
    session: Session, client: TestClient, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(session, PRIVATE, PRIVATE)
    monkeypatch.setattr("app.preferences.private.views.PLACES", 1)
    page = client.get("/preferences/private?shape=canonical").text
    further = re.search(r'href="([^"]+places_after=\d+)"', page)
    assert further
    rest = client.get(further[1].replace("&amp;", "&")).text
    assert "First places" in rest
    assert "private-count" not in rest


def test_who_may_not_export_may_not_search(session: Session, client: TestClient) -> None:
    judged(session, PRIVATE)
    sign_in(client, make_user(session, Role.ANNOTATOR, "Charlie"))
    for path in ("/preferences/private", "/preferences/private/count", "/api/v1/preferences/private"):
        assert client.get(path).status_code == 403
    comparison = make_comparison(session, wanted=2, texts=PRIVATE)
    make_annotation(session, make_user(session, name="Ann"), comparison)
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert client.get("/api/v1/preferences/private").json()["of"] == 1, "not what she may yet be given to judge"


def test_the_command_lists_them_and_says_what_is_missed(session: Session, tmp_path: Path) -> None:
    (first,) = judged(session, PRIVATE)
    said = CliRunner().invoke(commands, ["private"])
    assert said.exit_code == 0, said.output
    assert f"{first}\tresponse\temail\tWrite to [EMAIL] or [EMAIL]." in said.output
    assert "1 of 1 judgements (1 rows): 2 e-mail addresses." in said.output
    assert "Patterns miss names" in said.output
    file = tmp_path / "rows.jsonl"
    assert CliRunner().invoke(commands, ["export", "--private", "mask", "--out", str(file)]).exit_code == 0
    assert "[EMAIL]" in file.read_text()
    assert "example.com" not in file.read_text()
