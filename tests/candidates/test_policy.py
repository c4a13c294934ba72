from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.candidates.policy import draw, sampling_of
from app.registry.models import Deployment


def deployment(key: int, checkpoint: int, share: float = 1.0) -> Deployment:
    return Deployment(id=key, checkpoint_id=checkpoint, share=share, sampling={"temperature": 1.0}, label=str(key))


rotations = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.5, 1.0, 3.0])), min_size=1, max_size=6).map(
    lambda pairs: [deployment(index + 1, checkpoint, share) for index, (checkpoint, share) in enumerate(pairs)]
)


@given(st.integers(1, 10**9), st.integers(2, 8), rotations)
def test_every_prompt_gets_what_it_wants_from_as_many_checkpoints_as_there_are(
    prompt: int, wanted: int, rotation: list[Deployment]
) -> None:
    draws = draw(prompt, wanted, rotation)
    assert sum(one.n for one in draws) == wanted
    checkpoints = {one.deployment.checkpoint_id for one in draws}
    assert len(checkpoints) == min(wanted, len({d.checkpoint_id for d in rotation}))


@given(st.integers(1, 10**9), st.integers(2, 8), rotations)
def test_a_retry_asks_the_same(prompt: int, wanted: int, rotation: list[Deployment]) -> None:
    first, again = draw(prompt, wanted, rotation), draw(prompt, wanted, rotation)
    assert [(one.deployment.id, one.n) for one in first] == [(one.deployment.id, one.n) for one in again]


def test_two_samplings_of_the_base_share_four_candidates_evenly() -> None:
    draws = draw(7, 4, [deployment(1, 1), deployment(2, 1)])
    assert [one.n for one in draws] == [2, 2]


def test_a_policy_and_the_base_are_drawn_alike_although_the_base_has_two_samplings() -> None:
    rotation = [deployment(1, 1), deployment(2, 1), deployment(3, 2)]
    drawn: Counter[int] = Counter()
    for prompt in range(1000):
        for one in draw(prompt, 4, rotation):
            drawn[one.deployment.checkpoint_id] += one.n
    assert drawn == {1: 2000, 2: 2000}


def test_odd_remainders_are_balanced_over_prompts() -> None:
    drawn: Counter[int] = Counter()
    for prompt in range(2000):
        for one in draw(prompt, 3, [deployment(1, 1), deployment(2, 2)]):
            drawn[one.deployment.id] += one.n
    assert abs(drawn[1] - drawn[2]) < 300


def test_a_larger_share_is_drawn_more_often() -> None:
    drawn: Counter[int] = Counter()
    for prompt in range(1000):
        for one in draw(prompt, 8, [deployment(1, 1, 3.0), deployment(2, 2, 1.0)]):
            drawn[one.deployment.id] += one.n
    assert 2.5 < drawn[1] / drawn[2] < 3.5


def test_a_batch_overrides_sampling_and_cannot_set_anything_else() -> None:
    merged = sampling_of(deployment(1, 1), {"temperature": 0.2, "top_p": 0.5, "model": "other", "n": 99, "top_k": None})
    assert merged == {"temperature": 0.2, "top_p": 0.5}
