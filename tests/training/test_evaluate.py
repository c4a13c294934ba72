"""Held-out numbers are counted by hand here, pair by pair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from training.data.chat import Response
from training.data.rows import Example
from training.formats.events import EventLog
from training.measure.metrics import policy_metrics, reward_metrics


def example(number: int, strength: int, chosen_length: int, rejected_length: int) -> Example:
    """Sequences are [number, 1, ...] and [number, 0, ...]: a score can tell them apart."""
    return Example(
        row_id=str(number),
        kind="chosen_over_rejected",
        strength=strength,
        prompt_ids=[number],
        chosen=Response([1] * chosen_length, [1] * chosen_length),
        rejected=Response([0] * rejected_length, [1] * rejected_length),
    )


EXAMPLES = [example(0, 4, 5, 2), example(1, 4, 2, 5), example(2, 1, 3, 3)]
REWARDS = {(0, 1): 2.0, (0, 0): 1.0, (1, 1): 0.0, (1, 0): 3.0, (2, 1): 1.0, (2, 0): 1.0}


def score(sequences: Sequence[list[int]]) -> list[float]:
    return [REWARDS[ids[0], ids[1]] for ids in sequences]


def test_accuracy_is_counted_pair_by_pair_and_a_tie_is_half() -> None:
    metrics = reward_metrics(EXAMPLES, score)
    assert metrics["held_out/accuracy"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert metrics["held_out/accuracy/strength_4"] == 0.5
    assert metrics["held_out/accuracy/strength_1"] == 0.5
    assert "held_out/accuracy/strength_2" not in metrics
    assert (metrics["held_out/pairs"], metrics["held_out/pairs/strength_4"]) == (3, 2)
    assert metrics["held_out/reward_margin"] == pytest.approx((1 - 3 + 0) / 3)


def test_length_bias_is_reported() -> None:
    metrics = reward_metrics(EXAMPLES, score)
    assert metrics["held_out/longer_wins_accuracy"] == pytest.approx((1 + 0 + 0.5) / 3)
    by_length = reward_metrics(EXAMPLES, lambda sequences: [float(len(ids)) for ids in sequences])
    assert by_length["held_out/length_correlation"] == pytest.approx(1.0)
    constant = reward_metrics(EXAMPLES, lambda sequences: [1.0] * len(sequences))
    assert constant["held_out/length_correlation"] == 0.0


def test_an_untrained_policy_is_its_own_reference() -> None:
    logps = [(-5.0, -9.0), (-9.0, -5.0), (-3.0, -4.0)]
    metrics = policy_metrics(EXAMPLES, logps, logps, beta=0.1)
    assert (metrics["held_out/accuracy"], metrics["held_out/rewards/margins"]) == (0.5, 0.0)
    assert metrics["held_out/logp_accuracy"] == pytest.approx(2 / 3)


def test_a_policy_is_rewarded_for_what_it_moved_apart() -> None:
    reference = [(-5.0, -5.0), (-5.0, -5.0), (-5.0, -5.0)]
    policy = [(-4.0, -7.0), (-4.0, -6.0), (-6.0, -5.0)]
    metrics = policy_metrics(EXAMPLES, policy, reference, beta=0.1)
    assert metrics["held_out/rewards/accuracies"] == metrics["held_out/accuracy"] == pytest.approx(2 / 3)
    assert metrics["held_out/rewards/margins"] == pytest.approx(0.1 * (3 + 2 - 1) / 3)
    assert metrics["held_out/accuracy/strength_1"] == 0.0


def test_nothing_held_out_gives_no_numbers() -> None:
    assert reward_metrics([], score) == {}
    assert policy_metrics([], [], [], 0.1) == {}


def test_events_are_lines_and_an_unfinished_line_is_cut_off(tmp_path: Path) -> None:
    EventLog(tmp_path).emit("step", step=1, metrics={"loss": float("nan"), "margin": 0.5})
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write('{"event": "step", "ste')  # as a killed process leaves it
    log = EventLog(tmp_path)
    log.emit("step", step=2)
    bodies = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [body["step"] for body in bodies] == [1, 2]
    assert bodies[0]["metrics"] == {"loss": None, "margin": 0.5}
    assert all(isinstance(body["time"], float) for body in bodies)
    last = log.last("step")
    assert last is not None
    assert last["step"] == 2
    assert log.last("final") is None


def test_accuracy_has_an_interval_over_prompts() -> None:
    examples = [example(number // 2, 4, 3, 2) for number in range(40)]
    metrics = reward_metrics(examples, lambda sequences: [float(ids[0] % 4 != 0) * ids[1] for ids in sequences])
    assert metrics["held_out/prompts"] == 20
    assert metrics["held_out/accuracy/low"] < metrics["held_out/accuracy"] < metrics["held_out/accuracy/high"]
    assert metrics["held_out/shorter_wins_accuracy"] == 1 - metrics["held_out/longer_wins_accuracy"] == 0.0
