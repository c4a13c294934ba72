"""The stages of a round as data: what is run in which order, what each needs and makes, and what has to hold of it.

A run (``TrainingRun``) is one or more stages; the worker runs them in the order of :data:`PLAN`, each as a process of its
own (``workers.training.stages``). What passes between stages are files in the run's folder, known by their names. What a
stage makes last appears whole or not at all, so a run that was interrupted resumes by looking at its folder (:func:`left`).

A new stage is one entry here, and the command that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.kernel.locales import N_
from app.kernel.settings import Settings
from app.rounds import gate
from app.rounds.gate import Gate
from app.rounds.models import RunKind

RUN_FILE = "run.toml"
CHECKPOINT = "checkpoint"
"""What a run is for: the folder that is registered when the run has succeeded."""
CHOSEN = "sft.jsonl"
"""Of the samples, and of what people wrote: what a run that imitates is trained on."""
CORRECTED = "corrections.jsonl"
"""What the policy got right once it was told what was wrong."""
SOLUTIONS = "solutions.jsonl"
"""Steps and programs that a model wrote where only the answer is known; only where the operator has named one."""
JUDGED = "judged.jsonl"
"""What the judge of facts says of the samples; only where the operator has named one."""
VERIFIED = "verified.jsonl"
"""Pairs of a sampled answer that passed its checks and one that failed; the policy learns from them where its recipe says so."""
SAMPLED = "samples.report.json"
"""Whose the samples are, once all are there."""
REWARD_REPORT, POLICY_REPORT, AVERAGE_REPORT = (
    f"{name}-report/report.json" for name in ("reward", "policy", "average")
)
"""Of the run that checks: what ``training.evaluate`` found."""
POLICY_JUDGED, AVERAGE_JUDGED = (f"{name}-report/judged.json" for name in ("policy", "average"))
"""Rates in place of the report's where a judge of facts had a word (``workers.training.judged_checks``)."""
HEAD_REPORT = "head.json"
"""Of the run that checks: how the reward model stands against a linear head (``workers.selection.baseline``)."""
AVERAGED = "average.json"
"""Whether the policies could be averaged."""
GIVEN = frozenset(
    {
        *(RUN_FILE, CHECKPOINT, "snapshot", "base_model", "max_length"),
        *("checks", "tools"),
        *("reward_model", "samples_each", "sample_prompts", "sample_tokens"),
        *("steps_model", "steps_floor", "judged", "refusals", "solutions"),
        *("policy", "champion", "reward_before", "check_prompts", "check_tokens"),
        *("averaged", "average", "average_name", "rank", "leave_out"),
        *("judge_policy", "judge_average"),
    }
)
"""Names whose values a run brings with it; every other one is a file in its folder."""

STATUS_BAD_INPUT, STATUS_NOT_FINITE, STATUS_DISK = 2, 3, 4
STATUS_BUSY = 5
"""Another process holds the run's folder: one that another worker has not ended yet."""
STATUS_LAUNCHER = 126
"""What was to start several processes ended before any of them began."""
CORRECT = N_("Fix what the message above names, then start a new training.")


@dataclass(frozen=True)
class Remedies:
    """What a person can do about a stage that failed, by its exit status."""

    by_status: Mapping[int, str]
    otherwise: str


TRAINING = Remedies(
    {
        STATUS_BAD_INPUT: CORRECT,
        STATUS_NOT_FINITE: N_(
            "Nothing was saved or promoted. Set CORRAL_TRAINING_RECIPE to a recipe with a lower learning rate, then start a "
            "new training."
        ),
        STATUS_DISK: N_("Free some space on the disk, then retry: the run resumes from its last saved step."),
        STATUS_LAUNCHER: N_(
            "No process began. Correct CORRAL_TRAINING_LAUNCH, restart the training worker, then retry."
        ),
    },
    N_("Read the last lines below. Retry resumes from the last saved step."),
)
SAMPLING = Remedies(
    {
        1: N_("Wait until the engine is ready, then retry: the samples so far are kept."),
        STATUS_BAD_INPUT: CORRECT,
        STATUS_DISK: N_("Free some space on the disk, then retry: the samples so far are kept."),
    },
    N_("Read the last lines below. Retry samples the remaining prompts."),
)
CHOOSING = Remedies(
    {
        STATUS_BAD_INPUT: CORRECT,
        STATUS_DISK: N_("Free some space on the disk, then retry: it chooses from the same samples."),
    },
    N_("Read the last lines below. Retry chooses from the same samples."),
)


MEASURING = Remedies(
    {
        STATUS_BAD_INPUT: N_("Restore what the message above names, then retry; or start a new training."),
        STATUS_DISK: N_("Free some space on the disk, then retry: what was trained is kept."),
    },
    N_("Read the last lines below. Retry measures again; what was trained is kept."),
)


