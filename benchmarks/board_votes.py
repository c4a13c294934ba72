"""How long a board of 100,000 votes takes, from the rows of the database to its own. Budget: 2 s.

    python -m benchmarks.board_votes [--votes 100000]

Eight policies, fifty people, eight capabilities and five rounds; a tenth of the items has two judges. Everything lies in a
temporary PostgreSQL. The import of what the worker computes with is outside the clock: it happens once in the worker's life.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import psycopg
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.board import service
from app.board.models import Board
from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks.budget import Budget, verdict
from benchmarks.fill import annotators, fill, migrate
from workers.board.computing import compute

PEOPLE, BUDGET = 50, 2.0
ROUNDS = "INSERT INTO rounds (number, state, completed_at) SELECT i, 'complete', now() FROM generate_series(2, 5) AS i"
POLICIES = """
INSERT INTO checkpoints (name, kind, state, path, manifest_sha256)
    SELECT 'policy-' || i, 'policy', 'ready', '/nowhere', repeat('0', 64) FROM generate_series(2, 8) AS i
"""
BATCHES = "UPDATE batches SET round_id = (SELECT id FROM rounds ORDER BY abs(number - 1 - batches.id % 5) LIMIT 1)"
CAPABILITIES = "UPDATE prompts SET capability = 'capability ' || id % 8"
CANDIDATES = """
INSERT INTO candidates (prompt_id, checkpoint_id, deployment_id, sample_index, text, finish_reason, prompt_tokens,
        completion_tokens, sampling, engine_version)
    SELECT prompts.id,
        1 + ((hashint8(prompts.id) & 7) + i * (1 + (hashint8(prompts.id * 31) & 3))) % 8, deployments.id, i, 'An answer.',
        'stop',
        12, 80 + (hashint8(prompts.id * 2 + i) & 127), '{}', 'none'
    FROM prompts, deployments, generate_series(0, 1) AS i
"""
SHOWN = """
INSERT INTO comparison_candidates (comparison_id, candidate_id)
    SELECT comparisons.id, candidates.id FROM comparisons JOIN candidates USING (prompt_id)
"""
JUDGED = """
UPDATE comparisons SET annotators_wanted = 1 + (id % 10 = 0)::int, annotators_done = 1 + (id % 10 = 0)::int, seats_free = 0
"""
ASSIGNMENTS = """
INSERT INTO assignments (comparison_id, annotator_id, state, lease_until, order_shown)
    SELECT comparisons.id, (SELECT min(id) FROM users) + (comparisons.id + judge * 17) % %(people)s, 'submitted', now(),
        (SELECT array_agg(candidate_id ORDER BY candidate_id) FROM comparison_candidates WHERE comparison_id = comparisons.id)
    FROM comparisons, generate_series(1, annotators_wanted) AS judge
"""
ANNOTATIONS = """
INSERT INTO annotations (assignment_id, comparison_id, annotator_id, outcome, ranking, strengths, order_shown, idempotency_key,
        request_hash, comment)
    SELECT id, comparison_id, annotator_id, CASE WHEN said > 3 THEN 'ranked' ELSE 'tie' END,
        CASE WHEN said > 9 THEN jsonb_build_array(jsonb_build_array(order_shown[1]), jsonb_build_array(order_shown[2]))
             WHEN said > 3 THEN jsonb_build_array(jsonb_build_array(order_shown[2]), jsonb_build_array(order_shown[1]))
             ELSE '[]' END,
        CASE WHEN said > 3 THEN ARRAY[1 + said % 4] ELSE ARRAY[]::integer[] END, order_shown, id::text, sha256(id::text::bytea),
        ''
    FROM (SELECT *, hashint8(id * 7919) & 15 AS said FROM assignments) AS judged
"""


def fill_votes(url: str, votes: int) -> None:
    """Fill a migrated database with that many votes, as near as its overlap lets it."""
    rows = votes * 10 // 11
    for number in range(5):
        fill(url, f"batch {number}", rows // 5, candidates=0)
    with psycopg.connect(url) as connection:
        for statement in (
            ROUNDS,
            POLICIES,
            BATCHES,
            CAPABILITIES,
            CANDIDATES,
            SHOWN,
            JUDGED,
            ASSIGNMENTS.replace("%(people)s", str(PEOPLE)),
            ANNOTATIONS,
        ):
            connection.execute(statement.encode())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with temporary_postgres() as server:
        ensure_database(server, "board")
        url = server.replace("/postgres?", "/board?", 1)
        os.environ["DATABASE_URL"] = url
        get_settings.cache_clear()
        migrate()
        engine = make_engine(url, idle_seconds=0)
        with Session(engine) as session:
            annotators(session, PEOPLE)
            session.commit()
        fill_votes(url, arguments.votes)
        times, busy = [], []
        for _ in range(arguments.repeat):
            with Session(engine, expire_on_commit=False) as session:
                board = session.get_one(Board, service.request(session, None).id)
                began, worked = time.perf_counter(), time.process_time()
                slices = compute(session, board)
                service.finish(session, board, slices)
                session.commit()
                times.append(time.perf_counter() - began)
                busy.append(time.process_time() - worked)
        print(f"{board.votes:,} votes of {board.people} people on {board.prompts:,} prompts, {len(slices)} slices")
        for took, worked in zip(times, busy, strict=True):
            print(f"{took:5.2f} s, of which this process worked {worked:.2f} s")
        engine.dispose()
    return verdict(Budget("a board", min(times), BUDGET, "s"))


if __name__ == "__main__":
    sys.exit(main())
