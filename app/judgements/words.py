"""A judgement in words, by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.judgements.judgement import Draft
from app.judgements.positions import positions_by_id
from app.judgements.vocabulary import Outcome, Strength
from training.formats.words import FROM_SCRATCH


@dataclass(frozen=True, slots=True)
class Place:
    """Responses that share a place, and how much better they are than the next."""

    names: str
    strength: str | None


def places(said: Draft) -> list[Place]:
    """The places of a ranking, best first, as far as it goes; none of another outcome."""
    if said.outcome is not Outcome.RANKED:
        return []
    gaps = [Strength(level).words if level else None for level in said.strengths]
    return [Place(_and(group), gaps[at] if at < len(gaps) else None) for at, group in enumerate(said.ranking)]


def in_words(
    outcome: Outcome, ranking: Sequence[Sequence[int]], shown: Sequence[int], strengths: Sequence[int] = ()
) -> str:
    """What was concluded, in a line, from candidate ids: "B, then A and C"; with ``strengths`` how much better each place is.

    "B is significantly better"; of more "B, significantly better than A and C, better than D".
    """
    if outcome is Outcome.TIE:
        return "all equally good"
    if outcome is Outcome.ALL_UNACCEPTABLE:
        return "all unacceptable"
    if outcome is Outcome.WRITTEN:
        return FROM_SCRATCH
    if outcome is Outcome.LABELLED:
        return outcome.label.lower()
    return _ranked(ranking, shown, [Strength(level).words for level in strengths])


def _ranked(ranking: Sequence[Sequence[int]], shown: Sequence[int], strengths: Sequence[str]) -> str:
    names = positions_by_id(shown)
    groups = [_and(sorted(names[each] for each in group)) for group in ranking]
    if len(shown) == 2:
        return f"{groups[0]} is {strengths[0] if strengths else 'better'}"
    if not strengths:
        return ", then ".join(groups)
    return groups[0] + "".join(f", {how} than {group}" for how, group in zip(strengths, groups[1:], strict=True))


def best_in_words(outcome: Outcome, best: Sequence[int], shown: Sequence[int]) -> str:
    """What stands first, as a clause, from candidate ids: "response B is best"."""
    if outcome is Outcome.TIE:
        return "the responses are equally good"
    if outcome is Outcome.ALL_UNACCEPTABLE:
        return "all responses are unacceptable"
    names = positions_by_id(shown)
    first = sorted(names[each] for each in best)
    return f"response {first[0]} is best" if len(first) == 1 else f"responses {_and(first)} share the first place"


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
