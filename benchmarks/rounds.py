"""How often the gate is wrong, and how often it finds what is there: thousands of contests on a real database, no model.

    python -m benchmarks.rounds [--contests 2000] [--processes 2]

A contest is opened, filled with votes in bulk and looked at by the product's own functions (``open_gate`` and ``look`` of
:mod:`app.rounds.contests`), so what is measured is the counting in SQL, the rules and the verdict together. Votes are drawn: a
quarter ties, the others won by the challenger at the rate that is said. Looked at after every 40 votes, at most 400 (``look``
finds the rule that was met first, so looking more often would find the same, but for the rules about persons).

- ``no better``: 50%, one person, ``--contests`` of them; the others are a quarter of that each
- ``topics``: eight topics in the order of the file, some of which suit the challenger and others do not (sd 0.5 logit), 50% in
  all; the queue gives them in its own order (``position``), as people get them
- ``shifts`` and ``one does 60%``: five people who judged the round before, each with a taste (sd 0.25 logit), 50% in all; one
  after the other, or one who is there more than all others together
- ``over HTTP``: 50%, ``--over-http`` of them, with an annotator's program that takes items and submits; of 40, one in ten may be
  promoted before chance is not the likeliest reason
- better (60%), worse (45%), and one person alone who sees 65%

Contests share one pool of prompts, answers and people a process, and each is rolled back when it has its verdict: half a million
rows of annotations in all, but never more than 400 at a time. Beside it: counting 750 votes, and reading where a contest stands.
Everything lies in a temporary PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState, Verdict
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import contests, counting
from app.rounds.models import Contest
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks import rounds_over_http
from benchmarks.budget import Budget, verdict
from benchmarks.fill import annotators, migrate

VOTES, LOOK_EVERY, MANY = 400, 40, 750
BEFORE_PROMPTS = 100
TIES = 0.25
TOPICS, TOPIC_SD = 8, 0.5
PEOPLE, TASTE_SD = 5, 0.25
COUNT_BUDGET_MS, READ_BUDGET_MS = 50, 5

DEPLOYED = """
INSERT INTO deployments (checkpoint_id, label, sampling, load_state)
    SELECT id, 'pool', '{}', 'loaded' FROM checkpoints k
     WHERE NOT EXISTS (SELECT FROM deployments WHERE checkpoint_id = k.id AND label = 'pool');
"""
POOL = """
INSERT INTO batches (name, state, round_id, guidelines, candidates_per_prompt, annotators_per_prompt, edit_policy, max_tokens)
    SELECT :name, 'open', min(id), '', 2, 20, 'none', 64 FROM rounds;
INSERT INTO prompts (batch_id, external_id, messages, content_hash, state)
    SELECT b.id, i::text, '[{"role": "user", "content": "Why?"}]', sha256((b.id || ' ' || i)::bytea), 'ready'
      FROM batches b, generate_series(1, :prompts) AS i WHERE b.name = :name;
INSERT INTO candidates (prompt_id, checkpoint_id, deployment_id, sample_index, text, finish_reason, prompt_tokens,
        completion_tokens, sampling, engine_version)
    SELECT p.id, d.checkpoint_id, d.id, 0, repeat('So it is. ', 20), 'stop', 12, 20 + (random() * 240)::int, '{}', 'none'
      FROM prompts p JOIN batches b ON b.id = p.batch_id AND b.name = :name, deployments d
     WHERE d.label = 'pool' AND d.checkpoint_id IN (:one, :other);
INSERT INTO comparisons (batch_id, prompt_id, purpose, annotators_wanted, seats_free, position)
    SELECT b.id, p.id, 'collect', 20, 20, (random() * 1000000)::int
      FROM prompts p JOIN batches b ON b.id = p.batch_id AND b.name = :name ORDER BY p.id;
INSERT INTO comparison_candidates (comparison_id, candidate_id)
    SELECT c.id, a.id FROM comparisons c JOIN candidates a USING (prompt_id)
      JOIN batches b ON b.id = c.batch_id AND b.name = :name;
INSERT INTO assignments (comparison_id, annotator_id, state, lease_until, order_shown)
    SELECT c.id, u.id, 'submitted', now(), ARRAY[x.id, y.id]
      FROM comparisons c JOIN batches b ON b.id = c.batch_id AND b.name = :name JOIN candidates x ON x.prompt_id = c.prompt_id
      JOIN candidates y ON y.prompt_id = c.prompt_id AND y.id > x.id, users u;
