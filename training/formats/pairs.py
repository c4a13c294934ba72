"""The algebra from one judgement to pairs: pure functions, no database and no tokens.

A ranking is a list of groups, best first; responses in one group are tied. ``strengths[i]`` says how much better group
i is than group i + 1, from 1 (marginally) to 4 (significantly). Of it come

- a *stated* row for every two responses of different groups, the better one first. Two groups that are not neighbours
  differ by the **largest** strength between them, not by the sum (A slightly over B, B better than C: A is at least
  "better" than C), so the strength never falls when the distance grows. These are the rows of a snapshot;
- for the trainers, the *pairs* that the rows say, with the edit expanded: edited > chosen and edited > rejected (Llama 3,
  arXiv 2407.21783, 4.2.1), the first stated once however many rows the chosen response is in;
- no row inside a group: a tie is data for agreement and for filters, and is never scored as a win;
- of an answer that a person wrote from scratch one row with that text alone: it prefers nothing, so it gives no pair.

A response is whatever stands for it: an id where rows are exported, its text where they are trained on, a digest of the
text where they are counted. What several annotators say of one prompt is merged in ``training.formats.rankings``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Generic, TypeVar

RANKED, TIE, ALL_UNACCEPTABLE, WRITTEN = "ranked", "tie", "all_unacceptable", "written"
LABELLED = "labelled"
"""The steps of one response were labelled (:mod:`training.formats.steps`): that states nothing here, and gives no pair."""
EDITED_CHOSEN, EDITED_REJECTED, CHOSEN_REJECTED = "edited_over_chosen", "edited_over_rejected", "chosen_over_rejected"
KINDS = (EDITED_CHOSEN, EDITED_REJECTED, CHOSEN_REJECTED)
EDITED = "edited"
"""Stands for the annotator's improved text where a response's id would stand."""

Response = TypeVar("Response")
Row = TypeVar("Row", bound="Stated[Any]")


@dataclass(frozen=True, slots=True)
class Stated(Generic[Response]):
    """One row: of these two responses ``chosen`` is the better one.

    ``chosen`` is None when nothing may be called chosen (all unacceptable), ``rejected`` where there is one response only;
    both are where an answer was written. ``strength`` is None for ties and for all unacceptable, and where a file does not say
    it. ``edited`` is the improved text of ``chosen``, or the answer that was written.
    """

    chosen: Response | None
    rejected: Response | None
    strength: int | None
    edited: Response | None = None
    outcome: str = RANKED


@dataclass(frozen=True, slots=True)
class Pair(Generic[Response, Row]):
    """``better`` was preferred over ``worse``.

    ``strength`` is None where nobody said it, ``agreement`` the share of votes for this order, ``source`` a row behind it.
    """

    better: Response
    worse: Response
    kind: str
    strength: int | None
    source: Row
    weight: float = 1.0
    agreement: float = 1.0


def derive(
    outcome: str,
    ranking: Sequence[Sequence[Any]],
    strengths: Sequence[int],
    shown: Sequence[Any],
    edited: Any = None,
) -> Iterator[Stated[Any]]:
    """Yield the rows of one judgement, best first.

    Ranked: all pairs across groups. Tie: each two responses once, in the order shown, because neither is better. All
    unacceptable: each response once as rejected by nothing. Written: what was written, once. Labelled: nothing.

    Args:
        outcome: What the annotator concluded.
        ranking: Groups of responses, best first; read only where the outcome is ranked.
        strengths: One per pair of neighbouring groups.
        shown: All responses, in the order shown.
        edited: The response whose text the annotator improved; its rows have ``EDITED`` beside it.
    """
    if outcome == TIE:
        yield from (Stated(one, other, None, outcome=TIE) for one, other in combinations(shown, 2))
    elif outcome == ALL_UNACCEPTABLE:
        yield from (Stated(None, response, None, outcome=ALL_UNACCEPTABLE) for response in shown)
    elif outcome == WRITTEN:
        yield Stated(None, None, None, EDITED, outcome=WRITTEN)
    elif outcome == LABELLED:
        return
    else:
        yield from (
            Stated(better, worse, max(strengths[high:low]), EDITED if better == edited else None)
            for high, low in combinations(range(len(ranking)), 2)
            for better in ranking[high]
            for worse in ranking[low]
        )


def expand(rows: Iterable[Row], min_strength: int = 1) -> Iterator[Pair[Any, Row]]:
    """Yield the pairs a trainer learns from: the ranked rows of at least ``min_strength`` with their edits expanded.

    An edit stands above the response that it improved by as much as that response stood above the best it beat: the
    annotator never says that strength, and this keeps the edit's pairs exactly where the filter keeps the chosen one's.
    """
    kept = [row for row in rows if row.chosen is not None and row.outcome == RANKED]
    kept = [row for row in kept if strong_enough(row.strength, min_strength)]
    edits: dict[tuple[Any, Any], Row] = {}
    for row in kept:
        if row.edited is not None:
            known = edits.setdefault((row.edited, row.chosen), row)
            if (row.strength or 0) > (known.strength or 0):
                edits[row.edited, row.chosen] = row
    for (edited, chosen), row in edits.items():
        yield Pair(edited, chosen, EDITED_CHOSEN, row.strength, row)
    for row in kept:
        if row.rejected is not None:
            if row.edited is not None:
                yield Pair(row.edited, row.rejected, EDITED_REJECTED, row.strength, row)
            yield Pair(row.chosen, row.rejected, CHOSEN_REJECTED, row.strength, row)


def strong_enough(strength: int | None, least: int) -> bool:
    """Whether a row of this strength is trained on; one that says none is."""
    return strength is None or strength >= least
