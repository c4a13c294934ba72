"""The settings of a run: one frozen dataclass, whose tables are dataclasses, JSON in the manifest.

They stand below everything that trains, so that data, model and measuring can ask them; what reads them out of a file is
`training/run/config.py`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from training.formats import mix
from training.formats.errors import ConfigError
from training.formats.rankings import Consumer, Rule
from training.formats.trainers import ODDS, OWN, UNPAIRED, LossType, Trainer, class_of

Kind = Consumer
MOST_WEIGHT = 10.0
"""Of a source: more epochs than that of the same rows are learnt by heart."""
Aggregate = Literal["min", "mean_minus_std"]


@dataclass(frozen=True)
class DataConfig:
    """Which preferences are trained on. `min_strength`: 1 marginally, 2 slightly, 3 better, 4 significantly."""

    min_strength: int
    max_length: int  # tokens of prompt and response together; longer pairs are left out, and counted
    conflicts: Rule = "majority"  # between annotators of one prompt (training/formats/rankings.py)
    latest_rounds: int = 0  # train on that many of the newest rounds; 0 on all so far
    newest_weight: float = 1.0  # of what was judged in the newest round; anything older counts once
    newest_after: int | None = (
        None  # of the newest round are annotations after this one; None: by the number of the round
    )
    batches: list[str] = field(default_factory=list)  # train on these; none is all
    leave_out: list[str] = field(default_factory=list)  # checkpoints whose answers may not be learnt from
    ngram: int = (
        8  # words that are compared with held-out prompts (training/data/decontamination.py); 0 compares nothing
    )
    overlap: float = 0.8  # share of a held-out prompt's n-grams from which on a training prompt contains it
    held_out_percent: int = 10  # of the prompts of a file that does not say its splits
    mix: dict[str, float] = field(
        default_factory=dict
    )  # shares of the tokens that are wanted (training/formats/mix.py)

    def __post_init__(self) -> None:
        _require(1 <= self.min_strength <= 4, "data.min_strength", "between 1 and 4")
        _require(self.max_length >= 16, "data.max_length", "at least 16")
        _require(self.latest_rounds >= 0 and self.ngram >= 0, "data.latest_rounds and data.ngram", "at least 0")
        _require(0 < self.newest_weight < math.inf, "data.newest_weight", "above 0, and a number")
        _require(0.0 < self.overlap <= 1.0, "data.overlap", "above 0 and at most 1")
        _require(0 <= self.held_out_percent < 100, "data.held_out_percent", "at least 0 and below 100")
        mix.check(self.mix)


@dataclass(frozen=True)
class ModelConfig:
    """How the model is held in memory, and how much of it is trained.

    A run file may say `dtype = "auto"`; what stands here is what was chosen, so that the manifest says what was computed.
    What is trained is float32 in either case: the adapter and the reward head, or all weights under bfloat16 products.
    All but `dtype`, `trains` and `sharded` change speed and memory only. Packs are made smaller, and activations
    computed twice where that is "auto", when memory asks for it (training/run/room.py).
    """

    dtype: Literal["bfloat16", "float32"]
    gradient_checkpointing: Literal["auto", True, False]
    trains: Literal["adapter", "all"] = "adapter"
    pack_tokens: int = 2048  # of one forward pass, padding included
    sharded: bool = False  # spread over the processes of `accelerate launch` instead of whole on each
    attention: Literal["auto", "dense"] = "auto"  # masks: blocks of FlexAttention on a GPU, or always whole
    head_tokens: int = 0  # response tokens whose logits are held at once; 0: as many as suit the device
    compile: bool = False  # each layer, on a GPU

    def __post_init__(self) -> None:
        _require(self.pack_tokens >= 16, "model.pack_tokens", "at least 16")
        _require(self.head_tokens >= 0, "model.head_tokens", "at least 0")


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (Hu et al., arXiv 2106.09685). vLLM serves what its `--max-lora-rank` allows."""

    r: int
    alpha: int
    dropout: float
    targets: str | list[str]  # "all-linear" or names of modules

    def __post_init__(self) -> None:
        _require(self.r >= 1 and self.alpha >= 1, "lora.r and lora.alpha", "at least 1")
        _require(0.0 <= self.dropout < 1.0, "lora.dropout", "at least 0 and below 1")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW. `batch_size` rows (prompts with all their responses) make one step, on all processes together.

    A recipe may give a `learning_rate` for adapters and one for all weights, because an adapter wants ten to twenty times
    as much; what stands here is the one for `model.trains`.
    """

    learning_rate: float
    epochs: float
    max_steps: int  # -1: as many as the epochs give
    batch_size: int
    warmup_steps: int
    schedule: Literal["constant_with_warmup", "cosine", "linear"]
    weight_decay: float
    max_grad_norm: float

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "optim.learning_rate", "above 0")
        _require(self.epochs > 0, "optim.epochs", "above 0")
        _require(self.max_steps == -1 or self.max_steps >= 1, "optim.max_steps", "-1 or at least 1")
        _require(self.batch_size >= 1, "optim.batch_size", "at least 1")
        _require(self.warmup_steps >= 0, "optim.warmup_steps", "at least 0")
        _require(self.weight_decay >= 0, "optim.weight_decay", "at least 0")
        _require(self.max_grad_norm >= 0, "optim.max_grad_norm", "at least 0 (0 clips nothing)")


@dataclass(frozen=True)
class RewardSettings:
    """The reward model's loss (training/model/losses.py) and its heads.

    `margins` are those of Llama 2, by strength from 1 to 4; none are used in Llama 3. Several `heads` on one trunk are an
    ensemble that answers with the lowest reward, or the mean less `std_weight` standard deviations.
    """

    center_rewards: float
    margins: list[float] = field(default_factory=list)
    heads: int = 1
    aggregate: Aggregate = "min"
    std_weight: float = 1.0

    def __post_init__(self) -> None:
        _require(self.center_rewards >= 0, "reward.center_rewards", "at least 0")
        _require(len(self.margins) in (0, 4), "reward.margins", "empty or four numbers, for strength 1 to 4")
        _require(self.heads >= 1, "reward.heads", "at least 1")
        _require(self.std_weight >= 0, "reward.std_weight", "at least 0")


@dataclass(frozen=True)
class DpoSettings:
    """Rafailov et al., arXiv 2305.18290, with the two additions of Llama 3 (arXiv 2407.21783, 4.1.4).

    `loss_type` is one of training/model/losses.py or, where TRL trains, one of TRL's (training/formats/trainers.py).
    `label_smoothing` is the least probability with which `robust` takes a judgement to be wrong; where annotators disagreed
    it is the share of them who saw it the other way round.
    """

    beta: float
    nll_weight: float
    mask_format_tokens: bool
    loss_type: LossType = "sigmoid"
    label_smoothing: float = 0.0
    verifier_pairs: bool = False  # learn from pairs of a right and a wrong answer, too, beside what people preferred

    def __post_init__(self) -> None:
        _require(self.beta > 0, "dpo.beta", "above 0")
        _require(self.nll_weight >= 0, "dpo.nll_weight", "at least 0")
        _require(0.0 <= self.label_smoothing <= 0.4, "dpo.label_smoothing", "at least 0 and at most 0.4")


@dataclass(frozen=True)
class EvaluationConfig:
    """Held-out evaluation: before, after, and every `every_steps` steps in between (0: not in between).

    The steps between two are made more where evaluating would cost more than `share` of the work of training
    (training/run/pace.py).
    """

    every_steps: int
    max_pairs: int
    share: float = 0.2

    def __post_init__(self) -> None:
        _require(self.every_steps >= 0, "evaluation.every_steps", "at least 0")
        _require(self.max_pairs >= 1, "evaluation.max_pairs", "at least 1")
        _require(0.0 < self.share <= 1.0, "evaluation.share", "above 0 and at most 1")


@dataclass(frozen=True)
class CheckpointingConfig:
    """How often the state of the run is saved, so that a killed run can resume."""

    save_steps: int
    keep: int

    def __post_init__(self) -> None:
        _require(self.save_steps >= 1, "checkpointing.save_steps", "at least 1")
        # The newest is not trusted until its manifest is written, so the one before it must still be there.
        _require(self.keep >= 2, "checkpointing.keep", "at least 2")


@dataclass(frozen=True)
class SourceConfig:
    """A file that a run learns from beside its snapshot (training/data/beside.py).

    A run file may leave `sha256` out: what stands here is what the file is.
    """

    name: str
    path: Path
    weight: float  # how many times an epoch has each of its rows; a fraction takes that share of them
    sha256: str
    origin: str = "other_task"  # what the mix calls it: human, other_task or synthetic

    def __post_init__(self) -> None:
        _require(bool(self.name), "sources.name", "a name")
        _require(0 <= self.weight <= MOST_WEIGHT, "sources.weight", f"at least 0 and at most {MOST_WEIGHT:g}")
        _require(self.origin in mix.ORIGINS, "sources.origin", f"one of {', '.join(mix.ORIGINS)}")

    def to_json(self) -> dict[str, Any]:
        """What makes two the same, wherever the file lies."""
        return {"name": self.name, "origin": self.origin, "weight": self.weight, "sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings of every run. Paths are absolute, except a `base_model` that is a hub id.

    A run is one of `RewardRun`, `SftRun` and `DpoRun`, told apart by `kind`; each has the table of its own kind and no other.
    """

    kind: Kind
    recipe: str
    name: str
    seed: int
    snapshot: Path
    base_model: str
    output: Path
    data: DataConfig
    model: ModelConfig
    lora: LoraSettings
    optim: OptimConfig
    evaluation: EvaluationConfig
    checkpointing: CheckpointingConfig
    cache: Path  # what nights have in common: log-probabilities of references
    parent_adapter: Path | None = None
    sources: list[SourceConfig] = field(default_factory=list)  # learnt from, too; never measured on
    unseen: Path | None = None  # a snapshot whose held-out prompts no source may repeat; beside that of `snapshot`
    trainer: Trainer = "corral"  # a run file may say "auto"; what stands here is who trains

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**32, "seed", "at least 0 and below 2^32")
        names = [source.name for source in self.sources]
        _require(len(names) == len(set(names)), "sources.name", "different for each source")
        if self.parent_adapter and self.model.trains == "all":
            raise ConfigError(
                '"model.trains" is "all", but a parent adapter is continued as one: set base_model instead'
            )
        if self.trainer == "trl":
            if self.model.sharded:
                raise ConfigError(f"{self.trl_class} does not shard weights as Corral does: set model.sharded = false")
            self.refuse_what_trl_has_not()

    @property
    def loss_type(self) -> LossType | None:
        """Which of several losses is trained; None where its kind has one."""
        return None

    @property
    def pairs_of_verifiers(self) -> Path | None:
        """A file of pairs that no person stated, where a run learns from those as well."""
        return None

    @property
    def trl_class(self) -> str:
        """Who trains it where TRL does, as sentences say it."""
        return f"TRL's {class_of(self.kind, self.loss_type)}"

    def refuse_what_trl_has_not(self) -> None:
        """TRL has one mask for all terms of a loss, no weights and no ensemble.

        Raises:
            ConfigError: naming the setting and what to do about it.
        """

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON types, as they stand in a checkpoint's manifest; the table of another kind is null there."""
        told = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}
        tables = {table: told.pop(table, None) for table in TABLES}
        return told | tables | {"sources": [source.to_json() for source in self.sources]}


