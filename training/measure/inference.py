"""Checkpoints as they are served: the base model with the saved adapter on it, in the precision of this machine.

What is measured here is what was written to the disk, not what a trainer still holds in memory in another precision.
Adapters are not merged; the engine does not merge them either. A checkpoint without an adapter is a whole model.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GenerationConfig

from training.data.chat import Message, Tokenizer
from training.formats import checkpoints
from training.formats.errors import CheckpointError
from training.model import losses, models
from training.model.precision import Dtype, serving_dtype, training_dtype

START = "start"  # what the second adapter is called
ADAPTER, ADAPTER_SETTINGS = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True)
class Served:
    """Where a model comes from: `adapter` is None for a whole model, `name` and `sha256` identify it in a report.

    `sha256` is None for a base model that has no manifest.

    `aggregate` and `std_weight` say how the heads of a reward model become one reward (`losses.ensemble`).
    """

    name: str
    sha256: str | None
    base_model: str
    adapter: Path | None
    checkpoint: Path
    aggregate: Literal["min", "mean_minus_std"] = "min"
    std_weight: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """As written in a report; without its path, which means nothing on another machine."""
        return {"name": self.name, "manifest_sha256": self.sha256}


@dataclass(frozen=True)
class Sample:
    """A sampled answer; `end` is the token that closed it, None where it ran into the limit of tokens.

    Of an answer that called tools it is the last turn: `steps` are what came before it, and `before` their token ids.
    """

    ids: list[int]
    text: str
    end: int | None
    steps: list[Message] = field(default_factory=list)
    before: list[int] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the policy came to an end."""
        return self.end is not None

    @property
    def drawn(self) -> list[int]:
        """Every token that was drawn, the one that closed the answer included."""
        return self.ids if self.end is None else [*self.ids, self.end]


def served(checkpoint: Path, *kinds: str, base_model: str | None = None) -> Served:
    """Verify a checkpoint and say what it is made of; `base_model` stands in for one that has moved.

    Raises:
        CheckpointError: it is damaged, of another kind, or its base model is not there.
    """
    manifest = checkpoints.verify(checkpoint, *kinds)
    adapter = (checkpoint / ADAPTER_SETTINGS).exists()
    base = (base_model or manifest.base_model) if adapter else str(checkpoint)
    models.check_base(base)
    if adapter and not models.belongs_to(manifest, base):
        raise CheckpointError(
            f"{checkpoint} was trained on {manifest.base_model}, and {base} has other weights: set base_model to the "
            f"model it was trained on"
        )
    heads = manifest.config.get("reward") or {}
    return Served(
        name=manifest.name,
        sha256=checkpoints.manifest_sha256(checkpoint),
        base_model=base,
        adapter=checkpoint if adapter else None,
        checkpoint=checkpoint,
        aggregate=heads.get("aggregate", "min"),
        std_weight=heads.get("std_weight", 1.0),
    )


def base(base_model: str) -> Served:
    """The base model alone."""
    models.check_base(base_model)
    return Served(Path(base_model).name, None, base_model, None, Path(base_model))


class RewardModel:
    """Scores whole sequences; the heads of an ensemble answer together, in the way that they were trained for."""

    def __init__(self, source: Served, tokenizer: Tokenizer, batch_size: int) -> None:
        self._pad, self._batch_size = tokenizer.pad_token_id, batch_size
        self._aggregate, self._std_weight = source.aggregate, source.std_weight
        heads = _heads(source)
        model = _load(AutoModelForSequenceClassification, source.base_model, training_dtype(), num_labels=heads)
        head = models.ScoreHead(model.score.in_features, heads, bias=False)
        head.weight.data.copy_(model.score.weight.data)
        model.score = head.to(model.device)
        model.config.pad_token_id = self._pad
        self.model = _adapted(model, source)

    def score(self, sequences: Sequence[list[int]]) -> list[float]:
        """One reward for each sequence of token ids, in their order; what comes several times is read once."""
        keys = [tuple(sequence) for sequence in sequences]
        rewards: dict[tuple[int, ...], float] = {}
        different = sorted(set(keys), key=lambda key: (len(key), key))  # by length: little padding
        for start in range(0, len(different), self._batch_size):
            some = different[start : start + self._batch_size]
            batch = padded(some, self._pad, self.model.device)
            with torch.inference_mode():
                every = models.rewards(self.model, batch)  # [batch, length, heads]
                last = every[torch.arange(len(some)), [len(sequence) - 1 for sequence in some]]
                found = losses.ensemble(last.float(), self._aggregate, self._std_weight)
            rewards.update(zip(some, found.tolist(), strict=True))
        return [rewards[key] for key in keys]


