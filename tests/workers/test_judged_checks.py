"""The gate and self-correction hear an admitted judge of facts; where there is none, what it would say stays null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.rounds import bounds, checking, plan
from app.rounds.claims import Claim
from app.rounds.models import RunKind
from tests.findings.judges import FACTS, SOURCE
from tests.synthesis.writing import Writer
from workers.training import judged_checks
from workers.training.correction import Given, Judge
from workers.training.judging import Word
from workers.verifiers.checker import Checker
from workers.verifiers.protocol import Case, Finding

RIGHT, WRONG, UNSURE = "At nine.", "At ten.", "I do not know."
NULL = {"verifier": "facts", "passed": None, "message": "No judge is asked here"}


def side(text: str, **others: bool) -> dict[str, Any]:
    found = [NULL, *({"verifier": name, "passed": passed, "message": ""} for name, passed in others.items())]
    return {"text": text, "passed": False if False in others.values() else None, "findings": found}


def answered(before: dict[str, Any], after: dict[str, Any], **known: Any) -> dict[str, Any]:
    about = {"prompt": [{"role": "user", "content": "When does it open?"}], "tools": None, "capability": "factual"}
    checked = {"reference": SOURCE, "tests": FACTS, "verifiers": None, "required": ["facts"]}
    return about | checked | known | {"before": before, "after": after}


def run(folder: Path, *lines: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The exit code, and what was written."""
    (folder / "checked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = folder / "judged.json"
    code = judged_checks.main([str(folder / "checked.jsonl"), str(made)])
    return code, json.loads(made.read_text()) if made.exists() else {}


def test_its_word_decides_and_the_rates_are_of_the_same_prompts(judge: Writer, tmp_path: Path) -> None:
    sums = {"capability": "maths", "reference": "7", "tests": [{"kind": "answer"}]}
    known = {"text": "7", "passed": True, "findings": [{"verifier": "answer", "passed": True, "message": ""}]}
    code, said = run(
        tmp_path,
        answered(side(WRONG), side(RIGHT)),
        answered(side(f"<think>At ten?</think>{RIGHT}"), side(RIGHT)),
        answered(side(UNSURE), side(RIGHT)),  # one is null: of neither policy it counts
        answered(side(RIGHT, span=False), side(WRONG, span=True), required=["facts", "span"]),
        answered(side(RIGHT), side(RIGHT), verifiers=["span"]),  # its batch does not check facts
        answered(known, known, **sums),
    )
    assert (code, said["unavailable"]) == (0, None)
    rate = {name: said[name][key]["value"] for name, key in KEYS.items()}
    assert rate == {
        "before_metrics": pytest.approx(1 / 3),
        "after_metrics": pytest.approx(2 / 3),
        "compared": pytest.approx(1 / 3),
    }
    assert said["compared"]["verified_gain/factual"]["prompts"] == 3
    assert said["after_metrics"]["verified"]["prompts"] == 4, "in all, other capabilities stay what they were"
    assert "verified/maths" not in said["after_metrics"]


KEYS = {
    "before_metrics": "verified/factual",
    "after_metrics": "verified/factual",
    "compared": "verified_gain/factual",
}


def test_a_judge_that_is_away_or_not_there_changes_nothing(
    judge: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: Word, _: Case) -> Finding:
        self.away = "The judge is away."
        return Finding("facts", "1", None, "The judge is away.", again=True)

    monkeypatch.setattr(Word, "of", away)
    line = answered(side(WRONG), side(RIGHT))
    assert run(tmp_path, line) == (0, {"unavailable": "The judge is away."})
    monkeypatch.setattr(Word, "admitted", lambda: (None, "rival/new is not yet admitted: 0 of 50 labels"))
    assert run(tmp_path, line) == (0, {"unavailable": "rival/new is not yet admitted: 0 of 50 labels"})


def test_the_gate_refuses_what_the_judge_finds_worse(tmp_path: Path) -> None:
    def interval(value: float) -> dict[str, Any]:
        return {"value": value, "low": value - 0.1, "high": value + 0.1, "prompts": 40}

    (tmp_path / "policy-report").mkdir()
    report = {"compared": {"win_rate": interval(0.6)}, "after_metrics": {}, "verified": {"required": ["factual"]}}
    (tmp_path / plan.POLICY_REPORT).write_text(json.dumps(report))
    overlaid = {
        "after_metrics": {"verified/factual": interval(0.2)},
        "compared": {"verified_gain/factual": interval(-0.5)},
    }
    (tmp_path / plan.POLICY_JUDGED).write_text(json.dumps({"unavailable": None, **overlaid}))
    found = checking._judged(tmp_path, plan.POLICY_REPORT, plan.POLICY_JUDGED)
    assert found["compared"]["win_rate"] == interval(0.6)
    [said] = list(bounds._verified(found))
    assert said.level is bounds.Level.REFUSES
    assert "factual: 20.0%" in said.words
    (tmp_path / plan.POLICY_JUDGED).write_text(json.dumps({"unavailable": "The judge is away."}))
    assert checking._judged(tmp_path, plan.POLICY_REPORT, plan.POLICY_JUDGED) == report


def test_its_stages_are_in_runs_that_were_queued_with_a_judge(tmp_path: Path) -> None:
    stages = [stage for stage in plan.stages_of(RunKind.CHECK) if stage.name.startswith("judge-")]
    assert [stage.only_with for stage in stages] == ["judge_policy", "judge_average"]
    assert all(stage.knows_installation for stage in stages)
    claim = Claim(1, 1, tmp_path, tmp_path, {}, tuple(stages), {"judge_policy": True})
    assert claim.place(stages[0].makes[0]) == tmp_path / "policy-report" / "judged.json"


def test_a_correction_hears_it_too(judge: Writer) -> None:
    line = answered({}, {}) | {"prompt_id": "a"}
    word, why_not = Word.admitted()
    assert word is not None, why_not
    with Checker() as checker:
        passed, wrong = Judge(checker, word).look(line, [Given(WRONG), Given(UNSURE)])
        assert (passed, wrong and wrong.answer.text) == (None, WRONG)
        assert wrong is not None
        assert "does not agree with the source" in wrong.told([])
        assert Judge(checker, word).look(line, [Given(WRONG), Given(RIGHT)])[0] == Given(RIGHT)
        assert Judge(checker).look(line, [Given(WRONG), Given(RIGHT)]) == (None, None), "without one nobody knows"
