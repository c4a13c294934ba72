"""What the measurements of a round mean for its policy: which refuse it, which only warn, in words with their numbers.

Reads the reports of ``training.evaluate`` (docs/evaluation.md names each number). Something is *sure* when the whole 95%
interval over prompts says it, of :data:`ENOUGH_PROMPTS` prompts at least; what is not sure refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from app.kernel.locales import N_
from app.rounds.gate import ENOUGH_PROMPTS

FEW_PAIRS = 100
"""Held-out pairs below which a reward model's accuracy says little: ± 10 points."""
REWARDS_LENGTH = 0.3
"""Correlation of reward and length from which on a reward model is said to reward length, or brevity."""
MUCH_LONGER = 1.3
MORE_FAULTS = 0.05
FAR = 1.0
"""Nats a token between a policy and what it was trained from."""
FAULTS = {
    "more_repeated_4_grams": N_("Repeated word groups: {points}."),
    "more_empty": N_("Empty answers: {points}."),
    "more_cut_off": N_("Answers cut off at the limit of tokens: {points}."),
}

WORSE = N_("It is worse.")
VERIFIED, VERIFIED_GAIN = "verified", "verified_gain"
"""Of the answers that checks pass: the rate, and how far it is from the champion's; a slash and a capability follow."""

Report = Mapping[str, Any]
Measure = Mapping[str, Any]
"""``value``, ``low``, ``high`` (None where they cannot be known) and ``prompts``."""


class Level(StrEnum):
    """What a finding does to the policy."""

    REFUSES = "refuses"
    WARNS = "warns"
    PASSED = "passed"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at in step 1 or 2 of the gate."""

    step: int
    level: Level
    words: str

    def to_json(self) -> dict[str, Any]:
        """As a row of ``evaluations`` keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Finding:
        """From what :meth:`to_json` gave."""
        return cls(row["step"], Level(row["level"]), row["words"])


# ── Step 1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def of_reward_model(report: Report) -> list[Finding]:
    """The reward model against the one before it, on the same held-out pairs."""
    if "unmeasured" in report:
        words = N_("The reward model could not be measured: {why}.").format(why=report["unmeasured"])
        return [Finding(1, Level.WARNS, words)]
    return [*_against_before(report), *_alone(report)]


def _against_before(report: Report) -> Iterator[Finding]:
    above = report["compared"].get("held_out/accuracy_above_before")
    if above is None:
        reason = report.get("before_left_out")
        level = Level.WARNS if reason else Level.PASSED
        words = (
            N_("There is no previous reward model to compare it with.")
            if reason is None
            else N_("The previous reward model could not be read, so there is no comparison: {why}.").format(why=reason)
        )
        yield Finding(1, level, words)
        return
    worse = _surely_below(above, 0.0)
    words = (
        N_("On the same {pairs} held-out pairs its accuracy is {points} from the previous reward model's: it is worse.")
        if worse
        else N_("On the same {pairs} held-out pairs its accuracy is {points} from the previous reward model's.")
    )
    words = words.format(pairs=report["data"]["held_out_judgements"], points=points(above))
    yield Finding(1, Level.REFUSES if worse else Level.PASSED, words)


def _alone(report: Report) -> Iterator[Finding]:
    pairs, after = report["data"]["held_out_judgements"], report["after_metrics"]
    accuracy, above = after["held_out/accuracy"], report["compared"]["held_out/accuracy_above_bag_of_words"]
    correlation = after["held_out/length_correlation"]
    if pairs < FEW_PAIRS:
        words = N_("Its accuracy of {share} rests on {pairs} held-out pairs; fewer than {few} say little.")
        yield Finding(1, Level.WARNS, words.format(share=share(accuracy), pairs=pairs, few=FEW_PAIRS))
    else:
        words = N_("Its accuracy is {share} on {pairs} held-out pairs.")
        yield Finding(1, Level.PASSED, words.format(share=share(accuracy), pairs=pairs))
    if above["value"] <= 0 or _reaches(above, 0.0):
        words = N_("It is not significantly better than a bag of words, which sees no order and no prompt: {points}.")
        yield Finding(1, Level.WARNS, words.format(points=points(above)))
    if _surely_above(correlation, REWARDS_LENGTH) or _surely_below(correlation, -REWARDS_LENGTH):
        words = (
            N_("It rewards longer responses: the correlation of reward and length is {correlation}.")
            if correlation["value"] > 0
            else N_("It rewards shorter responses: the correlation of reward and length is {correlation}.")
        )
        yield Finding(1, Level.WARNS, words.format(correlation=f"{correlation['value']:+.2f}"))


def of_head(report: Report) -> Iterator[Finding]:
    """The reward model against a linear head on the base model's frozen features, on the same held-out votes."""
    if report.get("unmeasured"):
        words = N_("It could not be compared with a linear head on frozen features: {why}.")
        yield Finding(1, Level.WARNS, words.format(why=report["unmeasured"]))
    if not report.get("pairs"):
        return
    above = report["above"]
    worse, better = _surely_below(above, 0.0), _surely_above(above, 0.0)
    words = (
        N_(
            "On {votes} held-out votes a linear head on the base model’s frozen features, which is fitted in milliseconds, is "
            "right on {share}; the reward model is {points} from it: it is worse."
        )
        if worse
        else N_(
            "On {votes} held-out votes a linear head on the base model’s frozen features, which is fitted in milliseconds, is "
            "right on {share}; the reward model is {points} from it."
        )
        if better
        else N_(
            "On {votes} held-out votes a linear head on the base model’s frozen features, which is fitted in milliseconds, is "
            "right on {share}; the reward model is {points} from it: that is not significantly better."
        )
    )
    words = words.format(votes=report["pairs"], share=share(report["head"]), points=points(above))
    yield Finding(1, Level.REFUSES if worse else Level.PASSED if better else Level.WARNS, words)
    if again := report.get("asked_again"):
        words = (
            N_("A second person is asked about {n} item on which it contradicts the first.")
            if again == 1
            else N_("A second person is asked about {n} items on which it contradicts the first.")
        )
        yield Finding(1, Level.PASSED, words.format(n=again))


