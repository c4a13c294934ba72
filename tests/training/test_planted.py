"""What the benchmarks of learning are fed with is what they say."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

from benchmarks import human_pairs, planted

PAIRS, HELD_OUT = 40, 20


def test_the_planted_rule_holds_in_every_pair_and_no_prompt_comes_twice() -> None:
    drawn = planted.draw(3, PAIRS + HELD_OUT)
    for _, better, worse in drawn:
        assert len(better) < len(worse)
        assert planted.is_polite(better)
        assert not planted.is_polite(worse)
    assert len({prompt for prompt, _, _ in drawn}) == PAIRS + HELD_OUT
    assert planted.draw(3, PAIRS + HELD_OUT) == drawn
    assert planted.draw(4, PAIRS + HELD_OUT) != drawn


@pytest.mark.parametrize(("labels", "turned"), [("planted", (0, 0)), ("shuffled", (20, 10)), ("flipped", (40, 0))])
def test_labels_are_turned_round_where_they_should_be(labels: str, turned: tuple[int, int], tmp_path: Path) -> None:
    relabelled = planted.relabel(planted.draw(3, PAIRS + HELD_OUT), labels, 3, PAIRS)
    planted.write_snapshot(tmp_path / "snapshot", relabelled, PAIRS)
    rows = [json.loads(line) for line in (tmp_path / "snapshot" / "preferences.jsonl").read_text().splitlines()]
    for split, count in zip(("train", "held_out"), turned, strict=True):
        wrong = [row for row in rows if row["split"] == split and planted.is_polite(row["rejected"][0]["content"])]
        assert len(wrong) == count


def test_transcripts_become_pairs_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    question = "\n\nHuman: Why?\n\nAssistant: Why what?\n\nHuman: The sky."
    lines = [
        {"chosen": f"{question}\n\nAssistant: Light scatters.", "rejected": f"{question}\n\nAssistant: Dunno"},
        {"chosen": f"{question}\n\nAssistant: The same prompt.", "rejected": f"{question}\n\nAssistant: Again"},
        {"chosen": "\n\nHuman: A\n\nAssistant: same", "rejected": "\n\nHuman: A\n\nAssistant: same"},
        {"chosen": "\n\nHuman: B\n\nAssistant: x", "rejected": "\n\nHuman: C\n\nAssistant: y"},
        {"chosen": "\n\nHuman: D\n\nAssistant: ", "rejected": "\n\nHuman: D\n\nAssistant: y"},
    ]
    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    [row] = human_pairs.read(tmp_path / "pairs.jsonl.gz")
    assert [turn["content"] for turn in row["prompt"]] == ["Why?", "Why what?", "The sky."]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("Light scatters.", "Dunno")


def test_as_many_pairs_are_drawn_as_are_wanted() -> None:
    pairs = [{"prompt": number} for number in range(1000)]
    few, many = (human_pairs.split(pairs, train) for train in (10, 500))
    assert len([row for row in few if row["split"] == "held_out"]) == human_pairs.HELD_OUT
    assert len([row for row in many if row["split"] == "train"]) == 500


def test_a_benchmark_without_its_data_is_skipped_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HH_PAIRS", raising=False)
    monkeypatch.setattr(sys, "argv", ["human_pairs"])
    assert human_pairs.main() == 0
    assert "skipped: hh_helpful_rejection_sampled.jsonl.gz" in capsys.readouterr().out
