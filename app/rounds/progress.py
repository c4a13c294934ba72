"""What a run's page says: how far it is, how long it will take, and what its numbers mean and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from app.judgements.vocabulary import STRONGEST_FIRST
from app.rounds.models import RunKind, RunState, TrainingEvent, TrainingRun

MARGINS = {
    RunKind.REWARD: "held_out/reward_margin",
    RunKind.SFT: "held_out/rewards/margins",
    RunKind.DPO: "held_out/rewards/margins",
}
STRENGTHS = {f"held_out/accuracy/strength_{strength.value}": strength.label for strength in STRONGEST_FIRST}

EXPLAINED = {
    "held_out/accuracy": {
        RunKind.REWARD: "held-out pairs in which the chosen response gets the higher reward",
        RunKind.DPO: "held-out pairs in which the policy moved towards the chosen response rather than the rejected one; "
        "before training it has not moved, which counts as one half",
    },
    "held_out/logp_accuracy": {
        RunKind.DPO: "held-out pairs in which the policy finds the chosen response likelier than the rejected one; long "
        "responses are less likely, so this starts low"
    },
    "held_out/verified": {
        RunKind.GRPO: "of held-out prompts that say what an answer must come to, the policy’s answer passes its checks; "
        "before is the policy that learnt preferences",
    },
    "held_out/longer_wins_accuracy": {
        RunKind.REWARD: "held-out pairs in which the longer response is the chosen one: the accuracy of length alone"
    },
}
MEASURES = {
    "held_out/reward_margin": ("Margin", "mean reward of the chosen minus the rejected response"),
    "held_out/rewards/margins": (
        "Margin",
        "mean implicit reward (beta times the log-probability gained) of the chosen minus the rejected response",
    ),
    "held_out/length_correlation": (
        "Reward and length",
        "correlation over held-out responses; far from 0, the model rewards length",
    ),
}
DATA_WORDS = {
    "pairs": "pairs trained on",
    "checked_prompts": "prompts whose answers are checked to learn from",
    "checked_held_out": "held-out prompts whose answers are checked to measure",
    "prompts_contaminated": "prompts left out: they repeat a held-out one",
    "prompts_too_long": "prompts left out: no room for an answer",
    "prompts_unrenderable": "prompts left out: the model’s template refuses them",
    "prompts_run_tools": "prompts left out: their tools need documents or servers",
    "pairs/chosen_over_rejected": "chosen over rejected",
    "pairs/edited_over_chosen": "edited over chosen",
    "pairs/edited_over_rejected": "edited over rejected",
    "verifier_pairs": "pairs that checks found, not people",
    "source_rows": "rows of sources, as often as their weights say",
    "written_answers": "answers that people wrote from scratch",
    "filtered_by_strength": "rows left out: not strong enough",
    "ties": "rows left out: ties",
    "all_unacceptable": "rows left out: all unacceptable",
    "written": "rows left out: answers written from scratch, which are in no pair",
    "empty_responses": "rows left out: an empty response",
    "same_text": "rows left out: the same text twice",
    "dropped_unrenderable": "rows left out: the model’s template refuses them",
    "merged_agreeing": "pairs merged: annotators agree",
    "merged_weak": "pairs left out: most annotators found them weaker",
    "dropped_contradictory": "pairs left out: contradictory",
    "left_out_by_checkpoint": "rows left out: answers of external models that may not be trained on",
    "source_held_out": "rows of sources left out: the prompt is held out",
    "source_contaminated": "rows of sources left out: the prompt repeats a held-out one",
    "source_weak": "rows of sources left out: not strong enough",
    "dropped_contaminated": "rows left out: the prompt repeats a held-out one",
    "dropped_too_long": "pairs left out: too long",
    "held_out_pairs": "held-out pairs measured on",
}


@dataclass(frozen=True)
class Share:
    """An accuracy as what it is: so many of so many."""

    value: float
    of: int | None

    def __str__(self) -> str:
        """Hits and pairs; a pair without a winner counts one half."""
        if self.of is None:
            return f"{self.value:.0%}"
        return f"{self.value * self.of:.1f}".removesuffix(".0") + f" of {self.of}"

    @property
    def percent(self) -> str:
        """Rounded."""
        return f"{self.value:.0%}"


@dataclass(frozen=True)
class Line:
    """One number before and after; ``baseline`` is the untrained model on the same pairs."""

    label: str
    explained: str
    baseline: Share | str | None
    result: Share | str | None


@dataclass(frozen=True)
class Results:
    """Everything that was measured on held-out pairs."""

    accuracies: list[Line]
    strengths: list[Line]
    measures: list[Line]
    pairs: int | None

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return bool(self.accuracies or self.measures)


def results(run: TrainingRun) -> Results:
    """The baseline beside the result, or beside what was measured last while the run goes on."""
    before, after = run.baseline, run.metrics
    pairs = _measured_on(run)
    names = {
        "held_out/verified": "Solved",
        "held_out/accuracy": "Accuracy",
        "held_out/logp_accuracy": "Accuracy by likelihood",
        "held_out/longer_wins_accuracy": "“The longer one wins”",
    }
    accuracies = [
        Line(label, EXPLAINED[key][run.kind], _share(before, key, pairs), _share(after, key, pairs))
        for key, label in names.items()
        if run.kind in EXPLAINED[key] and (key in before or key in after)
    ]
    strengths = []
    for key, label in STRENGTHS.items():
        of = key.replace("accuracy", "pairs")
        count = _number(after.get(of, before.get(of)))
        if count:
            strengths.append(Line(label, "", _share(before, key, count), _share(after, key, count)))
    measures = [
        Line(label, explained, _decimal(before.get(key)), _decimal(after.get(key)))
        for key, (label, explained) in MEASURES.items()
        if key in before or key in after
    ]
    return Results(accuracies, strengths, measures, pairs)


def _share(metrics: Mapping[str, Any], key: str, of: int | None) -> Share | None:
    value = metrics.get(key)
    return Share(float(value), of) if isinstance(value, int | float) else None


def _decimal(value: Any) -> str | None:
    return f"{value:+.3f}" if isinstance(value, int | float) else None


def _number(value: Any) -> int | None:
    return round(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Headline:
    """The one number of a run before and after: of what, in ``words``."""

    baseline: Share | None
    result: Share | None
    words: str = "held-out accuracy"
    before: str = "untrained"


def headline(run: TrainingRun) -> Headline:
    """For lists of runs."""
    of = _measured_on(run)
    if run.kind is RunKind.GRPO:
        before, after = (_share(each, "held_out/verified", of) for each in (run.baseline, run.metrics))
        return Headline(before, after, "held-out prompts solved", "before")
    return Headline(_share(run.baseline, "held_out/accuracy", of), _share(run.metrics, "held_out/accuracy", of))


def _measured_on(run: TrainingRun) -> int | None:
    """Held-out pairs, or prompts where a run learns from checks."""
    key = "held_out/verified_prompts" if run.kind is RunKind.GRPO else "held_out/pairs"
    return _number(run.metrics.get(key, run.baseline.get(key)))


def seconds_left(run: TrainingRun, steps: Sequence[TrainingEvent]) -> float | None:
    """How long the rest takes, by the median of the recent ``steps``; None while nothing can be said."""
    if run.state is not RunState.RUNNING or run.total_steps is None or len(steps) < 3:
        return None
    gaps = [
        (later.at - earlier.at).total_seconds()
        for earlier, later in pairwise(steps)
        if (later.step or 0) - (earlier.step or 0) == 1  # not across a resume
    ]
    return median(gaps) * max(0, run.total_steps - run.step) if gaps else None


def duration(seconds: float | None) -> str:
    """In words, as exact as one can be about a guess."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def stage(run: TrainingRun, said: Sequence[TrainingEvent]) -> str:
    """What a running run does."""
    names = {event.event for event in said}
    if run.kind is RunKind.CHECK:
        return (
            "Measuring the reward model, then the policy’s answers beside the champion’s."
            if run.step
            else "Loading the models."
        )
    if run.kind is RunKind.GRPO and "data" in names:
        drawing = "Drawing answers, checking them, and learning from what checks find."
        return (
            drawing if run.step or "baseline" in names else "The policy before is being measured on held-out prompts."
        )
    if run.step or "step" in names:
        return "Training."
    if "baseline" in names:
        return "The untrained model has been measured; training begins."
    if "data" in names:
        return "The data has been read; the untrained model is being measured as the baseline."
    return "Loading the model and the data."


