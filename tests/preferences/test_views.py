"""The preferences page, downloads and snapshots, as Rita and Bob see them and Charlie does not."""

from __future__ import annotations

import hashlib
import html
import inspect
import io
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Role, User
from app.annotations.models import Annotation
from app.commands.data import export as export_command
from app.kernel.errors import Unavailable
from app.kernel.jobs import Job
from app.preferences import files, service
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.preferences.models import Snapshot, SnapshotState
from app.prompts.models import Batch, BatchState
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user, sign_in


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    jobs: list[Job] = []

    def note(job: Job, *_: int) -> bool:
        jobs.append(job)
        return True

    monkeypatch.setattr("app.kernel.jobs.ring", note)
    return jobs


@pytest.fixture
def rita(session: Session, client: TestClient) -> User:
    rita = make_user(session, Role.REVIEWER, "Rita")
    sign_in(client, rita)
    return rita


@pytest.fixture
def judged(session: Session) -> list[Annotation]:
    alice = make_user(session, name="Alice")
    best = make_annotation(session, alice, make_comparison(session, n=3), strengths=[1, 4], edited_text="<b>Better</b>")
    return [best, make_annotation(session, alice, make_comparison(session), strengths=[2])]


def built(session: Session, snapshot: Snapshot) -> Snapshot:
    claimed = service.claim_snapshot(session, snapshot.id)
    assert claimed is not None
    service.build_snapshot(session, claimed)
    session.commit()
    return claimed


def newest(session: Session) -> Snapshot:
    return session.query(Snapshot).order_by(Snapshot.id.desc()).first() or pytest.fail("no snapshot")


def test_rita_sees_counts_by_strength_and_the_first_rows(
    client: TestClient, rita: User, judged: list[Annotation]
) -> None:
    page = client.get("/preferences").text
    assert "Significantly better" in page
    assert "Answer number 0 of the model." in page
    assert "<b>Better" not in page


def test_an_edit_with_markup_in_it_is_shown_as_text(client: TestClient, rita: User, judged: list[Annotation]) -> None:
    page = client.get("/preferences", params={"shape": "trl", "split": "all"}).text
    assert "&lt;b&gt;Better" in page
    assert "<b>Better" not in page


def test_an_empty_installation_says_what_to_do(client: TestClient, rita: User) -> None:
    assert "There are no annotations yet" in client.get("/preferences").text


def test_a_filter_changes_what_is_counted_shown_and_downloaded(
    session: Session, client: TestClient, rita: User, judged: list[Annotation]
) -> None:
    page = client.get("/preferences", params={"strength": "4", "batch": "", "round": "", "split": ""}).text
    assert "What the filter keeps" in page
    lines = client.get("/preferences/export", params={"strength": "4"}).content.splitlines()
    assert [orjson.loads(line)["strength"] for line in lines] == [4, 4]


@pytest.mark.parametrize("path", ["/preferences/export", "/api/v1/preferences/export"])
def test_what_a_trainer_reads_is_the_train_side_unless_asked_otherwise(
    session: Session, client: TestClient, rita: User, path: str
) -> None:
    alice = make_user(session, name="Alice")
    for held_out in (False, True, False):
        prompt = make_prompt(session, make_batch(session), held_out=held_out)
        make_annotation(session, alice, make_comparison(session, prompt=prompt))

    def sides(**wish: str) -> set[str]:
        return {orjson.loads(line)["split"] for line in client.get(path, params=wish).content.splitlines()}

    assert sides(shape="trl") == {"train"}
    assert sides(shape="trl", split="all") == sides() == {"train", "held_out"}
    assert sides(shape="trl", split="held_out") == {"held_out"}


@pytest.mark.parametrize("query", ["batch=x", "split=both", "strength=9", "round=-"])
def test_a_filter_that_makes_no_sense_is_refused_in_words(client: TestClient, rita: User, query: str) -> None:
    answer = client.get(f"/preferences?{query}")
    assert answer.status_code == 422
    assert "This filter cannot be used" in answer.text


