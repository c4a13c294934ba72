"""Where only the answer is known a model writes the steps, or a program: what passes is learnt, the rest corrected or dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.kernel.endpoints import Endpoint
from app.kernel.settings import Settings, get_settings
from app.registry.models import Checkpoint, CheckpointKind, External
from training.data import put_right
from training.data.picks import SOLVED
from training.data.rules import Rules
from workers.engines.protocol import Ask, EngineAway, Reply
from workers.engines.replies import Answer
from workers.training import solutions
from workers.training.correction import Judge
from workers.training.rejection import Writer
from workers.verifiers.checker import CheckerBroken

RIGHT, WRONG_STEP = "3 + 4 = 7\nThe answer is 7.", "3 + 4 = 8\nThe answer is 7."
PRINTS, BREAKS = "```python\nprint(3 + 4)\n```", "```python\nprint(3 / 0)\n```"


class Scripted:
    """An engine that answers as it is told, and remembers what it was asked."""

    def __init__(self, says: Callable[[Ask], list[str]]) -> None:
        self.says, self.asked = says, list[Ask]()

    async def sample(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        return Reply([Answer(text, "stop", 1, 1) for text in self.says(ask)], sampling={}, engine_version="1")

    async def aclose(self) -> None:
        pass


@pytest.fixture
def model(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """The champion, right at once."""
    made = Scripted(lambda _: [RIGHT])
    chosen = get_settings().model_copy(update={"training_solutions": "champion"})
    monkeypatch.setattr(solutions, "get_settings", lambda: chosen)
    monkeypatch.setattr(solutions, "OpenAIEngine", lambda _: made)
    monkeypatch.setattr(solutions, "champion", lambda: Writer("policy-r1", "policy-r1", {"temperature": 1.0}))
    return made


def prompt(name: str, **known: Any) -> dict[str, Any]:
    line = {"prompt_hash": name, "prompt": [{"role": "user", "content": f"{name}: 3 + 4?"}], "tools": None}
    known = {"reference": "7", "tests": None, "capability": "maths"} | known
    return line | {"split": "train", "verifiers": None, "required": []} | known


def run(folder: Path, *prompts: dict[str, Any]) -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
    """The exit code, the lines by prompt, and the report."""
    snapshot = folder / "snapshot"
    snapshot.mkdir(exist_ok=True)
    (snapshot / "preferences.jsonl").write_text("")
    (snapshot / "prompts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in prompts))
    made = folder / "solutions.jsonl"
    code = solutions.main([str(snapshot), str(made), "--max-tokens", "20"])
    report = made.with_suffix(".report.json")
    found = [json.loads(line) for line in made.read_text().splitlines()] if made.exists() else []
    return code, {line["prompt_id"]: line for line in found}, json.loads(report.read_text()) if report.exists() else {}


def test_steps_that_hold_are_kept_as_the_answer_to_the_prompt_as_it_stands(model: Scripted, tmp_path: Path) -> None:
    code, found, report = run(tmp_path, prompt("a"))
    assert code == 0
    [ask] = model.asked
    assert ask.messages[-1]["content"] == f"a: 3 + 4?\n\n{solutions.HOW['steps']}"
    assert (ask.model, ask.max_tokens) == ("policy-r1", 20)
    line = found["a"]
    assert line["prompt"] == line["asked"] == [{"role": "user", "content": "a: 3 + 4?"}]
    assert (line["completion"], line["form"], line["rounds"], line["checkpoint"]) == (RIGHT, "steps", 0, "policy-r1")
    assert report == {
        "unavailable": None,
        "tried": 1,
        "written": {"steps": 1, "program": 0},
        "corrected": 0,
        "dropped": {},
    }


def test_a_wrong_step_is_told_and_what_stays_wrong_is_dropped(model: Scripted, tmp_path: Path) -> None:
    def says(ask: Ask) -> list[str]:
        stays = ask.messages[0]["content"].startswith("stays")
        return [WRONG_STEP] if stays or len(ask.messages) == 1 else [f"<think>Hm.</think>{RIGHT}"]

    model.says = says
    _, found, report = run(tmp_path, prompt("better"), prompt("stays"))
    assert len(model.asked) == 2 + 3
    assert (found["better"]["completion"], found["better"]["rounds"]) == (RIGHT, 1)
    assert found["better"]["prompt"] == found["better"]["asked"], "the wrong try is no part of what is learnt"
    assert (found["stays"]["completion"], found["stays"]["verifier"]) == (None, "steps")
    assert (report["corrected"], report["dropped"]) == (1, {"failed/steps": 1})
    picks = put_right.read(tmp_path / "solutions.jsonl", SOLVED, Rules(), lambda *_: None, "again")
    assert [(pick.source, pick.prompt_id, pick.completion) for pick in picks.picks] == [("solution", "better", RIGHT)]
    assert (picks.tried, picks.corrected) == (2, 1)


def test_a_program_is_run_and_put_right_on_error(model: Scripted, tmp_path: Path) -> None:
    model.says = lambda ask: [BREAKS] if len(ask.messages) == 1 else [PRINTS]
    _, found, report = run(tmp_path, prompt("a", tests={"kind": "program"}))
    assert model.asked[0].messages[-1]["content"].endswith(solutions.HOW["program"])
    if report["unavailable"] or found["a"]["verifier"] is None:
        pytest.skip("there is no sandbox here")
    assert "ZeroDivisionError" in model.asked[1].messages[-1]["content"]
    assert (found["a"]["completion"], found["a"]["form"], report["corrected"]) == (PRINTS, "program", 1)


def test_other_prompts_are_let_be_and_none_is_tried_twice(model: Scripted, tmp_path: Path) -> None:
    others = [
        prompt("open", reference=None),
        prompt("words", reference="Nobody knows."),
        prompt("tested", tests=[{"kind": "language", "wanted": "en"}]),
        prompt("odd", tests="nonsense"),
        prompt("held out", split="held_out"),
        prompt("tools", tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]),
    ]
    _, found, _ = run(tmp_path, *others, prompt("a"))
    assert set(found) == {"a"}
    assert run(tmp_path, *others, prompt("a"))[0] == 0
    assert len(model.asked) == 1


def test_a_model_that_goes_away_is_asked_again_and_broken_checks_solve_nothing(
    model: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Ask) -> list[str]:
        raise EngineAway("The engine is away.")

    model.says = away
    assert run(tmp_path, prompt("a"))[::2] == (1, {})
    model.says = lambda _: [RIGHT]

    def breaks(*_: object) -> None:
        raise CheckerBroken("The process that makes checks does not work: it ended")

    monkeypatch.setattr(Judge, "look", breaks)
    code, found, report = run(tmp_path, prompt("a"))
    assert (code, found) == (0, {})
    assert report["unavailable"].endswith("it ended")


def test_only_a_model_that_may_be_trained_on_writes(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def why_not(**values: Any) -> str | None:
        there = {"rival": Endpoint.model_validate({"url": "http://rival.example/v1"})}
        known = {"endpoints": there, "training_solutions": "rival/large"} | values
        return solutions.may_write(get_settings().model_copy(update=known))

    assert "(CORRAL_TRAINING_SOLUTIONS)" in str(why_not(training_solutions=""))
    assert "is not set up" in str(why_not(endpoints={}))
    assert why_not(training_solutions="champion") is None
    assert "add it under Models" in str(why_not())
    added = Checkpoint(name="rival", kind=CheckpointKind.EXTERNAL, path="rival")
    added.external = External(endpoint="rival", model="large", may_train=False)
    session.add(added)
    session.flush()
    assert "may not be trained on" in str(why_not())
    added.external.may_train = True
    session.flush()
    assert why_not() is None
