"""What a run learns from beside its snapshot: sources that somebody gave a weight (:mod:`app.sources`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

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


@dataclass(frozen=True)
class Learnt:
    """A source with the weight that it had when a run was queued."""

    source: Source
    weight: float

    def __str__(self) -> str:
        """As a sentence names it."""
        return f"{self.source.name} × {self.weight:g}"


def given(session: Session, kind: RunKind) -> list[Source]:
    """What a run of ``kind`` that starts now learns from."""
    return list(queries.chosen(session, TAKES[kind])) if kind in TAKES else []


def note(session: Session, run: TrainingRun, sources: Sequence[Source]) -> None:
    """Keep which sources a run learns from: a weight that changes later changes nothing for it."""
    session.add_all(RunSource(run_id=run.id, source_id=each.id, weight=each.weight) for each in sources)


def told(sources: Sequence[Source], settings: Settings) -> dict[str, Any]:
    """What a run's configuration says of them; nothing where there are none. The split of their prompts is that of ours."""
    if not sources:
        return {}
    files = [
        {
            "name": each.name,
            "path": each.path,
            "weight": each.weight,
            "origin": each.origin.value,
            "sha256": each.sha256,
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


def words(sources: Sequence[Source]) -> str:
    """What is learnt from beside people's judgements, as the end of a sentence; empty where nothing is."""
    named = ", ".join(str(Learnt(each, each.weight)) for each in sources)
    return f", and of the {'source' if len(sources) == 1 else 'sources'} {named}" if sources else ""


def units(sources: Sequence[Source]) -> dict[RunKind, int]:
    """How much more each kind of run reads because of them (``app.rounds.minutes``): pairs, or tokens of answers."""
    found: dict[RunKind, float] = defaultdict(float)
    for each in sources:
        for kind, rows in TAKES.items():
            if rows is each.kind:
                much = each.bytes / BYTES_PER_TOKEN if kind is RunKind.SFT else each.rows
                found[kind] += each.weight * much
    return {kind: round(much) for kind, much in found.items()}