class Policy:
    """Answers prompts, and says how likely it finds given ones."""

    def __init__(self, source: Served, tokenizer: Tokenizer, batch_size: int) -> None:
        self.tokenizer, self.batch_size = tokenizer, batch_size
        self._source = source
        self._start: Policy | None = None  # loaded where it cannot be had from these weights
        model = _load(AutoModelForCausalLM, source.base_model, serving_dtype())
        self._ends = ends_of(model, tokenizer)
        # What a base model likes to be sampled with (top_p, a penalty on repetition) would be sampled with, too.
        model.generation_config = GenerationConfig(eos_token_id=sorted(self._ends), pad_token_id=self._pad)
        self.model = _adapted(model, source)

    def sample(
        self,
        prompts: Sequence[list[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        told: Callable[[], None] = lambda: None,
    ) -> list[Sample]:
        """One answer for each prompt of token ids, in their order; greedy where the temperature is 0.

        ``told`` is called after each batch.
        """
        torch.manual_seed(seed)
        found: dict[int, Sample] = {}
        by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        for start in range(0, len(prompts), self.batch_size):
            indices = by_length[start : start + self.batch_size]
            batch = padded([prompts[index] for index in indices], self._pad, self.model.device, left=True)
            with torch.inference_mode():
                output = self.model.generate(**batch, max_new_tokens=max_new_tokens, **how)
            for index, row in zip(indices, output[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
                found[index] = self._sample(row)
            told()
        return [found[index] for index in range(len(prompts))]

    def _sample(self, row: list[int]) -> Sample:
        end = next((place for place, token in enumerate(row) if token in self._ends), None)
        ids = row if end is None else row[:end]
        return Sample(ids, self.tokenizer.decode(ids, skip_special_tokens=True), None if end is None else row[end])

    def logps(self, prompt: list[int], response: list[int]) -> Tensor:
        """Log-probabilities over the vocabulary at every token of the response: [tokens, vocabulary], float32."""
        ids = torch.tensor([prompt + response], device=self.model.device)
        with torch.inference_mode():
            logits = self.model(input_ids=ids, logits_to_keep=len(response) + 1, use_cache=False).logits
        logps: Tensor = logits[0, :-1].float().log_softmax(dim=-1)
        return logps

    @contextmanager
    def frozen(self, start: Served) -> Iterator["Policy"]:
        """A context that gives the model that this one was trained from: another adapter on these weights, or none, if it can.

        It is always the same `start`.
        """
        if self._source.adapter is None or start.base_model != self._source.base_model:
            if self._start is None:
                self._start = Policy(start, self.tokenizer, self.batch_size)
            yield self._start
        elif start.adapter is None:
            with self.model.disable_adapter():
                yield self
        else:
            if START not in self.model.peft_config:
                self.model.load_adapter(start.adapter, adapter_name=START, is_trainable=False)
                self.model.eval()
            self.model.set_adapter(START)
            try:
                yield self
            finally:
                self.model.set_adapter("default")

    @property
    def _pad(self) -> int:
        return int(self.tokenizer.pad_token_id)


def ends_of(model: Any, tokenizer: Tokenizer) -> set[int]:
    """The tokens that end an answer."""
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}


def padded(sequences: Sequence[Sequence[int]], pad: int, device: Any, *, left: bool = False) -> dict[str, Tensor]:
    """Sequences as one batch for a model: `input_ids` and `attention_mask`, both [sequences, longest]."""
    side = "left" if left else "right"
    rows = [torch.tensor(sequence) for sequence in sequences]
    marks = [torch.ones_like(row) for row in rows]
    pad_sequence = torch.nn.utils.rnn.pad_sequence
    input_ids = pad_sequence(rows, batch_first=True, padding_value=pad, padding_side=side)  # [batch, length]
    attention_mask = pad_sequence(marks, batch_first=True, padding_side=side)
    return {"input_ids": input_ids.to(device), "attention_mask": attention_mask.to(device)}


def _load(factory: Any, base_model: str, dtype: Dtype, **options: Any) -> Any:
    # A report on a new score head, which is about to be filled, and loading bars would hide the lines that matter.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model = factory.from_pretrained(
            base_model, dtype=models.DTYPES[dtype], use_safetensors=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError) as error:
        raise models.unloadable(base_model, error) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _adapted(model: Any, source: Served) -> Any:
    if source.adapter is not None:
        try:
            model = PeftModel.from_pretrained(model, source.adapter, is_trainable=False)
        except (RuntimeError, ValueError) as error:  # shapes that do not fit: trained on another base model
            raise models.misfit(source.adapter, source.base_model, error) from error
    return model.eval()


def _heads(source: Served) -> int:
    """How many heads were saved, read from the header of the file."""
    if source.adapter is None:
        settings = json.loads((Path(source.base_model) / "config.json").read_text(encoding="utf-8"))
        return len(settings.get("id2label") or {"LABEL_0": 0})
    with safe_open(source.adapter / ADAPTER, framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys() if name.endswith("score.weight")]  # noqa: SIM118
    if not shapes:
        raise CheckpointError(f"{source.adapter} has no reward head: name a reward model")
    return int(shapes[0][0])
