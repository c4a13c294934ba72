"""What annotators said of a prompt, and how many pairs a run makes of it: the number that a page promises.

The count goes the whole way of the files: the rows that a snapshot has of each judgement (:mod:`training.formats.pairs`),
merged and filtered as a run would (:mod:`training.formats.rankings`). It depends on nothing but which texts are the same
and which say nothing, so judgements that differ only in their words are counted once (:func:`plain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from training.formats import rankings
from training.formats.pairs import RANKED, WRITTEN, derive
from training.formats.rankings import Consumer, Line, Rule
from training.formats.texts import shows_nothing

SHAPES_KEPT = 20_000
"""Of which the count is remembered: with one annotator a prompt there are a few hundred, with three a few thousand."""


class Judgement(NamedTuple):
    """One annotator's judgement of one prompt, by the texts of the responses or by any key that distinguishes them.

    ``ranking`` holds places in ``shown``, best first, those of a group tied; ``strengths`` one number per two neighbouring
    groups. ``improved`` is the place of the response that ``edited`` improves; where an answer was written from scratch there
    is none, and ``edited`` is the answer.
    """

    outcome: str
    ranking: tuple[tuple[int, ...], ...]
    strengths: tuple[int, ...]
    shown: tuple[str, ...]
    improved: int | None = None
    edited: str | None = None

    def lines(self, annotation_id: int, prompt_hash: str = "") -> list[Line]:
        """Its rows, as a snapshot has them."""
        rows = derive(self.outcome, self.ranking, self.strengths, range(len(self.shown)), self.improved)
        return [
            Line(
                chosen=None if row.chosen is None else self.shown[row.chosen],
                rejected=None if row.rejected is None else self.shown[row.rejected],
                strength=row.strength,
                edited=self.edited if row.edited else None,
                outcome=row.outcome,
                id=f"{annotation_id}:{row.chosen}:{row.rejected}",
                annotation_id=annotation_id,
                prompt_hash=prompt_hash,
            )
            for row in rows
        ]


def plain(judgements: Sequence[Judgement]) -> tuple[Judgement, ...]:
    """The judgements of one prompt with numbers for their texts and each in its own order, best first.

    A response that says nothing becomes ``""``. What is equal then gives as many pairs of every kind.
    """
    names: dict[str, str] = {}
    return tuple([_plain(said, names) for said in judgements])


def _plain(said: Judgement, names: dict[str, str]) -> Judgement:
    if said.outcome == WRITTEN:
        return Judgement(WRITTEN, (), (), (), None, _name(said.edited or "", names) or None)
    ranked = said.outcome == RANKED
    order = [place for group in said.ranking for place in group] if ranked else range(len(said.shown))
    shown = []
    for place in order:
        text = said.shown[place]
        known = names.get(text)  # before anything is called: it is the inner loop of a count of everything
        shown.append(_name(text, names) if known is None else known)
    if not ranked:
        return Judgement(said.outcome, (), (), tuple(sorted(shown)))
    places = iter(range(len(order)))
    ranking = tuple([tuple([next(places) for _ in group]) for group in said.ranking])
    if said.edited is None or said.improved is None:
        return Judgement(said.outcome, ranking, said.strengths, tuple(shown))
    edited = _name(said.edited, names)
    return Judgement(said.outcome, ranking, said.strengths, tuple(shown), order.index(said.improved), edited or None)


def _name(text: str, names: dict[str, str]) -> str:
    known = names.get(text)
    if known is None:
        known = names[text] = "" if shows_nothing(text) else str(len(names))
    return known


@lru_cache(maxsize=SHAPES_KEPT)
def trained_on(judgements: tuple[Judgement, ...], consumer: Consumer, rule: Rule, min_strength: int) -> int:
    """How many pairs ``consumer`` trains on of what was said of one prompt, before any is left out as too long.

    With ``reliability`` they are counted as with ``majority``: whom a run trusts more depends on all prompts.
    """
    merging: Rule = "majority" if rule == "reliability" else rule
    ranked, _ = rankings.rank(_lines(judgements), merging, min_strength)
    return sum(len(rankings.take(ranking, consumer)[1]) for ranking in ranked)


@lru_cache(maxsize=SHAPES_KEPT)
def written_for(judgements: tuple[Judgement, ...]) -> int:
    """How many different answers people wrote to a prompt from scratch: fine-tuning imitates each, and nothing else does."""
    ranked, _ = rankings.rank(_lines(judgements), "majority", min_strength=1)
    return sum(len(ranking.written) for ranking in ranked)


@lru_cache(maxsize=SHAPES_KEPT)
def measured_on(judgements: tuple[Judgement, ...]) -> int:
    """How many pairs of a held-out prompt a run can be measured on, before any is left out as too long."""
    return len(rankings.held_out_pairs(_lines(judgements))[0])


def _lines(judgements: Sequence[Judgement]) -> list[Line]:
    return [line for number, said in enumerate(judgements) for line in said.lines(number)]
