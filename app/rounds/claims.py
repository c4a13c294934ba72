"""Which run a worker holds: taken by a conditional update under a fencing token.

A worker that lost its run (it went silent for a lease, and another took over) learns it from its next report, whose update
finds no row, and kills its subprocess. So a run is never trained twice at the same time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased

from app.kernel import store
from app.kernel.data_folder import HERE
from app.kernel.settings import get_settings
from app.preferences import files
from app.preferences.models import Snapshot, SnapshotState
from app.registry import files as checkpoint_files
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import learnt, plan
from app.rounds.models import InputRole, RunInput, RunKind, RunState, TrainingRun
from app.rounds.plan import Stage
from app.rounds.recipes import max_length, recipe

Thing = str | int | list[str]
"""A path, a number, several paths, or a command."""
CHECKS = [sys.executable, "-m", "workers.verifiers"]
"""Starts what tells right answers from wrong ones; training speaks to it in lines."""
TOOLS = [sys.executable, "-m", "workers.tools"]
"""Starts what runs the calls of tools, in the same way."""


@dataclass(frozen=True)
class Claim:
    """A run that this worker holds, with all it needs to start it."""

    run_id: int
    token: int
    folder: Path
    output: Path
    config: dict[str, Any]
    """What the run file says."""
    stages: tuple[Stage, ...]
    given: Mapping[str, Thing]
    """What the run brings with it, by the names of ``plan.GIVEN``."""
    fetches: Sequence[Callable[[], None]] = ()
    """What brings the files that it reads to this host."""

    @property
    def products(self) -> list[Path]:
        """The checkpoints that it makes."""
        return [self.output, *([self.place("average")] if "average" in self.given else [])]

    def thing(self, name: str) -> Thing:
        """What stands for this name in a stage's command or settings."""
        return self.given.get(name, str(self.folder / name))

    def told(self, stage: Stage) -> dict[str, Thing]:
        """The keys and things of a stage's settings, without those that this run does not bring."""
        brought = {key: name for key, name in stage.told.items() if name in self.given or name not in plan.GIVEN}
        return {key: self.thing(name) for key, name in brought.items()}

    def place(self, name: str) -> Path:
        """Where the thing of this name lies, or will."""
        return Path(str(self.thing(name)))

    def has(self, name: str) -> bool:
        """Whether the thing of this name is there."""
        try:
            self.place(name).stat()
        except OSError:
            return False
        return True


def is_due(run: TrainingRun, attempt: Sequence[TrainingRun]) -> bool:
    """Whether a worker may claim ``run`` now; ``attempt`` is its chain, with snapshots."""
    before = next((other for other in attempt if other.id == run.after_run_id), None)
    return (
        run.state is RunState.QUEUED
        and run.cancel_requested_at is None
        and run.snapshot.state is SnapshotState.READY
        and (before is None or before.state is RunState.SUCCEEDED)
    )


