"""Votes between policies, as rows of a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Annotation
from app.board import service
from app.board.models import Board
from app.comparisons import service as comparing
from app.comparisons.models import Comparison
from app.judgements.vocabulary import Outcome
from app.prompts.models import Batch, PromptState
from tests.factories import (
    make_annotation,
    make_batch,
    make_candidate,
    make_deployment,
    make_prompt,
    make_user,
)


def make_item(
    session: Session, *policies: str, batch: Batch | None = None, capability: str | None = None, wanted: int = 1
) -> Comparison:
    """A comparison of one response of each of ``policies``, in their order; a name twice is two responses of one policy."""
    batch = batch or make_batch(session, annotators_per_prompt=wanted, candidates_per_prompt=max(2, len(policies)))
    prompt = make_prompt(session, batch, state=PromptState.READY)
    prompt.capability = capability
    for index, name in enumerate(policies):
        text = f"{name} says: " + "word " * (index + 3)
        make_candidate(session, prompt, text, deployment=make_deployment(session, name), sample_index=index)
    comparison = comparing.create_comparison(session, prompt)
    assert comparison is not None
    session.commit()
    return comparison


Vote = Callable[..., Annotation]


@pytest.fixture
def vote(session: Session) -> Vote:
    """``vote("a", "b")``: somebody says that policy a is better than b; ``tie=True``: equally good."""
    make_deployment(session, "zebra-base")  # the first one is the base
    batch = make_batch(session, name="Votes")
    voters: dict[str, User] = {}

    def cast(
        better: str,
        worse: str,
        *,
        by: str = "Alice",
        tie: bool = False,
        of: Batch | None = None,
        capability: str | None = None,
    ) -> Annotation:
        person = voters.get(by) or voters.setdefault(by, make_user(session, Role.ANNOTATOR, by))
        comparison = make_item(session, better, worse, batch=of or batch, capability=capability)
        return make_annotation(session, person, comparison, outcome=Outcome.TIE if tie else Outcome.RANKED)

    return cast


@pytest.fixture
def compute(session: Session) -> Callable[[], Board]:
    """What the worker does, in the transaction of the test."""
    from workers.board.computing import compute as computing

    def work() -> Board:
        board = service.claim(session, service.request(session, None).id)
        assert board is not None
        service.finish(session, board, computing(session, board))
        session.commit()
        return board

    return work


def cast_all(vote: Vote, outcomes: Sequence[tuple[str, str, int]]) -> None:
    """``[("a", "b", 3)]``: a is better than b three times."""
    for better, worse, times in outcomes:
        for _ in range(times):
            vote(better, worse)
