"""What the votes of a contest say: the evidence after each, the rule that is met first, and single persons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from app.rounds.models import ContestKind
from app.rounds.tally import LeftOut, Rule, Tally, Vote


# ── What they say ────────────────────────────────────────────────────────────────────────────────────────────────────
def tally_of(
    scores: Sequence[float],
    *,
    by: Sequence[int] = (1,),
    budget: int = 400,
    kind: ContestKind = ContestKind.GATE,
    longer: Sequence[float] = (0.0,),
    capability: Sequence[str | None] = (None,),
    team: frozenset[int] = frozenset(),
) -> Tally:
    """Votes on as many prompts; authors, lengths and capabilities go round."""
    cast = [
        Vote(
            index,
            by[index % len(by)],
            f"annotator-{by[index % len(by)]}",
            index.to_bytes(32, "big"),
            score,
            longer[index % len(longer)],
            capability[index % len(capability)],
        )
        for index, score in enumerate(scores)
    ]
    return Tally(kind, budget, cast, team=team)


def rule(tally: Tally) -> Rule | None:
    return tally.found.rule if tally.found else None


def test_the_first_rule_that_is_met_decides_whenever_one_looks() -> None:
    good_then_bad = [1.0, 1.0, 0.5, 1.0] * 6 + [0.0] * 100
    late = tally_of(good_then_bad)
    assert late.found is not None
    early = tally_of(good_then_bad[: late.found.at])
    assert late.found == early.found
    assert early.found is not None
    assert early.found.rule is Rule.BETTER
    assert rule(tally_of(good_then_bad[: late.found.at - 1])) is None


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], None),
        ([1.0] * 20, Rule.BETTER),
        ([0.0] * 30, Rule.NOT_USEFUL),
        ([0.5] * 399, Rule.NOT_USEFUL),  # as good is not better
        ([1.0, 0.0] * 8, None),
        ([1.0, 0.5, 0.0, 1.0, 0.5, 1.0, 0.0] * 5, None),
    ],
)
def test_a_gate_ends_by_its_votes(scores: list[float], expected: Rule | None) -> None:
    assert rule(tally_of(scores)) is expected


def test_a_spent_budget_ends_it_and_later_votes_are_left_out() -> None:
    tally = tally_of([1.0, 0.0] * 8, budget=12)
    assert rule(tally) is Rule.SPENT
    assert len(tally.observations) == 12
    assert set(tally.left_out.values()) == {LeftOut.BUDGET}
    assert len(tally.left_out) == 4


def test_worse_in_one_capability_refuses_what_is_better_elsewhere() -> None:
    scores = [1.0, 1.0, 0.0, 0.5] * 10
    tally = tally_of(scores, capability=["chat", "chat", "math", "chat"])
    assert tally.found is not None
    assert (tally.found.rule, tally.found.capability) == (Rule.WORSE_IN_CAPABILITY, "math")
    assert rule(tally_of(scores)) is None


def test_what_is_only_longer_is_not_promoted() -> None:
    scores = [score for long in (1.0, 1.0, 0.5, 1.0) for score in (long, 0.0, long, long)] * 8
    assert rule(tally_of(scores)) is Rule.BETTER
    tally = tally_of(scores, longer=[100, -100, 100, 100])
    assert max(tally.better) > math.log(20)
    assert rule(tally) is None
    assert tally_of(scores, longer=[100, -100, 100, 100]).unmet == ("length",)


def test_a_watch_rolls_back_and_never_promotes() -> None:
    assert rule(tally_of([1.0] * 50, kind=ContestKind.WATCH)) is None
    assert rule(tally_of([0.0] * 50, kind=ContestKind.WATCH)) is Rule.WORSE
    assert rule(tally_of([0.5] * 60, kind=ContestKind.WATCH, budget=50)) is Rule.SPENT


# ── Single persons ───────────────────────────────────────────────────────────────────────────────────────────────────
def shares(tally: Tally) -> dict[int, int]:
    counted = [vote.author for vote in tally.votes if vote.annotation_id in tally.places]
    return {author: counted.count(author) for author in sorted(set(counted))}


def test_of_three_people_nobody_gives_much_more_than_two_fifths() -> None:
    tally = tally_of([1.0, 0.0] * 50, by=[1, 1, 1, 2, 1, 1, 3, 1, 2, 3])  # Alice gives six of ten
    given = shares(tally)
    assert tally.ruled
    assert given[1] <= 0.4 * sum(given.values()) + 1
    assert (given[2], given[3]) == (20, 20)
    assert set(tally.left_out.values()) == {LeftOut.SHARE}


def test_a_share_is_that_of_the_moment_of_submission() -> None:
    """Alice's first five count, her next not, however many come after them."""
    tally = tally_of([1.0] * 60, by=[1] * 20 + [2, 3] * 20)
    assert [place for place in sorted(tally.places) if place < 20] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("people", [[1], [1, 2], [1, 1, 1, 1, 2]])
def test_with_one_or_two_people_everything_counts(people: list[int]) -> None:
    tally = tally_of([1.0, 0.0] * 20, by=people)
    assert not tally.ruled
    assert tally.left_out == {}


def test_one_of_a_team_alone_does_not_decide_for_it() -> None:
    assert rule(tally_of([1.0] * 60)) is Rule.BETTER
    alone = tally_of([1.0] * 60, team=frozenset({1, 2, 3}))
    assert rule(alone) is None
    assert shares(alone) == {1: 5}


def test_what_one_person_makes_the_difference_of_is_not_promoted() -> None:
    scores = [1.0, 0.5, 0.5, 1.0, 0.5, 0.0] * 40
    tally = tally_of(scores, by=[1, 2, 3, 1, 2, 3])
    assert max(tally.better) > math.log(20)
    assert rule(tally) is not Rule.BETTER
    assert rule(tally_of(scores, by=[1, 2, 3, 2, 1, 3, 1])) is Rule.BETTER


def test_it_ends_although_one_of_three_does_all_the_work() -> None:
    tally = tally_of([1.0, 0.0] * 60, by=[2, 3, *[1] * 118], budget=40)
    assert len(tally.observations) < 40
    assert rule(tally) is Rule.SPENT
    assert tally.judged == 80
