"""How long an export takes and how much memory it holds: 10,000 annotated prompts, beside the floor of the same machine.

The floor is PostgreSQL's own ``COPY … TO STDOUT`` of the same annotations with their prompts and responses, each text
once and in no format that a trainer reads: nobody who keeps them in PostgreSQL can read them out faster. An export says
each text once per pair: with 4 ranked responses that is 6 pairs an annotation.

Beside it what an incremental export takes that finds 1,000 changed annotations among all.

    python -m benchmarks.export [--annotations 10000] [--candidates 4]
    python -m benchmarks.export --annotations 1000000 --candidates 2 --repeat 1     a million rows; half an hour, 10 GB

Every measurement is a process of its own, so that its peak memory is its own; "memory" is what that peak adds to the
process as it was after its imports and its first query. It starts an embedded PostgreSQL in a temporary folder and
removes both afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.kernel.db import get_engine, session_scope
from app.kernel.settings import ROOT
from app.preferences import changes
from app.preferences.export import Progress, stream
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks.budget import Budget, verdict

BUDGET_SECONDS = 0.5
"""For 10,000 annotations."""
MEMORY_MB = 200
CHANGED = 1_000
CHANGED_SECONDS = 1.0
"""For an incremental export that finds so many, however many there are."""
CURSOR = "CORRAL_BENCHMARK_CURSOR"
"""The variable that tells the process of such an export where it goes on."""
TOUCH = """
    INSERT INTO annotation_changes (xid, annotation_id, created)
    SELECT pg_current_xact_id()::text::bigint, id, true FROM annotations ORDER BY md5(id::text) LIMIT :changed
"""
FLOOR = """
    COPY (SELECT a.id, a.outcome, a.ranking, a.strengths, a.edited_text, a.created_at, p.messages, s.texts, s.samplings
            FROM annotations a
            JOIN comparisons c ON c.id = a.comparison_id
            JOIN prompts p ON p.id = c.prompt_id
            JOIN LATERAL (SELECT array_agg(k.text) AS texts, array_agg(k.sampling) AS samplings
                            FROM candidates k WHERE k.id = ANY (a.order_shown)) s ON true
           WHERE a.superseded_by_id IS NULL AND a.withdrawn_at IS NULL
           ORDER BY a.id) TO STDOUT
"""
SEED = """
    INSERT INTO rounds (number, state) VALUES (1, 'collecting') ON CONFLICT DO NOTHING;
    INSERT INTO users (email, name, role, pseudonym, password_hash)
        VALUES ('alice@example.org', 'Alice', 'annotator', 'annotator-1', 'x');
    INSERT INTO checkpoints (name, kind, state, path) VALUES ('base', 'base', 'ready', '/models/base');
    INSERT INTO deployments (checkpoint_id, label, sampling, load_state)
        SELECT id, 'focused', '{"temperature": 0.7}', 'loaded' FROM checkpoints;
    INSERT INTO batches (name, state, round_id, candidates_per_prompt, annotators_per_prompt, edit_policy, max_tokens)
        SELECT 'bulk', 'open', id, 4, 1, 'optional', 256 FROM rounds;
    INSERT INTO prompts (batch_id, external_id, messages, content_hash, state)
        SELECT b.id, 'p' || n,
               jsonb_build_array(jsonb_build_object('role', 'user', 'content', repeat(md5(n::text) || ' ', 10))),
               sha256(n::text::bytea), 'ready'
          FROM batches b, generate_series(1, :annotations) n;
    INSERT INTO candidates (prompt_id, checkpoint_id, deployment_id, sample_index, text, finish_reason, prompt_tokens,
                            completion_tokens, sampling, engine_version)
        SELECT p.id, d.checkpoint_id, d.id, k, repeat(md5((p.id * 10 + k)::text) || E' é\n', 18), 'stop', 80, 160,
               '{"model": "base", "temperature": 0.7, "top_p": 0.9, "max_tokens": 256}', 'vllm 0.32.0'
          FROM prompts p, deployments d, generate_series(1, :candidates) k ORDER BY p.id, k;
    INSERT INTO comparisons (batch_id, prompt_id, purpose, annotators_wanted, annotators_done, seats_free)
        SELECT batch_id, id, 'collect', 1, 1, 0 FROM prompts ORDER BY id;
    INSERT INTO comparison_candidates SELECT c.id, k.id FROM comparisons c JOIN candidates k USING (prompt_id);
    INSERT INTO assignments (comparison_id, annotator_id, state, lease_until, order_shown)
        SELECT c.id, u.id, 'submitted', now(), (SELECT array_agg(k.id ORDER BY md5(k.id::text)) FROM candidates k
                                                 WHERE k.prompt_id = c.prompt_id)
          FROM comparisons c, users u ORDER BY c.id;
    INSERT INTO annotations (assignment_id, comparison_id, annotator_id, outcome, ranking, strengths, comment, order_shown,
                             active_seconds, idempotency_key, request_hash, edited_candidate_id, edited_text, edit_source)
        SELECT a.id, a.comparison_id, a.annotator_id, 'ranked',
               (SELECT jsonb_agg(jsonb_build_array(i)) FROM unnest(a.order_shown) i),
               array_fill(3, ARRAY[:candidates - 1]), '', a.order_shown, 40, 'k' || a.id, sha256('x'),
               CASE WHEN a.id % 4 = 0 THEN a.order_shown[1] END,
               CASE WHEN a.id % 4 = 0 THEN repeat('edited ', 80) END,
               CASE WHEN a.id % 4 = 0 THEN 'direct' END
          FROM assignments a ORDER BY a.id;
    ANALYZE;