"""
"""Each answer is as long as chance has it, whoever wrote it."""
QUEUE = """
SELECT c.id, (SELECT id FROM candidates WHERE prompt_id = c.prompt_id AND checkpoint_id = :challenger),
       (SELECT id FROM candidates WHERE prompt_id = c.prompt_id AND checkpoint_id = :champion),
       ntile(:topics) OVER (ORDER BY c.prompt_id) - 1
  FROM comparisons c JOIN batches b ON b.id = c.batch_id AND b.name = 'contest' ORDER BY c.position, c.id
"""
BEFORE = """
INSERT INTO annotations (assignment_id, comparison_id, annotator_id, outcome, ranking, strengths, order_shown, idempotency_key,
        request_hash)
    SELECT s.id, s.comparison_id, s.annotator_id, 'tie', '[]', '{}', s.order_shown, 'before ' || s.id, sha256(s.id::text::bytea)
      FROM assignments s JOIN comparisons c ON c.id = s.comparison_id JOIN batches b ON b.id = c.batch_id AND b.name = 'before'
"""
"""The judgements of the round before: the tables are not empty when a contest begins, and are planned as if they were not."""
ANNOTATE = """
INSERT INTO annotations (assignment_id, comparison_id, annotator_id, outcome, ranking, strengths, order_shown,
        idempotency_key, request_hash, created_at)
    SELECT s.id, s.comparison_id, s.annotator_id, CASE WHEN v.ranking = '[]' THEN 'tie' ELSE 'ranked' END, v.ranking::jsonb,
           CASE WHEN v.ranking = '[]' THEN '{}'::int[] ELSE '{3}' END, s.order_shown, v.number::text,
           sha256(v.number::text::bytea), now() + v.number * interval '1 second'
      FROM unnest(CAST(:comparisons AS bigint[]), CAST(:people AS bigint[]), CAST(:rankings AS text[]), CAST(:numbers AS int[]))
               AS v (comparison_id, annotator_id, ranking, number)
      JOIN assignments s USING (comparison_id, annotator_id)
     ORDER BY v.number
"""


def _alone(_: random.Random) -> Sequence[int]:
    return [0] * VOTES


@dataclass(frozen=True)
class Design:
    """Who judges in which order, and how often the challenger wins."""

    name: str
    rate: float = 0.5
    order: Callable[[random.Random], Sequence[int]] = _alone
    """Person of each vote, from 0."""
    people: int = 1
    topics: bool = False


def _shifts(chance: random.Random) -> Sequence[int]:
    return [person for person in chance.sample(range(PEOPLE), PEOPLE) for _ in range(VOTES // PEOPLE)]


def _one_leads(chance: random.Random) -> Sequence[int]:
    return [0 if chance.random() < 0.6 else chance.randrange(PEOPLE) for _ in range(VOTES)]


NULL = Design("no better")
SPECIAL = (
    Design("no better, topics in the order of the file", topics=True),
    Design("no better, five people in shifts", order=_shifts, people=PEOPLE),
    Design("no better, one of five does 60%", order=_one_leads, people=PEOPLE),
)
BETTER, WORSE, ALONE = Design("wins 60%", 0.60), Design("wins 45%", 0.45), Design("one person alone sees 65%", 0.65)


def centred(chance: random.Random, count: int, spread: float, rate: float) -> list[float]:
    """Win rates of ``count`` people or topics that differ by ``spread`` (logit) around exactly ``rate``."""
    effects = [chance.gauss(0, spread) for _ in range(count)]
    shift = math.log(rate / (1 - rate))
    for _ in range(60):
        rates = [1 / (1 + math.exp(-shift - effect)) for effect in effects]
        shift -= (statistics.fmean(rates) - rate) / 0.25
    return [1 / (1 + math.exp(-shift - effect)) for effect in effects]


@dataclass
class Hall:
    """A database with its pool."""

    session: Session
    round_id: int
    challenger_id: int
    people: list[int]
    queue: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Comparison, the challenger's answer, the champion's, topic; in the order in which they are given out."""

    def hold(self, design: Design, chance: random.Random) -> tuple[Verdict | None, int]:
        """One contest; its verdict, and after how many votes it was found."""
        order = design.order(chance)
        rates = centred(
            chance, TOPICS if design.topics else design.people, TOPIC_SD if design.topics else TASTE_SD, design.rate
        )
        if design.people == 1 and not design.topics:
            rates = [design.rate]
        start = chance.randrange(len(self.queue) - VOTES)
        asked = self.queue[start : start + VOTES]
        ballots = []
        for person, (comparison, ours, theirs, topic) in zip(order, asked, strict=True):
            won = chance.random() < rates[topic if design.topics else person]
            tie = chance.random() < TIES
            ballots.append(
                (comparison, self.people[person], [] if tie else [[ours], [theirs]] if won else [[theirs], [ours]])
            )
        try:
            contest = self.open(self.people[: design.people])
            for seen in range(0, VOTES, LOOK_EVERY):
                self.vote(ballots[seen : seen + LOOK_EVERY], seen)
                if contests.look(self.session):
                    break
            return contest.verdict, contest.counted
        finally:
            self.session.rollback()

    def open(self, team: Sequence[int]) -> Contest:
        """A contest of the pool's two policies; ``team`` judged the round before."""
        round_ = self.session.get_one(Round, self.round_id, populate_existing=True)
        challenger = self.session.get_one(Checkpoint, self.challenger_id)
        contest = contests.open_gate(self.session, round_, challenger)
        contest.details = {"team": list(team)}
        self.session.flush()
        return contest

    def vote(self, ballots: Sequence[tuple[int, int, list[list[int]]]], first: int) -> None:
        """Submit these, in their order."""
        values = {
            "comparisons": [comparison for comparison, _, _ in ballots],
            "people": [person for _, person, _ in ballots],
            "rankings": [json.dumps(ranking) for _, _, ranking in ballots],
            "numbers": list(range(first, first + len(ballots))),
        }
        self.session.execute(text(ANNOTATE), values)


