"""What changed since an earlier export: nothing lost, nothing doubled, whoever commits late. Several real transactions."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from app.accounts.models import Role, User
from app.annotations import recording
from app.annotations.forms import Submission
from app.annotations.models import Annotation, Decision, RetractionScope
from app.commands import cli
from app.judgements.vocabulary import Outcome
from app.kernel.errors import BadInput, Conflict
from app.lineage import service as lineage
from app.preferences import changes
from app.preferences.export import Progress, stream
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.quality import service as quality
from app.services import dumps
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_comparison,
    make_prompt,
    make_user,
    sign_in,
)

Row = dict[str, Any]


@pytest.fixture
def session(committed: Engine) -> Iterator[Session]:
    """A session whose commits are real."""
    with Session(committed, expire_on_commit=False) as session:
        yield session


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


def since(session: Session, cursor: str, **wanted: Any) -> tuple[list[Row], str]:
    """The rows of what changed, and where the next export goes on."""
    chosen = ExportFilter(**wanted)
    window = changes.window(session, cursor, chosen)
    file = b"".join(stream(session, Shape.CANONICAL, Format.JSONL, chosen, Progress(), window))
    session.rollback()
    return [orjson.loads(line) for line in file.splitlines()], window.cursor


def said(rows: list[Row]) -> list[tuple[int, str]]:
    return [(row["annotation_id"], row["outcome"]) for row in rows]


def correct(session: Session, user: User, annotation: Annotation, *, commit: bool = True) -> int:
    submission = Submission(fencing_token=1, outcome=Outcome.TIE, ranking=[], strengths=[], corrects=annotation.id)
    found = recording.submit(session, user, annotation.assignment_id, submission, key=secrets.token_hex(16))
    if commit:
        session.commit()
    return found.id


def test_after_everything_comes_only_what_is_new(session: Session, alice: User) -> None:
    first = make_annotation(session, alice)
    rows, cursor = since(session, changes.START)
    assert said(rows) == [(first.id, "ranked")]
    assert since(session, cursor)[0] == []
    second = make_annotation(session, alice)
    rows, later = since(session, cursor)
    assert said(rows) == [(second.id, "ranked")]
    assert since(session, later)[0] == []
    assert said(since(session, cursor)[0]) == [(second.id, "ranked")], "a broken download is asked for again"


def test_what_commits_late_is_neither_lost_nor_doubled(committed: Engine, session: Session, alice: User) -> None:
    slow, quick = (make_assignment(session, alice, make_comparison(session)) for _ in range(2))
    with Session(committed, expire_on_commit=False) as other:
        submission = Submission(
            fencing_token=slow.fencing_token, outcome=Outcome.TIE, ranking=[], strengths=[], active_seconds=1
        )
        late = recording.submit(other, alice, slow.id, submission, key="late").id  # begun, and not committed yet
        submission = submission.model_copy(update={"fencing_token": quick.fencing_token})
        early = recording.submit(session, alice, quick.id, submission, key="early").id
        session.commit()
        assert late < early
        rows, cursor = since(session, changes.START)
        assert said(rows) == [(early, "tie")]
        other.commit()
    rows, cursor = since(session, cursor)
    assert said(rows) == [(late, "tie")]
    assert since(session, cursor)[0] == []


def test_what_changes_while_it_is_read_comes_with_the_next_one(
    session: Session, alice: User, committed: Engine
) -> None:
    kept, corrected = (make_annotation(session, alice) for _ in range(2))
    window = changes.window(session, changes.START, ExportFilter())
    session.rollback()
    new = correct(session, alice, corrected)
    third = make_annotation(session, alice)
    found = b"".join(stream(session, Shape.CANONICAL, Format.JSONL, ExportFilter(), Progress(), window))
    session.rollback()
    assert said([orjson.loads(line) for line in found.splitlines()]) == [(kept.id, "ranked")]
    rows, _ = since(session, window.cursor)
    assert said(rows) == [(new, "tie"), (third.id, "ranked"), (corrected.id, "corrected")]


def test_a_correction_says_what_it_replaces_and_what_it_replaced_is_said_to_be_corrected(
    session: Session, alice: User
) -> None:
    annotation = make_annotation(session, alice)
    _, cursor = since(session, changes.START)
    again = session.get_one(Annotation, correct(session, alice, annotation))
    last = correct(session, alice, again)
    rows, _ = since(session, cursor)
    assert said(rows) == [(last, "tie"), (annotation.id, "corrected")]
    assert rows[0]["replaces"] == again.id
    assert {key for key, value in rows[1].items() if value is not None} == {"id", "annotation_id", "outcome"}
    assert rows[0].keys() == rows[1].keys()


def test_what_is_retracted_or_returned_is_said_and_what_counts_again_is_a_row(session: Session, alice: User) -> None:
    rita, bob = make_user(session, Role.REVIEWER, "Rita"), make_user(session, Role.ADMIN, "Bob")
    one, other = make_annotation(session, alice), make_annotation(session, alice)
    _, cursor = since(session, changes.START)
    retraction = lineage.retract(session, bob, RetractionScope.ANNOTATION, one.id, "Careless.")
    quality.review(session, rita, other, Decision.RETURNED, "Look again.")
    session.commit()
    rows, cursor = since(session, cursor)
    assert said(rows) == [(one.id, "retracted"), (other.id, "returned")]
    lineage.restore(session, bob, retraction)
    quality.review(session, rita, other, Decision.ACCEPTED, "")
    session.commit()
    rows, _ = since(session, cursor)
    assert said(rows) == [(one.id, "ranked"), (other.id, "ranked")]


def test_a_comparison_that_needs_nobody_any_more_is_new_to_who_waits_for_that(session: Session, alice: User) -> None:
    """Reviewers see rows of a comparison only once nobody will be given it: with its last annotator the first one's, too."""
    comparison = make_comparison(session, wanted=2)
    first = make_annotation(session, alice, comparison)
    rows, cursor = since(session, changes.START, settled=True)
    assert rows == []
    second = make_annotation(session, make_user(session, name="Dora"), comparison)
    assert said(since(session, cursor, settled=True)[0]) == [(first.id, "ranked"), (second.id, "ranked")]


