"""Where every answer is wrong, the model is told why, at most twice, and what passes then is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from app.kernel.settings import Settings
from workers.engines.protocol import Ask, EngineAway, Reply
from workers.engines.replies import Answer
from workers.tools.calculator import Calculator
from workers.tools.protocol import shown
from workers.training import correction
from workers.training.rejection import Writer
from workers.verifiers.checker import CheckerBroken
from workers.verifiers.protocol import Case, Finding

SAYS = Callable[[Ask], list[str]]


class Sums:
    """Finds right what says the reference; nobody can tell of what says "perhaps"."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check(self, case: Case, verifiers: Sequence[str] | None = None) -> list[Finding]:
        if case.tests_of("broken"):
            raise CheckerBroken("The process that makes checks does not work: it ended")
        if case.reference is None or verifiers == []:
            return []
        passed = None if "perhaps" in case.response else case.response == case.reference
        message = f"{case.response}, not {case.reference}" if "say" in case.response else "the sum does not add up."
        return [Finding("sum", "1", passed, message), Finding("polite", "1", False, "no please")]


class Scripted:
    """An engine that answers as it is told, and remembers what it was asked."""

    def __init__(self, says: SAYS) -> None:
        self.says, self.asked = says, list[Ask]()

    async def sample(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        answers = [Answer(text, "stop", 1, 1) for text in self.says(ask)]
        return Reply(answers, sampling={}, engine_version="1")

    async def aclose(self) -> None:
        pass


@pytest.fixture
def engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Right at the second time."""
    made = Scripted(lambda ask: ["9"] if len(ask.messages) == 3 else ["10", "7"])
    monkeypatch.setattr(correction, "OpenAIEngine", lambda _: made)
    monkeypatch.setattr(correction, "Checker", Sums)
    monkeypatch.setattr(correction, "champion", lambda: Writer("policy-r1", "policy-r1", {"temperature": 1.0}))
    return made


def sampled(name: str, *texts: str, **known: Any) -> dict[str, Any]:
    line = {"prompt_id": name, "prompt": [{"role": "user", "content": f"{name}: 3 + 4?"}], "tools": None}
    answers = [{"text": text, "finish_reason": "length" if text == "endless" else "stop"} for text in texts]
    known = {"reference": "7", "required": ["sum"]} | known
    return line | {"checkpoint": "policy-r1", "k": 2, "samples": answers, "capability": "maths"} | known


def run(folder: Path, *lines: dict[str, Any]) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """The exit code, the lines of the corrections and their report."""
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = folder / "corrections.jsonl"
    code = correction.main([str(folder / "samples.jsonl"), str(made), "--max-tokens", "20"])
    report = made.with_suffix(".report.json")
    return (
        code,
        [json.loads(line) for line in made.read_text().splitlines()] if made.exists() else [],
        json.loads(report.read_text()) if report.exists() else {},
    )


def test_a_wrong_answer_and_its_finding_are_said_until_it_passes(engine: Scripted, tmp_path: Path) -> None:
    code, [made], report = run(tmp_path, sampled("a", "endless", "8", "9"))
    assert code == 0
    assert [(turn["role"], turn["content"]) for turn in made["prompt"]] == [
        ("user", "a: 3 + 4?"),
        ("assistant", "8"),
        (
            "user",
            "A check of your answer (sum) found: the sum does not add up. Correct your answer, and give it in full.",
        ),
        ("assistant", "9"),
        (
            "user",
            "A check of your answer (sum) found: the sum does not add up. Correct your answer, and give it in full.",
        ),
    ]
    assert (made["completion"], made["rounds"], made["asked"]) == ("7", 2, made["prompt"][:1])
    assert (made["checkpoint"], made["capability"], made["verifier"]) == ("policy-r1", "maths", "sum")
    assert report == {"unavailable": None, "tried": 1, "corrected": 1, "by_round": {"1": 0, "2": 1}}
    assert [(ask.model, ask.max_tokens) for ask in engine.asked] == [("policy-r1", 20)] * 2


def test_a_wrong_answer_is_shown_with_its_calls_and_the_next_one_may_call_tools_as_well(
    engine: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Calculator, "run", lambda *_: "7")
    called = '<tool_call>{"name": "calculator", "arguments": {"expression": "3+4"}}</tool_call>'
    engine.says = lambda ask: ["7"] if ask.steps else [called]
    line = sampled("a", "8", "7", "6", tools=[shown(Calculator())])
    said = {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1"}], "said": "[calculator()]"}
    result = {"role": "tool", "name": "calculator", "tool_call_id": "call_1", "content": "8"}
    line["samples"][0] |= {"steps": [said, result], "ended": "answered"}
    line["samples"][1] |= {"steps": [said, result | {"failed": True}], "ended": "answered"}
    line["samples"][2] |= {"steps": [], "ended": "steps"}
    code, [made], _ = run(tmp_path, line)
    assert code == 0
    assert [turn["role"] for turn in made["prompt"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert not any("said" in turn for turn in made["prompt"])
    assert (made["completion"], made["steps"][0]["said"], made["steps"][1]["content"]) == ("7", called, "7")


@pytest.mark.parametrize("tests", [{"kind": "answer", "value": "7"}, [{"kind": "sum", "value": [7, "seven"]}]])
def test_the_right_answer_of_a_test_is_not_told(tests: Any) -> None:
    line = sampled("a", "8", reference=None, tests=tests)
    wrong = correction.Wrong(correction.Given("8"), Finding("answer", "1", False, "8, but 7 is wanted"))
    assert "found: it is wrong." in wrong.told(correction.right_answers(line))
    assert "found: 8, but 7 is wanted." in wrong.told(correction.right_answers(sampled("a", "8", reference=None)))


def test_answers_that_say_the_same_after_other_calls_are_checked_each() -> None:
    class Seen:
        def __init__(self) -> None:
            self.steps: list[Any] = []

        def check(self, case: Any, _: Any) -> list[Finding]:
            self.steps.append(case.steps)
            return []

    seen: Any = Seen()
    call = {"role": "assistant", "content": "", "tool_calls": []}
    same = correction.Given("7")
    assert correction.Judge(seen).look(sampled("a", "7"), [same, same, correction.Given("7", (call,))]) == (None, None)
    assert len(seen.steps) == 2


def test_it_is_told_twice_and_no_more(engine: Scripted, tmp_path: Path) -> None:
    engine.says = lambda _: ["11"]
    code, [made], report = run(tmp_path, sampled("a", "8"))
    assert (code, made["completion"], len(engine.asked)) == (0, None, 2)
    assert (report["tried"], report["corrected"]) == (1, 0)


def test_what_is_solved_unknown_unchecked_or_of_another_policy_is_let_be(engine: Scripted, tmp_path: Path) -> None:
    solved, unknown = sampled("solved", "8", "7"), sampled("unknown", "perhaps 8")
    optional, unchecked = sampled("optional", "8", required=[]), sampled("unchecked", "8", verifiers=[])
    other = sampled("other", "8") | {"checkpoint": "policy-r0"}
    open_, odd = sampled("open", "8", reference=None), sampled("odd", "8", tests="nonsense")
    code, made, report = run(tmp_path, solved, unknown, optional, unchecked, other, open_, odd)
    assert (code, made, report["tried"]) == (0, [], 0)
    assert engine.asked == []


def test_a_finding_that_names_the_right_answer_is_not_read_out(engine: Scripted, tmp_path: Path) -> None:
    engine.says = lambda _: ["7"]
    _, [made], _ = run(tmp_path, sampled("a", "I say 8"))
    assert "7" not in made["prompt"][-1]["content"]
    assert "found: it is wrong." in made["prompt"][-1]["content"]


def test_a_second_start_tries_only_what_was_not_tried(engine: Scripted, tmp_path: Path) -> None:
    run(tmp_path, sampled("a", "8"))
    with (tmp_path / "corrections.jsonl").open("a") as file:
        file.write('{"prompt_id": "b", "compl')
    asked = len(engine.asked)
    code, made, _ = run(tmp_path, sampled("a", "8"), sampled("b", "8"))
    assert (code, [line["prompt_id"] for line in made], len(engine.asked)) == (0, ["a", "b"], asked + 2)
    made[0]["checkpoint"] = "policy-r0"
    (tmp_path / "corrections.jsonl").write_text(json.dumps(made[0]) + "\n")
    _, made, _ = run(tmp_path, sampled("b", "8"))
    assert [line["prompt_id"] for line in made] == ["b"], "those of another policy are dropped"


def test_an_engine_that_goes_away_is_tried_again_and_checks_that_break_correct_nothing(
    engine: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(_: Ask) -> list[str]:
        raise EngineAway("The engine does not answer.")

    engine.says = away
    code, _, report = run(tmp_path, sampled("a", "8"))
    assert (code, report) == (1, {})
    assert "Start again when the engine is back" in capsys.readouterr().err
    code, made, report = run(tmp_path, sampled("a", "8", tests=[{"kind": "broken"}]))
    assert (code, made) == (0, [])
    assert "does not work" in report["unavailable"]
    (tmp_path / "samples.jsonl").unlink()
    assert correction.main([str(tmp_path / "samples.jsonl"), str(tmp_path / "corrections.jsonl")]) == 2
