"""The baseline that every reward model must beat: a linear head on the base model's frozen features, fitted in milliseconds.

    python -m workers.selection.baseline baseline.toml

Both say which of two responses people preferred, on the same held-out votes: the head is fitted on judgements of training
prompts, the newest first, as the one that pairs are chosen by. On the way the new reward model scores what people have judged
(``candidate_scores``), which is shown to staff beside a judgement that is submitted, and where it contradicts one person with
confidence a second is asked (:mod:`workers.selection.doubts`).

It is a stage of the run that checks (``app.rounds.plan``). What cannot be compared is said in the report, and stops no round.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.candidates import features, scores
from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from app.prompts.models import Prompt
from app.registry.models import Checkpoint
from app.rounds.pair_selection import ENOUGH
from training.formats.prompts import Split, split_of
from training.formats.votes import votes
from workers.selection import asking, doubts, head, reading
from workers.selection.head import Judged
from workers.selection.intervals import over_prompts

AT_ONCE = 512
"""Responses that are read at most for one comparison, by each of the two models."""
Report = dict[str, Any]


@dataclass(frozen=True)
class Votes:
    """Votes on one side of the split: prompt, the two candidates, and the part of the vote that the first has; no ties."""

    rows: list[tuple[int, int, int, float]]

    @property
    def candidates(self) -> list[int]:
        """Each once, those of the newest votes first."""
        return list(dict.fromkeys(each for _, one, other, _ in self.rows for each in (one, other)))

    def known(self, *where: dict[int, Any]) -> Votes:
        """Those of which both responses are known everywhere."""
        return Votes([row for row in self.rows if all(row[1] in each and row[2] in each for each in where)])


def compare(reward_model: str) -> Report:
    """Both on the same held-out votes; ``unmeasured`` says why there is nothing to compare, where that is so."""
    with session_scope() as session:
        base = reading.base_id(session)
        judge = session.scalar(select(Checkpoint.id).where(Checkpoint.name == Path(reward_model).name))
        train, held_out = _votes(session)
    if base is None or judge is None:
        return {"pairs": 0}
    candidates = [*held_out.candidates, *train.candidates]
    try:
        scored = _scored(judge, reward_model, candidates)
        if len(train.rows) < ENOUGH or not held_out.rows:
            return {"pairs": 0}
        vectors = _featured(base, candidates)
    except asking.UnansweredError as error:
        return {"pairs": 0, "unmeasured": str(error)}
    train, measured = train.known(vectors), held_out.known(vectors, scored)
    if len(train.rows) < ENOUGH or not measured.rows:
        return {"pairs": 0}
    report = _measured(train, measured, vectors, scored) | {"fitted_on": len(train.rows)}
    with session_scope() as session:
        # one that is no better than a coin on people's judgements has no say about them
        knows = (report["reward_model"]["low"] or 0.0) > 0.5
        report["asked_again"] = doubts.ask_again(session, judge, scored) if knows else 0
    return report


def _votes(session: Session) -> tuple[Votes, Votes]:
    """Of training prompts, and held out; the newest first."""
    said = reading.newest_judgements(session)
    hashes = select(Prompt.id, Prompt.content_hash).where(Prompt.id.in_({row[0] for row in said}))
    percent = get_settings().held_out_percent
    held_out = {key for key, digest in session.execute(hashes) if split_of(digest, percent) is Split.HELD_OUT}
    sides: tuple[Votes, Votes] = (Votes([]), Votes([]))
    for prompt, outcome, ranking, strengths, shown in said:
        for vote in votes(outcome, ranking, strengths, shown):
            if vote.score != 0.5:
                sides[prompt in held_out].rows.append((prompt, vote.one, vote.other, vote.score))
    return sides


def _scored(judge: int, reward_model: str, wanted: Sequence[int]) -> dict[int, float]:
    with session_scope() as session:
        there = scores.read(session, wanted, judge)
        lines = features.texts(session, [key for key in wanted if key not in there][:AT_ONCE])
    if lines:
        config = {"reward_model": reward_model, "base_model": get_settings().base_model_path}
        found = asking.of("training.scores", [line for _, line in lines], config, "scores.json", _numbers)
        new = {key: score for (key, _), score in zip(lines, found, strict=True) if score is not None}
        with session_scope() as session:
            scores.store(session, judge, new)
        there |= new
    return there


def _numbers(file: Path) -> list[float | None]:
    found: list[float | None] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _featured(base: int, wanted: Sequence[int]) -> dict[int, bytes]:
    with session_scope() as session:
        lines = features.texts(session, features.lacking(session, wanted, base)[:AT_ONCE])
    if lines:
        config = {"base_model": get_settings().base_model_path}
        found = asking.of("training.features", [line for _, line in lines], config, "features.npy", np.load)
        with session_scope() as session:
            features.store(
                session, base, {key: row.tobytes() for (key, _), row in zip(lines, found.astype("<f2"), strict=True)}
            )
    with session_scope() as session:
        return features.read(session, wanted, base)


def _measured(train: Votes, measured: Votes, vectors: dict[int, bytes], scored: dict[int, float]) -> Report:
    used = list(dict.fromkeys([*train.candidates, *measured.candidates]))
    place = {candidate: row for row, candidate in enumerate(used)}
    rows = reading.as_rows([vectors[each] for each in used])
    prompts, one, other, share = zip(*train.rows, strict=True)
    sides = [np.array([place[each] for each in side]) for side in (one, other)]
    judged = Judged(sides[0], sides[1], np.array(share, dtype=float), np.array(prompts))
    rewards = head.fit(rows, judged).rewards(rows)
    by_head = [_right(rewards[place[a]] - rewards[place[b]], said) for _, a, b, said in measured.rows]
    by_model = [_right(scored[a] - scored[b], said) for _, a, b, said in measured.rows]
    of = [prompt for prompt, *_ in measured.rows]
    return {
        "pairs": len(of),
        "head": over_prompts(of, by_head),
        "reward_model": over_prompts(of, by_model),
        "above": over_prompts(of, [mine - its for mine, its in zip(by_model, by_head, strict=True)]),
    }


def _right(margin: float, said: float) -> float:
    """1 where the better response is found better, ½ where both are alike."""
    return 0.5 if margin == 0 else float((margin > 0) == (said > 0.5))


def main(settings: Path) -> int:
    """Write the report that ``settings`` asks for; returns the exit status."""
    told = tomllib.loads(settings.read_text(encoding="utf-8"))
    report, output = compare(told["reward_model"]), Path(told["output"])
    draft = output.with_name(f".{output.name}.tmp")
    draft.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    draft.replace(output)
    sys.stdout.write(f"compared on {report['pairs']} held-out votes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