def always(_: Settings) -> bool:
    """For stages that every round has."""
    return True


def samples_wanted(settings: Settings) -> bool:
    """For stages that imitate the best of many samples."""
    return settings.training_samples > 0


def checks_wanted(settings: Settings) -> bool:
    """For the stage that learns from what can be checked."""
    return settings.training_checked_steps > 0


@dataclass(frozen=True)
class Stage:
    """One process of a run."""

    name: str
    run: RunKind
    """The run that it belongs to, whose page shows its events and its log."""
    command: tuple[str, ...]
    """A module and its arguments, as behind ``python -m``; an argument in braces stands for the thing of that name."""
    needs: tuple[str, ...]
    """Files and folders that have to be there; of :data:`GIVEN`, or made by an earlier stage."""
    makes: tuple[str, ...]
    """In the order in which they are written: the last one is there, whole, once the stage is finished."""
    gates: tuple[Gate, ...] = ()
    """What has to hold of the last thing made before anything is done with it."""
    told: Mapping[str, str] = field(default_factory=dict)
    """A settings file for the command, ``NAME.toml``: its keys, and the things that stand there.

    A key whose thing a run may bring, and does not, is left out.
    """
    says: Mapping[str, str | bool] = field(default_factory=dict)
    """What stands in that file whatever the run."""
    remedies: Remedies = TRAINING
    only_with: str | None = None
    """One of :data:`GIVEN`; a run that does not bring it has no such stage."""
    knows_installation: bool = False
    """Whether it may speak to engine and database; others see nothing of the installation's secrets."""
    wanted: Callable[[Settings], bool] = always
    parallel: bool = False
    """Whether several processes may do it together (``CORRAL_TRAINING_LAUNCH``)."""

    @property
    def settings_file(self) -> str:
        """Where ``told`` is written."""
        return f"{self.name}.toml"


def _against_champion(policy: str, report: str, *needs: str, only_with: str | None = None) -> Stage:
    """Measures one of a round's policies."""
    return Stage(
        f"measure-{policy}",
        RunKind.CHECK,
        command=("training.evaluate", f"{{measure-{policy}.toml}}"),
        needs=("snapshot", "reward_model", *(needs or (policy,))),
        makes=(report,),
        told={
            "checkpoint": policy,
            "before": "champion",
            "reward_model": "reward_model",
            "base_model": "base_model",
            "data": "snapshot",
            "output": report.partition("/")[0],
            "max_length": "max_length",
            "max_prompts": "check_prompts",
            "max_new_tokens": "check_tokens",
            "checks": "checks",
            "tools": "tools",
            "events": "events.jsonl",
        },
        says={"kind": "policy", "lenient": True},
        remedies=MEASURING,
        only_with=only_with,
    )


def _judged(policy: str, report: str, makes: str) -> Stage:
    """Has the judge of facts say what the checks of a policy could not; only where the operator has named one."""
    return Stage(
        f"judge-{policy}",
        RunKind.CHECK,
        command=("workers.training.judged_checks", f"{{{policy}-report/checked.jsonl}}", f"{{{makes}}}"),
        needs=(report,),
        makes=(makes,),
        remedies=MEASURING,
        only_with=f"judge_{policy}",
        knows_installation=True,
    )


