"""The stage that has sampled answers judged: only in runs that were queued while there was a judge of facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.kernel.settings import get_settings
from app.loops.models import Round
from app.registry.models import Checkpoint
from app.rounds import choosing, claims, plan, service
from app.rounds.models import RunKind, TrainingEvent, TrainingRun


@pytest.mark.parametrize(
    ("config", "given"),
    [
        ({}, {}),
        ({"refusals": True}, {}),
        ({"judge": "rival/large"}, {"judged": "run/judged.jsonl", "refusals": False}),
        ({"judge": "rival/large", "refusals": True}, {"judged": "run/judged.jsonl", "refusals": True}),
    ],
)
def test_answers_are_judged_where_the_run_was_queued_with_a_judge(
    config: dict[str, Any], given: dict[str, Any], tmp_path: Path
) -> None:
    brought = claims._judged(TrainingRun(config=config), Path("run"))
    assert brought == given
    stages = [stage for stage in plan.stages_of(RunKind.SFT) if stage.only_with is None or stage.only_with in brought]
    assert ("judge" in [stage.name for stage in stages]) is bool(given)
    claim = claims.Claim(1, 1, tmp_path, tmp_path, {}, tuple(stages), brought)
    told = claim.told(next(stage for stage in stages if stage.name == "choose"))
    assert {name: told[name] for name in ("judged", "refusals") if name in told} == given


def test_a_run_remembers_the_judge_that_it_was_queued_with(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def wanted(**values: Any) -> dict[str, Any]:
        settings = get_settings().model_copy(update=values)
        monkeypatch.setattr(service, "get_settings", lambda: settings)
        return service._config(session, Round(number=1), RunKind.SFT, Checkpoint(id=1, path="base"), "all rounds")

    assert "judge" not in wanted(judge="", training_refusals=True)
    found = wanted(judge="rival/large", training_refusals=True)
    assert (found["judge"], found["refusals"]) == ("rival/large", True)
    assert wanted(judge="rival/large")["refusals"] is False


def test_solutions_are_written_where_the_run_was_queued_with_who_writes(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = get_settings().model_copy(update={"training_solutions": "champion"})
    monkeypatch.setattr(service, "get_settings", lambda: settings)
    config = service._config(session, Round(number=1), RunKind.SFT, Checkpoint(id=1, path="base"), "all rounds")
    brought = claims._solved(TrainingRun(config=config), Path("run"))
    assert brought == {"solutions": "run/solutions.jsonl"}
    assert claims._solved(TrainingRun(config={}), Path("run")) == {}
    stages = plan.stages_of(RunKind.SFT)
    claim = claims.Claim(1, 1, tmp_path, tmp_path, {}, stages, brought)
    [solve] = [stage for stage in stages if stage.only_with == "solutions"]
    assert claim.place(solve.makes[0]) == Path("run/solutions.jsonl")
    told = claim.told(next(stage for stage in stages if stage.name == "choose"))
    assert told["solutions"] == "run/solutions.jsonl"


def test_the_page_says_how_many_refusals_are_learnt() -> None:
    said = {"counts": {"rows/refusal": 3}, "dropped": {"refusal_instead": 30, "failed/facts": 2}}
    found = choosing.of([TrainingEvent(event="chosen", values=said)])
    assert found is not None
    assert found.counts == [("refusals trained on", 3)]
    assert found.dropped == [
        ("all answers to the prompt claim what is wrong, so a refusal is learnt instead", 30),
        ("failed the check facts", 2),
    ]
