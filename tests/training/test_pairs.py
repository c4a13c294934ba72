"""The algebra: what follows from a ranking, and what never may."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from training.formats.pairs import (
    ALL_UNACCEPTABLE,
    CHOSEN_REJECTED,
    EDITED,
    EDITED_CHOSEN,
    EDITED_REJECTED,
    RANKED,
    TIE,
    Stated,
    derive,
    expand,
)


@dataclass(frozen=True)
class Ranking:
    groups: list[list[int]]
    strengths: list[int]
    edited: int | None

    @property
    def shown(self) -> list[int]:
        return sorted(item for group in self.groups for item in group)

    @property
    def place(self) -> dict[int, int]:
        return {item: index for index, group in enumerate(self.groups) for item in group}

    def pairs(self) -> list[Stated[int]]:
        return list(derive(RANKED, self.groups, self.strengths, self.shown, self.edited))


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    items = draw(st.permutations(range(1, draw(st.integers(2, 8)) + 1)))
    cuts = sorted(draw(st.sets(st.integers(1, len(items) - 1), min_size=1)))
    groups = [items[start:end] for start, end in zip([0, *cuts], [*cuts, len(items)], strict=True)]
    strengths = draw(st.lists(st.integers(1, 4), min_size=len(groups) - 1, max_size=len(groups) - 1))
    edited = draw(st.none() | st.sampled_from(groups[0]))
    return Ranking(groups, strengths, edited)


@given(rankings())
def test_every_two_candidates_of_different_groups_are_one_pair_with_the_better_first(ranking: Ranking) -> None:
    stated = [(pair.chosen, pair.rejected) for pair in ranking.pairs()]
    place = ranking.place
    expected = {
        (one, other) if place[one] < place[other] else (other, one)
        for one, other in combinations(ranking.shown, 2)
        if place[one] != place[other]
    }
    assert len(stated) == len(set(stated))
    assert set(stated) == expected


@given(rankings())
def test_the_best_come_first(ranking: Ranking) -> None:
    order = [(ranking.place[pair.chosen or 0], ranking.place[pair.rejected or 0]) for pair in ranking.pairs()]
    assert order == sorted(order)


@given(rankings())
def test_preferences_have_no_cycle_and_are_transitive(ranking: Ranking) -> None:
    stated = {(pair.chosen, pair.rejected) for pair in ranking.pairs()}
    assert all((worse, better) not in stated for better, worse in stated)
    for better, middle in stated:
        for also_middle, worse in stated:
            if middle == also_middle:
                assert (better, worse) in stated


@given(rankings())
def test_strength_is_the_largest_between_and_never_falls_with_distance(ranking: Ranking) -> None:
    strength = {(pair.chosen, pair.rejected): pair.strength or 0 for pair in ranking.pairs()}
    for pair in ranking.pairs():
        high, low = ranking.place[pair.chosen or 0], ranking.place[pair.rejected or 0]
        assert pair.strength == max(ranking.strengths[high:low])
        for farther in ranking.shown:
            if ranking.place[farther] > low:
                assert strength[pair.chosen, farther] >= strength[pair.chosen, pair.rejected]


@given(rankings())
def test_only_rows_whose_chosen_is_the_edited_candidate_carry_the_edit(ranking: Ranking) -> None:
    assert all((pair.edited is not None) == (pair.chosen == ranking.edited) for pair in ranking.pairs())


@given(rankings(), st.integers(1, 4))
def test_an_edit_comes_first_beats_what_it_improved_and_never_loses(ranking: Ranking, least: int) -> None:
    rows = list(expand(ranking.pairs(), least))
    assert len(rows) == len({(row.better, row.worse) for row in rows})
    assert all(row.worse != EDITED for row in rows)
    assert all((row.strength or 0) >= least for row in rows)
    beaten = {row.worse for row in rows if row.better == ranking.edited}
    edited = {row.worse for row in rows if row.better == EDITED}
    assert edited == (beaten | {ranking.edited} if beaten and ranking.edited else set())
    if edited:
        assert rows[0].better == EDITED
        assert rows[0].worse == ranking.edited


def test_a_over_b_over_c_with_an_edit_of_a_reads_as_written() -> None:
    pairs = list(derive(RANKED, [[1], [2], [3]], [2, 3], [3, 1, 2], edited=1))
    assert pairs == [Stated(1, 2, 2, EDITED), Stated(1, 3, 3, EDITED), Stated(2, 3, 3)]
    assert [(row.better, row.worse, row.strength, row.kind) for row in expand(pairs, min_strength=3)] == [
        (EDITED, 1, 3, EDITED_CHOSEN),
        (EDITED, 3, 3, EDITED_REJECTED),
        (1, 3, 3, CHOSEN_REJECTED),
        (2, 3, 3, CHOSEN_REJECTED),
    ]


def test_an_edit_stands_as_far_above_what_it_improved_as_that_above_the_worst() -> None:
    first, *_ = expand(derive(RANKED, [[1], [2], [3]], [3, 4], [1, 2, 3], edited=1))
    assert (first.kind, first.strength) == (EDITED_CHOSEN, 4)


def test_a_tie_states_each_two_once_without_strength_and_trains_nothing() -> None:
    pairs = list(derive(TIE, [[1, 2, 3]], [], [3, 1, 2]))
    assert pairs == [Stated(*two, None, outcome=TIE) for two in ((3, 1), (3, 2), (1, 2))]
    assert list(expand(pairs)) == []


def test_all_unacceptable_calls_nothing_chosen_and_trains_nothing() -> None:
    pairs = list(derive(ALL_UNACCEPTABLE, [], [], [2, 1]))
    assert pairs == [Stated(None, worse, None, outcome=ALL_UNACCEPTABLE) for worse in (2, 1)]
    assert list(expand(pairs)) == []