def test_a_prompt_whose_language_is_found_later_is_new_to_who_asks_for_it(session: Session, alice: User) -> None:
    prompt = make_prompt(session, make_batch(session))
    annotation = make_annotation(session, alice, make_comparison(session, prompt=prompt))
    rows, cursor = since(session, changes.START, languages=["de"])
    assert rows == []
    prompt.language_detected = "de"
    session.commit()
    assert said(since(session, cursor, languages=["de"])[0]) == [(annotation.id, "ranked")]


def test_filters_hold_for_what_is_taken_back_and_a_cursor_is_of_its_selection(session: Session, alice: User) -> None:
    batch = make_batch(session)
    inside = make_annotation(session, alice, make_comparison(session, prompt=make_prompt(session, batch)))
    outside = make_annotation(session, alice)
    _, cursor = since(session, changes.START, batch_ids=[batch.id])
    for annotation in (inside, outside):
        correct(session, alice, annotation)
    rows, _ = since(session, cursor, batch_ids=[batch.id])
    assert [row["annotation_id"] for row in rows if row["outcome"] == "corrected"] == [inside.id]
    with pytest.raises(BadInput, match="another selection"):
        since(session, cursor)


@pytest.mark.parametrize(
    "cursor",
    ["nothing", "e30", "!!", "é", "bnVsbA"],
    ids=["text", "empty object", "no base64", "no ASCII", "null"],
)
def test_what_is_no_cursor_is_refused(session: Session, cursor: str) -> None:
    with pytest.raises(BadInput, match="no cursor"):
        changes.window(session, cursor, ExportFilter())


@pytest.mark.parametrize("at", ["5:4:", "1:2:3", "2:9:1", "0:1:", "1:9:8,2", "1:2:3x", f"1:{2**63}:"])
def test_a_cursor_that_somebody_changed_is_refused_before_the_database_reads_it(session: Session, at: str) -> None:
    window = changes.window(session, changes.START, ExportFilter())
    made = orjson.loads(urlsafe_b64decode(window.cursor + "=="))
    with pytest.raises(BadInput, match="was changed"):
        changes.window(session, urlsafe_b64encode(orjson.dumps(made | {"at": at})).decode(), ExportFilter())


def test_a_cursor_of_another_database_or_of_a_later_one_is_refused(session: Session) -> None:
    window = changes.window(session, changes.START, ExportFilter())
    made = orjson.loads(urlsafe_b64decode(window.cursor + "=="))
    for change in ({"of": "1.1.1"}, {"at": f"{2**62}:{2**62}:"}):
        with pytest.raises(Conflict, match="begin again"):
            changes.window(session, urlsafe_b64encode(orjson.dumps(made | change)).decode(), ExportFilter())


def test_the_api_gives_a_cursor_where_it_is_asked_for(
    committed: Engine, web: Any, session: Session, alice: User
) -> None:
    sign = make_user(session, Role.ADMIN, "Bob")
    annotation = make_annotation(session, alice)
    path = "/api/v1/preferences/export"
    with TestClient(web, headers={"sec-fetch-site": "same-origin"}) as client:
        sign_in(client, sign)
        assert "corral-cursor" not in client.get(path).headers
        answer = client.get(path, params={"since": "start"})
        assert [row["annotation_id"] for row in map(orjson.loads, answer.text.splitlines())] == [annotation.id]
        cursor = answer.headers["corral-cursor"]
        assert client.get(path, params={"since": cursor}).text == ""
        assert client.get(path, params={"since": cursor, "shape": "trl"}).status_code == 422
        assert client.get(path, params={"since": "x"}).status_code == 422
        lineage.retract(session, sign, RetractionScope.ANNOTATION, annotation.id, "Careless.")
        session.commit()
        table = client.get(path, params={"since": cursor, "format": "csv"}).text.splitlines()
        assert [line.split(",")[0] for line in table] == ['"id"', f'"{annotation.id}::"']


def test_the_command_keeps_its_place_in_a_file(session: Session, alice: User, tmp_path: Path) -> None:
    annotation = make_annotation(session, alice)
    session.rollback()  # a command puts another engine in the place of this one
    out, cursor = tmp_path / "rows.jsonl", tmp_path / "cursor"
    for expected in ([annotation.id], []):
        done = CliRunner().invoke(cli.app, ["export", "--out", str(out), "--cursor", str(cursor)])
        assert done.exit_code == 0, done.output
        assert [orjson.loads(line)["annotation_id"] for line in out.read_bytes().splitlines()] == expected
    done = CliRunner().invoke(cli.app, ["export", "--since", cursor.read_text().strip()])
    assert (done.stdout, done.stderr.startswith("Cursor: ")) == ("", True)


def test_a_dump_leaves_out_the_numbers_of_transactions(
    session: Session, alice: User, database_url: str, tmp_path: Path
) -> None:
    make_annotation(session, alice)
    assert session.scalar(text("SELECT count(*) FROM annotation_changes"))
    dumps.dump(database_url, tmp_path / "corral.sql")
    written = (tmp_path / "corral.sql").read_text()
    assert "CREATE TABLE public.annotation_changes" in written
    assert "COPY public.annotation_changes" not in written
