"""Whether what people do all day costs the same at any size: claim, submit, desk, search and a new export.

    python -m benchmarks.scale [--sizes 10000,100000,1000000] [--rounds 5]

Each size is a database of its own with that many annotated prompts, two responses each, and 20,000 more that wait; all lie in
one temporary PostgreSQL and are measured in turns, so that a busy machine slows all of them. Texts are short: what is asked is
whether a cost grows with the number of rows, and their indexes do not know how long a text is. Budgets: at the largest size
claim, submit, a desk page and a new export take at most twice what they take at the smallest; a desk page 150 ms, a search
300 ms, a new export 1 s. A search reads longer lists where there is more to find, so its growth is printed and not held.

Also printed: the bytes that a prompt with all its rows takes here, and what ten million of them would take.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.accounts.models import Role, User
from app.annotations import recording, service
from app.annotations.forms import Submission
from app.comparisons.seats import Held
from app.desk import counting, queries
from app.judgements.vocabulary import Outcome
from app.kernel import grams
from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.preferences import changes
from app.preferences.export import stream
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks.budget import Budget, verdict
from benchmarks.desk_plots import COUNT, fill_annotations
from benchmarks.export import TOUCH
from benchmarks.fill import annotators, migrate

T = TypeVar("T")

SIZES = "10000,100000,1000000"
PEOPLE, DAYS = 40, 365
TIMES = 20
"""Claims and submissions of each round."""
CHANGED = 1_000
"""Annotations that a new export finds."""
MOST = 2.0
"""Times what an act takes at the smallest size."""
BUDGETS = {"desk page": 150.0, "search": 300.0, "export of 1,000 new": 1000.0}
"""Milliseconds at the largest size."""
TEN_MILLION = 10_000_000
# The same rows as app.annotations.texts writes, but for the grams of a number, which begin it here as everywhere.
FOUND = """
INSERT INTO annotation_texts (annotation_id, folded, terms, moment, seconds)
    SELECT a.id, 'why is question ' || p.external_id || ' hard to answer?',
        array_to_tsvector(%(grams)s::text[] || ARRAY(
            SELECT substr(p.external_id || '/', i, 3) FROM generate_series(1, greatest(1, length(p.external_id) - 1)) AS i))
        || ('''batch:' || c.batch_id || ''':1A ''by:' || a.annotator_id
            || ''':1A ''outcome:ranked'':1A ''strength:3'':1A')::tsvector,
        a.created_at, a.active_seconds
    FROM annotations a JOIN comparisons c ON c.id = a.comparison_id JOIN prompts p ON p.id = c.prompt_id
"""


@dataclass
class Installation:
    """One size: its database, who works in it, and milliseconds by act."""

    annotations: int
    engine: Engine
    people: list[User]
    admin: User
    cursor: str = ""
    took: dict[str, list[float]] = field(default_factory=dict)

    def time(self, act: str, do: Callable[[Session], T]) -> T:
        """Do it in a transaction of its own, and note how long that took with its commit."""
        with Session(self.engine, expire_on_commit=False) as session:
            began = time.perf_counter()
            done = do(session)
            session.commit()
            self.took.setdefault(act, []).append(1000 * (time.perf_counter() - began))
            return done

    def median(self, act: str) -> float:
        """Milliseconds."""
        return statistics.median(self.took[act])


def installation(server: str, annotations: int) -> Installation:
    """Fill a database of its own; counts are folded and texts are indexed, as the sweeper leaves them."""
    name = f"scale_{annotations}"
    ensure_database(server, name)
    url = server.replace("/postgres?", f"/{name}?", 1)
    os.environ["DATABASE_URL"] = url
    get_settings.cache_clear()
    migrate()
    began = time.perf_counter()
    engine = make_engine(url, idle_seconds=0)
    with Session(engine, expire_on_commit=False) as session:
        people = annotators(session, PEOPLE)
        admin = User(
            email="bob@example.org",
            name="Bob",
            role=Role.ADMIN,
            pseudonym="bob",
            password_hash="-",  # noqa: S106 - no password fits it
        )
        session.add(admin)
        session.commit()
    fill_annotations(url, annotations, PEOPLE, DAYS)
    common = sorted(grams.grams(grams.fold("why is question hard to answer?")))
    with psycopg.connect(url) as connection:
        connection.execute(FOUND, {"grams": common})
        connection.execute(COUNT)
    with Session(engine) as session:
        while counting.fold(session):
            session.commit()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    print(f"{annotations:>10,} annotations filled in {time.perf_counter() - began:.0f} s", flush=True)
    return Installation(annotations, engine, people, admin)


def work(one: Installation, number: int) -> None:
    """One round of what everybody does."""
    user = one.people[number % PEOPLE]
    for turn in range(TIMES):
        held = one.time("claim", lambda session: service.next_assignment(session, user))
        if held is None:
            raise SystemExit("scale: the comparisons ran out; use fewer rounds")
        one.time("submit", partial(judge, user=user, held=held, key=f"{number}-{turn}"))
    for _ in range(3):
        one.time("desk page", lambda session: queries.desk_page(session, one.admin, queries.Wanted()))
    asked = queries.Wanted(text=f'"question {one.annotations // 7 + number}"')
    one.time("search", lambda session: queries.desk_page(session, one.admin, asked))
    with Session(one.engine) as session:
        cursor = changes.window(session, changes.START, ExportFilter()).cursor
        session.execute(text(TOUCH.replace("::", "\\:\\:")).bindparams(changed=CHANGED))
        session.commit()
    one.time("export of 1,000 new", lambda session: export(session, cursor))


def judge(session: Session, user: User, held: Held, key: str) -> None:
    """The first response is better."""
    given = Submission(fencing_token=held.fencing_token, outcome=Outcome.RANKED, ranking=[["A"], ["B"]], strengths=[3])
    recording.submit(session, user, held.id, given, key)


def export(session: Session, cursor: str) -> None:
    """Write out what changed since ``cursor``."""
    everything = ExportFilter()
    window = changes.window(session, cursor, everything)
    for _ in stream(session, Shape.CANONICAL, Format.JSONL, everything, None, window):
        pass


def size(one: Installation) -> int:
    """Bytes of the database."""
    with one.engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def show(installations: list[Installation]) -> int:
    """Print the table and how it stands to the budgets; returns the exit status."""
    first, last = installations[0], installations[-1]
    print(f"\n{'median ms at':<22}", *(f"{one.annotations:>12,}" for one in installations), f"{'ratio':>8}")
    for act in first.took:
        ratio = last.median(act) / first.median(act)
        print(f"{act:<22}", *(f"{one.median(act):>12.1f}" for one in installations), f"{ratio:>8.2f}")
    each = (size(last) - size(first)) / (last.annotations - first.annotations)
    print(
        f"\na prompt with two responses and its annotation: {each:,.0f} bytes with all indexes; "
        f"ten million: {each * TEN_MILLION / 1e9:,.0f} GB"
    )
    return verdict(
        *(
            Budget(f"{act}, growth", last.median(act) / first.median(act), MOST, "×")
            for act in first.took
            if act != "search"
        ),
        *(Budget(act, last.median(act), limit, "ms") for act, limit in BUDGETS.items()),
    )


def main() -> int:
    """Fill, work in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with temporary_postgres() as server:
        installations = [installation(server, int(each)) for each in arguments.sizes.split(",")]
        for one in installations:
            work(one, PEOPLE - 1)  # connections, statements and caches are warm from here on
            one.took.clear()
        for number in range(arguments.rounds):
            for one in installations[:: -1 if number % 2 else 1]:
                work(one, number)
        status = show(installations)
        for one in installations:
            one.engine.dispose()
    return status


if __name__ == "__main__":
    sys.exit(main())
