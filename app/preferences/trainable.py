"""How many pairs a training would make of the annotations there are: the number that pages promise.

One function counts them for every page and for the API, and it is the function by which training makes its pairs
(:mod:`training.formats.judgements`); of the texts only what tells them apart is read. What only training can know is not in
it: prompts that repeat a held-out one, and what is too long for the recipe, are left out when it begins. So pages say "up to".

What of all judgements a training learns from is chosen once for every round (:func:`selection`). What people flagged is in no
count then; what only patterns find is, because they would have to read every text.

What a judgement says never changes, so a process remembers what it counted, in parts by the first bytes of the prompts' hashes:
the database hands over a digest of each part, and only parts that have another digest than last time are read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import groupby
from operator import xor
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    String,
    case,
    cast,
    extract,
    func,
    select,
    true,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import NULLTYPE

from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.kernel.settings import get_settings
from app.preferences.columns import listed
from app.preferences.forms import Concern, ExportFilter, Treatment
from app.preferences.queries import STREAM_ROWS, conditions, joined
from app.prompts.models import Prompt
from training.formats.judgements import Judgement, measured_on, plain, trained_on, written_for
from training.formats.prompts import Split, split_of
from training.formats.rankings import Consumer, Rule


def selection() -> ExportFilter:
    """What the training of a round freezes and learns from, as the settings of the installation choose."""
    settings = get_settings()
    flagged = {Concern(name) for name in settings.training_without.split(",") if name}
    how = settings.training_private
    return ExportFilter(without=tuple(sorted(flagged)), private=None if how == "keep" else Treatment(how))


class Judged(NamedTuple):
    """What was said of one prompt, wherever it was asked, but for the words: many prompts are the same in this."""

    split: Split
    judgements: tuple[Judgement, ...]


PARTS = 1 << 12
"""As many as :func:`_part` tells apart. One judgement more makes a count read this share of all texts."""


@dataclass(frozen=True)
class _Part:
    """The prompts whose hashes begin alike."""

    digest: int
    kinds: Counter[Judged]


@dataclass(frozen=True)
class _Known:
    """What the last count of this process found. Replaced as a whole, so that threads may count at the same time."""

    held_out_percent: int
    of: ExportFilter
    parts: Mapping[int, _Part] = field(default_factory=dict)
    kinds: Counter[Judged] = field(default_factory=Counter)
    """Of all parts together."""


class _Memory:
    """Holds what this process counted last."""

    last = _Known(0, ExportFilter())


def judged(session: Session, held_out_percent: int) -> Counter[Judged]:
    """How many prompts with standing annotations there are of each kind."""
    last, wanted = _Memory.last, selection()
    if (last.held_out_percent, last.of) != (held_out_percent, wanted):
        last = _Known(held_out_percent, wanted)
    digests = _digests(session, held_out_percent)
    changed = {part for part in digests.keys() | last.parts.keys() if digests.get(part) != _digest(last, part)}
    if not changed:
        return last.kinds
    read = _read(session, held_out_percent, changed)
    changed |= read.keys()
    parts = {key: part for key, part in last.parts.items() if key not in changed} | read
    kinds = last.kinds.copy()
    for key in changed & last.parts.keys():
        kinds.subtract(last.parts[key].kinds)
    for part in read.values():
        kinds.update(part.kinds)
    _Memory.last = _Known(held_out_percent, wanted, parts, +kinds)
    return _Memory.last.kinds


def _digest(known: _Known, part: int) -> int | None:
    found = known.parts.get(part)
    return None if found is None else found.digest


def pairs(prompts: Counter[Judged], consumer: Consumer, rule: Rule, min_strength: int) -> int:
    """How many pairs ``consumer`` would train on, before any is left out as too long."""
    return sum(
        count * trained_on(each.judgements, consumer, rule, min_strength)
        for each, count in prompts.items()
        if each.split is Split.TRAIN
    )


def written(prompts: Counter[Judged]) -> int:
    """How many different answers people wrote from scratch to prompts that are not held out: fine-tuning imitates each."""
    return sum(count * written_for(each.judgements) for each, count in prompts.items() if each.split is Split.TRAIN)


def training_prompts(prompts: Counter[Judged]) -> int:
    """How many judged prompts are not held out."""
    return sum(count for each, count in prompts.items() if each.split is Split.TRAIN)


def held_out_pairs(prompts: Counter[Judged]) -> int:
    """How many pairs a training could be measured on."""
    held_out = ((each, count) for each, count in prompts.items() if each.split is Split.HELD_OUT)
    return sum(count * measured_on(each.judgements) for each, count in held_out)


def standing(prompts: Counter[Judged]) -> int:
    """How many annotations stand, of all rounds."""
    return sum(count * len(each.judgements) for each, count in prompts.items())


def _part() -> ColumnElement[int]:
    """The first 12 bits of the prompt's hash, so that the order of the hashes is that of the parts."""
    return func.get_byte(Prompt.content_hash, 0) * 16 + func.get_byte(Prompt.content_hash, 1).op("/")(16)


