"""What a run's page says: how far it is, how long it will take, and what its numbers mean and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from app.judgements.vocabulary import STRONGEST_FIRST
from app.kernel.locales import N_, number, percent
from app.kernel.locales import gettext as _
from app.rounds.models import RunKind, RunState, TrainingEvent, TrainingRun

MARGINS = {
    RunKind.REWARD: "held_out/reward_margin",
    RunKind.SFT: "held_out/rewards/margins",
    RunKind.DPO: "held_out/rewards/margins",
}
STRENGTHS = {f"held_out/accuracy/strength_{strength.value}": strength for strength in STRONGEST_FIRST}

EXPLAINED = {
    "held_out/accuracy": {
        RunKind.REWARD: N_("held-out pairs in which the chosen response gets the higher reward"),
        RunKind.DPO: N_(
            "held-out pairs in which the policy moved towards the chosen response rather than the rejected one; before "
            "training it has not moved, which counts as one half"
        ),
    },
    "held_out/logp_accuracy": {
        RunKind.DPO: N_(
            "held-out pairs in which the policy finds the chosen response likelier than the rejected one; long responses "
            "are less likely, so this starts low"
        )
    },
    "held_out/verified": {
        RunKind.GRPO: N_(
            "of held-out prompts that say what an answer must come to, the policy’s answer passes its checks; before is "
            "the policy that learnt preferences"
        ),
    },
    "held_out/longer_wins_accuracy": {
        RunKind.REWARD: N_(
            "held-out pairs in which the longer response is the chosen one: the accuracy of length alone"
        )
    },
}
MEASURES = {
    "held_out/reward_margin": (N_("Margin"), N_("mean reward of the chosen minus the rejected response")),
    "held_out/rewards/margins": (
        N_("Margin"),
        N_("mean implicit reward (beta times the log-probability gained) of the chosen minus the rejected response"),
    ),
    "held_out/length_correlation": (
        N_("Reward and length"),
        N_("correlation over held-out responses; far from 0, the model rewards length"),
    ),
}
DATA_WORDS = {
    "pairs": N_("pairs trained on"),
    "checked_prompts": N_("prompts whose answers are checked to learn from"),
    "checked_held_out": N_("held-out prompts whose answers are checked to measure"),
    "prompts_contaminated": N_("prompts left out: they repeat a held-out one"),
    "prompts_too_long": N_("prompts left out: no room for an answer"),
    "prompts_unrenderable": N_("prompts left out: the model’s template refuses them"),
    "prompts_run_tools": N_("prompts left out: their tools need documents or servers"),
    "pairs/chosen_over_rejected": N_("chosen over rejected"),
    "pairs/edited_over_chosen": N_("edited over chosen"),
    "pairs/edited_over_rejected": N_("edited over rejected"),
    "verifier_pairs": N_("pairs that checks found, not people"),
    "source_rows": N_("rows of sources, as often as their weights say"),
    "written_answers": N_("answers that people wrote from scratch"),
    "filtered_by_strength": N_("rows left out: not strong enough"),
    "ties": N_("rows left out: ties"),
    "all_unacceptable": N_("rows left out: all unacceptable"),
    "written": N_("rows left out: answers written from scratch, which are in no pair"),
    "empty_responses": N_("rows left out: an empty response"),
    "same_text": N_("rows left out: the same text twice"),
    "dropped_unrenderable": N_("rows left out: the model’s template refuses them"),
    "merged_agreeing": N_("pairs merged: annotators agree"),
    "merged_weak": N_("pairs left out: most annotators found them weaker"),
    "dropped_contradictory": N_("pairs left out: contradictory"),
    "left_out_by_checkpoint": N_("rows left out: answers of external models that may not be trained on"),
    "source_held_out": N_("rows of sources left out: the prompt is held out"),
    "source_contaminated": N_("rows of sources left out: the prompt repeats a held-out one"),
    "source_weak": N_("rows of sources left out: not strong enough"),
    "dropped_contaminated": N_("rows left out: the prompt repeats a held-out one"),
    "dropped_too_long": N_("pairs left out: too long"),
    "held_out_pairs": N_("held-out pairs measured on"),
}


@dataclass(frozen=True)
class Share:
    """An accuracy as what it is: so many of so many."""

    value: float
    of: int | None

    def __str__(self) -> str:
        """Hits and pairs; a pair without a winner counts one half."""
        if self.of is None:
            return self.percent
        hits = self.value * self.of
        digits = 0 if f"{hits:.1f}".endswith(".0") else 1
        return _("{hits} of {all}", hits=number(hits, digits), all=number(self.of))

    @property
    def percent(self) -> str:
        """Rounded."""
        return percent(self.value)


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
        "held_out/verified": _("Solved"),
        "held_out/accuracy": _("Accuracy"),
        "held_out/logp_accuracy": _("Accuracy by likelihood"),
        "held_out/longer_wins_accuracy": _("“The longer one wins”"),
    }
    accuracies = [
        Line(label, _(EXPLAINED[key][run.kind]), _share(before, key, pairs), _share(after, key, pairs))
        for key, label in names.items()
        if run.kind in EXPLAINED[key] and (key in before or key in after)
    ]
    strengths = []
    for key, strength in STRENGTHS.items():
        of = key.replace("accuracy", "pairs")
        count = _number(after.get(of, before.get(of)))
        if count:
            strengths.append(Line(strength.label, "", _share(before, key, count), _share(after, key, count)))
    measures = [
        Line(_(label), _(explained), _decimal(before.get(key)), _decimal(after.get(key)))
        for key, (label, explained) in MEASURES.items()
        if key in before or key in after
    ]
    return Results(accuracies, strengths, measures, pairs)


def _share(metrics: Mapping[str, Any], key: str, of: int | None) -> Share | None:
    value = metrics.get(key)
    return Share(float(value), of) if isinstance(value, int | float) else None


def _decimal(value: Any) -> str | None:
    return number(value, 3, sign=True) if isinstance(value, int | float) else None


def _number(value: Any) -> int | None:
    return round(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Headline:
    """The one number of a run before and after: of what, in ``words``."""

    baseline: Share | None
    result: Share | None
    words: str
    before: str


def headline(run: TrainingRun) -> Headline:
    """For lists of runs."""
    of = _measured_on(run)
    if run.kind is RunKind.GRPO:
        before, after = (_share(each, "held_out/verified", of) for each in (run.baseline, run.metrics))
        return Headline(before, after, _("held-out prompts solved"), _("before"))
    before, after = (_share(each, "held_out/accuracy", of) for each in (run.baseline, run.metrics))
    return Headline(before, after, _("held-out accuracy"), _("untrained"))


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
        return _("{n} s", n=number(max(1, round(seconds))))
    if seconds < 90 * 60:
        return _("{n} min", n=number(round(seconds / 60)))
    return _("{n} h", n=number(seconds / 3600, 1))


def stage(run: TrainingRun, said: Sequence[TrainingEvent]) -> str:  # noqa: PLR0911 - one a stage
    """What a running run does."""
    names = {event.event for event in said}
    if run.kind is RunKind.CHECK and run.step:
        return _("Measuring the reward model, then the policy’s answers beside the champion’s.")
    if run.kind is RunKind.CHECK:
        return _("Loading the models.")
    if run.kind is RunKind.GRPO and "data" in names:
        if run.step or "baseline" in names:
            return _("Drawing answers, checking them, and learning from what checks find.")
        return _("The policy before is being measured on held-out prompts.")
    if run.step or "step" in names:
        return _("Training.")
    if "baseline" in names:
        return _("The untrained model has been measured; training begins.")
    if "data" in names:
        return _("The data has been read; the untrained model is being measured as the baseline.")
    return _("Loading the model and the data.")


def data_counts(said: Sequence[TrainingEvent]) -> list[tuple[str, int]]:
    """What became of the snapshot's rows."""
    data = next((event.values for event in said if event.event == "data"), {})
    return [(_(words), data[key]) for key, words in DATA_WORDS.items() if isinstance(data.get(key), int)]


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
            Column("loss", _("Loss")),
            Column("reward", _("Reward, of the step’s answers")),
            Column("reward_std", _("Spread of rewards")),
            Column("held_out/verified", _("Solved, held-out")),
        ]
    if kind not in MARGINS:
        return []
    return [
        Column("loss", _("Loss")),
        Column("rewards/accuracies", _("Accuracy, batch")),
        Column("rewards/margins", _("Margin, batch")),
        Column("held_out/accuracy", _("Accuracy, held-out")),
        Column(MARGINS[kind], _("Margin, held-out")),
        *(
            Column(key, _("Held-out, {strength}", strength=strength.words), strength.label)
            for key, strength in STRENGTHS.items()
        ),
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
