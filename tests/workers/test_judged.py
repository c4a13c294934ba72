"""Sampled answers are judged by an admitted judge; where there is none nothing is, and the report says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.kernel.settings import get_settings
from tests.findings.judges import FACTS, JUDGE, SOURCE, by_the_source, judging, verdict
from tests.synthesis.writing import Writer
from workers.engines.judge import Judge
from workers.training import judged
from workers.training.judging import Word
from workers.verifiers.judging import Agreement, Judged, Verdict, steadily_wrong

WRONG, RIGHT = ("At ten.", "At eleven.", "At ten."), "At nine."


def sampled(name: str, *texts: str, **known: Any) -> dict[str, Any]:
    answers = [{"text": text, "finish_reason": "length" if text == "endless" else "stop"} for text in texts]
    line = {"prompt_id": name, "prompt": [{"role": "user", "content": "When does it open?"}], "tools": None}
    return line | {"checkpoint": "policy-r1", "samples": answers, "reference": SOURCE, "tests": FACTS} | known


def run(folder: Path, *lines: dict[str, Any]) -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
    """The exit code, what was judged by prompt, and the report."""
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = folder / "judged.jsonl"
    code = judged.main([str(folder / "samples.jsonl"), str(made)])
    report = made.with_suffix(".report.json")
    found = [json.loads(line) for line in made.read_text().splitlines()] if made.exists() else []
    said = json.loads(report.read_text()) if report.exists() else {}
    return code, {line["prompt_id"]: line for line in found}, said


@pytest.mark.parametrize(
    ("said", "steadily"),
    [
        ([Judged(Verdict.INCORRECT, informative=True)] * 3, True),
        ([Judged(Verdict.INCORRECT, informative=True)] * 2, False),
        ([*[Judged(Verdict.INCORRECT, informative=True)] * 3, None], False),
        ([*[Judged(Verdict.INCORRECT, informative=True)] * 3, Judged(Verdict.CORRECT, informative=True)], False),
        ([*[Judged(Verdict.INCORRECT, informative=True)] * 3, Judged(Verdict.NOT_ATTEMPTED, informative=False)], False),
        ([Judged(Verdict.INCORRECT, informative=False)] * 3, False),
        ([], False),
    ],
)
def test_a_model_is_steadily_wrong_where_all_of_at_least_three_answers_are(
    said: list[Judged | None],
    steadily: bool,  # noqa: FBT001 - a row of a table
) -> None:
    assert steadily_wrong(said) is steadily


def test_each_text_is_judged_once_and_every_answer_counts(judge: Writer, tmp_path: Path) -> None:
    code, found, report = run(
        tmp_path,
        sampled("wrong", *WRONG, "endless"),
        sampled("mixed", *WRONG, RIGHT),
        sampled("unsure", *WRONG, "I do not know."),
        sampled("shown", *WRONG, prompt=[{"role": "user", "content": f"{SOURCE} When does it open?"}]),
    )
    assert code == 0
    assert {name: line["steadily_wrong"] for name, line in found.items()} == {
        "wrong": True,
        "mixed": False,
        "unsure": False,
        "shown": False,
    }
    assert found["wrong"]["answers"] == [
        {"text": text, "verdict": "incorrect", "informative": True} for text in ("At ten.", "At eleven.")
    ]
    assert (found["mixed"]["judge"], found["mixed"]["checkpoint"]) == (JUDGE, "policy-r1")
    assert [answer["verdict"] for answer in found["unsure"]["answers"]][2] == "not_attempted"
    assert len(judge.asked) == 10
    assert report == {
        "unavailable": None,
        "prompts": 4,
        "steadily_wrong": 1,
        "answers": {"correct": 1, "incorrect": 8, "not_attempted": 1},
    }


def test_what_has_no_test_of_facts_or_is_not_to_be_checked_by_it_is_let_be(judge: Writer, tmp_path: Path) -> None:
    code, found, _ = run(
        tmp_path,
        sampled("other", *WRONG, tests=[{"kind": "answer"}]),
        sampled("none", *WRONG, verifiers=[]),
        sampled("odd", *WRONG, tests="nonsense"),
        sampled("sourceless", *WRONG, reference=None),
    )
    assert (code, judge.asked, set(found)) == (0, [], {"sourceless"})
    assert {answer["verdict"] for answer in found["sourceless"]["answers"]} == {None}


def test_an_answer_of_which_there_is_no_verdict_makes_nothing_steady(judge: Writer, tmp_path: Path) -> None:
    judge.says = lambda question: "Prose." if "eleven" in question else by_the_source(question)
    _, found, report = run(
        tmp_path, sampled("a", *WRONG), sampled("b", "At ten.", "At ten.", f"At ten. {verdict('correct')}")
    )
    assert [line["steadily_wrong"] for line in found.values()] == [False, False]
    assert report["answers"] == {"None": 2, "incorrect": 2}


def test_thinking_is_not_judged(judge: Writer, tmp_path: Path) -> None:
    _, found, _ = run(tmp_path, sampled("a", "<think>Is it nine?</think>At ten."))
    assert found["a"]["answers"][0]["verdict"] == "incorrect"
    assert "Is it nine?" not in judge.asked[0]


def test_a_second_start_judges_only_what_was_not_judged(
    judge: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, sampled("a", *WRONG))
    with (tmp_path / "judged.jsonl").open("a") as file:
        file.write('{"prompt_id": "b", "answ')
    asked = len(judge.asked)
    _, found, _ = run(tmp_path, sampled("a", *WRONG), sampled("b", RIGHT))
    assert (set(found), len(judge.asked)) == ({"a", "b"}, asked + 1)
    _, found, _ = run(tmp_path, sampled("b", RIGHT, checkpoint="policy-r2"))
    assert (set(found), len(judge.asked)) == ({"b"}, asked + 2), "those of another policy are dropped"
    another = Word(Judge(get_settings(), "rival/another"), Agreement(60, 60))
    monkeypatch.setattr(Word, "admitted", lambda: (another, None))
    _, found, _ = run(tmp_path, sampled("c", RIGHT, checkpoint="policy-r2"))
    assert set(found) == {"c"}, "and those of another judge"


def test_a_judge_that_goes_away_stops_nothing(judge: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = get_settings().endpoints["rival"].model_copy(update={"url": "http://127.0.0.1:9/v1"})
    settings = get_settings().model_copy(update={"endpoints": {"rival": away}})
    monkeypatch.setattr("workers.training.judging.get_settings", lambda: settings)
    code, found, report = run(tmp_path, sampled("a", *WRONG))
    assert (code, found) == (0, {})
    assert report["unavailable"].startswith("the judge is away")


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"CORRAL_JUDGE": ""}, "no judge of facts is set up"),
        ({"CORRAL_ENDPOINTS": "{}"}, "is not set up in CORRAL_ENDPOINTS"),
        ({"CORRAL_JUDGE": "rival/unmeasured"}, "rival/unmeasured is not yet admitted: 0 of 50 labels"),
    ],
)
def test_without_an_admitted_judge_nothing_is_judged(
    judge: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: dict[str, str], why: str
) -> None:
    with judging(monkeypatch, by_the_source, **others):
        code, found, report = run(tmp_path, sampled("a", *WRONG))
    assert (code, found, report["prompts"]) == (0, {}, 0)
    assert why in report["unavailable"]


def test_what_is_wrong_with_the_files_is_said(
    judge: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged.main([str(tmp_path / "none.jsonl"), str(tmp_path / "judged.jsonl")]) == 2
    (tmp_path / "samples.jsonl").write_text("{}\n")
    assert judged.main([str(tmp_path / "samples.jsonl"), str(tmp_path / "judged.jsonl")]) == 2
    assert "sample again" in capsys.readouterr().err
