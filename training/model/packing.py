"""Rows that share their prompt: the prompt once, and its responses behind it, through the model unchanged.

    tokens      p p p a a a b b        what each token sees, itself included:
    positions   0 1 2 3 4 5 3 4        of the prompt what is before it; of a response the prompt and what is before it
                                       in the same response

The mask is exact, so that a response has the hidden states that it would have alone behind its prompt, and a loss over
pairs has the gradients that it would have with every pair a row of its own (prefix sharing: arXiv 2410.20305). A prompt
of P tokens with R responses of A costs P + R*A tokens; as pairs it costs 2(P + A) for each of them.

A step of the optimizer is laid out in *packs* of at most `budget` tokens, padding included. The longest row that is left
gives a pack its width, and shorter rows fill the lines up (first fit, decreasing): no attention is wider than that row
needs, and little is padding. The packs of a step are summed before the optimizer sees them, so how they are cut changes
nothing but memory and speed.

A pack carries two numbers for each place, its row and its part. What sees what follows from them (`_sees`) and is computed
on the device, when the pack is: a mask of T x T is never copied to it. Where FlexAttention runs, the mask is a list of the
blocks in which anything is seen (`BLOCKS`), and the others, more than half of the square, are not computed.

Some models add the mask to their scores instead of reading it as yes and no, and some look at none: for those it is written
as numbers (`ADDED`), or every response is a line of its own behind its prompt (`PLAIN`); `layouts.py` finds out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from training.data.rows import Row

Line = list[Row]
Form = Literal["blocks", "shared", "added", "plain"]
BLOCKS: Form = (
    "blocks"  # the mask says which blocks are seen, and what of them; FlexAttention's, which trains on GPUs only
)
SHARED: Form = "shared"  # the mask says what is seen, true or false
ADDED: Form = "added"  # the same as numbers that are added to the scores
PLAIN: Form = "plain"  # nothing is shared
BLOCK = 128  # tokens of a block's side; lines are whole blocks wide, so that few widths have to be compiled for


@dataclass(frozen=True)
class Pack:
    """One forward pass: B lines of T tokens with R responses, N response tokens and P pairs between responses."""

    input_ids: Tensor  # [B, T]
    position_ids: Tensor  # [B, T]
    rows: Tensor  # [B, T] the number of the row in its line, from 1; 0 is padding
    parts: Tensor  # [B, T] the number of the response in its row, from 1; 0 is the prompt
    picks: Tensor  # [N] places in the flattened [B * T] where a response token is predicted
    labels: Tensor  # [N] that token
    content: Tensor  # [N] bool: what was said, not a format token
    owner: Tensor  # [N] the response it belongs to
    ends: Tensor  # [R] the place of each response's last token
    share: Tensor  # [R] the weight of each response in fine-tuning
    reference: Tensor  # [R] log-probability under the reference, nats; not a number where none is known
    better: Tensor  # [P] response
    worse: Tensor  # [P] response
    weight: Tensor  # [P]
    agreement: Tensor  # [P]
    strength: Tensor  # [P]; 0 where nobody said it
    tokens: int  # without padding
    form: Form

    def to(self, device: torch.device | str) -> "Pack":
        """The same on a device; from pinned memory it is copied while the device computes."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Pack":
        """The same in memory that a GPU copies from by itself."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Pack":
        changed: dict[str, Any] = {f.name: change(getattr(self, f.name)) for f in fields(self) if f.type is Tensor}
        return replace(self, **changed)

    @property
    def attention_mask(self) -> Tensor | BlockMask:
        """What each place sees: [B, 1, T, T], query and key; bool, or float32 in the form ADDED; [B, T] in PLAIN."""
        return (self.rows > 0).long() if self.form == PLAIN else _mask(self.rows, self.parts, self.form)

    @property
    def inputs(self) -> dict[str, Any]:
        """What the model is called with."""
        return {name: getattr(self, name) for name in ("input_ids", "position_ids", "attention_mask")}

    def per_response(self, values: Tensor) -> Tensor:
        """Sums of values over the tokens of each response: [N] to [R]."""
        return values.new_zeros(len(self.ends)).index_add(0, self.owner, values)


def lay_out(rows: Sequence[Row], budget: int, form: Form = SHARED) -> list[list[Line]]:
    """The rows as packs, each a list of lines of rows; a row longer than the budget is a pack of its own."""
    if form == PLAIN:
        return _lay_out_plain(rows, budget)
    left = sorted(rows, key=lambda row: row.length, reverse=True)
    packs = []
    while left:
        width = _width(left[0].length, form)
        lines: list[Line] = [[] for _ in range(max(1, budget // width))]
        room = [width] * len(lines)
        later = []
        for row in left:
            place = next((index for index, free in enumerate(room) if row.length <= free), None)
            if place is None:
                later.append(row)
            else:
                lines[place].append(row)
                room[place] -= row.length
        packs.append([line for line in lines if line])
        left = later
    return packs


def _width(longest: int, form: Form) -> int:
    return -(-longest // BLOCK) * BLOCK if form == BLOCKS else longest


def widest(rows: Sequence[Row], form: Form) -> int:
    """Tokens of the largest row, which is never cut: with its prompt once, or where it is plain before each response."""
    return max(len(row.responses) * _longest(row) if form == PLAIN else row.length for row in rows)


def length(row: Row, form: Form) -> int:
    """Tokens of a row as it goes through the model, without padding."""
    if form == PLAIN:
        return sum(len(row.prompt_ids) + len(response.ids) for response in row.responses)
    return row.length


def _lay_out_plain(rows: Sequence[Row], budget: int) -> list[list[Line]]:
    """Rows together as long as all their responses, each as long as the longest, are within the budget."""
    packs: list[list[Line]] = []
    width = used = 0
    for row in sorted(rows, key=_longest, reverse=True):
        if not packs or (used + len(row.responses)) * width > budget:
            packs.append([])
            width, used = _longest(row), 0
        packs[-1].append([row])
        used += len(row.responses)
    return packs


def _longest(row: Row) -> int:
    return len(row.prompt_ids) + max(len(response.ids) for response in row.responses)


def pack(lines: Sequence[Line], pad_token_id: int, form: Form = SHARED) -> Pack:
    """Tensors of one pack, padded on the right."""
    laid = alone(lines) if form == PLAIN else lines
    width = _width(max(sum(row.length for row in line) for line in laid), form)
    grids = zip(*(_grid(line, width, pad_token_id) for line in laid), strict=True)
    input_ids, position_ids, rows, parts = (torch.tensor(grid) for grid in grids)
    return Pack(
        input_ids=input_ids,
        position_ids=position_ids,
        rows=rows,
        parts=parts,
        **_responses(laid, width),
        **_pairs(lines),
        tokens=sum(row.length for line in lines for row in line),
        form=form,
    )


def alone(lines: Sequence[Line]) -> list[Line]:
    """Every response as a line of its own, in the same order."""
    return [
        [replace(row, responses=(response,), reference=row.reference[number : number + 1], pairs=())]
        for line in lines
        for row in line
        for number, response in enumerate(row.responses)
    ]


def _grid(line: Line, width: int, pad_token_id: int) -> tuple[list[int], ...]:
    """Token, position, number of the row (0 is padding) and of the part (0 is the prompt), for every place of a line."""
    ids: list[int] = []
    positions: list[int] = []
    rows: list[int] = []
    parts: list[int] = []
    for number, row in enumerate(line, start=1):
        behind = len(row.prompt_ids)
        for part, tokens in enumerate((row.prompt_ids, *(response.ids for response in row.responses))):
            ids += tokens
            positions += range(behind, behind + len(tokens)) if part else range(behind)
            parts += [part] * len(tokens)
        rows += [number] * row.length
    padding = [0] * (width - len(ids))
    return ids + [pad_token_id] * len(padding), positions + padding, rows + padding, parts + padding


def _responses(lines: Sequence[Line], width: int) -> dict[str, Tensor]:
    """Where the tokens of each response are predicted, and what of them is known."""
    responses = [response for line in lines for row in line for response in row.responses]
    learnt = [response.learnt for response in responses]
    places = iter(learnt)
    picks: list[int] = []
    ends: list[int] = []
    for index, line in enumerate(lines):
        at = index * width
        for row in line:
            at += len(row.prompt_ids)
            last_of_prompt = at - 1
            for response in row.responses:
                # the token at t is predicted at t-1; what was given to the model is read, and predicted nowhere
                picks += [at + place - 1 if place else last_of_prompt for place in next(places)]
                at += len(response.ids)
                ends.append(at - 1)
    known = [value for line in lines for row in line for value in row.reference or (math.nan,) * len(row.responses)]
    return {
        "picks": torch.tensor(picks),
        "labels": torch.tensor([each.ids[at] for each, own in zip(responses, learnt, strict=True) for at in own]),
        "content": torch.tensor(
            [each.content[at] for each, own in zip(responses, learnt, strict=True) for at in own], dtype=torch.bool
        ),
        "owner": torch.repeat_interleave(torch.tensor([len(own) for own in learnt])),
        "ends": torch.tensor(ends),
        "share": torch.tensor([row.weight for line in lines for row in line for _ in row.responses]),
        "reference": torch.tensor(known),
    }


def _pairs(lines: Sequence[Line]) -> dict[str, Tensor]:
    """The pairs of all rows, their responses counted through the pack."""
    found = []
    first = 0
    for row in (row for line in lines for row in line):
        found += [(first + pair.better, first + pair.worse, pair) for pair in row.pairs]
        first += len(row.responses)
    return {
        "better": torch.tensor([better for better, _, _ in found], dtype=torch.long),
        "worse": torch.tensor([worse for _, worse, _ in found], dtype=torch.long),
        "weight": torch.tensor([pair.weight for _, _, pair in found]),
        "agreement": torch.tensor([pair.agreement for _, _, pair in found]),
        "strength": torch.tensor([pair.strength or 0 for _, _, pair in found], dtype=torch.long),
    }


def _sees(rows: Tensor, parts: Tensor) -> Callable[[Any, Any, Any, Any], Tensor]:
    """Whether in a line the place `query` sees the place `key`; indices may be numbers or tensors, heads are all alike."""

    def sees(line: Any, _head: Any, query: Any, key: Any) -> Tensor:
        row, part = rows[line, query], parts[line, key]
        same = (row == rows[line, key]) & (row > 0)
        before = ((part == 0) | (part == parts[line, query])) & (query >= key)
        seen: Tensor = (same & before) | (query == key)  # padding sees itself: a softmax over nothing is not a number
        return seen

    return sees


def _mask(rows: Tensor, parts: Tensor, form: Form) -> Tensor | BlockMask:
    """[B, T] row numbers (0 is padding) and part numbers (0 is the prompt) to the mask of a form, on their device."""
    sees, (lines, width), device = _sees(rows, parts), rows.shape, rows.device
    if form == BLOCKS:
        # Compiled, it looks at the square block by block; else it would write all of it down first.
        return create_block_mask(sees, lines, None, width, width, str(device), BLOCK, _compile=device.type == "cuda")
    line, place = torch.arange(lines, device=device)[:, None, None], torch.arange(width, device=device)
    mask = sees(line, None, place[:, None], place)[:, None]
    if form == SHARED:
        return mask
    return torch.zeros(mask.shape, device=device).masked_fill(~mask, torch.finfo(torch.float32).min)
