"""Texts, baselines and groups of four, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import make_row, turn, write_snapshot
from training.data import texts
from training.data.snapshot import Preference
from training.formats.errors import DataError
from training.measure import baselines, judged, metrics
from training.measure.judged import Judgement


def judgement(number: int, chosen: str, rejected: str, **changes: Any) -> Judgement:
    prompt = f"{number:064x}"
    source = Preference(
        id=str(number),
        annotation_id=number,
        prompt_hash=prompt,
        prompt=({"role": "user", "content": f"Question {number}"},),
        chosen=chosen,
        rejected=rejected,
        edited=None,
        strength=4,
        split="held_out",
        outcome="ranked",
        tools=None,
        **changes,
    )
    return Judgement(source, chosen, rejected)


@pytest.mark.parametrize(
    ("others", "share"),
    [([0.0, 0.5, 0.9], 1.0), ([1.0, 0.0, 0.0], 0.5), ([1.0, 1.0, 1.0], 0.25), ([2.0, 1.0, 0.0], 0.0)],
)
def test_best_of_four_is_shared_among_those_at_the_top(others: list[float], share: float) -> None:
    assert metrics.best_of(1.0, others) == share


def test_four_are_the_best_its_losers_and_what_other_prompts_lend_in_its_length() -> None:
    rows = [
        judgement(1, "aaaa", "bbb"),
        judgement(1, "aaaa", "cc"),
        judgement(1, "bbb", "cc"),
        judgement(2, "dddd", "e"),
        judgement(3, "f" * 40, "g"),
    ]
    first, second, third = judged.fours(rows)
    assert (first.best.chosen, first.borrowed) == ("aaaa", 1)
    assert first.others == (("bbb", True), ("cc", True), ("dddd", True))
    assert ([text for text, _ in second.others], second.borrowed) == (["e", "aaaa", "bbb"], 2)
    assert third.borrowed == 2
    assert judged.fours(rows[:3]) == [], "nobody has a third answer to lend"


def test_a_bag_of_words_learns_a_word_that_gives_the_better_answer_away() -> None:
    def rows(start: int) -> list[Judgement]:
        return [judgement(n, f"gladly the {n % 7} is", f"the {n % 7} is well") for n in range(start, start + 30)]

    assert baselines.bag_of_words(rows(0), rows(100)) == [1.0] * 30
    across = [judgement(n << 224, f"gladly {n}", f"never {n}") for n in range(1, 31)]
    assert sum(baselines.bag_of_words([], across)) >= 29, "without training rows it learns from the other folds"


def test_a_bag_of_words_without_a_clue_says_a_half() -> None:
    nothing = [judgement(n, f"w{n} x{n}", f"y{n} z{n}") for n in range(20)]
    assert baselines.bag_of_words(nothing, [judgement(99, "same length", "also eleven")]) == [0.5]


def test_repetition_and_variety_of_words() -> None:
    assert texts.words("Don't—STOP 你好") == ["don", "t", "stop", "你", "好"]
    assert texts.repeated(["a", "b", "c", "d"] * 2) == pytest.approx(1 / 5)
    assert texts.repeated(["a"] * 3) == 0.0
    assert texts.distinct([["a", "b"], ["a", "c"]], 1) == 0.75
    assert texts.scripts("Да yes 好") == {"CYRILLIC": 2, "LATIN": 3, "CJK": 1}


def test_judgements_of_a_snapshot_are_sorted_by_split_and_what_says_nothing_is_counted(tmp_path: Path) -> None:
    rows = [
        make_row(0),
        make_row(1, split="held_out", capability="coding"),
        make_row(2, split="held_out", outcome="tie", strength=None),
        make_row(3, split="held_out", rejected=turn("Gladly: clocks matter, said 3.")),
        make_row(4, outcome="all_unacceptable", chosen=None, strength=None),
    ]
    found = judged.read(write_snapshot(tmp_path, rows))
    assert (len(found.train), [row.source.capability for row in found.held_out]) == (1, ["coding"])
    assert found.left_out == {"ties": 1, "same_text": 1, "all_unacceptable": 1, "written": 0}


def test_a_file_in_trls_format_is_held_out_as_a_whole_with_all_that_it_says(tmp_path: Path) -> None:
    row = {
        "prompt": "How?",
        "chosen": "Slowly",
        "rejected": "No",
        "capability": "advice",
        "rejected_finish_reason": "length",
    }
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    found = judged.read(tmp_path / "pairs.jsonl")
    [judgement] = found.held_out
    assert (found.train, judgement.source.capability) == ([], "advice")
    assert (judgement.chosen_ended, judgement.rejected_ended) == (True, False)


def test_a_file_without_held_out_judgements_is_refused_with_its_counts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no held-out judgement .*\(1 to train on, 0 ties"):
        judged.read(write_snapshot(tmp_path, [make_row(0)]))
    with pytest.raises(DataError, match="does not exist"):
        judged.read(tmp_path / "nowhere.jsonl")