PLAN: tuple[Stage, ...] = (
    Stage(
        "reward",
        RunKind.REWARD,
        command=("training.reward", "{run.toml}"),
        parallel=True,
        needs=("snapshot",),
        makes=(CHECKPOINT,),
        gates=(*gate.EVERY_CHECKPOINT, gate.not_reversed),
    ),
    Stage(
        "sample",
        RunKind.SFT,
        command=(
            *("workers.training.rejection", "{snapshot}", "{samples.jsonl}", "--replace"),
            *("--k", "{samples_each}", "--prompts", "{sample_prompts}", "--max-tokens", "{sample_tokens}"),
        ),
        needs=("snapshot",),
        makes=("samples.jsonl", SAMPLED),
        remedies=SAMPLING,
        knows_installation=True,
        wanted=samples_wanted,
    ),
    Stage(
        "correct",
        RunKind.SFT,
        command=(
            *("workers.training.correction", "{samples.jsonl}", "{corrections.jsonl}"),
            *("--max-tokens", "{sample_tokens}"),
        ),
        needs=("samples.jsonl",),
        makes=(CORRECTED, "corrections.report.json"),
        remedies=SAMPLING,
        knows_installation=True,
        wanted=samples_wanted,
    ),
    Stage(
        "judge",
        RunKind.SFT,
        command=("workers.training.judged", "{samples.jsonl}", "{judged}"),
        needs=("samples.jsonl",),
        makes=("judged", "judged.report.json"),
        remedies=SAMPLING,
        only_with="judged",
        knows_installation=True,
        wanted=samples_wanted,
    ),
    Stage(
        "solve",
        RunKind.SFT,
        command=(
            *("workers.training.solutions", "{snapshot}", "{solutions}"),
            *("--prompts", "{sample_prompts}", "--max-tokens", "{sample_tokens}"),
        ),
        needs=("snapshot",),
        makes=("solutions", "solutions.report.json"),
        remedies=SAMPLING,
        only_with="solutions",
        knows_installation=True,
        wanted=samples_wanted,
    ),
    Stage(
        "choose",
        RunKind.SFT,
        command=("training.selection", "{choose.toml}"),
        needs=("snapshot", "reward_model", "samples.jsonl", CORRECTED),
        makes=(VERIFIED, CHOSEN),
        told={
            "pairs": VERIFIED,
            "reward_model": "reward_model",
            "snapshot": "snapshot",
            "max_length": "max_length",
            "leave_out": "leave_out",
            "samples": "samples.jsonl",
            "corrections": CORRECTED,
            "solutions": "solutions",
            "judged": "judged",
            "refusals": "refusals",
            "checks": "checks",
            "steps_model": "steps_model",
            "steps_floor": "steps_floor",
            "output": CHOSEN,
            "events": "events.jsonl",
        },
        remedies=CHOOSING,
        wanted=samples_wanted,
    ),
    Stage(
        "imitate",
        RunKind.SFT,
        command=("training.sft", "{run.toml}"),
        parallel=True,
        needs=(CHOSEN,),
        makes=(CHECKPOINT,),
        gates=gate.EVERY_CHECKPOINT,
        wanted=samples_wanted,
    ),
    Stage(
        "policy",
        RunKind.DPO,
        command=("training.dpo", "{run.toml}"),
        parallel=True,
        needs=("snapshot",),
        makes=(CHECKPOINT,),
        gates=gate.EVERY_CHECKPOINT,
    ),
    Stage(
        "checked",
        RunKind.GRPO,
        command=("training.grpo", "{run.toml}"),
        needs=("snapshot",),
        makes=(CHECKPOINT,),
        gates=gate.EVERY_CHECKPOINT,
        wanted=checks_wanted,
    ),
    Stage(
        "average",
        RunKind.CHECK,
        command=("training.average", "{average.toml}"),
        needs=("policy",),
        makes=(AVERAGED,),
        told={
            "name": "average_name",
            "checkpoints": "averaged",
            "output": "average",
            "rank": "rank",
            "report": AVERAGED,
        },
        remedies=MEASURING,
        only_with="averaged",
    ),
    Stage(
        "measure-reward-model",
        RunKind.CHECK,
        command=("training.evaluate", "{measure-reward-model.toml}"),
        needs=("snapshot", "reward_model"),
        makes=(REWARD_REPORT,),
        told={
            "checkpoint": "reward_model",
            "before": "reward_before",
            "base_model": "base_model",
            "data": "snapshot",
            "output": REWARD_REPORT.partition("/")[0],
            "max_length": "max_length",
            "events": "events.jsonl",
        },
        says={"kind": "reward", "lenient": True},
        remedies=MEASURING,
    ),
    _against_champion("policy", POLICY_REPORT),
    _judged("policy", POLICY_REPORT, POLICY_JUDGED),
    _against_champion("average", AVERAGE_REPORT, AVERAGED, only_with="averaged"),
    _judged("average", AVERAGE_REPORT, AVERAGE_JUDGED),
    Stage(
        "baseline",
        RunKind.CHECK,
        command=("workers.selection.baseline", "{baseline.toml}"),
        needs=("reward_model",),
        makes=(HEAD_REPORT,),
        told={"reward_model": "reward_model", "output": HEAD_REPORT},
        remedies=MEASURING,
        knows_installation=True,
    ),
)


def chain(settings: Settings) -> list[RunKind]:
    """The trainings of a round under these settings, each waiting for the one before it; then it is checked."""
    found = dict.fromkeys(stage.run for stage in PLAN if stage.wanted(settings))
    return [kind for kind in found if kind is not RunKind.CHECK]


def stages_of(kind: RunKind) -> tuple[Stage, ...]:
    """What a run of ``kind`` does, in order."""
    return tuple(stage for stage in PLAN if stage.run is kind)


def left(stages: Sequence[Stage], is_there: Callable[[str], bool]) -> list[Stage]:
    """The stages that a run still has before it, given which things are there.

    The first one that is not finished, and all that build on it. A training whose checkpoint is there is asked again: it
    repeats nothing, but checks the checkpoint and clears up what an interruption left.
    """
    found: list[Stage] = []
    builds_on_new = False
    for stage in stages:
        unfinished = not all(is_there(name) for name in stage.makes)
        builds_on_new = builds_on_new or unfinished
        if builds_on_new or CHECKPOINT in stage.makes:
            found.append(stage)
    return found
