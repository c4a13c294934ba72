"""What a run learns from beside a snapshot: pairs that checks found, and sources that somebody chose, each with a weight.

Neither has a vote among what people said of the same prompt, and neither is measured on. Of both a row is left out whose prompt
is held out, by its hash or because it contains one.

A source is a file as `snapshot.read_file` reads it: preferences, or prompts with completions. Its `weight` says how often an
epoch has each of its rows: 2 is twice, 0.25 a quarter of them, drawn by a hash anew for each snapshot, and 0 never. Not a
factor of the loss: the loss of a step is a mean over the rows of that step, which a factor that all of them have leaves as it is
(docs/decisions/0066).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.data import asked, decontamination, snapshot
from training.data.decontamination import Prompt
from training.data.left_out import LeftOut
from training.data.snapshot import Preference
from training.formats import mix, rankings
from training.formats.errors import DataError
from training.formats.prompts import content_hash
from training.formats.settings import DataConfig, Kind, SourceConfig

Ranking = rankings.Ranking[Preference]


@dataclass(frozen=True)
class Beside:
    """The sources of a run, and a snapshot whose held-out prompts they may not repeat, where the run's data is another file."""

    sources: Sequence[SourceConfig] = ()
    unseen: Path | None = None


NOTHING = Beside()


def clean(train: list[Preference], unseen: Iterable[Prompt], config: DataConfig) -> list[Preference]:
    """Those whose prompts contain none of the held-out ones."""
    contaminated = decontamination.contains_any(unseen, config.ngram, config.overlap)
    verdicts = {row.prompt_hash: row for row in train}
    dirty = {content for content, row in verdicts.items() if contaminated(row.prompt)}
    return [row for row in train if row.prompt_hash not in dirty]


def of_verifiers(file: Path | None, unseen: Iterable[Prompt], config: DataConfig) -> list[Ranking]:
    """The pairs of a file, each a ranking of its own; an empty file has none."""
    if file is None or not file.is_file() or not file.stat().st_size:
        return []
    rows, _ = snapshot.read_file(file, config.held_out_percent)
    kept = clean([row for row in rows if row.split == "train"], unseen, config)
    return rankings.rank(kept, "keep_all", min_strength=1)[0]


def of_sources(
    beside: Beside, unseen: Mapping[str, Prompt], config: DataConfig, consumer: Kind, salt: str
) -> tuple[list[Ranking], list[dict[str, Any]]]:
    """The rankings of all sources, as often as their weights say, and what became of the rows of each.

    Args:
        beside: Which sources; one of weight 0 is not even read.
        unseen: Held-out prompts by their hash.
        config: How prompts are compared, and how strong a judgement has to be.
        consumer: What is trained.
        salt: Decides which rows of a source are drawn, where not all are.

    Raises:
        DataError: a file is gone, is another one than the run was given, or has nothing that is learnt by this kind of run.
    """
    found: list[Ranking] = []
    counts = []
    chosen = [source for source in beside.sources if source.weight]
    held_out = {**unseen, **(_held_out(beside.unseen) if chosen and beside.unseen else {})}
    for source in chosen:
        rows, counted = _rows(source, held_out, config, consumer)
        least = 1 if consumer == "sft" else config.min_strength
        ranked, dropped = rankings.rank(rows, "keep_all", least)
        usable = [ranking for ranking in ranked if rankings.take(ranking, consumer)[0]]
        drawn = _drawn(usable, source, salt)
        found += drawn
        counts.append(
            source.to_json()
            | counted
            | {"weak": dropped["filtered_by_strength"], "usable": len(usable), "seen": len(drawn)}
        )
    return found, counts


def counted(sources: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted of all sources together, and of each; nothing where there are none."""
    sums = {"source_rows": "seen", **{f"source_{reason}": reason for reason in ("held_out", "contaminated", "weak")}}
    found = {name: sum(each[key] for each in sources) for name, key in sums.items()}
    return found | {"sources": sources} if sources else {}


def _rows(
    source: SourceConfig, held_out: Mapping[str, Prompt], config: DataConfig, consumer: Kind
) -> tuple[list[Preference], dict[str, int]]:
    """The rows of one source that may be learnt from."""
    if not source.path.is_file():
        raise DataError(f"the source {source.name} ({source.path}) does not exist: restore the file, or take it out")
    left_out = LeftOut()
    rows, digest = snapshot.read_file(source.path, config.held_out_percent, left_out)
    if digest != source.sha256:
        raise DataError(f"{source.path} has changed (its SHA-256 differs): restore the file, or name the source anew")
    if consumer != "sft" and all(row.rejected is None for row in rows):
        raise DataError(
            f"the source {source.name} has completions but no rejected responses, which only training.sft can train on: "
            "take it out of this run"
        )
    hashes = held_out.keys() | {content_hash(prompt).hex() for prompt in held_out.values()}
    train = [row for row in rows if row.split == "train" and row.prompt_hash not in hashes]
    kept = clean(train, held_out.values(), config)
    called = mix.named(source.origin, source.name)
    own = [replace(row, annotation_id=f"{source.name}:{row.annotation_id}", source=called) for row in kept]
    return own, {
        "rows": len(rows) + left_out.counts.total(),
        "unusable": left_out.counts.total(),
        "held_out": len(rows) - len(train),
        "contaminated": len(train) - len(kept),
    }


def _drawn(ranked: list[Ranking], source: SourceConfig, salt: str) -> list[Ranking]:
    """All of them as often as the weight's whole part says, and of its rest the share that it is, in the order of the file."""
    whole, rest = divmod(source.weight, 1.0)
    order = sorted(range(len(ranked)), key=lambda place: _hash(salt, str(ranked[place].source.annotation_id)))
    more = set(order[: round(rest * len(ranked))])
    return [ranking for place, ranking in enumerate(ranked) for _ in range(int(whole) + (place in more))]


def _hash(salt: str, name: str) -> bytes:
    return hashlib.sha256(f"{salt} {name}".encode()).digest()


def _held_out(folder: Path) -> dict[str, Prompt]:
    """Every held-out prompt of a snapshot, judged or not."""
    rows, _ = snapshot.read_snapshot(folder)
    judged = {row.prompt_hash: row.prompt for row in rows if row.split == "held_out"}
    return {**asked.held_out(folder), **judged}
