"""What was stored before messages had one form keeps its side, is written in that form, and is known when it comes again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from fastapi.testclient import TestClient
from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.prompts.messages import strict
from app.prompts.models import Batch, Prompt
from app.prompts.upkeep import bring_into_form, loose, parted
from app.services.migrating import config
from tests.earlier import before
from tests.factories import make_batch, make_prompt
from tests.prompts.pages import jsonl, upload
from training.formats.prompts import Split, content_hash, split_of

MIGRATION = "7f2b9d41c6a8"
ASKED = {"role": "user", "content": "Is it open?"}
LAST = {"role": "user", "content": "And tomorrow?"}


def calling(call: dict[str, Any], **result: Any) -> list[dict[str, Any]]:
    """A conversation in which the assistant calls a tool."""
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    return [ASKED, called, {"role": "tool", "content": "yes", **result}, LAST]


def function(arguments: Any, **more: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "hours", "arguments": arguments}, **more}


OBJECT = calling(function({"day": "Monday", "shop": "hats"}), tool_call_id="c1")  # in the order of jsonb
SPACED = calling(function('{ "shop": "hats",\n "day": "Monday" }'), tool_call_id="c1")
FLAT = calling({"name": "hours", "arguments": {"shop": "hats"}})
NUMBERED = [{"role": "user", "content": "Who am I?", "name": 7}]
UNREADABLE = calling({"type": "search", "query": "hats"})
PLAIN = [ASKED]


def hash_of_then(messages: list[dict[str, Any]]) -> bytes:
    """The hash as it was made of what the file had written down."""
    written = json.dumps({"messages": messages}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(written.encode()).digest()


def stored_then(session: Session, batch: Batch, messages: list[dict[str, Any]], side: bytes = b"") -> Prompt:
    """A prompt as an earlier release has stored it; ``side`` begins its hash, where the side of the split is to be known."""
    prompt = make_prompt(session, batch)
    prompt.messages, prompt.content_hash = messages, side + hash_of_then(messages)[len(side) :]
    session.commit()
    return prompt


def changed(session: Session) -> int:
    count = bring_into_form(session.connection())
    session.commit()
    session.expire_all()
    return count


@pytest.mark.parametrize("messages", [OBJECT, SPACED, FLAT, NUMBERED])
def test_a_stored_prompt_gets_the_one_form_and_keeps_its_side(session: Session, messages: list[dict[str, Any]]) -> None:
    prompt = stored_then(session, make_batch(session), messages)
    before = prompt.content_hash

    assert (changed(session), changed(session)) == (1, 0)

    assert prompt.messages == strict(messages)
    assert prompt.content_hash == before
    assert list(loose(session)) == []


@pytest.mark.parametrize("messages", [OBJECT, SPACED, FLAT])
def test_the_same_file_imported_again_is_recognised(
    client: TestClient, session: Session, bob: User, messages: list[dict[str, Any]]
) -> None:
    known = stored_then(session, make_batch(session), messages)
    assert changed(session) == 1

    page = upload(client, jsonl({"messages": messages}, {"prompt": "Something else?"}))
    client.post(f"{page}/confirm", data={"name": "Again"})

    batch = session.scalars(select(Batch).where(Batch.name == "Again")).one()
    again, other = session.scalars(select(Prompt).where(Prompt.batch_id == batch.id).order_by(Prompt.id))
    assert (again.messages, again.content_hash) == (known.messages, known.content_hash)
    assert other.content_hash == content_hash(other.messages)


def test_two_stored_prompts_that_say_the_same_get_the_name_of_the_older(session: Session) -> None:
    older = stored_then(session, make_batch(session), OBJECT, side=b"\xff" * 8)
    younger = stored_then(session, make_batch(session), SPACED, side=b"\0" * 8)
    assert [problem[0] for problem in parted(session)] == [younger.id]

    assert changed(session) == 2

    assert younger.content_hash == older.content_hash == b"\xff" * 8 + hash_of_then(OBJECT)[8:]
    assert split_of(younger.content_hash, 10) is Split.TRAIN
    assert list(parted(session)) == []


def test_in_one_batch_both_keep_a_name_of_their_own_on_one_side(session: Session) -> None:
    batch = make_batch(session)
    older = stored_then(session, batch, OBJECT, side=b"\0" * 8)
    younger = stored_then(session, batch, SPACED, side=b"\xff" * 8)

    assert (changed(session), changed(session)) == (2, 0)

    assert younger.content_hash != older.content_hash
    assert split_of(younger.content_hash, 10) is split_of(older.content_hash, 10) is Split.HELD_OUT
    assert list(parted(session)) == []


@pytest.mark.parametrize("plain_first", [True, False])
def test_empty_columns_of_a_table_make_no_other_prompt(session: Session, plain_first: bool) -> None:  # noqa: FBT001
    in_turn: list[list[dict[str, Any]]] = [PLAIN, [{**ASKED, "name": "", "tool_calls": []}]]
    older, younger = (
        stored_then(session, make_batch(session), each) for each in (in_turn if plain_first else in_turn[::-1])
    )
    name = older.content_hash
    assert changed(session) == (1 if plain_first else 2)
    assert older.messages == younger.messages == PLAIN
    assert older.content_hash == younger.content_hash == name


def test_an_upgrade_that_was_interrupted_goes_on_with_what_is_left(session: Session) -> None:
    older = stored_then(session, make_batch(session), [{**ASKED, "tool_calls": []}])
    assert changed(session) == 1
    younger = stored_then(session, make_batch(session), PLAIN)  # as if it had not been reached
    assert (changed(session), changed(session)) == (1, 0)
    assert younger.content_hash == older.content_hash


def test_what_would_lose_a_call_stays_as_it_is_and_is_named(session: Session) -> None:
    prompt = stored_then(session, make_batch(session), UNREADABLE)
    assert changed(session) == 0
    assert prompt.messages == UNREADABLE
    assert [problem[0] for problem in loose(session)] == [prompt.id]


def test_prompts_of_texts_alone_are_not_touched(session: Session) -> None:
    prompt = stored_then(session, make_batch(session), PLAIN)
    assert changed(session) == 0
    assert prompt.content_hash == content_hash(PLAIN)


# ── The migration, on rows of the old form ───────────────────────────────────────────────────────────────────────────
@pytest.fixture
def earlier(server_url: str) -> Iterator[Connection]:
    """A database of its own, as it was before the migration, with a prompt of each form."""
    with before(server_url, MIGRATION) as connection:
        connection.execute(text("INSERT INTO rounds (number, state) VALUES (1, 'collecting')"))
        connection.execute(text(OLD_BATCH))
        for messages in (OBJECT, SPACED, FLAT, NUMBERED, UNREADABLE, PLAIN):
            row = {"messages": json.dumps(messages), "hash": hash_of_then(messages)}
            connection.execute(text(INSERT), row)
        connection.commit()
        yield connection


OLD_BATCH = """
INSERT INTO batches (name, round_id, state, candidates_per_prompt, annotators_per_prompt, edit_policy, max_tokens)
SELECT 'Old', id, 'closed', 2, 1, 'none', 64 FROM rounds
"""
INSERT = """
INSERT INTO prompts (batch_id, state, external_id, messages, content_hash)
SELECT id, 'ready', encode(:hash, 'hex'), CAST(:messages AS jsonb), :hash FROM batches
"""


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    found = connection.execute(text("SELECT messages, content_hash FROM prompts ORDER BY id")).all()
    connection.commit()
    return [tuple(row) for row in found]


def test_the_migration_goes_there_and_back_and_there_again(earlier: Connection) -> None:
    before = rows(earlier)
    command.upgrade(config(earlier), MIGRATION)
    after = rows(earlier)
    assert [messages for messages, _ in after] == [
        *map(strict, (OBJECT, SPACED, FLAT, NUMBERED)),
        UNREADABLE,
        PLAIN,
    ]
    assert [after[1][1][:8], *(name for _, name in (after[0], *after[2:]))] == [
        hash_of_then(OBJECT)[:8],
        *(name for _, name in (before[0], *before[2:])),
    ]
    command.downgrade(config(earlier), "-1")
    assert rows(earlier) == before
    command.upgrade(config(earlier), MIGRATION)
    assert rows(earlier) == after
