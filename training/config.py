"""The run file: TOML in, one frozen dataclass out, JSON into the manifest.

`recipe = "laptop"` names `training/recipes/<kind>.laptop.toml`, which holds every setting; what the run file says goes
on top. A key that no setting has is refused with the nearest name that exists, because a misspelt learning rate that is
silently ignored costs a night.
"""

import difflib
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from training.backends import settings as trainers
from training.errors import ConfigError
from training.formats.rankings import Consumer, Rule
from training.formats.trainers import LossType, Trainer

RECIPES = Path(__file__).parent / "recipes"
Settings = TypeVar("Settings")
Kind = Consumer
Aggregate = Literal["min", "mean_minus_std"]


@dataclass(frozen=True)
class DataConfig:
    """Which preferences are trained on. `min_strength`: 1 marginally, 2 slightly, 3 better, 4 significantly."""

    min_strength: int
    max_length: int  # tokens of prompt and response together; longer pairs are left out, and counted
    conflicts: Rule = "majority"  # between annotators of one prompt (training/formats/rankings.py)
    latest_rounds: int = 0  # train on that many of the newest rounds; 0 on all so far
    batches: list[str] = field(default_factory=list)  # train on these; none is all
    ngram: int = 8  # words that are compared with held-out prompts (training/decontamination.py); 0 compares nothing
    overlap: float = 0.8  # share of a held-out prompt's n-grams from which on a training prompt contains it
    held_out_percent: int = 10  # of the prompts of a file that does not say its splits

    def __post_init__(self) -> None:
        _require(1 <= self.min_strength <= 4, "data.min_strength", "between 1 and 4")
        _require(self.max_length >= 16, "data.max_length", "at least 16")
        _require(self.latest_rounds >= 0 and self.ngram >= 0, "data.latest_rounds and data.ngram", "at least 0")
        _require(0.0 < self.overlap <= 1.0, "data.overlap", "above 0 and at most 1")
        _require(0 <= self.held_out_percent < 100, "data.held_out_percent", "at least 0 and below 100")


@dataclass(frozen=True)
class ModelConfig:
    """How the model is held in memory, and how much of it is trained.

    A run file may say `dtype = "auto"`; what stands here is what was chosen, so that the manifest says what was computed.
    What is trained is float32 in either case: the adapter and the reward head, or all weights under bfloat16 products.
    `pack_tokens` and `gradient_checkpointing` change speed and memory only. Packs are made smaller, and activations
    computed twice where that is "auto", when memory asks for it (training/room.py).
    """

    dtype: Literal["bfloat16", "float32"]
    gradient_checkpointing: Literal["auto", True, False]
    trains: Literal["adapter", "all"] = "adapter"
    pack_tokens: int = 2048  # of one forward pass, padding included
    sharded: bool = False  # spread over the processes of `accelerate launch` instead of whole on each

    def __post_init__(self) -> None:
        _require(self.pack_tokens >= 16, "model.pack_tokens", "at least 16")


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
    """The reward model's loss (training/losses.py) and its heads.

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

    `loss_type` is one of training/losses.py or, where TRL trains, one of TRL's (formats/trainers.py). `label_smoothing`
    is the least probability with which `robust` takes a judgement to be wrong; where annotators disagreed it is the share
    of them who saw it the other way round.
    """

    beta: float
    nll_weight: float
    mask_format_tokens: bool
    loss_type: LossType = "sigmoid"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _require(self.beta > 0, "dpo.beta", "above 0")
        _require(self.nll_weight >= 0, "dpo.nll_weight", "at least 0")
        _require(0.0 <= self.label_smoothing <= 0.4, "dpo.label_smoothing", "at least 0 and at most 0.4")


