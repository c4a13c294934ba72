"""Counting what was said gives what ranking it gives, whatever the texts are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.formats.judgements import Judgement, measured_on, plain, trained_on, written_for
from training.formats.pairs import ALL_UNACCEPTABLE, RANKED, TIE, WRITTEN
from training.formats.rankings import Consumer, Rule, held_out_pairs, rank, take

TEXTS = ("red", "blue", "green", "grey", "", "\u200b")
Prompts = list[list[Judgement]]


@st.composite
def judgements(draw: st.DrawFn) -> Judgement:
    outcome = draw(st.sampled_from([RANKED] * 4 + [TIE, ALL_UNACCEPTABLE, WRITTEN]))
    if outcome == WRITTEN:
        return Judgement(WRITTEN, (), (), (), None, draw(st.sampled_from(("best", "red", "blue"))))
    shown = draw(st.lists(st.sampled_from(TEXTS), min_size=2, max_size=4))
    order = draw(st.permutations(range(len(shown))))
    cuts = sorted(draw(st.sets(st.integers(1, len(shown) - 1), min_size=1)))
    ranking = [tuple(order[start:end]) for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    strengths = draw(st.lists(st.integers(1, 4), min_size=len(cuts), max_size=len(cuts)))
    edited = draw(st.none() | st.sampled_from(("best", *TEXTS))) if outcome == RANKED else None
    return Judgement(
        outcome=outcome,
        ranking=tuple(ranking),
        strengths=tuple(strengths),
        shown=tuple(shown),
        improved=None if edited is None else order[0],
        edited=edited,
    )


prompts = st.lists(st.lists(judgements(), min_size=1, max_size=3), max_size=3)


@pytest.mark.parametrize("rule", ["keep_all", "majority"])
@pytest.mark.parametrize("consumer", ["reward", "dpo"])
@given(said=prompts, least=st.integers(1, 4))
def test_as_many_pairs_are_counted_as_are_ranked(consumer: Consumer, rule: Rule, said: Prompts, least: int) -> None:
    numbered = enumerate((one, place) for place, prompt in enumerate(said) for one in prompt)
    lines = [line for number, (one, place) in numbered for line in one.lines(number, str(place))]
    pairs = [pair for ranking in rank(lines, rule, least)[0] for pair in take(ranking, consumer)[1]]
    assert sum(trained_on(plain(prompt), consumer, rule, least) for prompt in said) == len(pairs)


@given(said=prompts)
def test_as_many_answers_are_counted_as_written_as_fine_tuning_imitates(said: Prompts) -> None:
    numbered = enumerate((one, place) for place, prompt in enumerate(said) for one in prompt)
    lines = [line for number, (one, place) in numbered for line in one.lines(number, str(place))]
    written = [
        text for each in rank(lines, "majority", 1)[0] for text in take(each, "sft")[0] if text in set(each.written)
    ]
    assert sum(written_for(plain(prompt)) for prompt in said) == len(written)


@given(said=prompts, least=st.integers(1, 4))
def test_what_was_written_changes_no_pair(said: Prompts, least: int) -> None:
    for consumer in ("reward", "dpo"):
        for prompt in said:
            compared = [one for one in prompt if one.outcome != WRITTEN]
            found = [trained_on(plain(some), consumer, "majority", least) for some in (prompt, compared)]
            assert found[0] == found[1], consumer


@given(said=prompts)
def test_as_many_are_measured_on_as_were_judged(said: Prompts) -> None:
    lines = [line for number, one in enumerate(one for prompt in said for one in prompt) for line in one.lines(number)]
    assert sum(measured_on(plain(prompt)) for prompt in said) == len(held_out_pairs(lines)[0])


def test_only_words_and_the_order_shown_differ_so_it_is_counted_once() -> None:
    one = Judgement(RANKED, ((1,), (0,)), (3,), ("bad", "good"), 1, "best")
    other = Judgement(RANKED, ((0,), (1,)), (3,), ("gut", "schlecht"), 0, "besser")
    assert plain([one]) == plain([other])
    assert plain([one]) != plain([Judgement(RANKED, ((0,), (1,)), (3,), ("gut", "schlecht"))])
