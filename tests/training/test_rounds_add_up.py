"""The experiment of which way keeps what earlier rounds taught: its rounds follow their rules, and its table its answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import planted, rounds_add_up, rules
from benchmarks.rounds_add_up import WAYS, Sizes
from benchmarks.rules import ASKS, POLITELY, RULES, SHORTER, Answer

PROMPTS = [f"Question {number}?" for number in range(40)]
LONG = "It heats water in a can. A lid keeps the steam in, and a spout lets it out. Then it is done."
SAID = {
    prompt: [Answer(f"{prompt[:-1]}: {LONG}", 20), Answer(f"Of {prompt[:-1]}. {LONG} And so", 64, ended=False)]
    for prompt in PROMPTS
}


def answer_of(row: rules.Row, side: str) -> Answer:
    text = row[side][0]["content"]
    return Answer(text, len(text.split()))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_rule_of_a_round_parts_its_pairs_and_those_of_earlier_rounds_hold_for_both_or_neither(seed: int) -> None:
    rows = rules.rounds(SAID, PROMPTS, 10, seed)
    assert Counter(row["round"] for row in rows) == {1: 10, 2: 10, 3: 10}
    assert len({row["prompt"][0]["content"] for row in rows}) == len(rows), "no prompt comes twice"
    for row in rows:
        order = rules.in_order(seed)
        own = order[row["round"] - 1]
        chosen, rejected = answer_of(row, "chosen"), answer_of(row, "rejected")
        assert own.win(chosen, rejected) == 1.0
        if row["edited"]:
            assert own.win(answer_of(row, "edited"), rejected) == 1.0
        for other in RULES:
            if other is not own and other is not SHORTER:
                assert other.merit(chosen) == other.merit(rejected)
            if other in order[row["round"] :] and other is not SHORTER:
                assert not other.merit(chosen), "a rule of a later round is not known yet"
    assert {bool(row["edited"]) for row in rows} == {True, False}


def test_each_rule_is_the_first_the_second_and_the_newest_once_in_three_seeds() -> None:
    for place in range(3):
        assert {rules.in_order(seed)[place].name for seed in (1, 2, 3)} == {rule.name for rule in RULES}


def test_rules_judge_what_they_say() -> None:
    cut_off = Answer("Gladly: it is so. Or is it?", 64, ended=False)
    asking = Answer("It is so. Or is it?", 8)
    assert (POLITELY.win(cut_off, asking), POLITELY.win(asking, cut_off), POLITELY.win(asking, asking)) == (1, 0, 0.5)
    assert (SHORTER.win(asking, cut_off), SHORTER.win(cut_off, cut_off)) == (1, 0.5)
    assert (ASKS.win(asking, cut_off), ASKS.win(cut_off, Answer("No.", 2))) == (1, 0.5), "it closes with nothing"


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="40 prompts are too few for 14 pairs a round"):
        rules.rounds(SAID, PROMPTS, 14, 1)


def finished(folder: Path, seed: int, polite: dict[str, float]) -> None:
    """Answers of every way, of which a share, by the way, opens politely and the rest are the base model's."""
    prompts = PROMPTS[:20]
    for way, steps in WAYS.items():
        count = round(polite[way] * len(prompts))
        said = {prompt: [SAID[prompt][0]] for prompt in prompts}
        said |= {prompt: [Answer(f"Gladly: {LONG}", 20)] for prompt in prompts[:count]}
        place = folder / f"seed-{seed}" / steps[-1].name
        place.mkdir(parents=True)
        body = {prompt: [asdict(answer) for answer in answers] for prompt, answers in said.items()}
        (place / "answers.json").write_text(json.dumps(body))


def test_the_table_names_the_way_that_keeps_most_and_one_that_is_not_clearly_ahead(tmp_path: Path) -> None:
    rounds_add_up.begin(tmp_path, Sizes(10, 20, 1.0))
    body = {prompt: [asdict(answer) for answer in answers] for prompt, answers in SAID.items()}
    (tmp_path / "base.json").write_text(json.dumps(body))
    assert rounds_add_up.report(tmp_path) == "No seed is finished yet."
    shares = dict.fromkeys(WAYS, 0.0) | {"going on": 1.0}
    finished(tmp_path, 3, shares)  # of seed 3 the first round's rule is politeness
    table = rounds_add_up.report(tmp_path)
    assert "1 of 3 seeds, 10 pairs a round, 20 held-out prompts" in table
    assert (
        "| going on | 1.000 [1.000, 1.000] | 0.500 [0.500, 0.500] | 0.500 [0.500, 0.500] | 0.750 [0.750, 0.750] |"
        in table
    )
    assert "**going on** keeps more than every other" in table
    finished(tmp_path, 4, dict.fromkeys(WAYS, 0.5))
    page = rounds_add_up.documented(f"above\n{rounds_add_up.BEGIN}\nold\n{rounds_add_up.END}\nbelow", table)
    assert page.startswith("above\n")
    assert page.endswith("\nbelow")
    assert "old" not in page
    assert table in page


def test_where_all_keep_as_much_nothing_is_clearly_ahead(tmp_path: Path) -> None:
    rounds_add_up.begin(tmp_path, Sizes(10, 20, 1.0))
    body = {prompt: [asdict(answer) for answer in answers] for prompt, answers in SAID.items()}
    (tmp_path / "base.json").write_text(json.dumps(body))
    finished(tmp_path, 3, dict.fromkeys(WAYS, 0.5))
    assert "is not clearly ahead" in rounds_add_up.report(tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_way_is_what_its_run_files_say_and_what_is_finished_is_not_trained_again(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def pretend(folder: Path, kind: str, settings: dict[str, Any], tables: dict[str, dict[str, Any]]) -> None:
        told.append(
            {"kind": kind, "rounds": settings["snapshot"], "on": settings.get("parent_adapter"), **tables["data"]}
        )
        (folder / "final").mkdir(parents=True)
        (folder / "final" / "manifest.json").touch()

    monkeypatch.setattr(planted, "run", pretend)
    for _ in range(2):
        for step in WAYS[way]:
            rounds_add_up.learn(tmp_path, tmp_path / "seed-1", step, 1, 2.0)
    third, newest = {"rounds": "../rounds-3.jsonl"}, {"latest_rounds": 1}
    assert (
        told
        == {
            "this round alone": [{"kind": "dpo", **third, "on": None, **newest}],
            "all rounds": [{"kind": "dpo", **third, "on": None, "newest_weight": rounds_add_up.NEWEST_WEIGHT}],
            "the paper's order": [
                {"kind": "sft", **third, "on": None},
                {"kind": "dpo", **third, "on": "../imitates/final", **newest},
            ],
            "going on": [
                {"kind": "dpo", "rounds": "../rounds-1.jsonl", "on": None, **newest},
                {"kind": "dpo", "rounds": "../rounds-2.jsonl", "on": "../first/final", **newest},
                {"kind": "dpo", **third, "on": "../second/final", **newest},
            ],
        }[way]
    )
    assert len(rounds_add_up.times(tmp_path)) == len(WAYS[way])


def test_a_folder_of_other_sizes_is_refused(tmp_path: Path) -> None:
    rounds_add_up.begin(tmp_path, Sizes(10, 20, 1.0))
    rounds_add_up.begin(tmp_path, Sizes(10, 20, 1.0))
    with pytest.raises(SystemExit, match="name another folder"):
        rounds_add_up.begin(tmp_path, Sizes(10, 20, 2.0))
