"""How long an import takes: 10,000 prompts from the file to the committed rows, beside the floor of the same machine.

The floor is a bare ``COPY`` of the very same rows, already encoded, into the very same table with its indexes and
constraints, and its commit: nobody who keeps these rows in PostgreSQL can be faster. Upload (parse, report, store) and
confirmation (parse again, COPY, commit) are measured apart, since a person reads the preview between them. Then the same with
four responses of four models to each prompt, which become candidates and items.

    python -m benchmarks.import_prompts [--prompts 10000] [--repeat 5]

It starts an embedded PostgreSQL in a temporary folder and removes both afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.accounts.models import Role, User
from app.batches import importing
from app.kernel.db import get_engine, session_scope
from app.kernel.settings import ROOT
from app.prompts import service
from app.prompts.forms import BatchSettings
from app.prompts.models import Upload
from app.services.embedded import temporary_postgres
from benchmarks.budget import Budget, verdict

BUDGET_SECONDS = 1.0
"""For 10,000 prompts."""
ANSWERED_SECONDS = 3.0
"""For as many with four responses each, the same two steps."""
RESPONSES = 4
WORDS = [
    "the",
    "model",
    "answers",
    "question",
    "about",
    "water",
    "light",
    "bread",
    "river",
    "stone",
    "when",
    "why",
    "how",
]
COLUMNS = "batch_id, state, external_id, messages, content_hash, capability, metadata"


def make_file(count: int, responses: int = 0) -> bytes:
    """``count`` prompts of 20 to 120 words, each with so many responses of as many words, the same in every run."""
    draw = random.Random(17)
    lines = []
    record: dict[str, Any]
    for number in range(count):
        words = draw.choices(WORDS, k=draw.randint(20, 120))
        record = {"id": f"q{number}", "prompt": f"{number}: {' '.join(words)}?", "capability": draw.choice(WORDS)}
        if responses:
            record["responses"] = [
                {"model": f"model-{of}", "text": f"{of}: {' '.join(draw.choices(WORDS, k=draw.randint(20, 120)))}."}
                for of in range(responses)
            ]
        lines.append(json.dumps(record))
    return "\n".join(lines).encode()


class Times(NamedTuple):
    """Seconds by the clock, and seconds of this process's processor (the server's are not in them)."""

    clock: float
    cpu: float


@contextmanager
def timed(into: list[Times]) -> Iterator[None]:
    """Append what the block takes."""
    clock, cpu = time.perf_counter(), time.process_time()
    yield
    into.append(Times(time.perf_counter() - clock, time.process_time() - cpu))


def make_person() -> int:
    """An admin, and the round that batches belong to."""
    with session_scope() as session:
        session.execute(text("INSERT INTO rounds (number, state) VALUES (1, 'collecting')"))
        name = f"bench-{secrets.token_hex(6)}"
        bob = User(email=f"{name}@example.org", name="Bench", role=Role.ADMIN, pseudonym=name, password_hash="!")  # noqa: S106 - no password
        session.add(bob)
        session.flush()
        return bob.id


def import_once(person: int, content: bytes, upload_times: list[Times], confirm_times: list[Times]) -> int:
    """One import into an empty table, as the pages do it, in two transactions; the id of the batch."""
    with timed(upload_times), session_scope() as session:
        upload = service.create_upload(session, session.get_one(User, person), "bench.jsonl", content).id
    with timed(confirm_times), session_scope() as session:
        settings = BatchSettings(name=f"bench {secrets.token_hex(6)}")
        found = session.get_one(Upload, upload)
        return importing.confirm(session, session.get_one(User, person), found, settings).id


def encoded_rows(session: Session, batch: int) -> bytes:
    """The rows of ``batch`` as COPY text, so that the same batch can be filled again."""
    with raw(session).cursor() as cursor:
        query = f"COPY (SELECT {COLUMNS} FROM prompts WHERE batch_id = {batch}) TO STDOUT"  # noqa: S608 - a number of ours
        with cursor.copy(query.encode()) as copy:
            return b"".join(bytes(block) for block in copy)


def raw(session: Session) -> psycopg.Connection:
    """The driver's own connection, for COPY."""
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


def copy_once(batch: int, times: list[Times]) -> None:
    """The floor: the same rows into the same table, empty again. Its last act empties the table for the next import."""
    with session_scope() as session:
        rows = encoded_rows(session, batch)
        session.execute(text("TRUNCATE prompts CASCADE"))
    statement = f"COPY prompts ({COLUMNS}) FROM STDIN".encode()
    with timed(times), session_scope() as session, raw(session).cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(rows)
    with session_scope() as session:
        session.execute(text("TRUNCATE prompts CASCADE"))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with temporary_postgres() as url:
        os.environ["DATABASE_URL"] = url
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
        with patch("app.kernel.jobs.ring"):  # there is no broker here, and sending is not what is measured
            seconds, answered = measure(options.prompts, options.repeat)
        get_engine().dispose()
    scale = options.prompts / 10_000
    return verdict(
        Budget("upload and confirm", seconds, BUDGET_SECONDS * scale, "s"),
        Budget(f"the same with {RESPONSES} responses each", answered, ANSWERED_SECONDS * scale, "s"),
    )


def measure(prompts: int, repeat: int) -> tuple[float, float]:
    """Import and bare COPY in turns, so that a busy moment hits both; then the table. Returns the seconds of each import."""
    content, person = make_file(prompts), make_person()
    uploads, confirms, floors = list[Times](), list[Times](), list[Times]()
    for _ in range(repeat):
        copy_once(import_once(person, content, uploads, confirms), floors)
    floor = statistics.median(times.clock for times in floors)
    print(f"{prompts:,} prompts, {len(content) / 1e6:.1f} MB of JSON Lines, median (min–max) of {repeat} runs")
    print(f"{'step':<38}{'seconds':>9}{'min–max':>15}{'× floor':>9}{'CPU':>8}")
    both = [Times(a.clock + b.clock, a.cpu + b.cpu) for a, b in zip(uploads, confirms, strict=True)]
    steps = {"upload: parse, report, store": uploads, "confirm: parse, COPY, commit": confirms, "both": both}
    for name, all_times in (steps | {"floor: bare COPY of the same rows": floors}).items():
        clocks = [times.clock for times in all_times]
        middle, cpu = statistics.median(clocks), statistics.median(times.cpu for times in all_times)
        print(f"{name:<38}{middle:>9.3f}{f'{min(clocks):.3f}–{max(clocks):.3f}':>15}{middle / floor:>9.1f}{cpu:>8.3f}")
    return statistics.median(times.clock for times in both), measure_answered(prompts, repeat, person)


def measure_answered(prompts: int, repeat: int, person: int) -> float:
    """Import prompts with their responses, each time into empty tables; the seconds of an import."""
    content = make_file(prompts, RESPONSES)
    uploads, confirms = list[Times](), list[Times]()
    for _ in range(repeat):
        import_once(person, content, uploads, confirms)
        with session_scope() as session:
            session.execute(text("TRUNCATE prompts CASCADE"))
    seconds = [one.clock + other.clock for one, other in zip(uploads, confirms, strict=True)]
    cpu = statistics.median(one.cpu + other.cpu for one, other in zip(uploads, confirms, strict=True))
    print(
        f"{prompts:,} prompts with {RESPONSES} responses each, {len(content) / 1e6:.1f} MB: {statistics.median(seconds):.3f} s "
        f"({min(seconds):.3f}–{max(seconds):.3f}), CPU {cpu:.3f} s"
    )
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main())
