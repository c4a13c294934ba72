"""The base model, its tokenizer and the LoRA adapter that is trained on top of it.

Only safetensors are read and no code from a model's folder is run. Saving keeps the adapter apart from the base: merging
a short training into bf16 weights rounds much of it away (a held-out margin of 1.38 became 0.85).
"""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from training import checkpoints
from training.chat import Tokenizer
from training.config import RunConfig
from training.errors import CheckpointError

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class ScoreHead(torch.nn.Linear):
    """A reward head that stays in float32 under autocast: bf16 would round rewards near 1 to steps of 0.008."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Rewards of shape [batch, length, 1] for hidden states of shape [batch, length, width]."""
        with torch.autocast(hidden.device.type, enabled=False):
            return super().forward(hidden.float())


def check_base(base_model: str) -> None:
    """Verify a base model that is a folder: by its manifest where it has one, else that its weights are safetensors.

    Raises:
        CheckpointError: it is damaged, or holds pickled weights.
    """
    path = Path(base_model)
    if (path / checkpoints.MANIFEST).exists():
        checkpoints.verify(path, "base")
    elif path.is_dir():
        checkpoints.refuse_unsafe_weights(path)
    elif path.is_absolute():
        raise CheckpointError(f"the base model {path} does not exist: run python -m training.base_model {path}")


def load_tokenizer(base_model: str) -> Tokenizer:
    """The tokenizer of a base model, with a token to pad with."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(base_model)
    except (OSError, ValueError) as error:
        raise unloadable(base_model, error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(config: RunConfig) -> Any:
    """The causal language model of a run, with the parent adapter on it where the run names one."""
    model = _load(AutoModelForCausalLM, config)
    return _with_parent(model, config, "policy")


def load_reward_model(config: RunConfig, pad_token_id: int) -> Any:
    """The base model with a scalar head [width, 1] in the place of its language model head.

    The head is drawn from the seed of the run: the caller seeds before.
    """
    model = _load(AutoModelForSequenceClassification, config, num_labels=1)
    head = ScoreHead(model.score.in_features, 1, bias=False)
    torch.nn.init.normal_(head.weight, std=model.config.initializer_range)
    model.score = head
    model.config.pad_token_id = pad_token_id  # the head reads the last position that is not padding
    return _with_parent(model, config, "reward")


def lora(config: RunConfig) -> LoraConfig | None:
    """A fresh adapter for this run; None where it continues its parent's."""
    if config.parent_adapter is not None:
        return None
    return LoraConfig(
        task_type="SEQ_CLS" if config.kind == "reward" else "CAUSAL_LM",
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.targets,
        modules_to_save=["score"] if config.kind == "reward" else None,
    )


def save_adapter(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the trained adapter in the form that PEFT and vLLM load by path, with its tokenizer."""
    # A continued DPO run also carries the frozen copy "ref", which is the parent and already saved.
    model.save_pretrained(folder, selected_adapters=["default"])
    tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's card template with every field left blank


def _load(factory: Any, config: RunConfig, **options: Any) -> Any:
    try:
        model = factory.from_pretrained(
            config.base_model,
            dtype=DTYPES[config.model.dtype],
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError) as error:
        raise unloadable(config.base_model, error) from error
    silence_dropout(model)
    return model


def silence_dropout(model: Any, adapter: str = "") -> None:
    """Turn off the dropout of a model, or of one of its adapters, for good: it would make the reference a random one."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and name.endswith(f"lora_dropout.{adapter}" if adapter else ""):
            module.p = 0.0


def _with_parent(model: Any, config: RunConfig, kind: str) -> Any:
    if config.parent_adapter is None:
        return model
    checkpoints.verify(config.parent_adapter, kind)
    settings = json.loads((config.parent_adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if settings["r"] != config.lora.r:
        raise CheckpointError(
            f"the parent adapter {config.parent_adapter} has rank {settings['r']}, the run asks for {config.lora.r}: "
            f"set lora.r = {settings['r']}"
        )
    adapter = PeftConfig.from_pretrained(config.parent_adapter)
    adapter.lora_dropout = config.lora.dropout  # this run's, not that of the run before
    return PeftModel.from_pretrained(model, config.parent_adapter, is_trainable=True, config=adapter)


def unloadable(base_model: str, error: Exception) -> CheckpointError:
    """What a library said of a base model, in one sentence."""
    return CheckpointError(f"the base model {base_model} cannot be loaded: {str(error).strip().splitlines()[0]}")