# ── Step 2 ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def of_policy(report: Report, reward_report: Report) -> list[Finding]:
    """The policy against the champion on held-out prompts; ``reward_report`` says what their judge is worth."""
    if "unmeasured" in report:
        words = N_("The policy could not be measured: {why}.").format(why=report["unmeasured"])
        return [Finding(2, Level.WARNS, words)]
    few = report["data"]["prompts"]
    words = N_("Both answered {n} held-out prompts; fewer than {enough} refuse nothing.")
    warned = [Finding(2, Level.WARNS, words.format(n=few, enough=ENOUGH_PROMPTS))]
    return [
        *(warned if few < ENOUGH_PROMPTS else []),
        _win_rate(report["compared"], reward_report),
        *_length(report["compared"]),
        *(_fault(report["compared"][name], words) for name, words in FAULTS.items()),
        *_distance(report["after_metrics"]),
        *_verified(report),
    ]


def _win_rate(compared: Report, reward_report: Report) -> Finding:
    rate = compared["win_rate"]
    words = N_("The reward model prefers it to the champion on {share} of {n} held-out prompts.")
    words = words.format(share=share(rate), n=rate["prompts"])
    if not _surely_below(rate, 0.5):
        return Finding(2, Level.PASSED, words)
    accuracy = reward_report.get("after_metrics", {}).get("held_out/accuracy")
    if accuracy is not None and _surely_above(accuracy, 0.5):
        return Finding(2, Level.REFUSES, f"{words} {WORSE}")
    but = N_(
        "That would be worse, but the reward model itself is not significantly better than chance on held-out pairs."
    )
    return Finding(2, Level.WARNS, f"{words} {but}")


def _length(compared: Report) -> Iterator[Finding]:
    ratio, controlled = compared.get("length_ratio"), compared["length_controlled_win_rate"]
    if ratio is None:
        return
    words = N_("Its answers are {times} times as long, and at equal length it would win {share}.")
    words = words.format(times=f"{ratio['value']:.2f}", share=share(controlled))
    refuses = ratio["value"] > MUCH_LONGER and controlled["value"] <= 0.5 and ratio["prompts"] >= ENOUGH_PROMPTS
    yield Finding(2, Level.REFUSES if refuses else Level.PASSED, words)


def _fault(more: Measure, words: str) -> Finding:
    level = Level.REFUSES if _surely_above(more, MORE_FAULTS) else Level.PASSED
    return Finding(2, level, words.format(points=points(more)))


def _distance(after: Report) -> Iterator[Finding]:
    divergence = after.get("kl_per_token")
    if divergence is not None:
        far = divergence["value"] > FAR
        words = N_("It diverges from what it was trained from by {nats} nats a token.")
        yield Finding(2, Level.WARNS if far else Level.PASSED, words.format(nats=f"{divergence['value']:.2f}"))


def _verified(report: Report) -> Iterator[Finding]:
    """How many held-out prompts it solves beside the champion, by capability; where checks are required, worse is refused."""
    checked = report.get("verified", {})
    if checked.get("unavailable") and checked.get("prompts"):
        words = N_("Answers to {n} held-out prompts could not be checked: {why}.")
        yield Finding(2, Level.WARNS, words.format(n=checked["prompts"], why=checked["unavailable"]))
    for capability, gain in verified_gains(report):
        worse, required = _surely_below(gain, 0.0), capability in checked.get("required", ())
        words = N_(
            "{capability}: {share} of its answers to {n} held-out prompts pass their checks, {points} from the champion."
        ).format(
            capability=capability,
            share=share(report["after_metrics"][f"{VERIFIED}/{capability}"]),
            n=gain["prompts"],
            points=points(gain),
        )
        ending = WORSE if required else N_("It is worse, but no batch requires these checks.")
        level = Level.PASSED if not worse else Level.REFUSES if required else Level.WARNS
        yield Finding(2, level, f"{words} {ending}" if worse else words)


def verified_gains(report: Report) -> Iterator[tuple[str, Measure]]:
    """Of each capability, how far its rate of answers that pass their checks is from the champion's."""
    for name, gain in report.get("compared", {}).items():
        kind, _, capability = name.partition("/")
        if kind == VERIFIED_GAIN and capability:
            yield capability, gain


# ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _surely_below(found: Measure, bound: float) -> bool:
    return found["high"] is not None and found["high"] < bound and found["prompts"] >= ENOUGH_PROMPTS


def _surely_above(found: Measure, bound: float) -> bool:
    return found["low"] is not None and found["low"] > bound and found["prompts"] >= ENOUGH_PROMPTS


def _reaches(found: Measure, bound: float) -> bool:
    return found["low"] is None or found["low"] <= bound


def share(found: Measure) -> str:
    """In percent, with its interval where there is one."""
    ends = "" if found["low"] is None else f" [{found['low']:.1%}, {found['high']:.1%}]"
    return f"{found['value']:.1%}{ends}"


def points(found: Measure) -> str:
    """A difference of shares, with its interval where there is one."""
    value = f"{100 * found['value']:+.1f}"
    if found["low"] is None:
        return N_("{points} points").format(points=value)
    low, high = (f"{100 * found[end]:+.1f}" for end in ("low", "high"))
    return N_("{points} points [{low}, {high}]").format(points=value, low=low, high=high)
