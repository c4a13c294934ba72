"""Which form of a pack a model reads rightly, found out before the first step.

A layer that ignores the mask of a pack, or adds it to its scores as ones and zeros, trains nonsense and says nothing: the
loss falls all the same. So the responses of a few rows go through the model alone, each behind its prompt, and then as
packs; the first form in which every predicted token has the same hidden state is taken.

How much memory and time a run takes depends on the form, and is asked before any weights are loaded. It is a matter of the
layers' code and not of what they learnt, so a small model of the same kind, drawn at random, tells it (`expected`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from training.data.rows import Row
from training.model import processes
from training.model.packing import ADDED, BLOCKS, PLAIN, SHARED, Form, Line, Pack, alone, pack

TOLERANCE = 0.01  # of a hidden state's length; a mask that is ignored changes it by more
ROUGH = 0.03  # the same where products have eight bits: an expert that is chosen otherwise is no mask that is ignored
ROUNDING = 4.0  # times as much as rows differ by rounding that are only padded: bf16 has no better
PROMPT, RESPONSE = 24, 12  # tokens of each that are enough to see it
FLEX = "flex_attention"  # as transformers calls it
LAYERS, WORDS = 2, 512  # of a small model that stands for the one whose weights are not there
SAID = {
    ADDED: "adds the mask of rows that share their prompt to its scores: the mask is written as numbers",
    PLAIN: "cannot process rows that share their prompt: every response becomes its own row, which takes more time",
}


def form_for(model: Any, rows: Sequence[Row], pad_token_id: int, *, blocks: bool = False) -> Form:
    """The first form that gives what the responses give alone; the caller turns off gradients and dropout.

    Args:
        model: Any that answers with hidden states.
        rows: The run's; the first few are looked at, cut short.
        pad_token_id: What fills a line.
        blocks: Whether FlexAttention may compute it, which the model is then left with.
    """
    line = _sample(rows)
    expected = torch.cat([_states(model, [single], pad_token_id, None) for [single] in alone([line])])
    weight = next(model.parameters())
    rough = weight.dtype != torch.float32 or torch.is_autocast_enabled(weight.device.type)
    limit = max(
        ROUGH if rough else TOLERANCE, ROUNDING * _difference(_states(model, line, pad_token_id, PLAIN), expected)
    )
    own = getattr(model.config, "_attn_implementation", None)
    for form in (BLOCKS, SHARED, ADDED) if blocks else (SHARED, ADDED):
        try:
            if blocks:
                model.set_attn_implementation(FLEX if form == BLOCKS else own)
            found = _states(model, line, pad_token_id, form)
        except torch.OutOfMemoryError:
            raise
        except (
            AttributeError,
            ImportError,
            RuntimeError,
            TypeError,
            ValueError,
        ):  # a layer that cannot take such a mask
            continue
        # Sharded weights come together in every forward pass: all processes have to make the same ones.
        if processes.agreed(_difference(found, expected) < limit):
            return form
    return PLAIN


def sample(rows: Sequence[Row], pad_token_id: int, form: Form) -> Pack:
    """The same few rows as a pack."""
    return pack([_sample(rows)], pad_token_id, form)


def expected(base_model: str, rows: Sequence[Row], pad_token_id: int) -> Form:
    """What `form_for` will find, said without the weights; `SHARED` where no small model of this kind can be made.

    Raises:
        OSError, ValueError: the configuration of the base model cannot be read.
    """
    settings = AutoConfig.from_pretrained(base_model, trust_remote_code=False)
    line = [_in_words(row) for row in _sample(rows)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        try:
            model = AutoModelForCausalLM.from_config(_small(settings), trust_remote_code=False).float().eval()
            return form_for(model, line, pad_token_id % WORDS)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):  # no two kinds fail alike
            return SHARED


def _small(settings: Any) -> Any:
    """The same kinds of layers, as few as show all of them, and few words; their width is the model's."""
    text = settings.get_text_config()
    kinds = list(getattr(text, "layer_types", None) or ())
    layers = max([LAYERS, *(kinds.index(kind) + 1 for kind in set(kinds))])
    if layers < text.num_hidden_layers:
        text.num_hidden_layers = layers
        if kinds:
            text.layer_types = kinds[:layers]
    text.vocab_size = WORDS
    text.pad_token_id = 0
    return settings


def _in_words(row: Row) -> Row:
    """The same lengths, in the words that a small model has."""
    responses = tuple(replace(response, ids=[token % WORDS for token in response.ids]) for response in row.responses)
    return replace(row, prompt_ids=[token % WORDS for token in row.prompt_ids], responses=responses)


def _difference(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1).clamp(min=1e-6)).mean())


def _sample(rows: Sequence[Row]) -> Line:
    """Two rows in a line, of two or more responses where there are such; the longest prompts say the most."""
    ordered = sorted(rows, key=lambda row: (-min(len(row.responses), 2), -min(len(row.prompt_ids), PROMPT), row.id))
    return [_short(row) for row in ordered[:2]]


def _short(row: Row) -> Row:
    responses = tuple(
        replace(response, ids=response.ids[:RESPONSE], content=response.content[:RESPONSE], given=[])
        for response in row.responses[:3]
    )
    return replace(row, prompt_ids=row.prompt_ids[-PROMPT:], responses=responses, pairs=(), reference=())


def _states(model: Any, line: Line, pad_token_id: int, form: Form | None) -> Tensor:
    """[N, width] what the model knows where it predicts each response token; without a form, nothing but the tokens."""
    batch = pack([line], pad_token_id, form or SHARED).to(next(model.parameters()).device)
    inputs = batch.inputs if form else {"input_ids": batch.input_ids}
    found: Tensor = model(**inputs, use_cache=False, output_hidden_states=True).hidden_states[-1]
    return found.flatten(0, 1)[batch.picks].float()
