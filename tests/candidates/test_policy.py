from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.candidates.policy import draw, sampling_of
from app.registry.models import Checkpoint, CheckpointKind, Deployment, LoopRole
from app.registry.rotation import Rotation


def deployment(key: int, checkpoint: int, share: float = 1.0) -> Deployment:
    made = Checkpoint(id=checkpoint, kind=CheckpointKind.POLICY)
    sampling = {"temperature": 1.0}
    return Deployment(id=key, checkpoint_id=checkpoint, checkpoint=made, share=share, sampling=sampling, label=str(key))


CHAMPION, CHALLENGER, PREVIOUS, BASE = 1, 2, 3, 4
ROLES = {
    LoopRole.CHAMPION: CHAMPION,
    LoopRole.CHALLENGER: CHALLENGER,
    LoopRole.PREVIOUS: PREVIOUS,
    LoopRole.BASE: BASE,
}
PROMPTS = range(4000)

deployments = st.lists(st.tuples(st.integers(1, 6), st.sampled_from([0.2, 0.5, 1.0, 3.0])), min_size=1, max_size=7).map(
    lambda pairs: [deployment(index + 1, checkpoint, share) for index, (checkpoint, share) in enumerate(pairs)]
)
held = st.dictionaries(st.sampled_from(LoopRole), st.integers(1, 6))
rotations = st.builds(Rotation, deployments, held)


def everybody(share: float = 0.8) -> Rotation:
    """Champion, challenger with that share, previous champion, and the base with its two samplings."""
    rows = [(CHAMPION, 1.0), (CHALLENGER, share), (PREVIOUS, 1.0), (BASE, 1.0), (BASE, 1.0)]
    return Rotation([deployment(index + 1, *row) for index, row in enumerate(rows)], ROLES)


def met(rotation: Rotation, wanted: int) -> dict[int, float]:
    """On which part of many prompts each checkpoint stands."""
    on: Counter[int] = Counter()
    for prompt in PROMPTS:
        on.update({one.deployment.checkpoint_id for one in draw(prompt, wanted, rotation)})
    return {checkpoint: n / len(PROMPTS) for checkpoint, n in on.items()}


@given(st.integers(1, 10**9), st.integers(2, 8), rotations)
def test_every_prompt_gets_what_it_wants_from_the_champion_and_at_most_one_other(
    prompt: int, wanted: int, rotation: Rotation
) -> None:
    draws = draw(prompt, wanted, rotation)
    assert sum(one.n for one in draws) == wanted
    by_checkpoint: Counter[int] = Counter()
    for one in draws:
        by_checkpoint[one.deployment.checkpoint_id] += one.n
    assert rotation.champion in by_checkpoint
    assert len(by_checkpoint) <= 2
    if len(by_checkpoint) == 2:
        assert max(by_checkpoint.values()) - min(by_checkpoint.values()) <= 1, "half each"


@given(st.integers(1, 10**9), st.integers(2, 8), rotations)
def test_a_retry_asks_the_same(prompt: int, wanted: int, rotation: Rotation) -> None:
    first, again = draw(prompt, wanted, rotation), draw(prompt, wanted, rotation)
    assert [(one.deployment.id, one.n) for one in first] == [(one.deployment.id, one.n) for one in again]


@pytest.mark.parametrize("wanted", range(2, 9))
def test_a_challenger_at_twenty_percent_stands_on_a_fifth_of_the_prompts(wanted: int) -> None:
    on = met(everybody(0.2), wanted)
    assert abs(on[CHALLENGER] - 0.2) <= 0.02
    assert on[CHAMPION] == 1.0


@pytest.mark.parametrize("wanted", [2, 5])
def test_also_where_champion_and_challenger_are_alone(wanted: int) -> None:
    two = [deployment(1, BASE), deployment(2, BASE), deployment(3, CHALLENGER, 0.2)]
    on = met(Rotation(two, {LoopRole.CHAMPION: BASE, LoopRole.CHALLENGER: CHALLENGER}), wanted)
    assert abs(on[CHALLENGER] - 0.2) <= 0.02
    assert on[BASE] == 1.0, "the others have the champion's own answers"


def test_a_challenger_stands_on_four_fifths_and_base_and_previous_share_the_rest() -> None:
    on = met(everybody(), 4)
    assert abs(on[CHALLENGER] - 0.8) <= 0.02
    assert abs(on[PREVIOUS] - 0.1) <= 0.02
    assert abs(on[BASE] - 0.1) <= 0.02, "two samplings do not count it twice"


@pytest.mark.parametrize("there", [True, False], ids=["one that an admin added", "only those with roles"])
def test_without_a_challenger_the_others_take_its_prompts(there: bool) -> None:  # noqa: FBT001 - parametrised
    rows = [each for each in everybody(1.0).deployments if there or each.checkpoint_id != CHALLENGER]
    held = {role: each for role, each in ROLES.items() if not there or role is not LoopRole.CHALLENGER}
    on = met(Rotation(rows, held), 2)
    others = [each for each in (PREVIOUS, BASE, CHALLENGER) if each in on]
    assert all(abs(on[each] - 1 / len(others)) <= 0.03 for each in others), on


def test_the_base_alone_compares_its_two_samplings() -> None:
    alone = Rotation([deployment(1, BASE), deployment(2, BASE)], {LoopRole.CHAMPION: BASE})
    assert [one.n for one in draw(7, 4, alone)] == [2, 2]
    assert {one.n for prompt in range(50) for one in draw(prompt, 3, alone)} == {1, 2}


def test_an_odd_answer_goes_to_both_sides_alike() -> None:
    drawn: Counter[int] = Counter()
    for prompt in range(2000):
        for one in draw(prompt, 3, everybody(1.0)):
            drawn[one.deployment.checkpoint_id] += one.n
    assert abs(drawn[CHAMPION] - drawn[CHALLENGER]) < 300


def test_while_the_champion_is_not_loaded_the_one_before_and_then_the_base_answers_for_it() -> None:
    rows = everybody().deployments
    left = [each for each in rows if each.checkpoint_id != CHAMPION]
    assert Rotation(left, ROLES).champion == PREVIOUS
    assert Rotation([each for each in left if each.checkpoint_id != PREVIOUS], ROLES).champion == BASE
    assert Rotation([], ROLES).champion is None
    assert draw(7, 4, Rotation([], ROLES)) == []


def test_a_batch_overrides_sampling_and_cannot_set_anything_else() -> None:
    merged = sampling_of(deployment(1, 1), {"temperature": 0.2, "top_p": 0.5, "model": "other", "n": 99, "top_k": None})
    assert merged == {"temperature": 0.2, "top_p": 0.5}
