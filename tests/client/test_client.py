"""A program uses Corral through the client: prompts in, judgements, preferences out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import cast

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import Role
from app.client import BadInput, Client, Forbidden
from app.client.bars import Bar
from app.prompts.models import PromptState
from tests.factories import current_round, make_annotation, make_comparison, make_user


def connected(web: TestClient, session: Session, role: Role, name: str) -> Client:
    """The client of somebody, over the application under test."""
    user = make_user(session, role, name)
    secret = service.create_token(session, user, "program", service.allowed_scopes(user))
    session.commit()
    http = cast("httpx.Client", TestClient(web.app, follow_redirects=False))
    return Client("http://testserver", secret, progress=False, http=http)


@pytest.fixture
def admin(client: TestClient, session: Session) -> Client:
    return connected(client, session, Role.ADMIN, "Bob")


@pytest.fixture
def alice(client: TestClient, session: Session) -> Client:
    return connected(client, session, Role.ANNOTATOR, "Alice")


def test_prompts_come_in_from_rows_or_a_file_and_are_listed(admin: Client, session: Session, tmp_path: Path) -> None:
    current_round(session)
    rows = [{"id": f"q{number}", "prompt": f"What is {number} + 1? 你好"} for number in range(3)]
    made = admin.create_batch(rows, name="Sums", candidates_per_prompt=2)
    assert (made.name, made.progress.prompts, made.left_out) == ("Sums", 3, [])
    assert [each.source_id for each in admin.prompts(made.id)] == ["q0", "q1", "q2"]
    (tmp_path / "more.csv").write_text("prompt\nWhy?\n")
    more = admin.create_batch(tmp_path / "more.csv", name="Whys")
    assert [batch.name for batch in admin.batches()] == ["Whys", "Sums"]
    assert admin.prompt(next(admin.prompts(more.id)).id).messages == [{"role": "user", "content": "Why?"}]
    assert admin.change_batch(more.id, guidelines="Be kind.").guidelines == "Be kind."
    with pytest.raises(BadInput, match="line 2"):
        admin.create_batch([{"prompt": "Good"}, {"prompt": ""}], name="Bad")
    with pytest.raises(TimeoutError):
        admin.wait_for_responses(made.id, seconds=0.0)


def test_a_batch_grows_and_prompts_are_withdrawn_and_restored(admin: Client, session: Session) -> None:
    current_round(session)
    batch = admin.create_batch([{"prompt": "One?"}], name="Sums")
    rows = [{"prompt": "One?"}, {"prompt": "Two?"}, {"prompt": ""}]
    seen = admin.preview_append(batch.id, rows)
    assert (seen.new, seen.known, seen.refused, [each.line for each in seen.left_out]) == (1, 1, 1, [3])
    assert [each.messages[-1]["content"] for each in seen.first] == ["Two?"]
    assert admin.batch(batch.id).progress.prompts == 1
    more = admin.append(batch.id, rows, leave_out_refused=True)
    assert (more.added, more.skipped, [each.line for each in more.left_out]) == (1, 1, [3])
    assert more.batch.progress.prompts == 2
    assert admin.change_batch(batch.id, name="More sums", annotators_per_prompt=2).annotators_per_prompt == 2
    first = next(admin.prompts(batch.id))
    assert admin.withdraw(first.id).state == "withdrawn"
    assert admin.batch(batch.id).progress.withdrawn == 1
    assert admin.restore(first.id).state == "pending"


def test_a_source_is_added_weighed_and_withdrawn(admin: Client, session: Session, tmp_path: Path) -> None:
    current_round(session)
    pairs = [{"prompt": f"Why {n}?", "chosen": "So.", "rejected": "No."} for n in range(2)]
    made = admin.add_source(pairs, name="Pairs", kind="preferences", origin="human", licence="CC BY 4.0")
    assert (made.rows, made.weight, made.licence) == (2, 0.0, "CC BY 4.0")
    (tmp_path / "answers.csv").write_text("prompt,completion\nWhy?,So.\n")
    admin.add_source(tmp_path / "answers.csv", name="Answers", kind="completions", origin="synthetic")
    assert [(each.name, each.filename) for each in admin.sources()] == [
        ("Answers", "answers.csv"),
        ("Pairs", "rows.jsonl"),
    ]
    assert admin.weigh_source(made.id, 0.5).weight == 0.5
    assert [(each.name, each.weight) for each in admin.rounds().sources] == [("Pairs", 0.5)]
    assert admin.withdraw_source(made.id).withdrawn_at is not None
    assert (admin.source(made.id).weight, admin.source(made.id).uses) == (0.0, [])
    assert admin.delete_source_file(made.id).file_deleted_at is not None
    with pytest.raises(BadInput, match="line 1: has no two responses"):
        admin.add_source([{"prompt": "Why?"}], name="Bad", kind="preferences", origin="human")


def test_items_are_judged_and_the_preferences_come_out(
    admin: Client, alice: Client, session: Session, tmp_path: Path
) -> None:
    batch = make_comparison(session).batch_id
    make_comparison(session)
    assert admin.wait_for_responses(batch).progress.ready == sum(
        each.state == PromptState.READY for each in admin.prompts(batch)
    )
    item = alice.next_item(batch)
    assert item is not None
    assert [each.position for each in item.responses] == ["A", "B"]
    said = alice.submit(item, outcome="ranked", ranking=[["B"], ["A"]], strengths=[3], comment="B is right.")
    assert said.outcome == "ranked"
    other = alice.next_item()
    assert other is not None
    alice.skip(other, "The prompt makes no sense")
    assert alice.next_item(batch) is None
    assert alice.statistics().annotations == 1
    (row,) = admin.rows()
    assert row["strength"] == 3
    whole = admin.export(tmp_path / "rows.jsonl")
    assert [json.loads(line) for line in whole.read_text().splitlines()] == [row]
    assert [each.name for each in tmp_path.iterdir()] == ["rows.jsonl"]
    assert admin.rounds().new_annotations == 1
    assert [each.statistics.annotations for each in admin.annotators()] == [1]


def test_what_looks_private_is_seen_before_it_comes_out_and_masked(
    admin: Client, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = make_user(session, name="Ann")
    for answer in ("Write to jane@example.com.", "Nothing.", "Ask bob@example.com."):
        make_annotation(session, ann, make_comparison(session, texts=[answer, f"{answer} Or not."]))
    monkeypatch.setattr("app.preferences.private.search.SECONDS", 0)
    parts = list(admin.private(shape="canonical", limit=2))
    assert [(each.of, each.searched, each.passages) for each in parts] == [
        (3, 1, {"email": 2}),
        (None, 1, {}),
        (None, 1, {"email": 2}),
    ]
    assert [each.excerpt for each in parts[0].places] == ["Write to [EMAIL].", "Write to [EMAIL]. Or not."]
    assert "names" in parts[0].misses
    assert [row["masked"] for row in admin.rows(private="mask")] == [["email"], [], ["email"]]
    assert len(list(admin.rows(private="leave_out"))) == 1


def test_what_a_token_may_not_do_is_refused_in_words(alice: Client, admin: Client) -> None:
    with pytest.raises(Forbidden):
        alice.rounds()
    with pytest.raises(BadInput, match="password"):
        admin.invite("admin", "guessed")
    assert {each.name for each in admin.people().users} == {"Alice", "Bob"}
    assert alice.me().name == "Alice"
    assert [*admin.contests(), *admin.snapshots(), *admin.runs(), *admin.checkpoints()] == []
    assert admin.better().answer


def test_a_bar_says_how_far_it_is_and_ends_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    with Bar("responses", 1000) as bar:
        bar.at(250)
        bar.at(1000)
    with Bar("rows.jsonl", unit=" bytes") as bar:
        bar.at(12)
    with Bar("silent", shown=False) as bar:
        bar.at(1)
    drawn = out.getvalue()
    assert "250 of 1,000" in drawn
    assert drawn.count("\n") == 2
    assert "rows.jsonl: 12 bytes" in drawn
    assert "silent" not in drawn
