"""What a measurement has to say before it refuses a policy, and what only warns."""

from __future__ import annotations

from typing import Any

import pytest

from app.rounds import bounds
from app.rounds.bounds import Finding, Level
from tests.rounds.fake_evaluate import measure, policy_report, reward_report

GOOD_JUDGE = reward_report(set(), before=True, prompts=40)


def reward(**changes: Any) -> list[Finding]:
    report = reward_report(set(), before=True, prompts=40)
    for name, value in changes.items():
        report[name] = report.get(name, {}) | value if isinstance(value, dict) else value
    return bounds.of_reward_model(report)


def policy(judge: dict[str, Any] = GOOD_JUDGE, **compared: dict[str, Any]) -> list[Finding]:
    report = policy_report(set(), prompts=40)
    report["compared"] |= compared
    return bounds.of_policy(report, judge)


def said(found: list[Finding], level: Level) -> str:
    return " ".join(each.words for each in found if each.level is level)


UNKNOWN = {"value": 0.1, "low": None, "high": None, "prompts": 1}
ABOVE, BAG = "held_out/accuracy_above_before", "held_out/accuracy_above_bag_of_words"


def test_nothing_is_refused_or_warned_of_where_all_is_well() -> None:
    for found in (reward(), policy()):
        assert {each.level for each in found} == {Level.PASSED}


@pytest.mark.parametrize(
    ("above", "level"),
    [
        (measure(-0.06, 0.05), Level.REFUSES),
        (measure(-0.05, 0.05), Level.PASSED),
        (measure(-0.5, 0.05, prompts=9), Level.PASSED),
        (UNKNOWN | {"value": -1.0}, Level.PASSED),
    ],
    ids=["surely worse", "its upper end is zero", "of nine prompts", "of one"],
)
def test_a_reward_model_is_refused_when_the_upper_end_of_the_difference_is_below_zero(
    above: dict[str, Any], level: Level
) -> None:
    first, *_ = reward(compared={ABOVE: above})
    assert first.level is level


def test_a_reward_model_without_a_predecessor_or_without_data_is_not_refused() -> None:
    alone = bounds.of_reward_model(reward_report(set(), before=False, prompts=40))
    assert alone[0] == Finding(1, Level.PASSED, "There is no previous reward model to compare it with.")
    lost = bounds.of_reward_model(
        reward_report(set(), before=False, prompts=40) | {"before_left_out": "reward-r1/manifest.json does not exist"}
    )
    assert lost[0].level is Level.WARNS
    assert "reward-r1/manifest.json does not exist" in lost[0].words
    [nothing] = bounds.of_reward_model({"unmeasured": "there is no held-out judgement"})
    assert (nothing.level, "no held-out judgement" in nothing.words) == (Level.WARNS, True)


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"data": {"held_out_judgements": 99}}, "rests on 99 held-out pairs"),
        ({"compared": {BAG: measure(0.04)}}, "not significantly better than a bag of words"),
        ({"compared": {BAG: UNKNOWN}}, "not significantly better than a bag of words"),
        ({"after_metrics": {"held_out/length_correlation": measure(0.4)}}, "rewards longer responses"),
        ({"after_metrics": {"held_out/length_correlation": measure(-0.4)}}, "rewards shorter responses"),
    ],
    ids=["few pairs", "near the words", "unknown", "longer", "shorter"],
)
def test_a_reward_model_is_warned_of(changes: dict[str, Any], warning: str) -> None:
    found = reward(**changes)
    assert warning in said(found, Level.WARNS)
    assert said(found, Level.REFUSES) == ""


def test_who_loses_by_a_judge_who_is_not_sure_itself_is_not_refused() -> None:
    worse = measure(0.3)
    assert "It is worse." in said(policy(win_rate=worse), Level.REFUSES)
    unsure = reward_report(set(), before=True, prompts=40)
    unsure["after_metrics"]["held_out/accuracy"] = measure(0.55)
    for judge in (unsure, {"unmeasured": "nothing is held out"}):
        found = policy(judge, win_rate=worse)
        assert said(found, Level.REFUSES) == ""
        assert "not significantly better than chance" in said(found, Level.WARNS)


