"""A judge of facts behind a real endpoint, and people who have labelled what it judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.comparisons.models import Comparison
from app.findings import service
from app.findings.models import Check, FactLabel, Finding, Verdict
from app.kernel.settings import get_settings
from tests.findings.checking import checkable, found
from tests.synthesis.writing import Writer, serving

JUDGE = "rival/judge-large"
KEY = "key-of-the-judge-x7Qp2LmZ"
FACTS = [{"kind": "facts"}]
SOURCE = "The office opens at nine."


def verdict(said: str, *, informative: bool = True) -> str:
    """As a judge writes it."""
    return json.dumps({"verdict": said, "informative": informative})


def by_the_source(question: str) -> str:
    """A judge that is right: an answer that says nine agrees, one that says it does not know claims nothing."""
    answer = question.partition(" answer to be judged\n")[2].partition("\n===")[0]
    if "do not know" in answer:
        return verdict("not_attempted", informative=False)
    return verdict("correct" if "nine" in answer else "incorrect")


@contextmanager
def judging(
    monkeypatch: pytest.MonkeyPatch, says: Callable[[str], str] = by_the_source, **values: str
) -> Iterator[Writer]:
    """An installation whose judge answers by ``says``; ``values`` are further settings."""
    with serving(Writer(says)) as writer, monkeypatch.context() as other:
        other.setenv("CORRAL_ENDPOINTS", json.dumps({"rival": {"url": writer.url, "key": KEY}}))
        other.setenv("CORRAL_JUDGE", JUDGE)
        for name, value in values.items():
            other.setenv(name, value)
        get_settings.cache_clear()
        try:
            yield writer
        finally:
            other.undo()
            get_settings.cache_clear()


def labelled(session: Session, user: User, agreed: int, labels: int, judge: str = JUDGE) -> None:
    """``labels`` answers that ``judge`` has judged and ``user`` has labelled, on ``agreed`` of which both say the same."""
    comparison = checkable(session, "At nine.", "At ten.", reference=SOURCE, tests=FACTS)
    check = session.scalars(select(Check).where(Check.prompt_id == comparison.prompt_id).limit(1)).one()
    for number in range(labels):
        found = Finding(
            check_id=check.id,
            candidate_id=check.candidate_id,
            fencing_token=1000 + number,
            verifier="facts",
            version="1",
            case_hash=f"f{number:063d}",
            message="",
            evidence={"judge": judge, "verdict": "correct", "informative": True},
        )
        session.add(found)
        session.flush()
        said = Verdict.CORRECT if number < agreed else Verdict.INCORRECT
        session.add(FactLabel(finding_id=found.id, verdict=said, labelled_by_id=user.id))
    session.commit()


def judged(session: Session, *texts: str, verdict: str = "correct", source: str = SOURCE) -> Comparison:
    """Answers that the judge has judged while it was not admitted."""
    comparison = checkable(session, *(texts or ("At nine.", "At ten.")), reference=source, tests=FACTS)
    while (held := service.claim(session)) is not None:
        evidence = {"judge": JUDGE, "verdict": verdict, "informative": True}
        said = found(None, f"{JUDGE} is not yet admitted", "facts", evidence=evidence)
        service.record(session, held, f"{held.check_id:064d}", [said])
    session.commit()
    return comparison