@dataclass(frozen=True)
class EvaluationConfig:
    """Held-out evaluation: before, after, and every `every_steps` steps in between (0: not in between).

    The steps between two are made more where evaluating would cost more than `share` of the work of training (pace.py).
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
    """How often the state of the run is saved, so that a killed run can go on."""

    save_steps: int
    keep: int

    def __post_init__(self) -> None:
        _require(self.save_steps >= 1, "checkpointing.save_steps", "at least 1")
        # The newest is not trusted until its manifest is written, so the one before it must still be there.
        _require(self.keep >= 2, "checkpointing.keep", "at least 2")


@dataclass(frozen=True)
class RunConfig:
    """One training run. Paths are absolute, except a `base_model` that is a hub id. See the module docstring."""

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
    trainer: Trainer = "corral"  # a run file may say "auto"; what stands here is who trains
    reward: RewardSettings | None = None
    dpo: DpoSettings | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**32, "seed", "at least 0 and below 2^32")
        tables = {"reward": self.reward, "dpo": self.dpo}
        if any(table is not None for kind, table in tables.items() if kind != self.kind):
            raise ConfigError(f"a {self.kind} run has no settings of the other kind: remove that table from the file")
        if self.kind in tables and tables[self.kind] is None:
            raise ConfigError(f"the table [{self.kind}] is missing from the recipe: add it")
        if self.parent_adapter and self.model.trains == "all":
            raise ConfigError(
                '"model.trains" is "all", but a parent adapter is continued as one: set base_model instead'
            )
        trainers.check(self)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON types, as they stand in a checkpoint's manifest."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}


# What may change between two starts of a run: it learns the same, or the machine decides (dtype). The data and the models are
# known by their hashes.
FREE = ("recipe", "output", "cache", "snapshot", "base_model", "parent_adapter", "evaluation.", "checkpointing.",
        "model.dtype", "model.pack_tokens", "model.gradient_checkpointing")  # fmt: skip


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
            yield from _flat(value, _join(where, key))
        else:
            yield _join(where, key), value


def load(path: Path, kind: Kind) -> RunConfig:
    """Read a run file for `kind`.

    Raises:
        ConfigError: naming the setting and what it may be.
    """
    run = _read(path)
    if run.setdefault("kind", kind) != kind:
        raise ConfigError(f'{path}: kind is "{run["kind"]}", but this is training.{kind}: run training.{run["kind"]}')
    name = run.setdefault("recipe", "laptop")
    recipe = RECIPES / f"{kind}.{name}.toml"
    if not recipe.is_file():
        known = sorted(file.name.split(".")[1] for file in RECIPES.glob(f"{kind}.*.toml"))
        raise ConfigError(f'{path}: there is no recipe "{name}", use one of: {", ".join(known)}')
    for other in ({"reward", "dpo"} - {kind}) & run.keys():
        raise ConfigError(f"{path}: a {kind} run has no table [{other}]: remove it")
    merged = _merge(_read(recipe), run)
    if isinstance(merged.get("model"), dict) and merged["model"].get("dtype") == "auto":
        from training.precision import training_dtype  # brings torch, which a run file alone does not need

        merged["model"] = merged["model"] | {"dtype": training_dtype()}
    _choose_rate(merged)
    trainers.settle(merged, run)
    merged.setdefault("cache", "../cache")  # beside the run's folder, so that the next night's run finds it
    for key in ("snapshot", "output", "parent_adapter", "cache"):
        if isinstance(merged.get(key), str):
            merged[key] = (path.parent / merged[key]).resolve()
    _resolve_base(path, merged)
    try:
        config: RunConfig = _build(RunConfig, merged, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def _choose_rate(table: dict[str, Any]) -> None:
    """Take the learning rate of what is trained, where the recipe has one for adapters and one for all weights."""
    optim, model = table.get("optim"), table.get("model")
    if isinstance(optim, dict) and isinstance(model, dict) and isinstance(optim.get("learning_rate"), dict):
        rates = optim["learning_rate"]
        table["optim"] = optim | {"learning_rate": rates.get(model.get("trains", "adapter"), rates)}


def load_as(cls: type[Settings], path: Path) -> Settings:
    """Read the file of a tool that has no recipe into the dataclass `cls`; paths in it are relative to the file.

    Raises:
        ConfigError: naming the setting and what it may be.
    """
    table = _read(path)
    for name, hint in get_type_hints(cls).items():
        value = table.get(name)
        if Path in (hint, *get_args(hint)) and isinstance(value, str):
            table[name] = (path.parent / value).resolve()
        if hint == list[Path] and isinstance(value, list):
            table[name] = [(path.parent / item).resolve() if isinstance(item, str) else item for item in value]
    _resolve_base(path, table)
    try:
        settings: Settings = _build(cls, table, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return settings


def _resolve_base(path: Path, table: dict[str, Any]) -> None:
    """A base model is a folder, relative to the run file, or an id on the hub; what looks like a path is one."""
    base = table.get("base_model")
    if base == "":
        raise ConfigError(f'{path}: "base_model" is empty: give the folder of a model, or its id on the hub')
    if isinstance(base, str) and ((path.parent / base).exists() or base.startswith((".", "~")) or base.count("/") > 1):
        table["base_model"] = str((path.parent / Path(base).expanduser()).resolve())


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: give the path of a run file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give the path of a run file") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML ({error}): correct that line") from None


def _merge(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = defaults | given
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(given.get(key), dict):
            merged[key] = value | given[key]
    return merged


def _build(cls: Any, table: Any, where: str) -> Any:
    """Make the dataclass `cls` out of a TOML table, checking names and types all the way down."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table")
    hints = get_type_hints(cls)
    for key in table:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0)[0]
            raise ConfigError(f'there is no setting "{_join(where, key)}", did you mean "{_join(where, near)}"?')
    for setting in fields(cls):
        if setting.name not in table and setting.default is MISSING and setting.default_factory is MISSING:
            raise ConfigError(f'the setting "{_join(where, setting.name)}" is missing: add it')
    return cls(**{key: _convert(hints[key], value, _join(where, key)) for key, value in table.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    if get_origin(hint) is Literal:
        if value not in choices:
            raise ConfigError(f'"{where}" is {value!r}, but must be one of {", ".join(map(repr, choices))}')
        return value
    for choice in choices if choices and get_origin(hint) is not list else [hint]:
        if hasattr(choice, "__dataclass_fields__"):
            return _build(choice, value, where)
        if choice is float and type(value) is int:
            return float(value)
        if type(value) is choice or (choice is Path and isinstance(value, Path)):
            return value
        if get_origin(choice) is list and isinstance(value, list):
            [item] = get_args(choice)
            return [_convert(item, each, where) for each in value]
    raise ConfigError(f'"{where}" is {value!r}, which is not of type {getattr(hint, "__name__", hint)}')


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _require(holds: bool, name: str, rule: str) -> None:  # noqa: FBT001  a condition is what it is given
    if not holds:
        raise ConfigError(f'"{name}" must be {rule}')
