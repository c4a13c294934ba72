"""Fills contests with votes, many at once: comparisons that show both policies, each judged by whoever is named."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.comparisons.models import Assignment, AssignmentState, Comparison, ComparisonCandidate, Drawn, Purpose
from app.judgements.vocabulary import Outcome
from app.loops.models import Round
from app.prompts.models import Batch, Prompt, PromptState
from app.registry import service as registry
from app.registry.appointments import appointed
from app.registry.models import Checkpoint, LoopRole
from app.rounds import contests
from app.rounds.models import Contest
from tests.factories import make_batch, make_checkpoint, make_deployment, make_user


@dataclass
class Ballot:
    """Two policies in a batch, and the votes on them."""

    session: Session
    batch: Batch
    challenger: Checkpoint
    champion: Checkpoint
    alice: User
    comparisons: list[int] = field(default_factory=list)

    def vote(self, *scores: float, by: User | None = None, **more: Any) -> list[Annotation]:
        """One fresh prompt for each score (1, ½ or 0), each with one judgement; returned in their order."""
        return [self.judge(self.ask(**more), score, by) for score in scores]

    def ask(
        self,
        *,
        content: bytes | None = None,
        capability: str | None = None,
        drawn: Drawn = Drawn.RANDOM,
        ours: Sequence[str] = ("An answer of the new one.",),
        theirs: Sequence[str] = ("An answer of the old one.",),
    ) -> Comparison:
        """A comparison that shows what both policies say of a fresh prompt, with seats for twenty."""
        prompt = Prompt(
            batch_id=self.batch.id,
            external_id=secrets.token_hex(8),
            messages=[{"role": "user", "content": "Which?"}],
            content_hash=content or secrets.token_bytes(32),
            capability=capability,
            state=PromptState.READY,
        )
        self.session.add(prompt)
        self.session.flush()
        shown = [
            self._candidate(prompt, owner, index, said)
            for owner, texts in ((self.challenger, ours), (self.champion, theirs))
            for index, said in enumerate(texts)
        ]
        comparison = Comparison(
            batch_id=self.batch.id,
            prompt_id=prompt.id,
            purpose=Purpose.COLLECT,
            annotators_wanted=20,
            seats_free=20,
            drawn=drawn,
        )
        self.session.add(comparison)
        self.session.flush()
        self.session.execute(
            insert(ComparisonCandidate),
            [{"comparison_id": comparison.id, "candidate_id": candidate} for candidate in shown],
        )
        return comparison

    def _candidate(self, prompt: Prompt, owner: Checkpoint, index: int, said: str) -> int:
        made = Candidate(
            prompt_id=prompt.id,
            checkpoint_id=owner.id,
            deployment_id=make_deployment(self.session, owner.name).id,
            sample_index=index,
            text=said,
            finish_reason="stop",
            prompt_tokens=3,
            completion_tokens=len(said.split()),
            sampling={},
            engine_version="none",
        )
        self.session.add(made)
        self.session.flush()
        return made.id

    def judge(self, comparison: Comparison, score: float, by: User | None = None) -> Annotation:
        """Somebody's judgement of a comparison of two answers."""
        ours, theirs = self.shown(comparison)
        ranking = {1.0: [[ours], [theirs]], 0.0: [[theirs], [ours]]}.get(score)
        return self.say(comparison, ranking, by)

    def shown(self, comparison: Comparison) -> list[int]:
        """Candidates, the challenger's first."""
        query = select(Candidate.id).join(ComparisonCandidate, ComparisonCandidate.candidate_id == Candidate.id)
        query = query.where(ComparisonCandidate.comparison_id == comparison.id)
        return list(self.session.scalars(query.order_by(Candidate.id)))

    def say(
        self,
        comparison: Comparison,
        ranking: list[list[int]] | None,
        by: User | None = None,
        *,
        outcome: Outcome = Outcome.TIE,
        corrects: Annotation | None = None,
    ) -> Annotation:
        """A judgement; without ``ranking`` they are all alike, or what ``outcome`` says. What was undone is said again."""
        author, shown = by or self.alice, self.shown(comparison)
        if corrects is None:
            held = Assignment(
                comparison_id=comparison.id,
                annotator_id=author.id,
                state=AssignmentState.SUBMITTED,
                lease_until=func.now(),
                order_shown=shown,
            )
            self.session.add(held)
            self.session.flush()
            assignment = held.id
            comparison.annotators_done += 1
            comparison.seats_free -= 1
        else:
            assignment = corrects.assignment_id
        number = self.session.scalar(text("SELECT nextval(pg_get_serial_sequence('annotations', 'id'))"))
        if corrects is not None and corrects.withdrawn_at is None:
            corrects.superseded_by_id = number
            self.session.flush()
        made = Annotation(
            id=number,
            assignment_id=assignment,
            comparison_id=comparison.id,
            annotator_id=author.id,
            outcome=outcome if ranking is None else Outcome.RANKED,
            ranking=ranking or [],
            strengths=[3] * (len(ranking) - 1) if ranking else [],
            order_shown=shown,
            idempotency_key=secrets.token_hex(8),
            request_hash=bytes(32),
        )
        self.session.add(made)
        self.session.flush()
        return made


def open_ballot(session: Session) -> Ballot:
    """A batch, a champion, a policy that could challenge it, the base model behind both, and Alice."""
    registry.ensure_base(session, "/models/zebra-base")
    batch = make_batch(session)
    champion, challenger = make_checkpoint(session, "okapi-champion"), make_checkpoint(session, "okapi-new")
    registry.crown(session, champion)
    return Ballot(session, batch, challenger, champion, make_user(session))


def begin(session: Session, ballot: Ballot) -> Contest:
    """The round's policy meets the champion, and the next round collects."""
    round_ = session.get_one(Round, ballot.batch.round_id)
    contest = contests.open_gate(session, round_, ballot.challenger)
    session.add(Round(number=round_.number + 1))
    session.commit()
    return contest


def champion(session: Session) -> str:
    """The name of the policy in that role."""
    found = appointed(session, LoopRole.CHAMPION)
    assert found is not None
    return found.name