def claim(session: Session, run_id: int) -> Claim | None:
    """Claim a run that is due; None when it is not, or no longer, since messages may come twice."""
    before = aliased(TrainingRun)
    query = (
        select(TrainingRun, Snapshot, Checkpoint)
        .join(Snapshot, Snapshot.id == TrainingRun.snapshot_id)
        .outerjoin(before, before.id == TrainingRun.after_run_id)
        .outerjoin(Checkpoint, Checkpoint.id == before.checkpoint_id)
        .where(
            TrainingRun.id == run_id,
            TrainingRun.state == RunState.QUEUED,
            TrainingRun.cancel_requested_at.is_(None),
            Snapshot.state == SnapshotState.READY,
            or_(before.id.is_(None), before.state == RunState.SUCCEEDED),
        )
        .with_for_update(of=TrainingRun, skip_locked=True)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    run, snapshot, made_before = row
    run.state, run.fencing_token, run.attempts = RunState.RUNNING, run.fencing_token + 1, run.attempts + 1
    run.heartbeat_at, run.started_at = func.now(), run.started_at or func.now()
    session.flush()
    return _claimed(session, run, snapshot, made_before)


def _claimed(session: Session, run: TrainingRun, learnt_from: Snapshot, made_before: Checkpoint | None) -> Claim:
    settings, stages = get_settings(), plan.stages_of(run.kind)
    folder, output = settings.run_dir(run.id), settings.checkpoints_dir / run.config["run"]["name"]
    snapshot, base = files.folder(learnt_from), run.config["run"]["base_model"]
    given: dict[str, Thing] = {
        plan.CHECKPOINT: str(output),
        "snapshot": str(snapshot),
        "checks": CHECKS,
        "tools": TOOLS,
    }
    data: Path = snapshot
    parent: dict[str, Any] = {}
    if run.kind is RunKind.CHECK:
        given |= _measured(session, run)
    elif run.kind is RunKind.SFT and made_before is not None:
        given |= {
            "reward_model": str(made_before.folder),
            **_sampled(run),
            **_judged(run, folder),
            **_solved(run, folder),
        }
        data = folder / plan.CHOSEN
    elif run.kind is RunKind.GRPO and made_before is not None:
        parent = {"parent_adapter": str(made_before.folder), "checks": CHECKS, "tools": TOOLS, "work": str(folder)}
    elif made_before is not None and made_before.kind is CheckpointKind.SFT:
        parent = {"parent_adapter": str(made_before.folder), **_verified(settings.run_dir(run.after_run_id or 0))}
    config = {"snapshot": str(data), "output": str(output), **parent, **run.config["run"]}
    config |= learnt.of_run_file(run, settings, snapshot) | {"base_model": settings.place_of(base)}
    stages = tuple(stage for stage in stages if stage.only_with is None or stage.only_with in given)
    fetches: list[Callable[[], None]] = [
        partial(files.fetch, snapshot, str(learnt_from.sha256)),
        *([partial(checkpoint_files.fetch_base, Path(settings.place_of(base)))] if base.startswith(HERE) else []),
        *([partial(store.fill, settings.run_dir(run.after_run_id or 0))] if "verified" in parent else []),
        *(
            partial(checkpoint_files.fetch, each.folder, each.manifest_sha256)
            for each in _read(session, run, made_before)
        ),
        *learnt.fetches(run, settings),
    ]
    return Claim(run.id, run.fencing_token, folder, output, config, stages, given, fetches)


def _verified(before: Path) -> dict[str, str]:
    """Pairs that the run before has verified, where there are any, here or in the store."""
    file = before / plan.VERIFIED
    there = file.is_file() or plan.VERIFIED in (store.newest(before, store.BRIEFLY) or {})
    return {"verified": str(file)} if there else {}


def _read(session: Session, run: TrainingRun, made_before: Checkpoint | None) -> list[Checkpoint]:
    """The checkpoints beside the base that a run reads."""
    query = select(Checkpoint).join(RunInput, RunInput.checkpoint_id == Checkpoint.id).where(RunInput.run_id == run.id)
    found = {each.id: each for each in (*session.scalars(query), *filter(None, [made_before]))}
    return [each for each in found.values() if each.is_adapter]


def _sampled(run: TrainingRun) -> dict[str, Thing]:
    """How many samples of which length are taken; a run that an earlier release queued does not say all of it."""
    settings, longest = get_settings(), max_length(run.kind, run.config["run"])
    return {
        "samples_each": run.config["samples"],
        "sample_prompts": run.config.get("sample_prompts", settings.training_sample_prompts),
        "sample_tokens": min(run.config.get("sample_tokens", settings.training_sample_tokens), longest),
        "max_length": longest,
        "leave_out": run.config["run"].get("data", {}).get("leave_out", []),
        **({"steps_model": settings.place_of(run.config["steps_model"])} if "steps_model" in run.config else {}),
        **({"steps_floor": run.config["steps_floor"]} if "steps_floor" in run.config else {}),
    }


def _judged(run: TrainingRun, folder: Path) -> dict[str, Thing]:
    """Of a run that was queued while there was a judge of facts: where its verdicts go, and whether refusals are learnt."""
    if not run.config.get("judge"):
        return {}
    return {"judged": str(folder / plan.JUDGED), "refusals": bool(run.config.get("refusals"))}


def _solved(run: TrainingRun, folder: Path) -> dict[str, Thing]:
    """Of a run that was queued while somebody wrote solutions: where they go."""
    return {"solutions": str(folder / plan.SOLUTIONS)} if run.config.get("solutions") else {}


def _measured(session: Session, run: TrainingRun) -> dict[str, Thing]:
    """What a run that checks brings: of the base, as the champion before there is any other, nothing needs to be said."""
    found = session.execute(
        select(RunInput.role, Checkpoint)
        .join(Checkpoint, Checkpoint.id == RunInput.checkpoint_id)
        .where(RunInput.run_id == run.id)
        .order_by(Checkpoint.id)
    ).all()
    names = {
        (InputRole.MEASURED, True): "reward_model",
        (InputRole.AGAINST, True): "reward_before",
        (InputRole.MEASURED, False): "policy",
        (InputRole.AGAINST, False): "champion",
    }
    paths = {
        names[role, each.kind is CheckpointKind.REWARD]: str(each.folder)
        for role, each in found
        if each.kind is not CheckpointKind.BASE and role is not InputRole.AVERAGED
    }
    averaged = [str(each.folder) for role, each in found if role is InputRole.AVERAGED]
    average: dict[str, Thing] = {}
    if averaged:
        name, rank = run.config["average"], recipe(RunKind.DPO, run.config["run"]["recipe"])["lora"]["r"]
        place = str(get_settings().checkpoints_dir / name)
        average = {"averaged": averaged, "average": place, "average_name": name, "rank": rank}
    by_judge = ["policy", *(["average"] if averaged else [])] if run.config.get("judge") else []
    return {
        **average,
        **paths,
        **{f"judge_{name}": True for name in by_judge},
        "base_model": get_settings().place_of(run.config["run"]["base_model"]),
        "max_length": max_length(RunKind.DPO, {"recipe": run.config["run"]["recipe"]}),
        "check_prompts": run.config["prompts"],
        "check_tokens": run.config["tokens"],
    }


def held(session: Session, claim: Claim) -> TrainingRun | None:
    """The claimed run, locked, unless it was taken over."""
    query = select(TrainingRun).where(
        TrainingRun.id == claim.run_id,
        TrainingRun.fencing_token == claim.token,
        TrainingRun.state == RunState.RUNNING,
    )
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))
