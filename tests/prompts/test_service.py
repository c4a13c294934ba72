"""A batch is imported whole or not at all, once, whatever happens meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.db import session_scope
from app.kernel.errors import BadInput, Conflict, NotFound, TooLarge
from app.kernel.settings import get_settings
from app.prompts import queries, service
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, BatchState, Prompt, PromptState, Upload
from app.prompts.parsing import limits_of, parse
from app.prompts.records import ParsedPrompt
from tests.factories import current_round, make_batch, make_prompt, make_user
from training.formats.prompts import content_hash

QUESTIONS = b"".join(json.dumps({"prompt": f"Question {n}?"}).encode() + b"\n" for n in range(100))


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Sets limits by the environment for one test."""
    yield monkeypatch
    monkeypatch.undo()
    get_settings.cache_clear()


def lower(limits: pytest.MonkeyPatch, name: str, value: int) -> None:
    limits.setenv(name, str(value))
    get_settings.cache_clear()


def rows(session: Session, model: type[Batch | Prompt | Upload]) -> int:
    return session.scalar(select(func.count()).select_from(model)) or 0


def test_prompts_are_due_in_a_drawn_order_and_not_in_that_of_their_file(session: Session, bob: User) -> None:
    lines = "\n".join(json.dumps({"id": f"{number:02}", "prompt": f"Question {number}?"}) for number in range(30))
    upload = service.create_upload(session, bob, "x.jsonl", lines.encode())
    batch = service.confirm_upload(session, bob, upload, BatchSettings(name="B"))
    of_batch = select(Prompt.external_id).where(Prompt.batch_id == batch.id)
    due = session.scalars(of_batch.order_by(Prompt.next_try_at, Prompt.id)).all()
    listed = session.scalars(of_batch.order_by(Prompt.id)).all()
    assert sorted(due) == list(listed)
    assert due != listed, "once in 30! times it is"
    late = select(func.count()).where(Prompt.batch_id == batch.id, Prompt.next_try_at > func.now())
    assert session.scalar(late) == 0, "each is due at once"


def test_everything_that_was_parsed_is_stored_as_it_was(session: Session, bob: User) -> None:
    tool = {"type": "function", "function": {"name": "clock", "description": 'tab\t "quote" \\ back'}}
    record = {
        "id": "a\tb\\N",
        "messages": [{"role": "user", "content": "tab\t newline\n backslash \\N \\. 😀 \x7f"}],
        "tools": [tool],
        "capability": "general",
        "reference": "\\N",
        "tests": {"n": 1e-3, "big": 10**30},
        "metadata": {"k": [None, True, "\u2028"]},
    }
    upload = service.create_upload(session, bob, "x.jsonl", json.dumps(record).encode())

    batch = service.confirm_upload(session, bob, upload, BatchSettings(name="B"))

    stored = session.scalars(select(Prompt).where(Prompt.batch_id == batch.id)).one()
    assert stored.external_id == record["id"]
    assert stored.messages == record["messages"]
    assert stored.tools == record["tools"]
    assert (stored.capability, stored.reference) == ("general", "\\N")
    assert (stored.tests, stored.extra) == (record["tests"], record["metadata"])
    assert stored.content_hash == content_hash(stored.messages, stored.tools)
    assert (stored.state, stored.attempts) == (PromptState.PENDING, 0)
    assert (batch.capability, batch.created_by_id) == ("general", bob.id)


def test_missing_parts_are_null_and_not_the_word_null(session: Session, bob: User) -> None:
    upload = service.create_upload(session, bob, "x.jsonl", b'{"prompt": "x"}')
    service.confirm_upload(session, bob, upload, BatchSettings(name="B"))

    no_nulls = select(Prompt).where(
        Prompt.tools.is_(None), Prompt.tests.is_(None), Prompt.reference.is_(None), Prompt.capability.is_(None)
    )
    assert session.scalars(no_nulls).one().extra == {}


