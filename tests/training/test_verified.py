"""Pass rates on held-out prompts, counted by hand: of the same prompts for both policies, by capability."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.conftest import byte_tokenizer, make_asked, make_rows, write_snapshot
from tests.training.test_checks import VERIFIER
from training.data import asked
from training.data.checks import Checks
from training.data.left_out import LeftOut
from training.measure import verified
from training.measure.inference import Sample
from training.measure.verified import Checked, Found


def held_out(folder: Path, *, most: int = 99) -> list[Checked]:
    prompts = [
        make_asked(f"{number} + 1?", split="held_out", reference=str(number + 1), capability="sums")
        for number in range(8)
    ]
    prompts += [
        make_asked(f"Count {number}!", split="held_out", reference=str(number), required=["sum"]) for number in (7, 9)
    ]
    prompts += [make_asked("Tell me of bees.", split="held_out"), make_asked("9 + 9?", reference="18")]
    prompts += [make_asked("Too long " * 40, split="held_out", reference="1"), prompts[0]]
    write_snapshot(folder, make_rows(2, 0), prompts)
    return verified.questions(asked.read(folder), byte_tokenizer(), max_length=200, most=most, left_out=LeftOut())


def answers(questions: list[Checked], right: int, unclear: int = 0) -> list[Sample]:
    """The first of each capability answered right, then those with which nothing can be done, the rest wrong."""
    seen: dict[str, int] = {}
    found = []
    for each in questions:
        place = seen[each.capability] = seen.get(each.capability, 0) + 1
        text = str(each.source.reference) if place <= right else "perhaps" if place <= right + unclear else "no"
        found.append(Sample([1], text, 2))
    return found


def measured(
    questions: list[Checked], before: list[Sample], after: list[Sample], command: list[str] = VERIFIER
) -> Found:
    with Checks(command) as checks:
        return verified.measure(questions, before, after, checks, resamples=200, seed=1)


def test_only_held_out_prompts_that_can_be_checked_are_asked_each_once(tmp_path: Path) -> None:
    questions = held_out(tmp_path)
    assert sorted(each.capability for each in questions) == ["other"] * 2 + ["sums"] * 8
    assert [each.capability for each in held_out(tmp_path, most=4)].count("other") == 2, "in turn from each capability"
    assert held_out(tmp_path, most=4) == held_out(tmp_path, most=4)


def test_rates_are_of_prompts_where_both_answers_could_be_checked(tmp_path: Path) -> None:
    questions = held_out(tmp_path)
    found = measured(questions, answers(questions, 4), answers(questions, 2, unclear=1))
    assert found.before["verified/sums"].value == pytest.approx(3 / 7)
    assert found.before["verified/sums"].prompts == 7
    assert found.after["verified/sums"].value == pytest.approx(2 / 7)
    gain = found.compared["verified_gain/sums"]
    assert gain.value == pytest.approx(-1 / 7)
    assert gain.low is not None
    assert gain.low < 0 == gain.high
    assert found.compared["verified_gain/other"].value == 0.0
    assert found.after["verified"].prompts == 9
    assert found.report["required"] == ["other"]
    assert (found.report["prompts"], found.report["measured"]) == (10, 9)
    assert [line["after"]["passed"] for line in found.lines].count(None) == 1


def test_where_nothing_can_check_there_is_no_rate_and_the_reason(tmp_path: Path) -> None:
    questions = held_out(tmp_path)
    found = measured(questions, answers(questions, 1), answers(questions, 1), ["/nowhere/verifiers"])
    assert found.before == found.after == found.compared == {}
    assert "cannot be started" in str(found.report["unavailable"])
    assert measured([], [], []).report["prompts"] == 0
