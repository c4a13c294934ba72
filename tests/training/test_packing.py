"""The prompt once and its responses behind it: nothing is lost, nothing seen that must not be, little is padding."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.data.chat import Response
from training.data.rows import Row, RowPair
from training.model.packing import lay_out, pack


def row(number: int, prompt: int, *sizes: int) -> Row:
    """A row whose tokens all differ from those of other rows and responses."""
    start = 1000 * number
    responses = tuple(
        Response([start + 100 * (part + 1) + token for token in range(size)], [1] * (size - 1) + [0])
        for part, size in enumerate(sizes)
    )
    pairs = tuple(RowPair(0, other, "chosen_over_rejected", 4) for other in range(1, len(sizes)))
    return Row(str(number), [start + token for token in range(prompt)], responses, pairs)


SIZES = st.lists(
    st.tuples(st.integers(1, 30), st.lists(st.integers(1, 20), min_size=1, max_size=8)), min_size=1, max_size=12
)


@given(SIZES, st.integers(16, 200))
def test_every_row_is_in_one_pack_and_no_pack_is_over_its_budget(
    sizes: list[tuple[int, list[int]]], budget: int
) -> None:
    rows = [row(number, prompt, *responses) for number, (prompt, responses) in enumerate(sizes)]
    packs = lay_out(rows, budget)
    assert sorted(r.id for lines in packs for line in lines for r in line) == sorted(r.id for r in rows)
    for lines in packs:
        width = max(sum(r.length for r in line) for line in lines)
        assert width * len(lines) <= budget or [len(line) for line in lines] == [1]
        assert width == max(r.length for line in lines for r in line), "no attention is wider than the longest row"


def test_short_rows_fill_the_lines_of_long_ones() -> None:
    [lines] = lay_out([row(0, 50, 50), row(1, 30, 30), row(2, 20, 19), row(3, 60, 39)], budget=300)
    assert [[r.id for r in line] for line in lines] == [["0"], ["3"], ["1", "2"]]


def test_a_response_sees_its_prompt_and_itself_and_nothing_else() -> None:
    first, second = row(1, 3, 2, 4), row(2, 2, 3)
    batch = pack([[first, second], [row(3, 4, 2)]], pad_token_id=0)
    assert isinstance(batch.attention_mask, Tensor)
    ids, mask = batch.input_ids[0], batch.attention_mask[0, 0]
    for place, token in enumerate(ids.tolist()):
        if token == 0 and place >= first.length + second.length:
            assert mask[place].nonzero().flatten().tolist() == [place], "padding sees itself only"
            continue
        seen = set(ids[mask[place]].tolist())
        owner = first if place < first.length else second
        response = next((r.ids for r in owner.responses if token in r.ids), [])
        before = response[: response.index(token) + 1] if response else []
        prompt = owner.prompt_ids if response else owner.prompt_ids[: owner.prompt_ids.index(token) + 1]
        assert seen == {*prompt, *before}
    assert batch.position_ids[0, : first.length].tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6]


def test_every_response_token_is_predicted_where_the_token_before_it_stands() -> None:
    rows = [row(1, 3, 2, 4), row(2, 2, 3)]
    batch = pack([[rows[0]], [rows[1]]], pad_token_id=0)
    flat = batch.input_ids.flatten()
    expected = [
        (([*r.prompt_ids, *response.ids])[len(r.prompt_ids) + at - 1], token)
        for r in rows
        for response in r.responses
        for at, token in enumerate(response.ids)
    ]
    assert list(zip(flat[batch.picks].tolist(), batch.labels.tolist(), strict=True)) == expected
    assert flat[batch.ends].tolist() == [response.ids[-1] for r in rows for response in r.responses]
    assert batch.per_response(torch.ones(len(batch.labels))).tolist() == [2, 4, 3]
    assert batch.content.sum() == len(batch.labels) - 3, "the last token of each response is format"


def test_pairs_point_at_the_responses_of_their_row() -> None:
    batch = pack([[row(1, 3, 2, 4), row(2, 2, 3, 1, 2)]], pad_token_id=0)
    assert list(zip(batch.better.tolist(), batch.worse.tolist(), strict=True)) == [(0, 1), (2, 3), (2, 4)]
    assert batch.strength.tolist() == [4, 4, 4]


def test_what_tools_answered_is_read_and_predicted_nowhere() -> None:
    called = Response([11, 12, 21, 22, 13], [1, 1, 0, 0, 1], [0, 0, 1, 1, 0])
    plain = Response([31, 32], [1, 0])
    batch = pack([[Row("1", [1, 2], (called, plain))]], pad_token_id=0)
    assert batch.input_ids.tolist() == [[1, 2, 11, 12, 21, 22, 13, 31, 32]]
    assert batch.labels.tolist() == [11, 12, 13, 31, 32]
    assert batch.picks.tolist() == [1, 2, 5, 1, 7], "each where the token before it stands"
    assert batch.owner.tolist() == [0, 0, 0, 1, 1]
    assert batch.content.tolist() == [True, True, True, True, False]
    assert batch.ends.tolist() == [6, 8]