def fill_pool(session: Session, name: str, prompts: int, one: int, other: int, *, leased: bool = True) -> None:
    """A batch of comparisons between two checkpoints; ``leased``: everybody holds each of them."""
    session.execute(text(DEPLOYED))
    values = {"name": name, "prompts": prompts, "one": one, "other": other}
    for statement in POOL.split(";\n")[: -1 if leased else -2]:
        named = {key: value for key, value in values.items() if f":{key}" in statement}
        session.execute(text(statement), named)


def build(server: str, name: str) -> Hall:
    """A migrated database with a pool, in a process of its own."""
    ensure_database(server, name)
    url = server.replace("/postgres?", f"/{name}?", 1)
    os.environ |= {"DATABASE_URL": url, "BROKER_URL": "memory://"}  # rings go nowhere, at once
    get_settings.cache_clear()
    migrate()
    _hush()
    session = Session(make_engine(url), expire_on_commit=False)
    round_ = Round(number=1, state=RoundState.COLLECTING)
    session.add(round_)
    registry.ensure_base(session, "/nowhere/base")
    champion, challenger = (
        Checkpoint(name=name, kind=CheckpointKind.POLICY, path=f"/nowhere/{name}", manifest_sha256="0" * 64)
        for name in ("champion", "challenger")
    )
    session.add_all([champion, challenger])
    people = [person.id for person in annotators(session, PEOPLE)]
    session.flush()
    base = session.scalars(select(Checkpoint.id).where(Checkpoint.kind == CheckpointKind.BASE)).one()
    fill_pool(session, "before", BEFORE_PROMPTS, base, champion.id)
    fill_pool(session, "contest", 2 * MANY, challenger.id, champion.id)
    session.execute(text(BEFORE))
    registry.crown(session, champion)
    session.commit()
    rows = session.execute(text(QUEUE), {"challenger": challenger.id, "champion": champion.id, "topics": TOPICS})
    queue = [(comparison, ours, theirs, topic) for comparison, ours, theirs, topic in rows]
    session.commit()
    _tidy(session)
    return Hall(session, round_.id, challenger.id, people, queue)


def several(server: str, design: Design, contests_: int, seed: int) -> list[tuple[Verdict | None, int]]:
    """Hold ``contests_`` of a design, in the hall of this process."""
    hall = _HALL.get("hall") or _HALL.setdefault("hall", build(server, f"rounds_{os.getpid()}"))
    chance = random.Random(f"{design.name} {seed}")
    found = [hall.hold(design, chance) for _ in range(contests_)]
    _tidy(hall.session)
    return found


