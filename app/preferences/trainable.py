"""How many pairs a training would make of the annotations there are: the number that pages promise.

One function counts them for every page and for the API, and it is the function by which training makes its pairs
(:mod:`training.formats.judgements`); of the texts only what tells them apart is read. What only training can know is not in
it: prompts that repeat a held-out one, and what is too long for the recipe, are left out when it begins. So pages say "up to".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import compress, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, any_, case, cast, func, select, true, type_coerce
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import NULLTYPE

from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.preferences.forms import ExportFilter
from app.preferences.queries import ROUNDS, STREAM_ROWS, conditions, joined
from app.prompts.models import Prompt
from training.formats.judgements import Judgement, measured_on, plain, trained_on
from training.formats.prompts import Split, split_of
from training.formats.rankings import Consumer, Rule


class Judged(NamedTuple):
    """What was said of one prompt, wherever it was asked, but for the words: many prompts are the same in this."""

    split: Split
    judgements: tuple[Judgement, ...]
    here: tuple[bool, ...]
    """Which of the judgements were made in the round that was asked for."""


def judged(session: Session, held_out_percent: int, round_number: int) -> Counter[Judged]:
    """How many prompts with standing annotations there are of each kind."""
    found: Counter[Judged] = Counter()
    for digest, rows in groupby(_rows(session, held_out_percent), key=itemgetter(0)):
        of_prompt = list(rows)
        here = tuple([row[7] == round_number for row in of_prompt])
        found[Judged(split_of(digest, held_out_percent), plain([_judgement(row) for row in of_prompt]), here)] += 1
    return found


def pairs(
    prompts: Counter[Judged], consumer: Consumer, rule: Rule, min_strength: int, *, of_round: bool = False
) -> int:
    """How many pairs ``consumer`` would train on, of all or only of the round, before any is left out as too long."""
    return sum(
        count * trained_on(_of_round(each) if of_round else each.judgements, consumer, rule, min_strength)
        for each, count in prompts.items()
        if each.split is Split.TRAIN
    )


def held_out_pairs(prompts: Counter[Judged]) -> int:
    """How many pairs a training could be measured on."""
    held_out = ((each, count) for each, count in prompts.items() if each.split is Split.HELD_OUT)
    return sum(count * measured_on(each.judgements) for each, count in held_out)


def standing(prompts: Counter[Judged], *, of_round: bool = False) -> int:
    """How many annotations stand, of all rounds or of the round."""
    return sum(count * (sum(each.here) if of_round else len(each.here)) for each, count in prompts.items())


def in_other_rounds(prompts: Counter[Judged]) -> bool:
    """Whether anything was judged in another round than the one that was asked for."""
    return not all(all(each.here) for each in prompts)


def _of_round(each: Judged) -> tuple[Judgement, ...]:
    return each.judgements if all(each.here) else plain(list(compress(each.judgements, each.here)))


def _rows(session: Session, held_out_percent: int) -> Iterator[Any]:
    shown = (
        select(
            type_coerce(func.array_agg(aggregate_order_by(Candidate.id, Candidate.id)), NULLTYPE).label("ids"),
            type_coerce(func.array_agg(aggregate_order_by(_told_apart(Candidate.text), Candidate.id)), NULLTYPE).label(
                "texts"
            ),
        )
        .where(Candidate.id == any_(Annotation.order_shown))
        .lateral("shown")
    )
    query = (
        joined(
            select(
                Prompt.content_hash,
                Annotation.outcome,
                Annotation.ranking,
                type_coerce(Annotation.strengths, NULLTYPE),
                Annotation.edited_candidate_id,
                _told_apart(Annotation.edited_text),
                shown.c.ids,
                ROUNDS.c.number,
                shown.c.texts,
            )
        )
        .join(shown, true())
        .where(*conditions(ExportFilter(), held_out_percent))
        .order_by(Prompt.content_hash, Annotation.id)
    )
    yield from session.execute(query, execution_options={"stream_results": True, "yield_per": STREAM_ROWS})


def _told_apart(text: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    """A digest of a text that shows something for sure; the rest, in which no ASCII character is seen, as they are."""
    shows = text.collate("C").regexp_match("[!-~]")
    return case((shows, func.concat("#", cast(func.hashtextextended(text, 0), String))), else_=text)


def _judgement(row: Any) -> Judgement:
    _, outcome, ranking, strengths, improved, edited, ids, _, texts = row
    place = {candidate: index for index, candidate in enumerate(ids)}
    return Judgement(
        outcome.value,
        tuple([tuple([place[candidate] for candidate in group]) for group in ranking]),
        tuple(strengths),
        texts,
        None if improved is None else place[improved],
        edited,
    )
