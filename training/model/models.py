"""The base model, its tokenizer and the LoRA adapter that is trained on top of it.

Only safetensors are read and no code from a model's folder is run. Saving keeps the adapter apart from the base: merging
a short training into bf16 weights rounds much of it away (a held-out margin of 1.38 became 0.85).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed

from training.data.chat import Tokenizer
from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.formats.errors import CheckpointError, ConfigError
from training.formats.settings import LoraSettings, ModelConfig, RewardRun, RunConfig
from training.model import sharding

SEES_ALL = {"full_attention", "sliding_attention"}  # as long as nothing is longer than the window
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class Learner(Protocol):
    """What a run says of the model that it trains."""

    @property
    def kind(self) -> str:
        """Of a reward model, `reward`."""

    @property
    def base_model(self) -> str:
        """A folder or a hub id."""

    @property
    def parent_adapter(self) -> Path | None:
        """What is trained on; None is a fresh adapter."""

    @property
    def model(self) -> ModelConfig:
        """How it is held in memory."""

    @property
    def lora(self) -> LoraSettings:
        """Of a fresh adapter."""

    @property
    def seed(self) -> int:
        """From which a fresh adapter is drawn."""


class ScoreHead(torch.nn.Linear):
    """A reward head that stays in float32 under autocast: bf16 would round rewards near 1 to steps of 0.008."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Rewards of shape [batch, length, heads] for hidden states of shape [batch, length, width]."""
        with torch.autocast(hidden.device.type, enabled=False):
            return super().forward(hidden.float())


def check_base(base_model: str) -> None:
    """Verify a base model that is a folder: by its manifest where it has one, else that its weights are safetensors.

    Raises:
        CheckpointError: it is damaged, or holds pickled weights.
    """
    path = Path(base_model)
    if (path / checkpoints.MANIFEST).exists():
        if checkpoints.verify(path, "base", "policy").kind == "policy" and (path / "adapter_config.json").exists():
            raise CheckpointError(f"{path} is an adapter, not a base model: set it as parent_adapter")
    elif path.is_dir():
        checkpoints.refuse_unsafe_weights(path)
    elif path.is_absolute():
        raise CheckpointError(
            f"the base model {path} does not exist: give the folder of a model, or create the bundled small one there "
            f"with python -m training.base_model {path}"
        )


def weights_sha256(base_model: str) -> str:
    """The identity of a base model: of its manifest where it has one, else of its files; of a hub id the commit.

    Raises:
        CheckpointError: it has none.
    """
    path = Path(base_model)
    if (path / checkpoints.MANIFEST).exists():
        return checkpoints.manifest_sha256(path)
    if path.is_dir():
        files = "".join(checkpoints.sha256(file) for file in sorted(path.glob("*.safetensors")))
        return hashlib.sha256(files.encode()).hexdigest()
    commit = getattr(AutoConfig.from_pretrained(base_model, trust_remote_code=False), "_commit_hash", None)
    if commit is None:
        raise CheckpointError(f"the base model {base_model} has no commit that identifies it: give a folder")
    return str(commit)


def belongs_to(manifest: Manifest, base_model: str) -> bool:
    """Whether an adapter was trained on these weights, wherever they are now."""
    if manifest.base_sha256 is not None:
        return manifest.base_sha256 == weights_sha256(base_model)
    named = Path(manifest.base_model)  # an older checkpoint says only where they were
    if manifest.base_model == base_model or named.resolve() == Path(base_model).resolve():
        return True
    if (named / checkpoints.MANIFEST).exists() and (Path(base_model) / checkpoints.MANIFEST).exists():
        return weights_sha256(str(named)) == weights_sha256(base_model)
    return not named.is_dir() and named.is_absolute()  # gone: the shapes of the weights will tell


