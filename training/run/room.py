"""Whether a run has room, asked before anything heavy is loaded: memory for its packs, and disk for what it writes.

Memory. What a step holds is known from the shape of the model; packs are halved until it fits, and where even small ones
do not, activations are computed twice (gradient checkpointing), which costs a third of the time. Measured, not derived,
are the two constants: how many values of a layer autograd keeps for a token, and how many the head does for a word of the
vocabulary (SmolLM2-135M on a processor; docs/training.md).

Disk. A run that fills it after an hour has taken the room of everybody else's work, too. What it writes is known before:
at most one saved state more than it keeps, and its checkpoint. The weights are counted on a model without any.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from training.data.chat import Tokenizer
from training.formats.errors import StorageError
from training.formats.settings import Run, RunConfig
from training.model import models, processes
from training.run.progress import trainer_dir

WEIGHT = 4  # bytes: what is trained is float32
ADAM = 8  # bytes: two float32 averages of each weight
SMALL_FILES = 1_000_000  # settings, random states, the white space of the tokenizer's JSON

PROCESS = 600_000_000  # bytes of Python, torch and transformers before a model is loaded
OF_HIDDEN, OF_INTERMEDIATE = 16, 9  # values that autograd keeps of a layer for a token, in widths of its two kinds
OF_VOCABULARY = 16  # bytes a word and token: logits in two precisions, their softmax and its gradient
SHARE = 0.8  # of the memory that is free: what else runs on the machine grows, too
SMALLEST = 256  # tokens: below, packs are slow
HEAD_TOKENS = 2048  # of a GPU, whose logits are held at once: enough for its head to be busy
Bytes = int


@dataclass(frozen=True)
class Shape:
    """A model as arithmetic sees it. `weights` are all, `trained` those of the adapter or all; widths are in values."""

    weights: int
    trained: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


def fit(config: Run, shape: Shape, longest: int = 0) -> Run:
    """The settings with packs that fit into memory, and with "auto" decided: what the model is run with.

    `longest` is the longest row in tokens: it is never cut, so a pass takes that many however small the packs are.
    The run's own settings stay as they are in its manifest and for its resumption: how a step is cut changes no result.
    """
    if not config.model.head_tokens and torch.cuda.is_available():
        config = replace(config, model=replace(config.model, head_tokens=HEAD_TOKENS))
    wanted = config.model.gradient_checkpointing
    free = processes.smallest(available())  # processes that share packs have to cut them alike
    for twice in (False, True) if wanted == "auto" else (wanted,):
        tokens = config.model.pack_tokens
        while True:
            model = replace(config.model, pack_tokens=tokens, gradient_checkpointing=twice)
            fitted = replace(config, model=model)
            if memory(fitted, shape, longest) <= SHARE * free:
                return fitted
            if tokens // 2 < SMALLEST or tokens <= longest:
                break
            tokens //= 2
    return fitted  # the smallest there is; the estimate may be wrong


def memory(config: RunConfig, shape: Shape, longest: int = 0) -> Bytes:
    """About what a step holds at most, where the longest row has `longest` tokens."""
    size = 2 if config.model.dtype == "bfloat16" else 4
    held = WEIGHT if config.model.trains == "all" else size
    parts = processes.count() if config.model.sharded else 1
    weights = held * shape.weights / parts
    if config.model.trains == "all":
        weights += (WEIGHT + ADAM) * shape.trained / parts
    else:  # an adapter is whole on every process
        weights += (WEIGHT + WEIGHT + ADAM) * shape.trained
    layer = size * (OF_HIDDEN * shape.hidden + OF_INTERMEDIATE * shape.intermediate)
    layers = 1 if config.model.gradient_checkpointing is True else shape.layers
    inputs = size * shape.hidden * shape.layers  # what checkpointing starts again from
    head = 0 if config.kind == "reward" else OF_VOCABULARY * shape.vocabulary
    tokens = max(config.model.pack_tokens, longest)
    logits = min(tokens, config.model.head_tokens or tokens)
    process = 0 if torch.cuda.is_available() else PROCESS
    return int(process + weights + tokens * (layer * layers + inputs) + logits * head)


def available() -> Bytes:
    """Memory that is free for this process on the device that it trains on."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (most := limit.read_text().strip()).isdigit():  # in a container
        statistics = dict(line.split() for line in used.with_name("memory.stat").read_text().splitlines())
        cached = int(statistics.get("inactive_file", 0))  # is given up before anybody is refused
        free = min(free, int(most) - int(used.read_text()) + cached)
    return free


def check(config: RunConfig, run_dir: Path, tokenizer: Tokenizer) -> None:
    """Refuse to start a run that would fill the disk.

    Raises:
        StorageError: saying how much there is, and how much it takes.
    """
    folder = trainer_dir(run_dir)
    # A run that goes on has written a part of it already.
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    needed, free = bytes_of(config, tokenizer) - there, shutil.disk_usage(run_dir).free
    if free < needed:
        raise StorageError(
            f"{run_dir} has {_mb(free)} free, and this run writes about {_mb(needed)} ({config.checkpointing.keep + 1} "
            "saved states and the checkpoint): free some space, then start the run again"
        )


def bytes_of(config: RunConfig, tokenizer: Tokenizer) -> Bytes:
    """About what a run writes at most: while it saves a state, the ones that it keeps are still there."""
    beside = len(tokenizer.backend_tokenizer.to_str().encode()) + SMALL_FILES
    weights = shape_of(config).trained
    state = (WEIGHT + ADAM) * weights + beside
    return (config.checkpointing.keep + 1) * state + WEIGHT * weights + beside


def shape_of(config: RunConfig) -> Shape:
    """The model's shape, from its configuration alone; an adapter is r * (inputs + outputs) for each of its matrices.

    Raises:
        CheckpointError: the base model's configuration cannot be loaded.
        ConfigError: its layers do not see what a row needs.
    """
    try:
        settings = AutoConfig.from_pretrained(config.base_model, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(settings, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise models.unloadable(config.base_model, error) from error
    models.check_attention(settings, config)
    targets = config.lora.targets
    sides = sum(
        sum(module.weight.shape)
        for name, module in model.base_model.named_modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2
        and not isinstance(module, torch.nn.Embedding)
        and (targets == "all-linear" or name.rpartition(".")[2] in targets)
    )
    text = settings.get_text_config()
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Shape(
        weights=weights,
        trained=weights if config.model.trains == "all" else config.lora.r * int(sides),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", 4 * text.hidden_size),
        vocabulary=text.vocab_size,
    )


def _mb(size: Bytes) -> str:
    return f"{size / 1e6:,.1f} MB"
