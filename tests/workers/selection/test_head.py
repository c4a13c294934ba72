"""The head: what it learns, what it doubts, and that choosing by its doubt saves judgements in planted worlds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import pair_selection
from benchmarks.pair_selection import MOST, World
from workers.selection import head as heads
from workers.selection.choosing import best_and_worst, different_policies, most_doubtful, propensity
from workers.selection.head import Floats, Judged


def judged(world: World, prompts: int) -> tuple[Floats, Judged]:
    study = pair_selection.Study(world)
    study.add(list(range(prompts)), study.drawn(list(range(prompts))))
    first = np.arange(prompts) * world.responses
    one, other = (first + side for side in np.array(study.pairs).T)
    features = world.features[:prompts].reshape(-1, pair_selection.DIMENSIONS)
    return features, Judged(one, other, np.array(study.scores), np.arange(prompts))


def test_the_head_learns_what_people_find_good_and_the_same_data_give_the_same_head() -> None:
    world = World(1, flips=0.0)
    features, said = judged(world, 400)
    head = heads.fit(features, said)
    assert world.right(head.view.axes @ head.weights) > 0.75
    assert np.array_equal(head.drawn, heads.fit(features, said).drawn)


def test_the_head_does_not_know_whether_a_tie_was_shown_as_a_or_b() -> None:
    world = World(2)
    features, said = judged(world, 60)
    turned = Judged(said.other, said.one, 1 - said.score, said.prompt)
    assert heads.fit(features, said).weights == pytest.approx(heads.fit(features, turned).weights)


def test_two_equal_responses_are_never_in_doubt_and_a_toss_up_is_not_either() -> None:
    world = World(3, responses=4)
    features, said = judged(world, 200)
    head = heads.fit(features, said)
    same = np.stack([features[0], features[0], features[5]])
    doubt = head.doubt(same)
    assert doubt[0, 1] == 0
    assert doubt == pytest.approx(doubt.T)
    assert most_doubtful(head, same, 2).shown in ([0, 2], [1, 2])


def test_of_more_than_two_each_is_another_one() -> None:
    world = World(4, responses=8)
    features, said = judged(world, 100)
    head = heads.fit(features, said)
    for k in (2, 3, 5, 8):
        for choose in (most_doubtful, best_and_worst):
            shown = choose(head, features[:8], k).shown
            assert len(set(shown)) == len(shown) == k
    rewards = head.rewards(features[:8])
    assert best_and_worst(head, features[:8], 2).shown == [rewards.argmax(), rewards.argmin()]
    assert len(most_doubtful(head, np.zeros((4, pair_selection.DIMENSIONS)), 3).shown) == 3, "all alike, still three"


def test_different_policies_come_in_turn() -> None:
    wrote = [7, 7, 7, 7, 9, 9, 9, 9]
    for seed in range(20):
        shown = different_policies(wrote, 2, np.random.default_rng(seed)).shown
        assert {wrote[place] for place in shown} == {7, 9}
        four = different_policies(wrote, 4, np.random.default_rng(seed)).shown
        assert sorted(wrote[place] for place in four) == [7, 7, 9, 9]
    assert len(different_policies([7, 7], 2, np.random.default_rng(0)).shown) == 2, "one policy alone is shown as well"


def test_propensities_add_up_over_all_pairs() -> None:
    # one of 28 pairs is chosen where nothing is drawn; each of them is drawn alike often
    assert propensity(8, 2) == pytest.approx(0.8 + 0.2 / 28)
    assert propensity(2, 2) == 1


@pytest.mark.slow
def test_choosing_saves_two_judgements_in_five_where_responses_differ_unevenly() -> None:
    """Reduced from ``benchmarks.pair_selection``: six worlds, and only how far one is after three fifths."""
    by_chance, chosen = (
        [pair_selection.curve(World(seed, uneven=True, responses=8), choose=choose) for seed in range(6)]
        for choose in (False, True)
    )
    goal = np.mean([each[MOST] for each in by_chance])
    assert np.mean([each[MOST * 6 // 10] for each in chosen]) >= goal


def test_what_is_measured_on_random_prompts_is_not_off() -> None:
    rate, accuracy = pair_selection.off(80)
    assert max(rate, accuracy) <= 0.005
