"""What a verifier finds right becomes more likely, and nothing else does."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from tests.fake_engine import FakeEngine
from tests.training import likes_digits
from tests.training.conftest import TOPICS, make_asked, make_rows, write_snapshot
from training import grpo
from training.data.checks import Finding
from training.formats import checkpoints
from training.formats.events import EventLog
from training.model.models import load_tokenizer
from training.run import learning, tool
from training.run.config import load_as
from training.run.learning import GrpoRun, reward_of

SETTINGS: dict[str, Any] = {
    "name": "checked",
    "snapshot": "snapshot",
    "output": "final",
    "steps": 25,
    "prompts": 2,
    "answers": 8,
    "max_length": 128,
    "max_tokens": 12,
    "learning_rate": 2e-2,
    "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"},
}


def run(folder: Path, base: Path, mode: str, asked: Sequence[dict[str, Any]] = (), **changes: Any) -> int:
    prompts = [make_asked(f"A number of {topic}?", reference="1", capability="sums") for topic in TOPICS]
    prompts += [
        make_asked(f"How many {topic} are there?", reference="1", split="held_out", capability="sums")
        for topic in TOPICS
    ]
    write_snapshot(folder / "snapshot", make_rows(2, 0), asked or [*prompts, make_asked("Tell me of bees.")])
    command = [sys.executable, str(Path(likes_digits.__file__)), mode]
    settings = SETTINGS | {"base_model": str(base), "checks": command} | changes
    (folder / "run.toml").write_text(tomli_w.dumps(settings))
    return tool.main("", GrpoRun, grpo.train, [str(folder / "run.toml")])


def reports(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "final.run" / "report.json").read_text())
    return found


def rewards(folder: Path) -> tuple[float, float]:
    """The mean reward of the first and of the last five steps."""
    steps = [step["reward"] for step in reports(folder)["steps"]]
    return sum(steps[:5]) / 5, sum(steps[-5:]) / 5


def test_a_planted_rule_is_learnt_and_the_report_says_how_far(tiny_base: Path, tmp_path: Path) -> None:
    assert run(tmp_path, tiny_base, "rule") == 0

    before, after = rewards(tmp_path)
    assert before < 0.2
    assert after > 0.6
    report = reports(tmp_path)
    assert report["before"]["verified/sums"]["value"] == 0
    assert report["after"]["verified/sums"]["value"] > 0.5
    manifest = checkpoints.verify(tmp_path / "final", "policy")
    assert (manifest.name, manifest.config["kind"], manifest.config["steps"]) == ("checked", "grpo", 25)
    assert manifest.metrics["held_out/verified"] == report["after"]["verified"]["value"]
    assert str(tmp_path) not in json.dumps(manifest.config), "no place of this machine"
    events = EventLog(tmp_path / "final.run").every()
    told = [event["event"] for event in events]
    assert told == ["data", "baseline", *["step"] * 25, "final", "checkpoint"]
    assert events[1]["metrics"]["held_out/verified"] == 0
    assert set(events[2]["metrics"]) >= {"loss", "reward"}
    assert "tokens" not in events[2]["metrics"], "which would tell whose answers are long"
    card = (tmp_path / "final" / "README.md").read_text()
    assert "Solved, as checks find" in card
    assert run(tmp_path, tiny_base, "rule") == 0, "what is finished is not done again"
    assert len(EventLog(tmp_path / "final.run").every()) == len(events)


class Stopped(Exception):
    """The process goes."""


def test_a_run_that_was_interrupted_goes_on_and_learns_the_same(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through, resumed = tmp_path / "through", tmp_path / "resumed"
    for folder in (through, resumed):
        folder.mkdir()
    settings = {"steps": 4, "save_steps": 2}
    assert run(through, tiny_base, "rule", **settings) == 0

    logs = learning.Told.on_log

    def stops(told: learning.Told, args: Any, state: Any, control: Any, **more: Any) -> None:
        logs(told, args, state, control, **more)
        if state.global_step == 3:
            raise Stopped

    with monkeypatch.context() as once:
        once.setattr(learning.Told, "on_log", stops)
        with pytest.raises(Stopped):
            run(resumed, tiny_base, "rule", **settings)
    assert not (resumed / "final").exists()
    assert run(resumed, tiny_base, "rule", **settings) == 0

    told = [(event["event"], event.get("step")) for event in EventLog(resumed / "final.run").every()]
    assert ("resumed", 2) in told
    assert told.count(("step", 1)) == 1
    assert told.count(("step", 4)) == 1
    one, other = (load_file(each / "final" / "adapter_model.safetensors") for each in (through, resumed))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    assert not (resumed / "final.run" / "trainer").exists(), "of no more use"


def test_where_checks_are_missing_a_round_keeps_its_policy_and_says_so(tiny_base: Path, tmp_path: Path) -> None:
    assert run(tmp_path, tiny_base, "rule", steps=2, checks=["/nowhere/verifier"], lenient=True) == 0

    trained = load_file(tmp_path / "final" / "adapter_model.safetensors")
    assert all(torch.count_nonzero(tensor) == 0 for name, tensor in trained.items() if "lora_B" in name)
    [warning] = [event for event in EventLog(tmp_path / "final.run").every() if event["event"] == "warning"]
    assert "cannot be started" in warning["message"]


def test_a_prompt_that_is_held_out_or_repeats_such_a_one_is_not_learnt_from(tiny_base: Path, tmp_path: Path) -> None:
    kept = "How many bees are there in a hive that stands at the edge of a wood?"
    prompts = [
        make_asked("A number of bees?", reference="1"),
        make_asked(kept, reference="1", split="held_out"),
        make_asked(f"Please say: {kept}", reference="1"),
    ]
    write_snapshot(tmp_path / "snapshot", make_rows(2, 0), prompts)
    settings = SETTINGS | {"base_model": str(tiny_base), "checks": ["x"], "recipe": "laptop"}
    (tmp_path / "run.toml").write_text(tomli_w.dumps(settings))
    config = load_as(GrpoRun, tmp_path / "run.toml")
    assert (config.ngram, config.lora.r) == (8, 4), "the recipe, and the file over it"

    found, left_out = grpo.read(config, load_tokenizer(str(tiny_base)))
    assert [each.prompt[-1]["content"] for each in found.values()] == ["A number of bees?"]
    assert left_out["prompts_contaminated"] == 1


def test_of_a_reward_that_means_nothing_nothing_is_learnt(tiny_base: Path, tmp_path: Path) -> None:
    assert run(tmp_path, tiny_base, "random") == 0

    assert reports(tmp_path)["after"]["verified/sums"]["value"] < 1  # of dice
    assert 0.4 < rewards(tmp_path)[1] < 0.6


def test_what_cannot_be_checked_changes_no_weight(tiny_base: Path, tmp_path: Path) -> None:
    assert run(tmp_path, tiny_base, "unsure", steps=2) == 0

    trained = load_file(tmp_path / "final" / "adapter_model.safetensors")
    assert all(torch.count_nonzero(tensor) == 0 for name, tensor in trained.items() if "lora_B" in name)


def test_only_what_is_required_is_a_reward(tiny_base: Path, tmp_path: Path) -> None:
    assert run(tmp_path, tiny_base, "other", steps=1) == 0
    assert rewards(tmp_path)[0] * 5 == pytest.approx(0.5)  # the two add up to one

    (tmp_path / "again").mkdir()
    assert run(tmp_path / "again", tiny_base, "other", steps=1, required=["letters"]) == 0
    assert rewards(tmp_path / "again")[0] * 5 > 0.8


def test_an_engine_draws_with_the_adapter_of_a_few_steps_ago(tiny_base: Path, tmp_path: Path) -> None:
    with FakeEngine(base="base").running() as engine:
        at = {"url": engine.url, "publish_every": 2}
        assert run(tmp_path, tiny_base, "rule", steps=4, engine=at) == 0

    asked_of = list(dict.fromkeys(body["model"] for body in engine.asked))
    assert asked_of == ["checked-step-0", "checked-step-2"]
    assert list(engine.adapters) == ["checked-step-2"], "the one before has left the engine"
    assert len(engine.asked) == 4 * 2 * 8
    assert {body["max_tokens"] for body in engine.asked} == {12}


def test_an_engine_that_is_not_there_is_named(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, tiny_base, "rule", steps=1, engine={"url": "http://127.0.0.1:9/v1"}) == 2
    assert "the engine at http://127.0.0.1:9/v1 does not answer" in capsys.readouterr().err


def test_the_reward_is_the_mean_of_what_could_be_checked() -> None:
    findings = [("a", True, None), ("b", False, 0.5), ("c", None, None)]
    assert reward_of([Finding(name, "1", passed, "", score) for name, passed, score in findings]) == 0.75
    assert reward_of([Finding("a", "1", None, "")]) is None
    assert reward_of([]) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"answers": 1}, "answers"),
        ({"steps": 0}, "steps"),
        ({"model": {"dtype": "float32", "gradient_checkpointing": False, "trains": "all"}}, "model.trains"),
        ({"checks": ["/nowhere/verifier"]}, "cannot be started"),
        ({"max_length": 13}, "no training prompt"),
    ],
)
def test_a_run_that_cannot_work_says_what_is_wrong(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], says: str
) -> None:
    assert run(tmp_path, tiny_base, "rule", **{"steps": 1, **changes}) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "final").exists()