def test_the_bytes_of_an_upload_are_kept_only_until_it_is_a_batch(session: Session, bob: User) -> None:
    upload = service.create_upload(session, bob, "x.jsonl", QUESTIONS)
    assert upload.content == QUESTIONS

    service.confirm_upload(session, bob, upload, BatchSettings(name="B"))

    assert upload.content == b""
    with pytest.raises(Conflict):
        service.discard_upload(session, bob, upload)


def test_a_file_that_nobody_confirms_is_deleted_after_a_week(session: Session, bob: User) -> None:
    old, new, used = (service.create_upload(session, bob, "x.jsonl", QUESTIONS) for _ in range(3))
    service.confirm_upload(session, bob, used, BatchSettings(name="B"))
    for upload in (old, used):
        upload.created_at = datetime.now(UTC) - timedelta(days=8)
    session.flush()

    assert service.forget_old_uploads(session) == 1
    assert set(session.scalars(select(Upload.id))) == {new.id, used.id}


def test_limits_that_changed_after_the_preview_refuse_the_import(
    session: Session, bob: User, limits: pytest.MonkeyPatch
) -> None:
    upload = service.create_upload(session, bob, "x.jsonl", QUESTIONS)
    lower(limits, "CORRAL_PROMPT_LIMIT_CHARS", 12)  # "Question 10?" still fits, "Question 100?" would not

    assert service.confirm_upload(session, bob, upload, BatchSettings(name="B")).name == "B"

    upload = service.create_upload(session, bob, "x.jsonl", QUESTIONS)
    lower(limits, "CORRAL_PROMPT_LIMIT_CHARS", 11)
    with pytest.raises(Conflict, match="limits have changed"):
        service.confirm_upload(session, bob, upload, BatchSettings(name="C"))


def test_a_file_over_the_limit_is_too_large(session: Session, bob: User, limits: pytest.MonkeyPatch) -> None:
    lower(limits, "CORRAL_UPLOAD_LIMIT_BYTES", 100)

    with pytest.raises(TooLarge, match="split it"):
        service.create_upload(session, bob, "x.jsonl", QUESTIONS)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd.jsonl", "passwd.jsonl"),
        ("C:\\Users\\bob\\x.jsonl", "x.jsonl"),
        ("a\0b\u202e.jsonl", "ab.jsonl"),
        ("/", "upload"),
        ("x" * 300 + ".jsonl", "x" * 249 + ".jsonl"),
    ],
)
def test_a_filename_is_only_a_name(sent: str, kept: str) -> None:
    assert service.clean_filename(sent) == kept