@dataclass(frozen=True, kw_only=True)
class RewardRun(RunConfig):
    """A run that trains a reward model."""

    kind: Literal["reward"] = "reward"
    reward: RewardSettings

    def refuse_what_trl_has_not(self) -> None:
        """No ensemble; see the base."""
        if self.reward.heads > 1:
            raise ConfigError(
                f'{self.trl_class} has one head: set reward.heads = 1, or trainer = "corral" for an ensemble'
            )


@dataclass(frozen=True, kw_only=True)
class SftRun(RunConfig):
    """A run that fine-tunes a policy on good responses; it has no settings beside those of every run."""

    kind: Literal["sft"] = "sft"


@dataclass(frozen=True, kw_only=True)
class DpoRun(RunConfig):
    """A run that trains a policy on preferences."""

    kind: Literal["dpo"] = "dpo"
    dpo: DpoSettings
    verified: Path | None = None  # pairs of sampled answers that passed checks and failed them (training/selection.py)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trainer == "corral" and self.loss_type not in OWN:
            raise ConfigError(
                f'"dpo.loss_type" is {self.loss_type!r}, which Corral has not (it has {", ".join(sorted(OWN))}): '
                'set trainer = "trl"'
            )

    @property
    def pairs_of_verifiers(self) -> Path | None:
        """The file of them, where they are learnt from."""
        return self.verified if self.dpo.verifier_pairs else None

    @property
    def loss_type(self) -> LossType:
        """That of its table."""
        return self.dpo.loss_type

    def refuse_what_trl_has_not(self) -> None:
        """No second mask, and no term beside a loss that has none; see the base."""
        loss = self.loss_type
        if self.dpo.mask_format_tokens:
            raise ConfigError(
                f"{self.trl_class} has one mask for all terms of a loss: set dpo.mask_format_tokens = false"
                + (', or trainer = "corral"' if loss in OWN else "")
            )
        if self.dpo.nll_weight and loss in UNPAIRED | ODDS:
            own = "has no such term" if loss in UNPAIRED else "has its own, of weight 1"
            raise ConfigError(
                f"dpo.nll_weight is {self.dpo.nll_weight}, but {self.trl_class} {own}: set dpo.nll_weight = 0"
            )
        if loss == "exo_pair" and self.dpo.label_smoothing == 0:
            raise ConfigError("the loss exo_pair divides by dpo.label_smoothing: set it above 0, the paper has 0.001")


