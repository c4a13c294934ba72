"""What it costs to claim the next item when 1,000 and when 1,000,000 comparisons wait. Budget: a ratio of 1.2.

    python -m benchmarks.claim [--rows 1000000] [--rounds 12]

One annotator claims, skips nothing and submits nothing: each claim is the whole of ``next_assignment`` (lock, look for an
item in work, take a seat, draw the order) and its commit; the claimed item is then released outside the clock. The two
databases are measured in turns, so that a busy machine slows both, and in rounds with connections of their own: which core a
server process happens to run on is worth up to 0.2 ms in each statement. Everything lies in a temporary PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

from sqlalchemy import text
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.accounts.models import User
from app.annotations import service
from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks.budget import Budget, verdict
from benchmarks.fill import annotators, fill, migrate

FEW = 1_000
WARM, CLAIMS = 15, 40
"""Claims per round outside and inside the clock. The first ones prepare statements and warm caches."""
BUDGET = 1.2


def prepared(server: str, rows: int) -> Session:
    """A session on a database of its own in which ``rows`` comparisons wait."""
    name = f"claim_{rows}"
    ensure_database(server, name)
    url = server.replace("/postgres?", f"/{name}?", 1)
    os.environ["DATABASE_URL"] = url
    get_settings.cache_clear()
    migrate()
    began = time.perf_counter()
    fill(url, name, rows, candidates=2, sentences=1)
    print(f"{rows:>10,} comparisons filled in {time.perf_counter() - began:.0f} s")
    return Session(make_engine(url), expire_on_commit=False)


def claim(session: Session, user: User) -> float:
    """Seconds for one claim with its commit. The item is finished outside the clock, so that the next claim is a fresh one."""
    began = time.perf_counter()
    assignment = service.next_assignment(session, user)
    session.commit()
    took = time.perf_counter() - began
    if assignment is None:
        raise SystemExit("claim: the comparisons ran out; use fewer claims")
    service.skip(session, user, assignment.id, "benchmark")
    session.execute(text("UPDATE comparisons SET seats_free = 0 WHERE id = :id"), {"id": assignment.comparison_id})
    session.commit()
    return took


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    with temporary_postgres() as server:
        sessions = [prepared(server, FEW), prepared(server, arguments.rows)]
        users = [annotators(session, 1)[0] for session in sessions]
        for session in sessions:
            session.commit()
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(arguments.rounds):
            turns = list(zip(sessions, users, times, strict=True))[:: -1 if number % 2 else 1]
            for turn in range(WARM + CLAIMS):
                for session, user, kept in turns:
                    took = claim(session, user)
                    if turn >= WARM:
                        kept.append(took)
            for session in sessions:
                session.close()
                session.get_bind().dispose()  # type: ignore[union-attr]
    few, many = (statistics.median(kept) for kept in times)
    print(f"\n{'waiting':>12} {'median':>10} {'p95':>10}")
    for rows, kept in zip((FEW, arguments.rows), times, strict=True):
        p95 = statistics.quantiles(kept, n=20)[-1]
        print(f"{rows:>12,} {statistics.median(kept) * 1000:>7.2f} ms {p95 * 1000:>7.2f} ms")
    return verdict(Budget("ratio of medians", many / few, BUDGET))


if __name__ == "__main__":
    sys.exit(main())
