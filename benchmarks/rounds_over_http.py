"""Contests over HTTP, for ``benchmarks.rounds``: an annotator's program takes items and submits; nothing is put in past the API.

Everything is committed as it is in service, round after round: a new policy, its contest, its verdict, and the next one.
"""

from __future__ import annotations

import random
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.kernel.db import get_engine, session_scope
from app.loops import queries as loops
from app.loops.models import Round, Verdict
from app.registry.appointments import appointed
from app.registry.models import Checkpoint, CheckpointKind, LoopRole
from app.rounds import contests
from app.rounds.models import Contest

LOOK_EVERY = 10
WHOSE = """
SELECT c.checkpoint_id FROM assignments a, unnest(a.order_shown) WITH ORDINALITY AS shown (id, place)
  JOIN candidates c ON c.id = shown.id WHERE a.id = :item ORDER BY shown.place
"""


class Annotator:
    """A program with a bearer token, in the application's own process."""

    def __init__(self, session: Session, person: int) -> None:
        from app.site.main import create_app

        token = accounts.create_token(session, session.get_one(User, person), "bench", ["annotate"])
        session.commit()
        headers = {"authorization": f"Bearer {token}", "sec-fetch-site": "same-origin"}
        self.web = TestClient(create_app(), base_url="http://localhost", headers=headers)

    def next(self) -> dict[str, Any] | None:
        """The next item; None where none is left."""
        answer = self.web.post("/api/v1/annotate/next", json={})
        if answer.status_code not in {200, 204}:
            raise SystemExit(f"rounds: next answered {answer.status_code}: {answer.text[:300]}")
        found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return found

    def submit(self, item: dict[str, Any], better: str | None) -> None:
        """``better`` is a position; None is a tie."""
        others = [each["position"] for each in item["responses"] if each["position"] != better]
        body: dict[str, Any] = {"fencing_token": item["fencing_token"], "outcome": "tie", "active_seconds": 20}
        if better is not None:
            body |= {"outcome": "ranked", "ranking": [[better], others], "strengths": [3]}
        address, key = f"/api/v1/assignments/{item['id']}/submit", {"idempotency-key": str(item["id"])}
        answer = self.web.post(address, json=body, headers=key)
        if answer.status_code != 200:
            raise SystemExit(f"rounds: submit answered {answer.status_code}: {answer.text[:300]}")


def hold(
    annotator: Annotator, contest_id: int, challenger: int, chance: random.Random, ties: float
) -> tuple[Verdict | None, int]:
    """One contest of equals, until its verdict or until no item is left."""
    for number in range(1, 10_000):
        item = annotator.next()
        if item is not None:
            with session_scope() as session:
                whose = list(session.scalars(text(WHOSE), {"item": item["id"]}))
            wins = whose.index(challenger) if chance.random() < 0.5 else 1 - whose.index(challenger)
            annotator.submit(item, None if chance.random() < ties else item["responses"][wins]["position"])
        if item is None or number % LOOK_EVERY == 0:
            with session_scope() as session:
                contests.look(session)
                contest = session.get_one(Contest, contest_id)
                if contest.verdict is not None or item is None:
                    return contest.verdict, contest.counted
    raise AssertionError


def begin(session: Session, number: int) -> tuple[int, int, int]:
    """A new policy against the champion; the ids of contest, challenger and champion."""
    challenger = Checkpoint(
        name=f"policy-{number}", kind=CheckpointKind.POLICY, path=f"/nowhere/{number}", manifest_sha256="0" * 64
    )
    session.add(challenger)
    session.flush()
    current, champion = loops.current_round(session), appointed(session, LoopRole.CHAMPION)
    if current is None or champion is None:
        raise SystemExit("rounds: there is no round, or no champion")
    contest = contests.open_gate(session, current, challenger)
    contest.details = {"team": []}
    session.add(Round(number=current.number + 1))
    session.flush()
    return contest.id, challenger.id, champion.id


def fresh_engine() -> None:
    """Let this process use the database that the settings name now."""
    get_engine.cache_clear()