def check_attention(settings: Any, config: RunConfig) -> None:
    """Refuse a base model whose layers do not see what our mask shows them; `settings` is its configuration.

    Raises:
        ConfigError: it looks through a window that is shorter than a row, or remembers without attention.
    """
    text = settings.get_text_config()
    window = getattr(text, "sliding_window", None)
    plain = {"full_attention"} if window is None or window < config.data.max_length else SEES_ALL
    kinds = set(getattr(text, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    if not kinds <= plain:
        raise ConfigError(
            f"the base model {config.base_model} has layers of {', '.join(sorted(kinds - plain))}, which do not "
            f"attend to a whole row: choose another base model" + (f", or data.max_length = {window}" if window else "")
        )


def load_tokenizer(base_model: str) -> Tokenizer:
    """The tokenizer of a base model, with a token to pad with."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(base_model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise unloadable(base_model, error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(config: Learner) -> Any:
    """The causal language model of a run, with the parent adapter on it where the run names one."""
    return _trained(_load(AutoModelForCausalLM, config), config, "policy")


def load_reward_model(config: RewardRun, pad_token_id: int) -> Any:
    """The base model with scalar heads [width, heads] in the place of its language model head.

    The heads are drawn from the seed of the run: the caller seeds before.
    """
    model = _load(AutoModelForSequenceClassification, config, num_labels=config.reward.heads)
    head = ScoreHead(model.score.in_features, config.reward.heads, bias=False)
    torch.nn.init.normal_(head.weight, std=model.config.initializer_range)
    model.score = head
    model.config.pad_token_id = pad_token_id  # the head reads the last position that is not padding
    return _trained(model, config, "reward")


def rewards(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """The rewards at every place of every line: [B, T, heads].

    By itself a classification model answers with one place a line, the last that is not a padding token: where a template
    closes a turn with that very token, it reads the place before, which nothing was trained on.
    """
    found: list[Tensor] = []
    head = next(module for name, module in model.named_modules() if name.rpartition(".")[2] == "score")
    handle = head.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        model(**inputs, use_cache=False)
    finally:
        handle.remove()
    return found[0]


def lora(config: Learner) -> LoraConfig:
    """A fresh adapter for this run."""
    return LoraConfig(
        task_type="SEQ_CLS" if config.kind == "reward" else "CAUSAL_LM",
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.targets,
        modules_to_save=["score"] if config.kind == "reward" else None,
    )


def save(model: Any, tokenizer: Tokenizer, folder: Path, weights: Any = None) -> None:
    """Write what was trained, with its tokenizer: the adapter in the form that PEFT and vLLM load by path, or the model."""
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's card template with every field left blank


def _load(factory: Any, config: Learner, **options: Any) -> Any:
    try:
        model = factory.from_pretrained(
            config.base_model,
            # Weights that are trained are float32, whatever the products are computed in: small steps vanish in bf16.
            dtype=torch.float32 if config.model.trains == "all" else DTYPES[config.model.dtype],
            use_safetensors=True,
            trust_remote_code=False,
            **options,
            **sharding.loading(config.model),
        )
    except (OSError, ValueError) as error:
        raise unloadable(config.base_model, error) from error
    silence_dropout(model)
    return model


def silence_dropout(model: Any) -> None:
    """Turn off the dropout of a base model permanently: it would make the reference a random one."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def compile_layers(model: Any, **how: Any) -> None:
    """Have each layer compiled when it is first computed: all of a kind share their code, and what is around them stays.

    Args:
        model: A language model of transformers, with or without an adapter on it; it says which its layers are.
        how: Arguments of `torch.compile`.
    """
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    for module in model.modules():
        if type(module).__name__ in kinds:
            module.compile(**how)


def _trained(model: Any, config: Learner, kind: str) -> Any:
    """The model with what a run trains: all of it, a fresh adapter, or its parent's."""
    if config.model.trains == "all":
        return model
    if config.parent_adapter is None:
        set_seed(config.seed)  # the adapter is drawn at random
        try:
            model = get_peft_model(model, lora(config))
        except ValueError as error:  # PEFT lists no names; a model's own are in its index of weights
            raise ConfigError(
                f"lora.targets {config.lora.targets!r} match no layer of {config.base_model}: {error}"
            ) from error
    else:
        model = _with_parent(model, config, config.parent_adapter, kind)
    for module in model.modules():
        # An adapter in float32 would first copy its input, which autocast then rounds back: twice the memory for nothing.
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
    return model


def _with_parent(model: Any, config: Learner, parent: Path, kind: str) -> Any:
    manifest = checkpoints.verify(parent, kind)
    adapter = PeftConfig.from_pretrained(parent)
    heads = (manifest.config.get("reward") or {}).get("heads", 1)
    for name, has, wants in (
        ("lora.r", adapter.r, config.lora.r),
        ("lora.alpha", adapter.lora_alpha, config.lora.alpha),
        ("reward.heads", heads, config.reward.heads if isinstance(config, RewardRun) else heads),
    ):
        if has != wants:
            raise CheckpointError(
                f"the parent adapter {parent} has {name} {has}, the run asks for {wants}: set {name} = {has}"
            )
    if not belongs_to(manifest, config.base_model):
        raise CheckpointError(
            f"the parent adapter {parent} was trained on {manifest.base_model}, not on the weights in "
            f"{config.base_model}: set base_model to the model it was trained on"
        )
    adapter.lora_dropout = config.lora.dropout  # this run's, not that of the run before
    try:
        return PeftModel.from_pretrained(model, parent, is_trainable=True, config=adapter)
    except (RuntimeError, ValueError) as error:
        raise misfit(parent, config.base_model, error) from error


def misfit(adapter: Path, base_model: str, error: Exception) -> CheckpointError:
    """An adapter whose shapes are those of another model."""
    return CheckpointError(
        f"the adapter {adapter} does not fit the base model {base_model}: {str(error).strip().splitlines()[0]}"
    )


def unloadable(base_model: str, error: Exception) -> CheckpointError:
    """What a library said of a base model, in one sentence."""
    return CheckpointError(f"the base model {base_model} cannot be loaded: {str(error).strip().splitlines()[0]}")
