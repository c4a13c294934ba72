"""Rounds one after another, decided by the product's own contests: nothing to prefer, something, and a bad policy.

    python -m benchmarks.verdicts [--seed 17] [--rounds 20]

No model answers and nothing is trained: each round brings a policy that people prefer to the champion with a known probability,
a quarter of the comparisons being ties, and their votes are inserted as submitting leaves them. Everything else is the product:
`contests.open_gate` puts the policy beside the champion, `contests.look` counts after every few votes and gives the verdict,
and what serves afterwards is asked of the registry. Everything lies in a temporary PostgreSQL.

    shuffled    twenty policies of shuffled labels, which are as good as the champion: at most two are promoted
    planted     three policies, each better than the one before: all are promoted, and the champion rises three times
    bad         a policy that people like less is refused, and the champion is on every prompt, and asked for revisions, as before
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.accounts.models import User
from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.candidates.policy import draw
from app.comparisons.models import Assignment, AssignmentState, Comparison, ComparisonCandidate, Drawn, Purpose
from app.judgements.vocabulary import Outcome
from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState, Verdict
from app.prompts.models import Batch, Prompt, PromptState
from app.registry import service as registry
from app.registry.appointments import appointed
from app.registry.deployments import in_rotation
from app.registry.models import Checkpoint, CheckpointKind, Deployment, LoopRole
from app.rounds import contests
from app.rounds.models import Contest
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks.budget import Budget, verdict
from benchmarks.fill import annotators, migrate
from benchmarks.rounds import TIES

AT_ONCE = 25
"""Votes between two looks."""
PEOPLE = 4
SHUFFLED, PLANTED, BAD = 0.5, 0.75, 0.35
"""How often people who do not call it a tie prefer the new policy."""


@dataclass
class World:
    """A migrated database with a base model, a few annotators, and what the rounds came to."""

    session: Session
    people: Sequence[User]
    dice: random.Random
    verdicts: list[Verdict] = field(default_factory=list)
    votes: list[int] = field(default_factory=list)

    def play(self, wins: float) -> Checkpoint:
        """One round from its opening to its verdict; returns the policy that stood for it."""
        current = self.session.scalars(select(Round).where(Round.state == RoundState.COLLECTING)).one()
        policy = self.policy(current.number)
        contest = contests.open_gate(self.session, current, policy)
        self.load()
        self.session.add(following := Round(number=current.number + 1))
        self.session.flush()
        batch = Batch(name=f"round {following.number}", round_id=following.id)
        self.session.add(batch)
        self.session.commit()
        while contest.verdict is None:
            self.vote(batch, contest, [self.score(wins) for _ in range(AT_ONCE)])
            contests.look(self.session)
            self.session.commit()
        self.load()
        self.verdicts.append(contest.verdict)
        self.votes.append(contest.counted)
        return policy

    def policy(self, number: int) -> Checkpoint:
        """A policy as a round registers it."""
        name = f"policy-r{number}"
        made = Checkpoint(name=name, kind=CheckpointKind.POLICY, path=f"/{name}", manifest_sha256=secrets.token_hex(32))
        self.session.add(made)
        self.session.flush()
        return made

    def load(self) -> None:
        """Let the engine have what is in rotation."""
        for deployment in in_rotation(self.session):
            registry.mark_loaded(self.session, deployment.id)
        self.session.commit()

    def score(self, wins: float) -> float:
        """What one person says of one comparison."""
        return 0.5 if self.dice.random() < TIES else float(self.dice.random() < wins)

    def vote(self, batch: Batch, contest: Contest, scores: Sequence[float]) -> None:
        """Fresh prompts that both policies have answered, each judged by somebody."""
        prompts = self.rows(
            Prompt,
            [
                {
                    "batch_id": batch.id,
                    "external_id": secrets.token_hex(8),
                    "messages": [{"role": "user", "content": "Which?"}],
                    "content_hash": secrets.token_bytes(32),
                    "state": PromptState.READY,
                }
                for _ in scores
            ],
        )
        sides = [self.answers(prompts, owner) for owner in (contest.challenger_id, contest.champion_id)]
        comparisons = self.rows(
            Comparison,
            [
                {
                    "batch_id": batch.id,
                    "prompt_id": prompt,
                    "purpose": Purpose.COLLECT,
                    "annotators_wanted": 1,
                    "annotators_done": 1,
                    "seats_free": 0,
                    "drawn": Drawn.RANDOM,
                }
                for prompt in prompts
            ],
        )
        shown = [
            {"comparison_id": comparison, "candidate_id": candidate}
            for side in sides
            for comparison, candidate in zip(comparisons, side, strict=True)
        ]
        self.session.execute(insert(ComparisonCandidate), shown)
        self.judge(comparisons, list(zip(*sides, strict=True)), scores)

    def answers(self, prompts: Sequence[int], owner: int) -> list[int]:
        """One of a policy to each prompt; about as long as the other's, so that length decides nothing."""
        deployment = self.session.scalars(select(Deployment.id).where(Deployment.checkpoint_id == owner).limit(1)).one()
        rows = [
            {
                "prompt_id": prompt,
                "checkpoint_id": owner,
                "deployment_id": deployment,
                "sample_index": 0,
                "text": "It depends. It does.",
                "finish_reason": "stop",
                "prompt_tokens": 3,
                "completion_tokens": self.dice.randint(6, 18),
                "sampling": {},
                "engine_version": "none",
            }
            for prompt in prompts
        ]
        return self.rows(Candidate, rows)

    def judge(self, comparisons: Sequence[int], shown: Sequence[tuple[int, int]], scores: Sequence[float]) -> None:
        """Submitted judgements, ours of each pair first."""
        now = self.session.scalar(select(func.now()))
        authors = [self.dice.choice(self.people).id for _ in comparisons]
        assignments = self.rows(
            Assignment,
            [
                {
                    "comparison_id": comparison,
                    "annotator_id": author,
                    "state": AssignmentState.SUBMITTED,
                    "lease_until": now,
                    "order_shown": list(pair),
                }
                for comparison, author, pair in zip(comparisons, authors, shown, strict=True)
            ],
        )
        rows = []
        for comparison, author, assignment, pair, score in zip(
            comparisons, authors, assignments, shown, scores, strict=True
        ):
            better, worse = pair if score == 1 else pair[::-1]
            rows.append(
                {
                    "assignment_id": assignment,
                    "comparison_id": comparison,
                    "annotator_id": author,
                    "outcome": Outcome.TIE if score == 0.5 else Outcome.RANKED,
                    "ranking": [] if score == 0.5 else [[better], [worse]],
                    "strengths": [] if score == 0.5 else [3],
                    "order_shown": list(pair),
                    "idempotency_key": secrets.token_hex(8),
                    "request_hash": bytes(32),
                }
            )
        self.rows(Annotation, rows)

    def rows(self, table: Any, rows: list[dict[str, Any]]) -> list[int]:
        """Insert them all; their ids, in their order."""
        return list(self.session.scalars(insert(table).returning(table.id, sort_by_parameter_order=True), rows))

    def champion(self) -> Checkpoint:
        """Who is asked."""
        found = appointed(self.session, LoopRole.CHAMPION)
        assert found is not None
        return found

    def serves(self, checkpoint: Checkpoint, prompts: int = 200) -> bool:
        """Whether it is the champion, on every prompt that is sampled now, and who writes revisions."""
        rotation = registry.serving(self.session)
        sampled = [{each.deployment.checkpoint_id for each in draw(n, 2, rotation)} for n in range(prompts)]
        writes = rotation.writer is not None and rotation.writer.checkpoint_id == checkpoint.id
        return self.champion().id == checkpoint.id and writes and all(checkpoint.id in each for each in sampled)


