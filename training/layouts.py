"""Which form of a pack a model reads rightly, found out before the first step.

A layer that ignores the mask of a pack, or adds it to its scores as ones and zeros, trains nonsense and says nothing: the
loss falls all the same. So the responses of a few rows go through the model alone, each behind its prompt, and then as
packs; the first form in which every predicted token has the same hidden state is taken.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from training.data import Row
from training.packing import ADDED, PLAIN, SHARED, Form, Line, alone, pack

TOLERANCE = 0.01  # of a hidden state's length; a mask that is ignored changes it by more
ROUNDING = 4.0  # times as much as rows differ by rounding that are only padded: bf16 has no better
PROMPT, RESPONSE = 24, 12  # tokens of each that are enough to see it
SAID = {
    ADDED: "adds the mask of rows that share their prompt to its scores: the mask is written as numbers",
    PLAIN: "does not see rows that share their prompt as they are: every response is a row of its own, which costs more time",
}


def form_for(model: Any, rows: Sequence[Row], pad_token_id: int) -> Form:
    """The first form that gives what the responses give alone; the caller turns off gradients and dropout.

    Args:
        model: Any that answers with hidden states.
        rows: The run's; the first few are looked at, cut short.
        pad_token_id: What fills a line.
    """
    line = _sample(rows)
    expected = torch.cat([_states(model, [single], pad_token_id, None) for [single] in alone([line])])
    limit = max(TOLERANCE, ROUNDING * _difference(_states(model, line, pad_token_id, PLAIN), expected))
    for form in (SHARED, ADDED):
        try:
            found = _states(model, line, pad_token_id, form)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError):  # a layer that cannot take such a mask at all
            continue
        if _difference(found, expected) < limit:
            return form
    return PLAIN


def _difference(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1).clamp(min=1e-6)).mean())


def _sample(rows: Sequence[Row]) -> Line:
    """Two rows in a line, of two or more responses where there are such; the longest prompts say the most."""
    ordered = sorted(rows, key=lambda row: (-min(len(row.responses), 2), -min(len(row.prompt_ids), PROMPT), row.id))
    return [_short(row) for row in ordered[:2]]


def _short(row: Row) -> Row:
    responses = tuple(
        replace(response, ids=response.ids[:RESPONSE], content=response.content[:RESPONSE])
        for response in row.responses[:3]
    )
    return replace(row, prompt_ids=row.prompt_ids[-PROMPT:], responses=responses, pairs=(), reference=())


def _states(model: Any, line: Line, pad_token_id: int, form: Form | None) -> Tensor:
    """[N, width] what the model knows where it predicts each response token; without a form, nothing but the tokens."""
    batch = pack([line], pad_token_id, form or SHARED).to(next(model.parameters()).device)
    inputs = batch.inputs if form else {"input_ids": batch.input_ids}
    found: Tensor = model(**inputs, use_cache=False, output_hidden_states=True).hidden_states[-1]
    return found.flatten(0, 1)[batch.picks].float()
