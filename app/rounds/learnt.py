"""What a run learns from beside its snapshot: sources that somebody gave a weight (:mod:`app.sources`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kernel.errors import refused
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.settings import Settings
from app.rounds.models import RunKind, RunSource, TrainingRun
from app.sources import queries, storing
from app.sources.models import Source, SourceKind

TAKES = {
    RunKind.REWARD: SourceKind.PREFERENCES,
    RunKind.DPO: SourceKind.PREFERENCES,
    RunKind.SFT: SourceKind.COMPLETIONS,
}
"""Which rows which kind of run learns from; any other learns from none."""
BYTES_PER_TOKEN = 4
Weights = Mapping[int, float]
"""What sources weigh in one training alone, by their ids."""
NO_OTHERS: Weights = MappingProxyType({})


@dataclass(frozen=True)
class Learnt:
    """A source with the weight that it had when a run was queued."""

    source: Source
    weight: float

    def __str__(self) -> str:
        """As a sentence names it."""
        return f"{self.source.name} × {self.weight:g}"


def given(session: Session, kind: RunKind, weights: Weights = NO_OTHERS) -> list[Learnt]:
    """What a run of ``kind`` that starts now learns from; ``weights`` hold in place of those that are set."""
    if kind not in TAKES:
        return []
    found = queries.chosen(session, TAKES[kind], weights.keys())
    return [Learnt(each, weight) for each in found if (weight := weights.get(each.id, each.weight))]


def offered(session: Session, kinds: Collection[RunKind]) -> Sequence[Source]:
    """What a training of these kinds of runs could be given, whatever it weighs now."""
    return queries.offered(session, {TAKES[kind] for kind in kinds if kind in TAKES})


def others(session: Session, weights: Weights) -> Weights:
    """Of these weights those that differ from what is set."""
    set_now = {each.id: each.weight for each in session.scalars(select(Source).where(Source.id.in_(weights)))}
    return {number: weight for number, weight in weights.items() if set_now.get(number) != weight}


def check(session: Session, kinds: Collection[RunKind], weights: Weights) -> None:
    """Whether a training of these kinds of runs can have these weights; until the end of the transaction no source goes.

    Raises:
        BadInput: one is of no source, of a withdrawn one, or of one that none of the runs learns from.
    """
    queries.keep(session)
    known = {each.id: each for each in offered(session, kinds)}
    for source_id in weights.keys() - known.keys():
        source = session.get(Source, source_id)
        if source is None:
            raise refused("weights", _("There is no source {id}.", id=source_id))
        if source.withdrawn_at:
            raise refused("weights", _("“{name}” was withdrawn: leave its weight out.", name=source.name))
        why = (
            _("“{name}” holds preferences, from which no run learns: leave its weight out.", name=source.name)
            if source.kind is SourceKind.PREFERENCES
            else _(
                "“{name}” holds prompts with answers, from which no run learns: leave its weight out.", name=source.name
            )
        )
        raise refused("weights", why)


def note(session: Session, run: TrainingRun, sources: Sequence[Learnt]) -> None:
    """Keep which sources a run learns from: a weight that changes later changes nothing for it."""
    session.add_all(RunSource(run_id=run.id, source_id=each.source.id, weight=each.weight) for each in sources)


def told(sources: Sequence[Learnt], settings: Settings) -> dict[str, Any]:
    """What a run's configuration says of them; nothing where there are none. The split of their prompts is that of ours."""
    if not sources:
        return {}
    files = [
        {
            "name": each.source.name,
            "path": each.source.path,
            "weight": each.weight,
            "origin": each.source.origin.value,
            "sha256": each.source.sha256,
        }
        for each in sources
    ]
    return {"sources": files, "data": {"held_out_percent": min(settings.held_out_percent, 99)}}


def of_run_file(run: TrainingRun, settings: Settings, snapshot: Path) -> dict[str, Any]:
    """The same as its run file says it, with the places of the files; of a run that chooses its data, what is held out of it."""
    found = run.config["run"].get("sources", [])
    if not found:
        return {}
    placed = [each | {"path": str(settings.sources_dir / each["path"] / storing.ROWS)} for each in found]
    return {"sources": placed, **({"unseen": str(snapshot)} if run.kind is RunKind.SFT else {})}


def fetches(run: TrainingRun, settings: Settings) -> list[Callable[[], None]]:
    """What brings these files to this host."""
    found = run.config["run"].get("sources", [])
    return [partial(storing.fetch, settings.sources_dir / each["path"], each["sha256"]) for each in found]


def of_runs(session: Session, run_ids: Collection[int]) -> Mapping[int, Sequence[Learnt]]:
    """The sources of each run, by name."""
    query = (
        select(RunSource.run_id, Source, RunSource.weight)
        .join(Source, Source.id == RunSource.source_id)
        .where(RunSource.run_id.in_(run_ids))
        .order_by(Source.name)
    )
    found: dict[int, list[Learnt]] = defaultdict(list)
    for run_id, source, weight in session.execute(query):
        found[run_id].append(Learnt(source, weight))
    return found


def without_file(session: Session, run_ids: Collection[int]) -> Source | None:
    """A source of these runs whose file was deleted, where there is one; until the end of the transaction no other is."""
    queries.keep(session)
    found = (each.source for sources in of_runs(session, run_ids).values() for each in sources)
    return next((each for each in found if each.file_deleted_at), None)


def words(scope: str, sources: Sequence[Learnt]) -> str:
    """What is learnt from: ``scope``, and these sources beside it. In English, for it is kept."""
    if not sources:
        return scope
    named = ", ".join(map(str, sources))
    beside = N_("{what}, and of the source {names}") if len(sources) == 1 else N_("{what}, and of the sources {names}")
    return beside.format(what=scope, names=named)


def units(sources: Sequence[Learnt]) -> dict[RunKind, int]:
    """How much more each kind of run reads because of them (``app.rounds.minutes``): pairs, or tokens of answers."""
    found: dict[RunKind, float] = defaultdict(float)
    for each in sources:
        for kind, rows in TAKES.items():
            if rows is each.source.kind:
                much = each.source.bytes / BYTES_PER_TOKEN if kind is RunKind.SFT else each.source.rows
                found[kind] += each.weight * much
    return {kind: round(much) for kind, much in found.items()}