def test_a_download_that_cannot_begin_is_an_error_and_not_an_empty_file(
    client: TestClient, rita: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> Iterator[bytes]:
        raise Unavailable("The database is away for the moment.", retry_after=5)

    monkeypatch.setattr("app.preferences.export.stream", away)
    assert client.get("/preferences/export").status_code == 503


def test_downloads_stream_uncompressed_with_a_name(client: TestClient, rita: User, judged: list[Annotation]) -> None:
    wish = {"shape": "trl", "split": "all"}
    answer = client.get("/preferences/export", params=wish, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert 'filename="preferences-trl-' in answer.headers["content-disposition"]
    assert answer.headers["content-encoding"] == "identity"
    assert len(answer.content.splitlines()) == 7
    table = client.get("/preferences/export", params={"format": "parquet"}).content
    assert pyarrow.parquet.read_table(io.BytesIO(table)).num_rows == 4


@pytest.mark.parametrize("path", ["/preferences", "/preferences/export", "/snapshots/1"])
def test_charlie_who_annotates_may_not_read_preferences(session: Session, client: TestClient, path: str) -> None:
    sign_in(client, make_user(session, Role.ANNOTATOR, "Charlie"))
    assert client.get(path).status_code == 403
    assert client.get(f"/api/v1{path}").status_code in {403, 404}


# ── Blindness of a reviewer who also annotates ───────────────────────────────────────────────────────────────────────
def everything(client: TestClient) -> str:
    """All that the pages and the API tell of preferences, in every shape and form."""
    heard = [client.get("/preferences", params={"shape": shape}).text for shape in Shape]
    for path in ("/preferences/export", "/api/v1/preferences/export"):
        heard += [client.get(path, params={"shape": shape, "format": "jsonl"}).text for shape in Shape]
        table = client.get(path, params={"format": "parquet"}).content
        heard.append(str(pyarrow.parquet.read_table(io.BytesIO(table)).to_pylist()))
    return "\n".join(heard)


def test_rita_reads_no_model_name_of_what_she_may_still_be_given(
    session: Session, client: TestClient, rita: User
) -> None:
    comparison = make_comparison(session, wanted=2)
    make_annotation(session, make_user(session, name="Alice"), comparison)

    assert "zebra-base" not in everything(client)
    assert "leave out comparisons that still need annotators" in client.get("/preferences").text

    make_annotation(session, make_user(session, name="Ann"), comparison)
    assert "zebra-base" in everything(client), "it has all its annotations, and nobody will be given it again"


def test_a_batch_that_is_closed_for_good_has_nothing_left_to_hide(
    session: Session, client: TestClient, rita: User
) -> None:
    comparison = make_comparison(session, wanted=2)
    make_annotation(session, make_user(session, name="Alice"), comparison)
    session.get_one(Batch, comparison.batch_id).state = BatchState.CLOSED
    session.commit()

    assert "zebra-base" in everything(client)


def test_bob_who_administers_sees_all_of_it(session: Session, client: TestClient) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    make_annotation(session, make_user(session, name="Alice"), make_comparison(session, wanted=2))

    assert "zebra-base" in everything(client)
    assert "leave out comparisons" not in client.get("/preferences").text


def test_no_snapshot_tells_rita_what_the_export_does_not(
    session: Session, client: TestClient, rita: User, judged: list[Annotation], rung: list[Job]
) -> None:
    make_annotation(session, make_user(session, name="Ann"), make_comparison(session, wanted=2))
    of_bob = built(session, service.request_snapshot(session, make_user(session, Role.ADMIN, "Bob"), ExportFilter()))

    refused = client.get(f"/snapshots/{of_bob.id}/preferences.jsonl")
    assert (refused.status_code, "still need annotators" in refused.text) == (409, True)
    assert client.get(f"/api/v1/snapshots/{of_bob.id}/preferences.jsonl").status_code == 409
    page = client.get(f"/snapshots/{of_bob.id}").text
    assert "still need annotators" in page
    assert "preferences.jsonl" not in page

    client.post("/snapshots")
    own = built(session, newest(session))
    assert (of_bob.rows, own.rows) == (5, 4)
    assert client.get(f"/snapshots/{own.id}/preferences.jsonl").status_code == 200
    assert "need no more annotators" in client.get(f"/snapshots/{own.id}").text


def test_rita_freezes_a_snapshot_and_gets_the_very_bytes_that_the_hash_is_of(
    session: Session, client: TestClient, rita: User, judged: list[Annotation], rung: list[Job]
) -> None:
    answer = client.post("/snapshots")
    snapshot = newest(session)
    assert answer.headers["location"] == f"/snapshots/{snapshot.id}"
    assert rung == [Job.BUILD_SNAPSHOT]
    assert "Being built" in client.get(f"/snapshots/{snapshot.id}").text
    assert client.get(f"/snapshots/{snapshot.id}/preferences.jsonl").status_code == 409
    assert client.get(f"/snapshots/{snapshot.id}/README.md").status_code == 409
    built(session, snapshot)
    page = client.get(f"/snapshots/{snapshot.id}").text
    assert str(snapshot.sha256) in page
    rows = client.get(f"/snapshots/{snapshot.id}/preferences.jsonl").content
    assert hashlib.sha256(rows).hexdigest() == snapshot.sha256
    assert len(rows.splitlines()) == snapshot.rows == 4
    for path in ("", "/api/v1"):
        card = client.get(f"{path}/snapshots/{snapshot.id}/README.md")
        assert card.headers["content-type"].startswith("text/markdown")
        assert "Rows: 4." in card.text
        assert "| `replaces` | int64 |" in card.text


def test_what_the_form_chooses_is_frozen_though_it_was_not_shown(
    session: Session, client: TestClient, rita: User, judged: list[Annotation], rung: list[Job]
) -> None:
    client.post("/snapshots", data={"batch": "", "round": "", "split": "", "strength": "4", "shape": "canonical"})
    assert newest(session).filter["min_strength"] == 4
    client.post("/snapshots?strength=3")
    assert newest(session).filter["min_strength"] == 3
    page = client.get("/preferences").text
    assert re.search('<button[^>]*form="export"[^>]*formaction="/snapshots"', page)


def test_while_it_is_built_the_page_polls_and_then_stops(
    session: Session, client: TestClient, rita: User, judged: list[Annotation], rung: list[Job]
) -> None:
    client.post("/snapshots")
    snapshot = newest(session)
    fragment = client.get(f"/snapshots/{snapshot.id}", headers={"hx-request": "true"}).text
    assert "<html" not in fragment
    assert "hx-trigger" in fragment
    built(session, snapshot)
    assert "hx-trigger" not in client.get(f"/snapshots/{snapshot.id}", headers={"hx-request": "true"}).text


def test_nothing_to_freeze_is_said_and_not_done(client: TestClient, rita: User, rung: list[Job]) -> None:
    answer = client.post("/snapshots")
    assert answer.status_code == 409
    assert "Nothing to freeze" in answer.text
    assert rung == []


def test_a_snapshot_whose_folder_is_gone_is_not_served_as_empty(
    session: Session, client: TestClient, rita: User, judged: list[Annotation], rung: list[Job]
) -> None:
    client.post("/snapshots")
    snapshot = built(session, newest(session))
    (files.folder(snapshot) / "preferences.jsonl").unlink()
    answer = client.get(f"/snapshots/{snapshot.id}/preferences.jsonl")
    assert answer.status_code == 503
    assert "not on this machine" in answer.text


def test_the_api_freezes_once_for_one_key(
    session: Session, client: TestClient, rita: User, judged: list[Annotation], rung: list[Job]
) -> None:
    batch = make_batch(session)
    wish = {"filter": {"min_strength": 3}}
    first, second = (
        client.post("/api/v1/snapshots", json=wish, headers={"idempotency-key": "night-1"}) for _ in range(2)
    )
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    assert session.query(Snapshot).count() == 1
    snapshot = built(session, newest(session))
    detail = client.get(f"/api/v1/snapshots/{snapshot.id}").json()
    assert (detail["state"], detail["rows"], detail["annotations"], detail["annotators"]) == ("ready", 2, 1, 1)
    assert detail["filter"]["until"] == judged[-1].id
    listed = client.get("/api/v1/snapshots").json()
    assert [entry["id"] for entry in listed["snapshots"]] == [snapshot.id]
    nothing = client.post("/api/v1/snapshots", json={"filter": {"batch_ids": [batch.id]}})
    assert nothing.status_code == 409
    assert client.post("/api/v1/snapshots", json={"filter": {"annotator": 1}}).status_code == 422


def test_rita_freezes_by_token_as_she_does_on_the_page(
    session: Session, client: TestClient, judged: list[Annotation], rung: list[Job]
) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    tokens = {scope: accounts.create_token(session, rita, "nightly", [scope]) for scope in ("read", "admin")}
    session.commit()

    answers = {
        scope: client.post("/api/v1/snapshots", json={}, headers={"authorization": f"Bearer {token}"}).status_code
        for scope, token in tokens.items()
    }

    assert answers == {"read": 403, "admin": 202}


def test_the_api_exports_with_repeated_filters(client: TestClient, rita: User, judged: list[Annotation]) -> None:
    answer = client.get("/api/v1/preferences/export", params={"round": [1, 2], "min_strength": 2, "shape": "canonical"})
    assert [orjson.loads(line)["strength"] for line in answer.content.splitlines()] == [4, 4, 2]
    assert client.get("/api/v1/preferences/export", params={"min_strength": 7}).status_code == 422


def test_a_failed_snapshot_says_why_and_leaves_nothing(
    session: Session, client: TestClient, rita: User, judged: list[Annotation], rung: list[Job], data_dir: Path
) -> None:
    client.post("/snapshots")
    snapshot = newest(session)
    service.fail_snapshot(session, snapshot.id, "The disk under snapshots/ has 3 MB free. Free some space.")
    session.commit()
    assert snapshot.state is SnapshotState.FAILED
    assert "3 MB free" in client.get(f"/snapshots/{snapshot.id}").text
    assert not (data_dir / "snapshots" / snapshot.name).exists()


def test_page_api_and_command_list_the_registered_shapes_and_formats_with_what_they_are_for(
    client: TestClient, rita: User, judged: list[Annotation]
) -> None:
    page = html.unescape(client.get("/preferences").text)
    (offered_shapes,) = re.findall(r'<select id="export-shape".*?</select>', page, re.DOTALL)
    assert re.findall(r'<option value="(\w+)"', offered_shapes) == list(Shape)
    assert re.findall(r'name="format" value="(\w+)"', page) == list(Format)
    document = client.get("/api/v1/openapi.json").json()
    answer = document["paths"]["/api/v1/preferences/export"]["get"]
    described = " ".join(each.get("description", "") for each in answer["parameters"])
    assert list(answer["responses"]["200"]["content"]) == [each.exporter.media_type for each in Format]
    options = {each.name: each for each in inspect.signature(export_command).parameters.values()}
    for offered, name in ((Shape, "shape"), (Format, "form")):
        assert document["components"]["schemas"][offered.__name__]["enum"] == list(offered)
        (option,) = typing.get_type_hints(export_command, include_extras=True)[name].__metadata__
        assert options[name].default is next(iter(offered))
        for each in offered:
            for place in (page, described, option.help):
                assert each.exporter.purpose in place
