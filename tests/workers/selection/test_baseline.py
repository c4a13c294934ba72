"""The head as the baseline of every reward model: the same votes for both, and no round stopped by what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates.models import Candidate, CandidateFeatures, CandidateScore
from app.registry import service as registry
from app.registry.models import CheckpointKind
from app.rounds import bounds
from app.rounds.bounds import Level
from tests.factories import make_annotation, make_batch, make_checkpoint, make_comparison, make_prompt
from tests.rounds.conftest import question
from training.formats.prompts import Split
from workers.selection import asking, baseline

GOOD = "The better one"
FITTED, MEASURED = 12, 10
"""Judgements of training prompts, and of held-out ones."""
BOTH = 2 * (FITTED + MEASURED)


class Models:
    """Stands in for both models: the base sees what is good, and the reward model what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, right: bool = True) -> None:
        self.right, self.asked = right, {"training.scores": 0, "training.features": 0}
        monkeypatch.setattr(asking, "of", self.of)
        monkeypatch.setattr(baseline, "ENOUGH", 10)

    def of(self, module: str, lines: Iterable[Mapping[str, Any]], _config: Any, _output: str, _read: Any) -> Any:
        good = [str(line["response"]).startswith(GOOD) for line in lines]
        self.asked[module] += len(good)
        if module == "training.scores":
            return [float(each is self.right) for each in good]
        dice = np.random.default_rng(1)
        return np.stack([dice.normal(size=6) + 4 * np.eye(6)[0] * each for each in good])


@pytest.fixture
def judged(committed: Engine, alice: User) -> str:
    """Judgements of both sides of the split, each for the good response; the reward model's path."""
    with Session(committed) as session:
        batch = make_batch(session)
        for side, count in ((Split.TRAIN, FITTED), (Split.HELD_OUT, MEASURED)):
            for number in range(count):
                texts = (f"{GOOD} of {number} {side}", f"A worse one of {number} {side}")
                prompt = make_prompt(session, batch, question(number, side))
                item = make_comparison(session, prompt=prompt, texts=texts)
                make_annotation(session, session.merge(alice), item, strengths=[3])
        registry.ensure_rotation(session)
        path = str(make_checkpoint(session, "reward-r1", CheckpointKind.REWARD).folder)
        session.commit()
    return path


def test_both_are_asked_of_the_same_held_out_votes_and_scores_stay(
    committed: Engine, judged: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = Models(monkeypatch)
    (tmp_path / "baseline.toml").write_text(
        tomli_w.dumps({"reward_model": judged, "output": str(tmp_path / "head.json")})
    )
    assert baseline.main(tmp_path / "baseline.toml") == 0
    report = json.loads((tmp_path / "head.json").read_text())
    assert (report["pairs"], report["fitted_on"]) == (MEASURED, FITTED)
    assert report["head"]["value"] == 1.0
    assert report["reward_model"]["value"] == 1.0
    assert report["above"]["prompts"] == MEASURED
    [found] = bounds.of_head(report)
    assert (found.step, found.level) == (1, Level.WARNS)
    assert "that is not significantly better" in found.words
    assert models.asked == {"training.scores": BOTH, "training.features": BOTH}
    with Session(committed) as session:
        assert len(session.scalars(select(CandidateScore)).all()) == BOTH
        assert len(session.scalars(select(CandidateFeatures)).all()) == BOTH
        good = select(CandidateScore.score).join(Candidate).where(Candidate.text.startswith(GOOD))
        assert set(session.scalars(good)) == {1.0}
    assert baseline.compare(judged) == report
    assert models.asked == {"training.scores": BOTH, "training.features": BOTH}, "what is known is not read again"


def test_a_reward_model_that_is_surely_worse_is_refused_and_what_cannot_be_compared_stops_nothing(
    judged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(asking, "of", _fails)
        [found] = bounds.of_head(baseline.compare(judged))
        assert (found.level, "the disk is full" in found.words) == (Level.WARNS, True)
    Models(monkeypatch, right=False)
    report = baseline.compare(judged)
    assert report["above"]["high"] < 0
    [found] = bounds.of_head(report)
    assert found.level is Level.REFUSES
    assert "on 100.0% [100.0%, 100.0%]" in found.words
    monkeypatch.setattr(baseline, "ENOUGH", FITTED + 1)
    assert baseline.compare(judged) == {"pairs": 0}
    assert baseline.compare("/models/gone") == {"pairs": 0}
    assert list(bounds.of_head({"pairs": 0})) == []
    assert list(bounds.of_head({})) == []


def _fails(*_: Any) -> None:
    raise asking.UnansweredError("the disk is full")
