"""How long the pages of the team take over a million annotations. Budget: 300 ms each.

    python -m benchmarks.desk_plots [--annotations 1000000] [--people 40] [--days 365]

Counts are made by the statement of the migration, from annotations in four batches, and folded by the sweeper's step; both are
printed. Then each page is read as its view reads it, and a submission is measured with the trigger and without. Everything
lies in a temporary PostgreSQL. Also printed: what counting instead of keeping would take.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg
from sqlalchemy import select, text
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.accounts.models import Role, User
from app.desk import counting
from app.desk.models import WorkCount
from app.desk.team import SPANS, person, team, today
from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks.budget import Budget, verdict
from benchmarks.fill import annotators, fill, migrate

BUDGET_MS = 300
BATCHES = 4
LEFT = 20_000
"""Comparisons that still wait."""
APPEND_MS = 0.2
"""What the trigger may add to storing a judgement."""
STORED = 2_000
"""Judgements that are stored with the trigger and without."""
JUDGED = """
UPDATE comparisons SET annotators_done = 1, seats_free = 0 WHERE id <= %(annotations)s
"""
ASSIGNMENTS = """
INSERT INTO assignments (comparison_id, annotator_id, state, lease_until, order_shown)
    SELECT c.id, (SELECT min(id) FROM users) + abs(hashint8(c.id)) %% %(people)s, 'submitted', now(),
        (SELECT array_agg(candidate_id ORDER BY candidate_id) FROM comparison_candidates WHERE comparison_id = c.id)
    FROM comparisons c WHERE c.id <= %(annotations)s
"""
ANNOTATIONS = """
INSERT INTO annotations (assignment_id, comparison_id, annotator_id, outcome, ranking, strengths, order_shown, idempotency_key,
        request_hash, comment, active_seconds, created_at)
    SELECT id, comparison_id, annotator_id, 'ranked',
        jsonb_build_array(jsonb_build_array(order_shown[1]), jsonb_build_array(order_shown[2])), ARRAY[3], order_shown, id::text,
        sha256(id::text::bytea), '', exp(3.4 + 0.6 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())),
        now() - make_interval(secs => 86400.0 * %(days)s * id / %(annotations)s)
    FROM assignments
"""
APPEND = """
INSERT INTO annotations (assignment_id, comparison_id, annotator_id, outcome, ranking, strengths, order_shown, idempotency_key,
        request_hash, comment, active_seconds, withdrawn_at)
    SELECT id, comparison_id, annotator_id, 'tie', '[]', '{}', order_shown, %(key)s || id, sha256('x'), '', 30, NULL
    FROM assignments WHERE id BETWEEN %(first)s AND %(first)s + %(rows)s - 1
"""
COUNT = """
INSERT INTO work_counts (user_id, batch_id, day, time_class, items, milliseconds) SELECT * FROM miscounted_work()
"""
COUNTED = """
SELECT annotator_id, (created_at AT TIME ZONE 'UTC')::date, count(*), sum(active_seconds),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY active_seconds)
  FROM annotations WHERE superseded_by_id IS NULL AND withdrawn_at IS NULL AND retraction_id IS NULL GROUP BY 1, 2
"""


def fill_annotations(url: str, annotations: int, people: int, days: int) -> None:
    """Fill a migrated database; triggers rest, so that the counts are those of a migration."""
    for number in range(BATCHES):
        fill(url, f"batch {number}", (annotations + LEFT) // BATCHES, candidates=2, sentences=4)
    values = {"annotations": annotations, "people": people, "days": days}
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in (JUDGED, ASSIGNMENTS, ANNOTATIONS):
            connection.execute(statement, values)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def took(act: Callable[[], object], times: int = 1) -> float:
    """Milliseconds, the best of ``times``."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append(1000 * (time.perf_counter() - began))
    return min(found)


def count(session: Session) -> None:
    """As the migration does."""
    session.execute(text(COUNT))
    session.commit()


def fold(session: Session) -> None:
    """As the sweeper does, until nothing is left."""
    while counting.fold(session):
        session.commit()


def trigger_ms(url: str) -> float:
    """What the trigger adds to a judgement, in milliseconds."""
    measured: dict[str, float] = {}
    with psycopg.connect(url) as connection:
        connection.execute("DROP INDEX uq_annotations_standing")  # the same assignments are judged again and again
        for turn in range(3):
            for state in ("DISABLE", "ENABLE"):
                connection.execute(f"ALTER TABLE annotations {state} TRIGGER work_counted")
                values = {"key": f"{turn}{state}", "first": 1, "rows": STORED}
                spent = took(lambda values=values: connection.execute(APPEND, values))  # type: ignore[misc]
                measured[state] = min(spent, measured.get(state, spent))
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # so that nothing is pending
        connection.rollback()
    return (measured["ENABLE"] - measured["DISABLE"]) / STORED


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with temporary_postgres() as server:
        ensure_database(server, "desk")
        url = server.replace("/postgres?", "/desk?", 1)
        os.environ["DATABASE_URL"] = url
        get_settings.cache_clear()
        migrate()
        engine = make_engine(url, idle_seconds=0)
        with Session(engine) as session:
            annotators(session, arguments.people)
            session.commit()
        fill_annotations(url, arguments.annotations, arguments.people, arguments.days)
        with Session(engine, expire_on_commit=False) as session:
            print(f"counting what was there: {took(lambda: count(session)) / 1000:.1f} s")
            print(f"folding it: {took(lambda: fold(session)) / 1000:.1f} s")
            session.execute(text("ANALYZE work_counts"))
            session.commit()
            rows = session.query(WorkCount).count()
            print(f"{arguments.annotations:,} annotations are {rows:,} rows of counts")
            print(f"counting at each look instead: {took(lambda: session.execute(text(COUNTED)).all()):,.0f} ms")
            who = session.scalars(select(User.id).order_by(User.id).limit(1)).one()
            reader, since = User(id=0, role=Role.ADMIN), today() - timedelta(SPANS[-1] - 1)
            team_ms = {days: took(lambda days=days: team(session, reader, days), arguments.repeat) for days in SPANS}  # type: ignore[misc]
            one_ms = took(lambda: counting.counts(session, since, today(), who), arguments.repeat)
            whole_ms = took(lambda: person(session, reader, who, SPANS[-1]), arguments.repeat)
        print(*(f"team, {days} days: {ms:.0f} ms" for days, ms in team_ms.items()), sep="\n")
        print(f"one person's plots: {one_ms:.0f} ms; with all that the page says of them: {whole_ms:.0f} ms")
        added = trigger_ms(url)
        engine.dispose()
    return verdict(
        Budget("the team's plots", max(team_ms.values()), BUDGET_MS, "ms"),
        Budget("a person's plots", one_ms, BUDGET_MS, "ms"),
        Budget("the trigger, of a judgement", added, APPEND_MS, "ms"),
    )


if __name__ == "__main__":
    sys.exit(main())
