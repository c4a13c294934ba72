"""A judgement in words, by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.judgements.judgement import Draft
from app.judgements.positions import positions_by_id
from app.judgements.vocabulary import Outcome, Strength
from app.kernel.locales import gettext as _
from training.formats.words import FROM_SCRATCH


@dataclass(frozen=True, slots=True)
class Place:
    """Responses that share a place, and how much better they are than the next."""

    names: str
    than_next: str | None
    """"better than the next"; None where that is not said, and of the last."""


def places(said: Draft) -> list[Place]:
    """The places of a ranking, best first, as far as it goes; none of another outcome."""
    if said.outcome is not Outcome.RANKED:
        return []
    gaps = [
        _("{strength} than the next", strength=Strength(level).words) if level else None for level in said.strengths
    ]
    return [Place(_and(group), gaps[at] if at < len(gaps) else None) for at, group in enumerate(said.ranking)]


def in_words(
    outcome: Outcome, ranking: Sequence[Sequence[int]], shown: Sequence[int], strengths: Sequence[int] = ()
) -> str:
    """What was concluded, in a line, from candidate ids: "B, then A and C"; with ``strengths`` how much better each place is.

    "B is significantly better"; of more "B, significantly better than A and C, better than D".
    """
    if outcome is Outcome.TIE:
        return _("all equally good")
    if outcome is Outcome.ALL_UNACCEPTABLE:
        return _("all unacceptable")
    if outcome is Outcome.WRITTEN:
        return _(FROM_SCRATCH)
    if outcome is Outcome.LABELLED:
        return outcome.words
    return _ranked(ranking, shown, [Strength(level).words for level in strengths])


def _ranked(ranking: Sequence[Sequence[int]], shown: Sequence[int], strengths: Sequence[str]) -> str:
    names = positions_by_id(shown)
    groups = [_and(sorted(names[each] for each in group)) for group in ranking]
    if len(shown) == 2:
        return _("{name} is {strength}", name=groups[0], strength=strengths[0] if strengths else Strength.BETTER.words)
    said = groups[0]
    for at, group in enumerate(groups[1:]):
        if strengths:
            said = _("{before}, {strength} than {name}", before=said, strength=strengths[at], name=group)
        else:
            said = _("{before}, then {name}", before=said, name=group)
    return said


def best_in_words(outcome: Outcome, best: Sequence[int], shown: Sequence[int]) -> str:
    """What stands first, as a clause, from candidate ids: "response B is best"."""
    if outcome is Outcome.TIE:
        return _("the responses are equally good")
    if outcome is Outcome.ALL_UNACCEPTABLE:
        return _("all responses are unacceptable")
    names = positions_by_id(shown)
    first = sorted(names[each] for each in best)
    if len(first) == 1:
        return _("response {name} is best", name=first[0])
    return _("responses {names} share the first place", names=_and(first))


def _and(names: Sequence[str]) -> str:
    said = "".join(names[:1])
    for name in names[1:]:
        said = _("{names} and {name}", names=said, name=name)
    return said