"""


class Measured(NamedTuple):
    """What one process says of itself."""

    seconds: float
    cpu: float
    """Of this process alone, which other work on the machine does not stretch; PostgreSQL's is not in it."""
    rows: int
    bytes: int
    memory: int


class Counter:
    """Takes bytes and keeps their number."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Count."""
        self.bytes += len(data)
        return len(data)

    def writelines(self, chunks: object) -> None:
        """Count."""
        for chunk in chunks:  # type: ignore[attr-defined]
            self.write(chunk)


def seed(annotations: int, candidates: int) -> None:
    """Fill an empty migrated database with annotated prompts, a quarter of them with an edit."""
    with get_engine().begin() as connection:
        for statement in SEED.split(";\n"):
            if statement.strip():
                numbers = {"annotations": annotations, "candidates": candidates}
                used = {name: value for name, value in numbers.items() if f":{name}" in statement}
                connection.execute(text(statement.replace("::", "\\:\\:")).bindparams(**used))


def measure(what: str) -> Measured:
    """Export once in this process; ``what`` is ``floor`` or shape and format, as in ``trl-parquet``."""
    with session_scope() as session:
        session.execute(text("SELECT 1"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sink = Counter()
    start, cpu_start = time.perf_counter(), time.process_time()
    rows = floor(sink) if what == "floor" else export(what, sink)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    return Measured(seconds, cpu, rows, sink.bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def export(what: str, sink: Counter) -> int:
    """Our export; the number of rows."""
    shape, form = ("canonical", "jsonl") if what == "changed-jsonl" else what.split("-")
    with session_scope() as session:
        progress, everything = Progress(), ExportFilter()
        window = changes.window(session, os.environ[CURSOR], everything) if what == "changed-jsonl" else None
        sink.writelines(stream(session, Shape(shape), Format(form), everything, progress, window))
        return progress.rows


def touch() -> None:
    """Let some annotations be new to who goes on from here."""
    with session_scope() as session:
        os.environ[CURSOR] = changes.window(session, changes.START, ExportFilter()).cursor
    with get_engine().begin() as connection:
        connection.execute(text(TOUCH.replace("::", "\\:\\:")).bindparams(changed=CHANGED))


def floor(sink: Counter) -> int:
    """PostgreSQL's own output; the number of annotations."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        with cursor.copy(FLOOR) as copy:
            for data in copy:
                sink.write(bytes(data))
        return cursor.rowcount


def in_own_process(what: str, repeat: int) -> Measured:
    """The median of ``repeat`` processes, by time."""
    found = []
    for _ in range(repeat):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.export", "--measure", what],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        found.append(Measured(**json.loads(done.stdout.splitlines()[-1])))
    return sorted(found)[len(found) // 2]


def main() -> int:
    """Print the table; exit with 1 where the canonical JSON Lines are over their budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)._asdict()))
        return 0
    with temporary_postgres() as server:
        ensure_database(server, "bench")
        os.environ["DATABASE_URL"] = server.replace("/postgres?", "/bench?")
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
        seed(options.annotations, options.candidates)
        touch()
        get_engine().dispose()
        print(f"{options.annotations:,} annotations of {options.candidates} responses, median of {options.repeat}\n")
        print(f"{'':<18} {'seconds':>8} {'CPU':>6} {'rows':>10} {'MB':>8} {'memory MB':>10}")
        results = {}
        for what in ("floor", "canonical-jsonl", "trl-jsonl", "canonical-parquet", "trl-parquet", "changed-jsonl"):
            results[what] = found = in_own_process(what, options.repeat)
            memory = found.memory / 1024
            print(
                f"{what:<18} {found.seconds:>8.2f} {found.cpu:>6.2f} {found.rows:>10,} {found.bytes / 1e6:>8.1f} {memory:>10.1f}"
            )
    share = options.annotations / 10_000
    return verdict(
        Budget("canonical JSON Lines", results["canonical-jsonl"].seconds, BUDGET_SECONDS * share, "s"),
        Budget("its memory", results["canonical-jsonl"].memory / 1024, MEMORY_MB, "MB"),
        Budget(f"{CHANGED:,} changed annotations", results["changed-jsonl"].seconds, CHANGED_SECONDS, "s"),
    )


if __name__ == "__main__":
    sys.exit(main())