def main() -> int:
    """Play the rounds and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--rounds", type=int, default=20, help="of shuffled labels")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    began = time.monotonic()
    with temporary_postgres() as server:
        session = prepared(server)
        world = World(session, annotators(session, PEOPLE), random.Random(options.seed))
        promoted = played(world, "shuffled", [SHUFFLED] * options.rounds)
        rises = played(world, "planted", [PLANTED] * 3)
        before = world.champion()
        fell = played(world, "bad", [BAD])
        kept = int(world.serves(before))
        session.close()
        session.get_bind().dispose()  # type: ignore[union-attr]
    print(f"\n{time.monotonic() - began:.0f} s")
    return verdict(
        Budget("policies of shuffled labels promoted", promoted, max(1, options.rounds // 10)),
        Budget("better policies promoted, one after another", rises, 3, at_least=True),
        Budget("bad policies promoted", fell, 0),
        Budget("champions that serve on after a bad round", kept, 1, at_least=True),
    )


def prepared(server: str) -> Session:
    """A session on a fresh database with a base model and a round that collects."""
    ensure_database(server, "verdicts")
    os.environ["DATABASE_URL"] = url = server.replace("/postgres?", "/verdicts?", 1)
    get_settings.cache_clear()
    migrate()
    session = Session(make_engine(url), expire_on_commit=False)
    registry.ensure_base(session, "/base")
    registry.ensure_rotation(session)
    if session.scalar(select(Round.id)) is None:
        session.add(Round(number=1))
    session.commit()
    return session


def played(world: World, name: str, wins: Sequence[float]) -> int:
    """Rounds one after another; returns how many were promoted."""
    start = len(world.verdicts)
    for each in wins:
        world.play(each)
    verdicts, votes = world.verdicts[start:], world.votes[start:]
    said = ", ".join(f"{one.value} after {count}" for one, count in zip(verdicts, votes, strict=True))
    print(f"{name:<10}{said}", flush=True)
    return verdicts.count(Verdict.PROMOTED)


if __name__ == "__main__":
    sys.exit(main())