def _mark() -> ColumnElement[int]:
    """A number that stands for an annotation; of a part they are joined by XOR.

    The time is in it because ids alone may come again, where a backup is restored while the process runs.
    """
    moment = cast(extract("epoch", Annotation.created_at) * 1_000_000, BigInteger)
    return func.hashint8extended(Annotation.id, moment, type_=BigInteger)


def _digests(session: Session, held_out_percent: int) -> dict[int, int]:
    """What stands in each part, as a number: no text is read for it."""
    part = _part().label("part")
    query = joined(select(part, func.bit_xor(_mark()))).where(*conditions(selection(), held_out_percent))
    return dict(session.execute(query.group_by(part)).all())


def _read(session: Session, held_out_percent: int, parts: Collection[int]) -> dict[int, _Part]:
    """Those parts anew. Their digests are of the rows themselves, which may be newer than what was asked before."""
    found: dict[int, _Part] = {}
    for key, of_part in groupby(_rows(session, held_out_percent, parts), key=lambda row: row.part):
        marks: list[int] = []
        kinds: Counter[Judged] = Counter()
        for digest, rows in groupby(of_part, key=lambda row: row.content_hash):
            of_prompt = list(rows)
            marks += [row.mark for row in of_prompt]
            kinds[Judged(split_of(digest, held_out_percent), plain([_judgement(row) for row in of_prompt]))] += 1
        found[key] = _Part(reduce(xor, marks), kinds)
    return found


def _rows(session: Session, held_out_percent: int, parts: Collection[int]) -> Iterator[Row[tuple[Any, ...]]]:
    shown = listed(ids=Candidate.id, texts=_told_apart(Candidate.text)).lateral("shown")
    part = _part()
    query = (
        joined(
            select(
                part.label("part"),
                Prompt.content_hash,
                _mark().label("mark"),
                Annotation.outcome,
                Annotation.ranking,
                type_coerce(Annotation.strengths, NULLTYPE).label("strengths"),
                Annotation.edited_candidate_id,
                _told_apart(Annotation.edited_text).label("edited"),
                shown.c.ids,
                shown.c.texts,
            )
        )
        .join(shown, true())
        .where(*conditions(selection(), held_out_percent))
        .order_by(Prompt.content_hash, Annotation.id)
    )
    if len(parts) < PARTS // 2:
        query = query.where(part.in_(parts))
    yield from session.execute(query, execution_options={"stream_results": True, "yield_per": STREAM_ROWS})


def _told_apart(text: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    """A digest of a text that shows something for sure; the rest, in which no ASCII character is seen, as they are."""
    shows = text.collate("C").regexp_match("[!-~]")
    return case((shows, func.concat("#", cast(func.hashtextextended(text, 0), String))), else_=text)


def _judgement(row: Row[tuple[Any, ...]]) -> Judgement:
    place = {candidate: index for index, candidate in enumerate(row.ids or ())}
    return Judgement(
        row.outcome.value,
        tuple([tuple([place[candidate] for candidate in group]) for group in row.ranking]),
        tuple(row.strengths),
        row.texts or (),
        None if row.edited_candidate_id is None else place[row.edited_candidate_id],
        row.edited,
    )