def _hush() -> None:
    """Thousands of contests are opened and closed, and each is worth a line in the log of a real installation."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _tidy(session: Session) -> None:
    """What autovacuum would do: rolled back rows go, and the planner hears how large tables are."""
    session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(text("VACUUM ANALYZE"))
    session.close()


_HALL: dict[str, Hall] = {}


def clocked(server: str) -> tuple[float, float]:
    """Milliseconds to count :data:`MANY` votes that were counted before but for one, and to read where a contest stands."""
    hall = _HALL.get("hall") or _HALL.setdefault("hall", build(server, f"rounds_{os.getpid()}"))
    chance = random.Random(3)
    contest = hall.open([])
    contest.budget = 2 * MANY
    ballots = [
        (comparison, hall.people[0], [[ours], [theirs]] if chance.random() < 0.5 else [[theirs], [ours]])
        for comparison, ours, theirs, _ in hall.queue[: MANY + 9]
    ]
    hall.vote(ballots[:MANY], 0)
    counting.count(hall.session, contest)
    counts, reads = [], []
    for more in range(MANY, MANY + 9):
        hall.vote(ballots[more : more + 1], more)
        began = time.perf_counter()
        counting.count(hall.session, contest)
        counts.append(time.perf_counter() - began)
        hall.session.expire_all()
        began = time.perf_counter()
        hall.session.scalars(select(Contest).where(Contest.verdict.is_(None))).all()
        reads.append(time.perf_counter() - began)
    hall.session.rollback()
    return statistics.median(counts) * 1000, statistics.median(reads) * 1000


def over_http(server: str, contests_: int) -> list[tuple[Verdict | None, int]]:
    """Contests of equals, one after the other, each vote by two requests."""
    hall = build(server, "rounds_http")
    rounds_over_http.fresh_engine()
    chance = random.Random("over HTTP")
    annotator = rounds_over_http.Annotator(hall.session, hall.people[0])
    _hush()
    hall.session.execute(text("UPDATE batches SET state = 'closed'"))
    found = []
    for number in range(contests_):
        contest, challenger, champion = rounds_over_http.begin(hall.session, number)
        fill_pool(hall.session, f"policy {number}", VOTES, challenger, champion, leased=False)
        hall.session.commit()
        _tidy(hall.session)
        found.append(rounds_over_http.hold(annotator, contest, challenger, chance, TIES))
        hall.session.execute(text("UPDATE batches SET state = 'closed'"))
    return found


def hold_all(
    pool: ProcessPoolExecutor, server: str, plan: Sequence[tuple[Design, int]], processes: int
) -> Iterator[float]:
    """The share of each design's contests that promoted; prints a line for each."""
    for design, wanted in plan:
        began = time.perf_counter()
        size = max(1, min(100, -(-wanted // processes)))
        parts = [min(size, wanted - start) for start in range(0, wanted, size)]
        asked = [pool.submit(several, server, design, count, seed) for seed, count in enumerate(parts)]
        yield said(design.name, [each for part in asked for each in part.result()], time.perf_counter() - began)


def said(name: str, found: Sequence[tuple[Verdict | None, int]], seconds: float) -> float:
    """Print how contests ended; the share that promoted."""
    promoted, refused = (
        sum(ended is wanted for ended, _ in found) / len(found) for wanted in (Verdict.PROMOTED, Verdict.REFUSED)
    )
    mean = statistics.fmean(counted for _, counted in found)
    shares = f"{promoted:>10.3f}{refused:>9.3f}{1 - promoted - refused:>11.3f}"
    print(f"{name:<46}{len(found):>9}{shares}{mean:>14.0f}{seconds:>9.0f}", flush=True)
    return promoted


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contests", type=int, default=2_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--over-http", type=int, default=40)
    arguments = parser.parse_args()
    some = max(1, arguments.contests // 4)
    plan = [(NULL, arguments.contests), *((design, some) for design in (*SPECIAL, BETTER, WORSE, ALONE))]
    limits = [("≤", 0.05)] * 4 + [("≥", 0.75), ("≤", 0.01), ("≥", 0.95)]
    with (
        temporary_postgres("fsync=off", "full_page_writes=off", "autovacuum=off") as server,
        ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as web,
    ):
        count, read = pool.submit(clocked, server).result()
        print(
            f"\n{'':<46}{'contests':>9}{'promoted':>10}{'refused':>9}{'undecided':>11}{'mean prompts':>14}{'seconds':>9}"
        )
        shares = list(hold_all(pool, server, plan, arguments.processes))
        began = time.perf_counter()
        ended = web.submit(over_http, server, arguments.over_http).result()
        over = said("no better, over HTTP", ended, time.perf_counter() - began)
    return verdict(
        *(
            Budget(f"{design.name}, promoted", share, limit, at_least=sign == "≥")
            for (design, _), share, (sign, limit) in zip(plan, shares, limits, strict=True)
        ),
        Budget("no better, over HTTP, promoted", over, 0.1),
        Budget(f"counting {MANY} votes", count, COUNT_BUDGET_MS, "ms"),
        Budget("reading a contest", read, READ_BUDGET_MS, "ms"),
    )


if __name__ == "__main__":
    sys.exit(main())
