"""A card says what a checkpoint is, the same words for the same run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.training.conftest import RunFile, make_rows, recipe
from training import dpo, reward
from training import model_card as command
from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.measure import model_card, plots
from training.measure.plots import Line, Panel, Range
from training.run import runner

METRICS: dict[str, Any] = {
    "baseline": {"held_out/accuracy": 0.45, "held_out/accuracy/low": 0.3, "held_out/accuracy/high": 0.6},
    "final": {
        "held_out/accuracy": 0.8,
        "held_out/accuracy/low": 0.7,
        "held_out/accuracy/high": 0.9,
        "held_out/accuracy/strength_4": 0.9,
        "held_out/accuracy/capability/coding": 0.75,
        "held_out/longer_wins_accuracy": 0.55,
        "held_out/pairs": 1200.0,
        "held_out/prompts": 900.0,
    },
    "data": {"rows": 2000, "pairs": 1500, "ties": 0, "dropped_too_long": 7, "too_long_rows": ["1:2:3"]},
}


def manifest(kind: str = "reward", **changes: Any) -> Manifest:
    settings = {
        "kind": kind,
        "recipe": "llama3",
        "snapshot": "/srv/secret/snapshot",
        **recipe(kind, "llama3"),
        **changes,
    }
    return Manifest(
        name=f"{kind}-r1",
        kind="reward" if kind == "reward" else "policy",
        base_model="/srv/secret/SmolLM2",
        snapshot_sha256="ab" * 32,
        seed=17,
        config=settings,
        versions={"torch": "2.13.0"},
    )


def steps(*losses: float) -> list[dict[str, Any]]:
    return [
        {"event": "step", "step": number, "metrics": {"loss": loss, "rewards/accuracies": 0.5}}
        for number, loss in enumerate(losses, start=1)
    ]


def test_the_card_has_its_sections_and_numbers_beside_what_to_compare_them_with() -> None:
    page = model_card.card(manifest(), METRICS, with_curves=True)
    assert re.findall(r"^#+ (.+)$", page, re.MULTILINE) == [
        "reward-r1",
        "Where it comes from",
        "What was measured",
        "While it trained",
        "Data",
        "Deviations from Llama 3",
        "Settings",
    ]
    assert "| Accuracy | 0.450 [0.300, 0.600] | 0.800 [0.700, 0.900] |" in page
    assert "| “The longer answer wins” | — | 0.550 |" in page
    assert "| … of coding | — | 0.750 |" in page
    assert "On 1,200 held-out pairs of 900 prompts:" in page
    assert "| left out: longer than the run allows | 7 |" in page
    assert "left out: ties" not in page, "a count of nothing says nothing"
    assert "| `optim.learning_rate` | `0.0001` |" in page
    assert "bootstrap over prompts" in page


def test_no_path_of_this_machine_is_on_it() -> None:
    page = model_card.card(manifest(), METRICS)
    assert "SmolLM2" in page
    assert "/srv" not in page


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    events = [{"event": "baseline", "metrics": METRICS["baseline"]}, *steps(0.7, 0.6, 0.5)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        model_card.write(tmp_path / name, manifest(), METRICS, events)
    for name in (model_card.CARD, model_card.CURVES):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("reward", {}, "adapter of rank 64"),
        (
            "reward",
            {"reward": {"center_rewards": 0.01, "heads": 3, "aggregate": "min"}},
            "3 heads answer together (min)",
        ),
        ("dpo", {"dpo": {"beta": 0.3, "nll_weight": 0.2}}, "Beta is 0.3; the paper has 0.1"),
        ("dpo", {"data": {"min_strength": 1}}, "from strength 1 on"),
        ("dpo", {"data": {"newest_weight": 2.0}}, "the newest round counts 2 times"),
        ("dpo", {"optim": {"learning_rate": 2e-4}}, "The learning rate is 0.0002"),
    ],
)
def test_where_a_run_leaves_the_paper_is_said(kind: str, changes: dict[str, Any], said: str) -> None:
    assert said in model_card.card(manifest(kind, **changes), METRICS)


def test_the_papers_own_settings_are_no_deviation() -> None:
    config = manifest("dpo").config
    config["optim"]["learning_rate"] = 1e-5  # the recipe's for all weights, which the paper trains
    found = " ".join(model_card.deviations(config))
    for word in ("Beta", "learning rate", "loss is", "likelihood of chosen", "strength"):
        assert word not in found


def test_an_average_says_of_what_and_claims_no_number() -> None:
    one = {"name": "a", "manifest_sha256": "cd" * 32, "weight": 0.75}
    config = {"kind": "average", "average_of": [one, one | {"name": "b", "weight": 0.25}]}
    page = model_card.card(Manifest(name="mean", kind="policy", base_model="org/model", config=config), {})
    assert "| 0.7500 of | a (`cdcdcdcdcdcdcdcd`) |" in page
    assert "the average of 2 checkpoints" in page
    assert "What was measured" not in page


def test_a_step_that_was_taken_twice_is_drawn_as_it_was_taken_last(tmp_path: Path) -> None:
    model_card.write(tmp_path, manifest(), {}, [*steps(9.0, 9.0), *steps(0.7, 0.6)])
    drawn = (tmp_path / model_card.CURVES).read_text()
    ET.fromstring(drawn)
    assert ">0.6<" in drawn
    assert ">9<" not in drawn


def test_plots_are_valid_and_keep_their_points_inside() -> None:
    odd = Panel("a < b & c", (Line("flat", ((1.0, 3.0), (2.0, 3.0))), Line("one", ((5.0, 1e-7),)), Line("none", ())))
    for drawn in (plots.panels([odd, Panel("empty", ())]), plots.intervals("i", [Range("x", 0.7, 0.6, 0.9)], 0.5)):
        root = ET.fromstring(drawn)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 <= float(circle.attrib["cx"]) <= width
            assert 0 <= float(circle.attrib["cy"]) <= height
    assert plots.panels([odd]).count("<path") == 2


def test_a_run_leaves_its_card_beside_its_weights(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file("reward")
    assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
    folder = path.parent / "final"
    assert {model_card.CARD, model_card.CURVES} <= set(checkpoints.verify(folder).files)
    page = (folder / model_card.CARD).read_text()
    assert page.startswith("# reward-r1\n")
    assert "pairs trained on" in page
    assert str(path.parents[1]) not in page
    capsys.readouterr()
    assert command.main([str(folder)]) == 0
    assert capsys.readouterr().out == page
    assert command.main([str(path.parent)]) == 2
    assert command.main(["--help"]) == 2
    assert "usage" in capsys.readouterr().err
    assert "“The shorter answer wins” | " in page
    assert page.count("[") > 6, "both rules of length stand there with their intervals"


def test_a_run_without_held_out_prompts_says_that_nothing_was_measured_and_where_it_began(run_file: RunFile) -> None:
    rows = make_rows(train=8, held_out=0)
    first = run_file("dpo", "first", rows, optim={"max_steps": 1})
    assert runner.main("dpo", dpo.build_trainer, [str(first)]) == 0
    page = (first.parent / "final" / model_card.CARD).read_text()
    assert "Nothing: the data has no held-out prompts" in page
    assert "It starts from the base model" in page
    second = run_file("dpo", "second", rows, optim={"max_steps": 1}, parent_adapter="../first/final")
    assert runner.main("dpo", dpo.build_trainer, [str(second)]) == 0
    assert "It starts from the base model" not in (second.parent / "final" / model_card.CARD).read_text()
