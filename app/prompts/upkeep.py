"""Prompts that were stored before messages had one form, or one name for the same content.

A prompt's hash is its name, and decides its side of the split. Until messages had one form, the hash was made of what the
file had written down: a call's arguments as an object or with other spaces, a call without an id. The same file has other
hashes today, so its prompts would be strangers, and one of them might fall on the other side.

:func:`bring_into_form` writes such messages in the one form and leaves the hash as it is: who was stored keeps the side.
Beside it stands the hash that the same content has today, and by that :func:`keep_names` gives an import the name that its
content has already. Where two stored prompts say the same, both get the name of the older. In one batch, where names
must differ, the younger keeps its own behind the older's first eight bytes, which are what decides the side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.orm import Session

from app.kernel.settings import get_settings
from app.prompts.messages import empty, strict
from app.prompts.models import Batch
from app.prompts.queries import SPECIAL, special_prompts
from training.formats.prompts import Split, content_hash, split_of

SIDE_BYTES = 8
PAGE = 500
# Turns of a dialogue have the name of the turn that their path begins with, and texts only.
_SPECIAL = text("""
    SELECT p.id, p.batch_id, p.messages, p.tools, p.content_hash, e.prompt_id IS NOT NULL AS done
      FROM prompts p LEFT JOIN earlier_prompts e ON e.prompt_id = p.id
     WHERE p.id > :after AND p.dialogue_id IS NULL
       AND (e.prompt_id IS NOT NULL OR p.content_hash = ANY(:plain)
            OR jsonb_path_exists(p.messages, CAST(:special AS jsonpath)))
     ORDER BY p.id LIMIT :page
""")
_TAKEN = text("""
    SELECT EXISTS (SELECT FROM prompts
                    WHERE batch_id = :batch AND content_hash = :name AND dialogue_id IS NULL AND id <> :id)
""")
# One statement: a prompt is changed and what it was is kept, or neither.
_CHANGE = text("""
    WITH kept AS (
        INSERT INTO earlier_prompts (prompt_id, messages, content_hash, canonical_hash)
        SELECT id, CASE WHEN CAST(:written AS jsonb) <> messages THEN messages END, content_hash, :canonical
          FROM prompts WHERE id = :id
    )
    UPDATE prompts SET messages = CAST(:written AS jsonb), content_hash = :name WHERE id = :id
""")
_KEEP_NAMES = text("""
    UPDATE prompts SET content_hash = earlier.name
      FROM prompts new CROSS JOIN LATERAL (
           SELECT p.content_hash AS name FROM earlier_prompts e JOIN prompts p ON p.id = e.prompt_id
            WHERE e.canonical_hash = new.content_hash ORDER BY e.prompt_id LIMIT 1
      ) earlier
     WHERE prompts.id = new.id AND new.batch_id = :batch AND new.id > :after AND earlier.name <> new.content_hash
""")


def bring_into_form(connection: Connection) -> int:
    """Write stored messages in their one form and give the same content one name; how many prompts were changed.

    Each prompt is changed by itself, so nobody waits for more than one. Done again, or begun again after an interruption,
    it changes what is left. Messages that lose something in the one form (a call that names no function) stay as they are.
    """
    names: dict[bytes, bytes] = {}
    changed = 0
    for row in _special(connection, _plain_now(connection)):
        written = strict(row.messages)
        if _loses(row.messages, written):
            continue
        canonical = content_hash(written, row.tools)
        name = names.setdefault(canonical, row.content_hash)
        if row.done or (written == row.messages and name == row.content_hash == canonical):
            continue
        taken = connection.execute(_TAKEN, {"batch": row.batch_id, "name": name, "id": row.id}).scalar_one()
        own = name[:SIDE_BYTES] + row.content_hash[SIDE_BYTES:] if taken else name
        now = {"id": row.id, "written": json.dumps(written, ensure_ascii=False), "canonical": canonical, "name": own}
        connection.execute(_CHANGE, now)
        changed += 1
    return changed


def keep_names(session: Session, batch: Batch, after: int = 0) -> None:
    """Give new prompts of a batch the names that their contents were stored under before names were what they are.

    They are all of the batch, or with ``after`` those with ids beyond it.
    """
    session.execute(_KEEP_NAMES, {"batch": batch.id, "after": after})


def loose(session: Session) -> Iterator[tuple[int, str, str]]:
    """Prompts that are not in the one form: the id of each, what is wrong, and what to do."""
    for prompt in special_prompts(session):
        written = strict(prompt.messages)
        if written != prompt.messages:
            pairs = zip(written, prompt.messages, strict=True)
            number = next(number for number, (one, other) in enumerate(pairs, 1) if one != other)
            what = f"has a message {number} that is not in the export format (content, names, ids and tool calls)"
            yield prompt.id, what, "Exports correct it or leave the key out; import the prompt again in a new batch."


def parted(session: Session) -> Iterator[tuple[int, str, str]]:
    """Prompts that say the same as an older one and lie on the other side of the split, as :func:`loose` gives them."""
    percent = get_settings().held_out_percent
    first: dict[bytes, tuple[int, Split]] = {}
    for prompt in special_prompts(session):
        written = strict(prompt.messages)
        if prompt.dialogue_id is not None or _loses(prompt.messages, written):
            continue
        mine = prompt.id, split_of(prompt.content_hash, percent)
        older, side = first.setdefault(content_hash(written, prompt.tools), mine)
        if side is not mine[1]:
            what = f"has the same content as prompt {older}, which is on the other side of the split"
            yield prompt.id, what, "Leave one of their batches out of snapshots, and report how this happened."


def _plain_now(connection: Connection) -> list[bytes]:
    """Today's hashes of prompts that turn out to be texts alone (``tool_calls: []``): others may have been stored so."""
    forms = ((row, strict(row.messages)) for row in _special(connection, []))
    whole = ((row, written) for row, written in forms if not _loses(row.messages, written))
    plain = ((row, written) for row, written in whole if all(each.keys() == {"role", "content"} for each in written))
    return [content_hash(written, row.tools) for row, written in plain]


def _special(connection: Connection, plain: list[bytes]) -> Iterator[Row[Any]]:
    """Prompts with more than texts, and those with one of the hashes ``plain``, by id."""
    after, more = 0, {"special": SPECIAL, "plain": plain, "page": PAGE}
    while rows := connection.execute(_SPECIAL, {"after": after, **more}).all():
        yield from rows
        after = rows[-1].id


def _loses(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    pairs = zip(before, after, strict=True)
    return any(not empty(old.get("tool_calls")) and "tool_calls" not in new for old, new in pairs)