@pytest.mark.parametrize(
    ("compared", "refused"),
    [
        ({"win_rate": measure(0.45, 0.05)}, False),
        ({"length_ratio": measure(1.31), "length_controlled_win_rate": measure(0.5)}, True),
        ({"length_ratio": measure(1.3), "length_controlled_win_rate": measure(0.4)}, False),
        ({"length_ratio": measure(1.9), "length_controlled_win_rate": measure(0.51)}, False),
        ({"more_empty": measure(0.11, 0.05)}, True),
        ({"more_empty": measure(0.10, 0.05)}, False),
        ({"more_cut_off": measure(0.11, 0.05)}, True),
        ({"more_repeated_4_grams": measure(0.11, 0.05)}, True),
        ({"more_repeated_4_grams": measure(0.9, 0.05, prompts=9)}, False),
    ],
)
def test_a_policy_is_refused_only_for_what_is_sure(compared: dict[str, Any], *, refused: bool) -> None:
    assert bool(said(policy(**compared), Level.REFUSES)) is refused


def test_answers_that_are_all_empty_have_no_ratio_of_lengths() -> None:
    report = policy_report(set(), prompts=40)
    del report["compared"]["length_ratio"]
    report["compared"]["more_empty"] = measure(1.0, 0.0)
    assert "Empty answers: +100.0 points" in said(bounds.of_policy(report, GOOD_JUDGE), Level.REFUSES)


def test_findings_come_back_from_their_rows_as_they_were() -> None:
    for each in (*reward(), *policy()):
        assert Finding.of(each.to_json()) == each


def solving(gain: dict[str, Any], **verified: Any) -> list[Finding]:
    """What is said of the checks alone."""
    report = policy_report(set(), prompts=40)
    report["compared"]["verified_gain/maths"] = report["compared"]["verified_gain"] = gain
    report["after_metrics"]["verified/maths"] = measure(0.31, 0.1)
    report["verified"] = {"unavailable": None, "prompts": 40, "required": []} | verified
    return bounds.of_policy(report, GOOD_JUDGE)[len(policy()) :]


@pytest.mark.parametrize(
    ("gain", "required", "level"),
    [
        (measure(-0.2, 0.1), ["maths"], Level.REFUSES),
        (measure(-0.2, 0.1), ["code"], Level.WARNS),
        (measure(-0.1, 0.1), ["maths"], Level.PASSED),
        (measure(-0.9, 0.05, prompts=9), ["maths"], Level.PASSED),
        (UNKNOWN | {"value": -1.0}, ["maths"], Level.PASSED),
        (measure(0.2, 0.1), ["maths"], Level.PASSED),
    ],
    ids=["surely worse", "not required", "its upper end is zero", "of nine prompts", "of one", "better"],
)
def test_a_policy_that_surely_solves_fewer_prompts_of_a_required_capability_is_refused(
    gain: dict[str, Any], required: list[str], level: Level
) -> None:
    [found] = solving(gain, required=required)
    assert (found.level, found.step) == (level, 2)
    assert "31.0% [21.0%, 41.0%] of its answers to" in found.words
    assert "maths: " in found.words


def test_answers_that_could_not_be_checked_warn_and_refuse_nothing() -> None:
    report = policy_report(set(), prompts=40)
    report["verified"] = {"unavailable": "“verify” cannot be started", "prompts": 12, "required": ["maths"]}
    found = bounds.of_policy(report, GOOD_JUDGE)
    assert (
        said(found, Level.WARNS) == "Answers to 12 held-out prompts could not be checked: “verify” cannot be started."
    )
    assert not said(found, Level.REFUSES)