Run = TypeVar("Run", bound=RunConfig)
RUNS: Mapping[Kind, type[RewardRun | SftRun | DpoRun]] = {"reward": RewardRun, "sft": SftRun, "dpo": DpoRun}
TABLES = ("reward", "dpo")
"""The tables that runs of one kind have."""


# What may change between two starts of a run: it learns the same, or the machine decides (dtype). The data and the models are
# known by their hashes.
FREE = ("recipe", "output", "cache", "snapshot", "unseen", "verified", "base_model", "parent_adapter", "evaluation.",
        "checkpointing.", "model.dtype", "model.pack_tokens", "model.gradient_checkpointing",
        "model.attention", "model.head_tokens", "model.compile")  # fmt: skip


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The settings, as `to_json` gives them, that would make a run learn something else, each with both values.

    A setting that only one side has came or went with a version of this package, and says nothing.
    """
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{name} was {old[name]}, is {value}"
        for name, value in new.items()
        if name in old and old[name] != value and not name.startswith(FREE)
    ]


def _flat(table: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, join(where, key))
        else:
            yield join(where, key), value


def join(where: str, key: str) -> str:
    """The name of a setting as sentences say it: `data.min_strength`."""
    return f"{where}.{key}" if where else key


def _require(holds: bool, name: str, rule: str) -> None:  # noqa: FBT001  a condition is what it is given
    if not holds:
        raise ConfigError(f'"{name}" must be {rule}')
