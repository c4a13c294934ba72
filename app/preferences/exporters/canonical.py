"""The canonical shape: a row for each pair that a judgement states, with all that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import orjson

from app.kernel.locales import N_
from app.preferences.exporters.kinds import PAIR, Row, RowShape
from training.formats import columns
from training.formats.pairs import EDITED, Stated, derive

if TYPE_CHECKING:
    from app.preferences.columns import Source


def pairs(stated: Iterable[Stated[Any]], min_strength: int | None) -> Iterator[Stated[Any]]:
    """What is stated with at least this strength; ties have none."""
    return (pair for pair in stated if (pair.strength or 0) >= (min_strength or 0))


def stated(source: Source) -> Iterator[Stated[Any]]:
    """What the annotation says of its responses, by their ids."""
    said = source.selected
    return derive(said["outcome"], said["ranking"], source.strengths, source.order_shown, source.edited_candidate_id)


def messages(source: Source, *, with_steps: bool = False) -> dict[int | str | None, orjson.Fragment | None]:
    """Each candidate's text, and the edited one, as a list of one assistant message, encoded once.

    None stands for "nothing was chosen" or "there is nothing else", so that it is looked up like any candidate. ``with_steps``
    puts before it what the model said when it called tools, and what they answered; before an edit what came before the
    response that it improves.
    """
    texts: dict[int | str | None, str] = dict(zip(source.candidate_ids, source.texts, strict=True))
    if source.edited_text is not None:
        texts[EDITED] = source.edited_text
    before = _steps(source) if with_steps else {}
    encoded = {
        key: orjson.dumps([*before.get(key, ()), {"role": "assistant", "content": text}]) for key, text in texts.items()
    }
    return {None: None, **{key: orjson.Fragment(text) for key, text in encoded.items()}}


def _steps(source: Source) -> dict[int | str | None, list[Row]]:
    found: dict[int | str | None, list[Row]] = {}
    for key, steps in zip(source.candidate_ids, source.of_candidates["steps"], strict=True):
        found[key] = [
            {"role": step["role"], "content": step.get("said", step["content"])} for step in orjson.loads(steps or "[]")
        ]
    return found | {EDITED: found.get(source.edited_candidate_id, [])}


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:
    nested = str if flat else orjson.Fragment
    return source.values(nested), _pairs(source, min_strength, nested)


def _pairs(source: Source, min_strength: int | None, nested: Callable[[str], Any]) -> Iterator[Row]:
    texts = messages(source)
    facts = [(fact.column, fact.side, source.known(fact, nested)) for fact in source.plan.facts]
    position: dict[int | None, int | None] = {None: None}
    position |= {candidate: place for place, candidate in enumerate(source.order_shown)}
    for pair in pairs(stated(source), min_strength):
        chosen, rejected = pair.chosen, pair.rejected
        row: Row = {
            "id": f"{source.annotation_id}:{_key(chosen)}:{_key(rejected)}",
            "chosen": texts[chosen],
            "rejected": texts[rejected],
            "edited": texts[EDITED] if pair.edited else None,
            "strength": pair.strength,
        }
        for column, side, known in facts:
            if side is None:
                row[column] = {"chosen": known[chosen], "rejected": known[rejected]}
            else:
                row[column] = known[chosen if side == "chosen" else rejected]
        row["position_shown"] = {"chosen": position[chosen], "rejected": position[rejected]}
        yield row


def _key(candidate: int | None) -> int | str:
    return "" if candidate is None else candidate


SHAPE = RowShape(
    label=N_("Canonical: all fields"),
    purpose=N_(
        "Canonical rows keep all that is known of every pair, ties included: for analysis, snapshots and Corral’s training."
    ),
    side=None,
    columns=lambda: columns.COLUMNS,
    pairs=pairs,
    rows=_rows,
    shown=PAIR | {N_("Chosen"): "chosen|edited", N_("Strength"): "strength|outcome"},
)