def test_without_a_round_the_import_says_what_to_do(session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    upload = service.create_upload(session, bob, "x.jsonl", QUESTIONS)

    with pytest.raises(Conflict, match="corral up"):
        service.confirm_upload(session, bob, upload, BatchSettings(name="B"))


# ── All or nothing, with real commits ────────────────────────────────────────────────────────────────────────────────
def prepared() -> tuple[int, int]:
    """Bob and his upload, committed."""
    with session_scope() as session:
        current_round(session)
        bob = make_user(session, Role.ADMIN, "Bob")
        return bob.id, service.create_upload(session, bob, "x.jsonl", QUESTIONS).id


def confirm(bob: int, upload: int) -> int:
    with session_scope() as session:
        found = session.get_one(Upload, upload)
        return service.confirm_upload(session, session.get_one(User, bob), found, BatchSettings(name="B")).id


def test_an_import_that_breaks_in_the_middle_leaves_nothing_and_can_be_repeated(
    committed: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, upload = prepared()
    whole = service._rows

    def broken(batch: Batch, prompts: Iterable[ParsedPrompt], answered: service.Answered) -> Iterator[tuple[Any, ...]]:
        for number, row in enumerate(whole(batch, prompts, answered)):
            if number == 50:
                raise ConnectionError("the cable was pulled")
            yield row

    monkeypatch.setattr(service, "_rows", broken)
    with pytest.raises(ConnectionError):
        confirm(bob, upload)
    with session_scope() as session:
        assert rows(session, Batch) == rows(session, Prompt) == 0
        assert session.get_one(Upload, upload).content == QUESTIONS

    monkeypatch.setattr(service, "_rows", whole)
    confirm(bob, upload)
    with session_scope() as session:
        assert rows(session, Prompt) == 100


def test_eight_confirmations_at_once_make_one_batch(committed: Engine) -> None:
    bob, upload = prepared()
    barrier, made, failed = threading.Barrier(8), list[int](), list[Exception]()

    def click() -> None:
        barrier.wait()
        try:
            made.append(confirm(bob, upload))
        except Exception as error:  # noqa: BLE001 - any error at all is what this test looks for
            failed.append(error)

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert failed == []
    assert len(made) == 8
    assert len(set(made)) == 1
    with session_scope() as session:
        assert (rows(session, Batch), rows(session, Prompt)) == (1, 100)


def test_two_uploads_that_want_one_name_get_one_batch_and_one_sentence(committed: Engine) -> None:
    bob, first = prepared()
    with session_scope() as session:
        second = service.create_upload(session, session.get_one(User, bob), "y.jsonl", QUESTIONS).id
    barrier, made, refused = threading.Barrier(2), list[int](), list[str]()

    def click(upload: int) -> None:
        barrier.wait()
        try:
            made.append(confirm(bob, upload))
        except BadInput as error:
            refused.append(error.message)

    threads = [threading.Thread(target=click, args=(upload,)) for upload in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(made) == 1
    assert "name already" in refused[0]


# ── The sample ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_sample_is_loaded_open_once_and_spread_over_eight_capabilities(session: Session) -> None:
    current_round(session)

    batch = service.load_sample(session)

    assert batch is not None
    assert (batch.state, batch.candidates_per_prompt) == (BatchState.OPEN, 2)
    assert batch.opened_at is not None
    query = select(Prompt.capability, func.count()).where(Prompt.batch_id == batch.id).group_by(Prompt.capability)
    spread = {row[0]: row[1] for row in session.execute(query)}
    assert len(spread) == 8
    assert min(spread.values()) >= 6
    assert service.load_sample(session) is None


def test_no_line_of_the_sample_is_refused() -> None:
    report = service.report_of(*parse("sample.jsonl", service.SAMPLE_FILE.read_bytes(), limits_of(get_settings())))

    assert report["refused"] == 0
    assert report["valid"] >= 48


def test_the_passages_of_the_sample_are_long_and_every_tool_prompt_has_tools() -> None:
    records = [json.loads(line) for line in service.SAMPLE_FILE.read_text(encoding="utf-8").splitlines()]

    for record in records:
        if record["capability"] == "long-context":
            assert 300 <= len(record["prompt"].split()) <= 700, record["id"]
        if record["capability"] == "tool-use":
            assert record["tools"], record["id"]
            assert all(tool["function"]["name"] in record["system"] for tool in record["tools"]), record["id"]
        if record["capability"] == "steerable":
            assert record["system"], record["id"]


# ── Who may load what ────────────────────────────────────────────────────────────────────────────────────────────────
def test_annotators_reach_open_batches_only_and_never_prompts_or_uploads(session: Session, bob: User) -> None:
    alice = make_user(session, Role.ANNOTATOR, "Alice")
    opened, preparing = make_batch(session), make_batch(session, state=BatchState.PREPARING)
    prompt = make_prompt(session, opened)
    upload = service.create_upload(session, bob, "x.jsonl", QUESTIONS)

    assert queries.access_batch(session, alice, opened.id) is opened
    for load, key in (
        (queries.access_batch, preparing.id),
        (queries.access_batch, 999_999),
        (queries.access_prompt, prompt.id),
        (queries.access_upload, upload.id),
    ):
        with pytest.raises(NotFound):
            load(session, alice, key)