def data_counts(said: Sequence[TrainingEvent]) -> list[tuple[str, int]]:
    """What became of the snapshot's rows."""
    data = next((event.values for event in said if event.event == "data"), {})
    return [(words, data[key]) for key, words in DATA_WORDS.items() if isinstance(data.get(key), int)]


def warnings(said: Sequence[TrainingEvent]) -> list[str]:
    """What training warned of, each once."""
    found = [event.values.get("message") for event in said if event.event == "warning"]
    return list(dict.fromkeys(message for message in found if isinstance(message, str)))


@dataclass(frozen=True)
class Column:
    """One number of the plots and of their table."""

    key: str
    title: str
    strength: str = ""
    """Which strength it is the held-out accuracy of."""


def columns(kind: RunKind) -> list[Column]:
    """What is drawn of a run, in the order of the table; nothing of one that trains nothing."""
    if kind is RunKind.GRPO:
        return [
            Column("loss", "Loss"),
            Column("reward", "Reward, of the step’s answers"),
            Column("reward_std", "Spread of rewards"),
            Column("held_out/verified", "Solved, held-out"),
        ]
    if kind not in MARGINS:
        return []
    return [
        Column("loss", "Loss"),
        Column("rewards/accuracies", "Accuracy, batch"),
        Column("rewards/margins", "Margin, batch"),
        Column("held_out/accuracy", "Accuracy, held-out"),
        Column(MARGINS[kind], "Margin, held-out"),
        *(Column(key, f"Held-out, {label.lower()}", label) for key, label in STRENGTHS.items()),
    ]


def points(events: Sequence[TrainingEvent], run: TrainingRun) -> list[dict[str, Any]]:
    """The numbers of the plots and of their table: one row a step, the later one where a resumed run repeats it.

    The untrained model is step 0. What is measured at the end belongs to the last step, also where ``events`` are only
    what is new.
    """
    keys = [column.key for column in columns(run.kind)]
    rows: dict[int, dict[str, Any]] = {}
    for event in events:
        metrics = event.values.get("metrics")
        if event.event not in {"baseline", "step", "evaluation", "final"} or not isinstance(metrics, dict):
            continue
        step = 0 if event.event == "baseline" else event.step
        if step is None:
            step = max([run.step, *rows])
        row = rows.setdefault(step, {"step": step})
        row |= {key: metrics[key] for key in keys if key in metrics}
    return [rows[step] for step in sorted(rows)]
