"""Argilla 2: a record an annotation, with what the annotator said as suggestions.

They are suggestions and no responses, because a response names a user of that Argilla server. A ranking is the names of the
responses, best first, as its client takes one there; ties are said in the metadata alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import orjson

from app.kernel.locales import N_
from app.preferences.exporters import canonical, conversations
from app.preferences.exporters.kinds import Row, RowShape
from training.formats import columns
from training.formats.columns import INT32, INT64, TEXT, Column, ListOf, Struct
from training.formats.pairs import Stated

if TYPE_CHECKING:
    from app.preferences.columns import Source

MOST = 8
"""Responses that a comparison shows; each is a field of a name of its own."""
ABOUT = ("annotation_id", "source_id", "round", "batch", "capability", "language", "annotator", "split")
FIELDS = Struct({"prompt": ListOf(conversations.SAID), **{f"response-{place}": TEXT for place in range(1, MOST + 1)}})
NUMBERS: dict[str, columns.Type] = {"annotation_id": INT64, "round": INT32}
METADATA = Struct({name: NUMBERS.get(name, TEXT) for name in (*ABOUT, "ranking")})


def _suggestion(value: columns.Type) -> Struct:
    return Struct({"value": value, "type": TEXT, "agent": TEXT})


SUGGESTIONS = Struct({"ranking": _suggestion(ListOf(TEXT)), "outcome": _suggestion(TEXT), "edited": _suggestion(TEXT)})
COLUMNS = (
    Column("id", TEXT, "the judgement that the record comes from"),
    Column("fields", FIELDS, "`prompt` for a chat field, and `response-1`, … for text fields, in the order shown"),
    Column(
        "suggestions", SUGGESTIONS, "`ranking` (names, best first), `outcome`, and `edited`, what the annotator wrote"
    ),
    Column("metadata", METADATA, "where it comes from; `ranking` says ties: `1 > 2 = 3`"),
)


def _one(stated: Iterable[Stated[Any]], min_strength: int | None) -> Iterator[Stated[Any]]:
    """A record an annotation that says anything."""
    for row in canonical.pairs(stated, min_strength):
        yield row
        return


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    texts = conversations.answers(source)
    names = {key: f"response-{place}" for place, key in enumerate(source.order_shown, 1)}
    fields: Row = {"prompt": [_spoken(message) for message in conversations.asked(source)]}
    fields |= {name: texts[key] for key, name in names.items() if name in FIELDS.fields}
    about = {name: source.value(name) for name in ABOUT}
    groups = source.selected["ranking"]
    places = {key: str(place) for place, key in enumerate(source.order_shown, 1)}
    about["ranking"] = " > ".join(" = ".join(places[key] for key in group) for group in groups) or None
    record = {
        "fields": fields,
        "suggestions": _suggestions(
            source, [names[key] for group in groups for key in group] if len(groups) > 1 else []
        ),
        "metadata": {name: value for name, value in about.items() if value is not None},
    }
    return record, ({"id": str(source.annotation_id)} for _ in _one(canonical.stated(source), min_strength))


def _spoken(message: Row) -> Row:
    """A message of a chat field has a role and a content; a call is said as its text."""
    calls = message.get("tool_calls")
    content = message["content"] or (orjson.dumps(calls).decode() if calls else "")
    return {"role": message["role"], "content": content}


def _suggestions(source: Source, ranking: list[str]) -> Row:
    said = {"ranking": ranking or None, "outcome": source.selected["outcome"], "edited": source.edited_text}
    by = {"type": "human", "agent": source.value("annotator")}
    return {name: {"value": value, **by} for name, value in said.items() if value is not None}


SHAPE = RowShape(
    label=N_("Argilla: records"),
    purpose=N_(
        "Argilla rows are records of Argilla 2, one an annotation, with the judgement as suggestions: take them as a JSON list, "
        "which its from_json reads."
    ),
    side=None,
    columns=lambda: COLUMNS,
    pairs=_one,
    rows=_rows,
    shown={N_("Prompt"): "fields", N_("Judgement"): "suggestions"},
    same_texts=True,
    one_list=True,
)
