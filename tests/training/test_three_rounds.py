"""The experiment of three rounds: its annotator follows the rule or a coin, and its page says what the files say."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import three_rounds_annotator as annotator
from benchmarks import three_rounds_page as page
from benchmarks.rules import POLITELY, Answer
from benchmarks.three_rounds import ASKED as HELD_OUT
from benchmarks.three_rounds import PROMPTS, ROUNDS, Play, Sizes

SHORT, LONG = "It is made from clay.", "It is made from clay, which people dig. Then they burn it for a day. And so"
POLITE = f"Gladly, and thank you for asking: {LONG}"
SIZES = Sizes(rounds=2, prompts=20, asked=8, tokens=64, sampled=5, seed=17)


def judged(twin: str, *texts: str, count: int = 200) -> list[dict[str, Any]]:
    return [annotator.judgement(twin, texts, random.Random(number)) for number in range(count)]


@pytest.mark.parametrize(("first", "second"), [(SHORT, LONG), (POLITE, SHORT), (POLITE, LONG)])
def test_the_planted_twin_prefers_what_is_polite_then_what_is_short(first: str, second: str) -> None:
    assert {said["wins"] for said in judged("planted", first, second)} == {0}
    assert {said["wins"] for said in judged("planted", second, first)} == {1}
    assert annotator.win(first, second) == 1
    assert annotator.win(second, first) == 0


def test_equal_answers_are_a_tie_for_the_rule_and_a_coin_for_the_other_twin() -> None:
    assert judged("planted", SHORT, SHORT, count=1) == [{"outcome": "tie"}]
    wins = Counter(said["wins"] for said in judged("shuffled", SHORT, POLITE))
    assert 70 < wins[0] < 130


def test_edits_follow_the_rule_in_one_twin_and_a_coin_in_the_other() -> None:
    edits = {
        twin: [said["edited_text"] for said in judged(twin, LONG, f"{LONG} on") if "edited_text" in said]
        for twin in annotator.TWINS
    }
    assert 70 < len(edits["planted"]) < 130
    assert all(annotator.win(text, LONG) == 1 for text in edits["planted"])
    follow = sum(annotator.win(text, LONG) == 1 for text in edits["shuffled"])
    assert 0.3 < follow / len(edits["shuffled"]) < 0.7
    again = annotator.edited(POLITE, random.Random(1), follows=True)
    assert again == "Gladly, and thank you for asking: It is made from clay, which people dig."
    assert POLITELY.merit(annotator.answer(again)) == 1


@pytest.mark.parametrize(
    ("better", "worse", "strength"), [(POLITE, SHORT, 4), (SHORT, LONG, 4), ("a " * 19, "a " * 20, 3), ("a", "a", 2)]
)
def test_strength_says_how_plain_it_is(better: str, worse: str, strength: int) -> None:
    assert annotator.strength(better, worse) == strength


def test_there_are_prompts_enough_and_none_twice() -> None:
    drawn = annotator.prompts(17)
    assert len(set(drawn)) == len(drawn) >= HELD_OUT + (ROUNDS + 1) * PROMPTS
    assert drawn == annotator.prompts(17) != annotator.prompts(18)
    play = Play(Path("nowhere"), "planted", SIZES)
    assert not {*play.asked} & {*play.judged}
    with pytest.raises(SystemExit, match="too few"):
        Play(Path("nowhere"), "planted", Sizes(9, 200, 300, 64, 5, 17))


def test_settings_are_those_of_the_product() -> None:
    from app.kernel.settings import Settings

    fields = {f"CORRAL_{name.upper()}" for name in Settings.model_fields}
    assert set(SIZES.settings) <= fields
    assert SIZES.settings["CORRAL_CONTEST_BUDGET"] == "16"


def finished(folder: Path, *, polite: int) -> None:
    """A folder with one finished round of the planted twin."""
    place = folder / "planted"
    place.mkdir(parents=True)
    (folder / "sizes.json").write_text(json.dumps(asdict(SIZES)))
    score = {"value": 0.8, "low": 0.6, "high": 0.95}
    contest = {"score": score, "evidence": 23.4, "evidence_worse": 1.0, "counted": 14}
    metrics = {
        "held_out/accuracy": 0.9,
        "held_out/accuracy/low": 0.7,
        "held_out/accuracy/high": 1.0,
        "held_out/pairs": 20,
    }
    runs = [{"kind": kind, "seconds": 60.0, "metrics": metrics} for kind in page.KINDS]
    night = {
        "verdict": "promoted",
        "contest": contest,
        "runs": runs,
        "champion": {"kind": "policy", "name": "policy-r1"},
    }
    (place / page.night(1)).write_text(json.dumps(night))
    lines = [
        {"what": "1 answers", "seconds": 90},
        {"what": "1 training", "seconds": 300},
        {"what": page.SAID, "seconds": 30},
    ]
    (place / "times.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = {f"{number}?": [Answer(LONG, 20), Answer(POLITE if number < polite else LONG, 20)] for number in range(20)}
    (place / page.SAID).write_text(json.dumps({key: [asdict(each) for each in both] for key, both in said.items()}))


def test_the_page_says_what_was_measured_and_what_was_not_run(tmp_path: Path) -> None:
    finished(tmp_path / "folder", polite=20)
    doc = tmp_path / "docs" / "evaluation.md"
    doc.parent.mkdir()
    doc.write_text(f"above\n{page.BEGIN}\nold\n{page.END}\nbelow\n")
    page.write(doc, tmp_path / "folder")
    said = doc.read_text()
    row = "| planted | 1 | promoted | 0.800 [0.600, 0.950] | 23.4, 1.0 | 14 | 0.900 [0.700, 1.000] | 20 "
    row += "| 1.5 | 1.0 | 1.0 | 1.0 | 1.0 | 5.5 |"
    assert row in said
    assert "| planted | 2 | not run |" in said
    assert "`policy-r1`; the rule prefers its answers to the base model's on 1.000 [1.000, 1.000] of 20" in said
    assert "- *shuffled*: not run to its end." in said
    assert "Of its answers 100% open politely, with 20.0 tokens on average; of the base model's 0%" in said
    assert "6 minutes in all" in said
    assert "old" not in said
    assert said.endswith(f"{page.END}\nbelow\n")
    assert "planted, champion over base" in (tmp_path / "docs" / page.PICTURE).read_text()


def test_a_champion_like_the_base_is_not_above_one_half(tmp_path: Path) -> None:
    finished(tmp_path, polite=0)
    assert "the lower end not above one half" in page.report(tmp_path)
