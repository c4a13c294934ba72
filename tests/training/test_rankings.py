"""The algebra of judgements: what annotators said becomes pairs that neither repeat nor contradict themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import make_row, turn, write_snapshot
from training.data.snapshot import Preference, read_snapshot
from training.formats.pairs import CHOSEN_REJECTED, EDITED_CHOSEN, EDITED_REJECTED, KINDS, Pair
from training.formats.rankings import rank, reliability, take

RULES: tuple[Any, ...] = ("keep_all", "majority", "reliability")


def rows_of(folder: Path, *rows: dict[str, Any]) -> list[Preference]:
    return read_snapshot(write_snapshot(folder / "s", list(rows)))[0]


def said(annotation: int, better: str, worse: str, **changes: Any) -> dict[str, Any]:
    """What one annotator said of the same prompt as all others."""
    row = make_row(0, id=f"{annotation}:{better}:{worse}", annotation_id=annotation, annotator=f"a{annotation}")
    return row | {"chosen": turn(better), "rejected": turn(worse)} | changes


def pairs_of(
    preferences: list[Preference], rule: Any = "keep_all", min_strength: int = 3
) -> list[Pair[str, Preference]]:
    return [pair for ranking in rank(preferences, rule, min_strength)[0] for pair in ranking.pairs]


def texts(pairs: Any) -> list[tuple[str, str]]:
    return [(pair.better, pair.worse) for pair in pairs]


def test_an_edited_row_becomes_three_pairs_with_the_edit_first(tmp_path: Path) -> None:
    row = make_row(chosen=turn("good"), rejected=turn("bad"), edited=turn("best"))
    assert [(pair.kind, pair.better, pair.worse) for pair in pairs_of(rows_of(tmp_path, row))] == [
        (EDITED_CHOSEN, "best", "good"),
        (EDITED_REJECTED, "best", "bad"),
        (CHOSEN_REJECTED, "good", "bad"),
    ]


def test_one_edit_over_several_rejected_responses_counts_once_over_the_chosen_one(tmp_path: Path) -> None:
    rows = [said(1, "good", worse, edited=turn("best")) for worse in ("bad", "worse")]
    pairs = pairs_of(rows_of(tmp_path, *rows))
    assert [pair.kind for pair in pairs].count(EDITED_CHOSEN) == 1
    assert len(pairs) == 5


def test_two_annotators_who_agree_are_two_judgements_or_one_that_was_said_twice(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, said(1, "good", "bad", strength=4), said(2, "good", "bad", strength=3))
    assert len(pairs_of(rows, "keep_all")) == 2
    [ranking], dropped = rank(rows, "majority", 3)
    assert [(pair.strength, pair.agreement) for pair in ranking.pairs] == [(3, 1.0)]
    assert (dropped["merged_agreeing"], dropped["dropped_contradictory"]) == (1, 0)


def test_a_pair_that_most_found_barely_better_is_not_strong_because_one_found_it_so(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path, *(said(who, "good", "bad", strength=strength) for who, strength in ((1, 4), (2, 1), (3, 1)))
    )
    [ranking], dropped = rank(rows, "majority", 3)
    assert (ranking.pairs, dropped["merged_weak"], dropped["dropped_contradictory"]) == ((), 1, 0)
    [ranking], _ = rank(rows, "majority", 1)
    assert [pair.strength for pair in ranking.pairs] == [1]
    assert [pair.strength for pair in pairs_of(rows, "keep_all")] == [4]


def test_the_majority_is_followed_and_a_draw_says_nothing(tmp_path: Path) -> None:
    votes = [said(1, "x", "y"), said(2, "x", "y"), said(3, "y", "x")]
    [ranking], dropped = rank(rows_of(tmp_path, *votes), "majority", 3)
    assert texts(ranking.pairs) == [("x", "y")]
    assert ranking.pairs[0].agreement == pytest.approx(2 / 3)
    assert dropped["dropped_contradictory"] == 1
    assert len(pairs_of(rows_of(tmp_path, *votes), "keep_all")) == 3
    [ranking], dropped = rank(rows_of(tmp_path, *votes[1:]), "majority", 3)
    assert (ranking.pairs, dropped["dropped_contradictory"]) == ((), 2)


def test_a_tie_is_half_a_vote_for_each_side(tmp_path: Path) -> None:
    tie = said(2, "x", "y", strength=None, outcome="tie")
    [pair] = pairs_of(rows_of(tmp_path, said(1, "x", "y"), tie), "majority")
    assert pair.agreement == 0.75


def test_a_weak_no_is_a_no(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, said(1, "x", "y"), said(2, "y", "x", strength=1), said(3, "y", "x", strength=2))
    assert pairs_of(rows, "majority") == []
    assert texts(pairs_of(rows[:2], "keep_all")) == [("x", "y")]


def test_who_agrees_with_the_others_outvotes_who_does_not(tmp_path: Path) -> None:
    """a1 and a2 agree on five other prompts, where a3 is always alone; of the last one a1 says x and a3 says y."""
    rows = []
    for number in range(1, 6):
        question = {"prompt": [{"role": "user", "content": f"{number}?"}], "prompt_hash": f"h{number}"}
        for who in (1, 2, 3):
            better, worse = ("x", "y") if who < 3 else ("y", "x")
            rows.append(said(10 * number + who, better, worse, annotator=f"a{who}", **question))
    rows += [said(1, "x", "y"), said(3, "y", "x")]
    found = rows_of(tmp_path, *rows)
    by_prompt: dict[str, list[Any]] = {}
    for ranking in rank(found, "keep_all", 3)[0]:
        by_prompt.setdefault(ranking.source.prompt_hash, []).append(ranking)
    trust = reliability(by_prompt.values())
    # a draw of the others is half an agreement: five prompts of three, then one of two that a1 and a3 disagree on
    assert trust["a1"] == pytest.approx((5 * 0.5 + 0 + 1) / 8)
    assert trust["a3"] == pytest.approx((0 + 1) / 8)
    last = [ranking for ranking in rank(found, "reliability", 3)[0] if ranking.source.prompt_hash[0] != "h"]
    assert texts(last[0].pairs) == [("x", "y")]
    assert last[0].pairs[0].agreement == pytest.approx(trust["a1"] / (trust["a1"] + trust["a3"]))


def test_each_consumer_takes_its_part_of_a_ranking(tmp_path: Path) -> None:
    rows = [said(1, "a", "b", edited=turn("a!")), said(1, "a", "c", edited=turn("a!")), said(1, "b", "c")]
    [ranking], _ = rank(rows_of(tmp_path, *rows), "majority", 3)
    responses, pairs = take(ranking, "reward")
    assert responses == ("a!", "a", "b", "c")
    assert len(pairs) == 6, "all pairs of four responses"
    assert texts(take(ranking, "dpo")[1]) == [("a!", "b"), ("a!", "c"), ("a", "b"), ("a", "c")]
    assert take(ranking, "sft") == (("a!",), ())
    [unedited], _ = rank(rows_of(tmp_path, said(1, "a", "b"), said(1, "b", "c")), "majority", 3)
    assert take(unedited, "sft") == (("a",), ())


def test_of_a_tie_nothing_is_the_best(tmp_path: Path) -> None:
    tie = said(1, "x", "y", strength=None, outcome="tie")
    [ranking], dropped = rank(rows_of(tmp_path, tie), "majority", 3)
    assert (take(ranking, "sft"), dropped["ties"]) == (((), ()), 1)


ANSWERS = st.sampled_from(("a", "b", "c", "d", "e"))
RANKED = st.fixed_dictionaries(
    {
        "annotation_id": st.sampled_from((1, 2)),
        "chosen": ANSWERS,
        "rejected": ANSWERS,
        "edited": st.none() | st.sampled_from(("e", "f", "g")),
        "strength": st.integers(1, 4),
    }
)


@given(st.lists(RANKED, max_size=12), st.sampled_from(RULES))
def test_pairs_never_contradict_or_repeat_each_other(judgements: list[dict[str, Any]], rule: Any) -> None:
    rows = [
        Preference(id=str(number), prompt_hash="h", prompt=(), split="train", outcome="ranked", tools=None, **judgement)
        for number, judgement in enumerate(judgements)
    ]
    rankings, dropped = rank(rows, rule, 3)
    assert len(rankings) <= (1 if rule != "keep_all" else 2)
    for ranking in rankings:
        assert len(set(texts(ranking.pairs))) == len(ranking.pairs), "a pair came twice"
        kinds = [KINDS.index(pair.kind) for pair in ranking.pairs]
        assert kinds == sorted(kinds), "the edited text comes first"
        assert_no_cycle(ranking.pairs)
        assert all(pair.strength is not None and pair.strength >= 3 for pair in ranking.pairs)
        for consumer in ("reward", "dpo"):
            responses, pairs = take(ranking, consumer)
            assert {text for pair in pairs for text in (pair.better, pair.worse)} == set(responses)
    assert dropped["filtered_by_strength"] == sum(row.strength is not None and row.strength < 3 for row in rows)
    assert dropped["dropped_contradictory"] >= 0


def assert_no_cycle(pairs: Any) -> None:
    """Take away texts that nothing is better than until none is left; a cycle would stay."""
    edges = {(pair.better, pair.worse) for pair in pairs}
    while edges:
        top = {better for better, _ in edges} - {worse for _, worse in edges}
        assert top, f"these contradict each other: {edges}"
        edges = {edge for edge in edges if edge[0] not in top}


def test_a_ranking_without_repeated_texts_loses_no_pair(tmp_path: Path) -> None:
    ranks = ["first", "second", "third"]
    rows = [said(1, better, worse) for place, better in enumerate(ranks) for worse in ranks[place + 1 :]]
    for rule in RULES:
        [ranking], dropped = rank(rows_of(tmp_path, *rows), rule, 3)
        assert (len(ranking.pairs), dropped["dropped_contradictory"]) == (3, 0)


@pytest.mark.parametrize(("reason", "ended"), [("stop", True), (None, True), ("length", False), ("stopped", False)])
def test_what_was_cut_off_or_stopped_did_not_end(
    tmp_path: Path,
    reason: str | None,
    ended: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    rows = rows_of(tmp_path, said(1, "good", "bad", chosen_finish_reason=reason, rejected_finish_reason="stop"))
    [ranking] = rank(rows, "keep_all", 1)[0]
    assert dict(ranking.ended) == {"good": ended, "bad": True}
