"""Claiming costs the same however much waits and however much is done: the plan is the promise."""

from __future__ import annotations

import pytest
from sqlalchemy import Update, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.annotations import queries
from app.comparisons import claims, seats
from app.comparisons.purposes import Asked
from tests.factories import make_comparison, make_user


@pytest.mark.parametrize("statistics", [None, "ANALYZE comparisons, assignments"], ids=["none", "of almost nothing"])
def test_a_claim_walks_only_what_waits(session: Session, statistics: str | None) -> None:
    make_comparison(session)
    if statistics:
        session.execute(text(statistics))
    for taking, walk in (
        (claims._takes[Asked.WORK], "ix_comparisons_claim"),
        (claims._takes[Asked.KNOWN_ANSWER], "ix_comparisons_"),
    ):
        said = explained(session, taking)
        assert f"Index Scan using {walk}" in said, said
        assert "on uq_comparisons_one_per_purpose" in said or "using uq_comparisons_one_per_purpose" in said, said
        for reading_all in ("Seq Scan", "Sort", "Hash", "Materialize"):
            assert reading_all not in said, said
    asked_once, _, walked = explained(session, claims._takes[Asked.WORK]).partition("One-Time Filter")
    assert "ix_assignments_annotator_id_state" not in walked, "all that somebody did"
    assert "on batch_people person" in asked_once, "whom the batch is assigned to is asked for each item"
    assert "on assignments had" in asked_once, "the quota is counted for each item"
    assert "batch_people" not in walked
    assert "batch_teams" not in walked


def explained(session: Session, taking: Update, **more: str) -> str:
    statement = taking.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    claims.serialise(session, 1)  # as every claim begins
    plan = session.connection().exec_driver_sql(
        f"EXPLAIN {statement}", {**statement.params, "batch": 1, "annotator": 1, **more}
    )
    return "\n".join(row[0] for row in plan)


def test_the_plan_of_a_claim_is_kept(session: Session) -> None:
    for statement in (claims._takes[Asked.WORK], claims._takes[Asked.KNOWN_ANSWER], seats._mine):
        compiled = str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        assert "'gold'" in compiled or statement is seats._mine, "a purpose that is a parameter hides the index"
        assert "LIMIT 1" in compiled, "a limit that is a parameter is taken for a tenth of all rows"


def test_counting_what_waits_can_walk_only_what_waits(session: Session) -> None:
    statement = queries._visible(make_user(session)).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    assert "seats_free > 0 AND" in str(statement), "a zero that is a parameter hides the index from a kept plan"
