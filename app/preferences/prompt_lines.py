"""The prompts of a snapshot, judged or not, each with what its answers can be checked against.

Sampling asks them and the gate measures on them, so they follow the batches, rounds and side of the split that a snapshot is
of, and nothing that is said of annotations. They name no person and no model. Turns of dialogues are not among them: what a
person wrote there is in a snapshot where it was judged, and goes with the judgement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Select, SQLColumnExpression, Text, cast, func, literal, select
from sqlalchemy.orm import Session

from app.kernel.settings import get_settings
from app.loops.models import Round
from app.preferences.columns import in_one_form
from app.preferences.forms import ExportFilter
from app.preferences.private.masking import Counted, treated_prompt
from app.preferences.queries import STREAM_ROWS, of_batches
from app.preferences.trainable import selection
from app.prompts.models import ANSWER_KNOWN, LANGUAGE, LANGUAGE_FROM, Batch, Prompt, PromptState
from training.formats.prompts import Split, split_of

MORE_BYTES = 400
"""Of a line, beside its texts: keys, hash, names."""


COLUMNS: dict[str, SQLColumnExpression[Any]] = {
    "prompt_id": Prompt.id,
    "source_id": Prompt.external_id,
    "prompt_hash": Prompt.content_hash,
    "prompt": cast(Prompt.messages, Text),
    "tools": cast(Prompt.tools, Text),
    "reference": Prompt.reference,
    "tests": cast(Prompt.tests, Text),
    "capability": func.coalesce(Prompt.capability, Batch.capability),
    "origin": cast(Prompt.origin, Text),
    "language": LANGUAGE,
    "language_from": LANGUAGE_FROM,
    "verifiers": cast(Batch.verifiers, Text),
    "required": cast(Batch.required, Text),
    "batch": Batch.name,
    "round": Round.number,
}
"""Where each key of a line stands; ``split`` follows from the hash."""


def lines(session: Session, wanted: ExportFilter, private: Counted | None = None) -> Iterator[bytes]:
    """Each prompt as a line of JSON, in the order of their ids; one statement, so all are of the same moment.

    ``private`` is added to: what patterns find, where they are asked.
    """
    query = _of(wanted, select(*(value.label(name) for name, value in COLUMNS.items()))).order_by(Prompt.id)
    for row in session.execute(query, execution_options={"stream_results": True, "yield_per": STREAM_ROWS}):
        line = treated_prompt(row._asdict(), wanted.private, private)
        if line is not None:
            yield orjson.dumps(_line(line), option=orjson.OPT_APPEND_NEWLINE)


def estimated_bytes(session: Session, wanted: ExportFilter) -> int:
    """How large the lines will be together."""
    texts = (cast(Prompt.messages, Text), cast(Prompt.tools, Text), cast(Prompt.tests, Text), Prompt.reference)
    each = sum((func.coalesce(func.octet_length(column), 0) for column in texts), start=literal(MORE_BYTES))
    return int(session.scalar(_of(wanted, select(func.coalesce(func.sum(each), 0)))) or 0)


def to_train_on(session: Session, most: int) -> int:
    """How many prompts a training may ask, of all that are not held out; ``most`` stands for more."""
    found = _of(_learnt_from(Split.TRAIN), select(Prompt.id)).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(found)) or 0


def to_check(session: Session, side: Split, most: int) -> int:
    """How many prompts of this side of the split say what an answer must come to; ``most`` stands for more.

    The same one of several batches is one: both sides of a measurement answer it once.
    """
    found = _of(_learnt_from(side), select(Prompt.content_hash)).where(ANSWER_KNOWN).distinct().limit(most)
    return session.scalar(select(func.count()).select_from(found.subquery())) or 0


def _learnt_from(side: Split) -> ExportFilter:
    return selection().model_copy(update={"split": side})


def _of(wanted: ExportFilter, query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    joined = query.select_from(Prompt).join(Batch, Batch.id == Prompt.batch_id).join(Round, Round.id == Batch.round_id)
    in_use = Prompt.dialogue_id.is_(None), Prompt.state != PromptState.WITHDRAWN
    return joined.where(*in_use, *of_batches(wanted, get_settings().held_out_percent))


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """JSON stays as the database has it: a number of thirty digits is one that no other encoder takes."""
    digest: bytes = row["prompt_hash"]
    nested = {name: row[name] and orjson.Fragment(row[name]) for name in ("tools", "tests", "verifiers", "required")}
    side = split_of(digest, get_settings().held_out_percent).value
    return row | nested | {"prompt_hash": digest.hex(), "prompt": in_one_form(row["prompt"]), "split": side}
