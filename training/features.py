"""What a base model makes of responses, frozen: one vector a response, for a linear head to choose pairs by.

    python -m training.features run.toml

`run.toml`::

    base_model = "SmolLM2-135M-Instruct"
    responses = "responses.jsonl"        # one a line: prompt, tools, response
    output = "features.npy"              # [responses, width], float16, in their order

A vector is the mean of the hidden states over the response, two thirds up: the last layers foretell the next token and
little else. Wider ones than 1,024 are projected at random, the same way each time. A response that the chat template refuses,
or that is longer than `max_length` with its prompt, is cut or gets zeros: it is like no other, and nothing stops for it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoModel

from training.data import responses
from training.model import models
from training.model.precision import serving_dtype
from training.run import tool

WIDTH = 1024
DEPTH = 2 / 3
SEED = 0


@dataclass(frozen=True)
class FeaturesConfig:
    """A run file, see the module docstring."""

    base_model: str
    responses: Path
    output: Path
    batch_size: int = 8
    max_length: int = 1024  # tokens of prompt and response; of a longer one the beginning is left out


def features(config: FeaturesConfig, dry_run: bool) -> None:  # noqa: FBT001  as `tool.main` calls it
    """Read the responses, run the base model over them, write the vectors."""
    models.check_base(config.base_model)
    rows = responses.read(config.responses)
    tool.say(f"{len(rows)} responses")
    if dry_run:
        return
    tokenizer = models.load_tokenizer(config.base_model)
    model = _model(config.base_model)
    encoded = [responses.encoded(tokenizer, row, config.max_length) for row in rows]
    found = _vectors(model, encoded, int(tokenizer.pad_token_id), config.batch_size)
    draft = config.output.with_name(f".{config.output.name}")
    with draft.open("wb") as file:
        np.save(file, _narrow(found).astype(np.float16))
    draft.replace(config.output)


def _model(base_model: str) -> Any:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    dtype = models.DTYPES[serving_dtype()]
    try:
        model = AutoModel.from_pretrained(base_model, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise models.unloadable(base_model, error) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _vectors(model: Any, encoded: Sequence[tuple[list[int], int]], pad: int, batch_size: int) -> NDArray[np.float32]:
    """[responses, hidden]."""
    found = np.zeros((len(encoded), model.config.get_text_config().hidden_size), dtype=np.float32)
    order = sorted((place for place, (_, own) in enumerate(encoded) if own), key=lambda place: len(encoded[place][0]))
    for start in range(0, len(order), batch_size):
        some = order[start : start + batch_size]
        rows = [torch.tensor(encoded[place][0]) for place in some]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)  # [batch, tokens]
        seen = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        with torch.inference_mode():
            states = model(
                input_ids=ids.to(model.device), attention_mask=seen.to(model.device), output_hidden_states=True
            ).hidden_states
        layer = states[round(DEPTH * (len(states) - 1))].float()  # [batch, tokens, hidden]
        for row, place in enumerate(some):
            length, own = len(encoded[place][0]), encoded[place][1]
            found[place] = layer[row, length - own : length].mean(dim=0).cpu().numpy()
    return found


def _narrow(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most :data:`WIDTH` numbers each; distances stay about what they were (Johnson and Lindenstrauss)."""
    if vectors.shape[1] <= WIDTH:
        return vectors
    axes = np.random.default_rng(SEED).normal(size=(vectors.shape[1], WIDTH)).astype(np.float32)
    narrowed: NDArray[np.float32] = vectors @ axes / np.float32(np.sqrt(WIDTH))
    return narrowed


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", FeaturesConfig, features, sys.argv[1:]))
