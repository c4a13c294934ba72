"""Reading a run file: TOML in, the settings of `training/formats/settings.py` out.

`recipe = "laptop"` names `training/recipes/<kind>.laptop.toml`, which holds every setting; what the run file says goes
on top. A key that no setting has is refused with the nearest name that exists, because a misspelt learning rate that is
silently ignored costs a night.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints, overload

from training.formats import checkpoints
from training.formats.errors import ConfigError
from training.formats.settings import RUNS, TABLES, DpoRun, Kind, RewardRun, SftRun
from training.formats.trainers import ODDS, UNPAIRED, chosen
from training.run import tables

RECIPES = Path(__file__).parents[1] / "recipes"
Settings = TypeVar("Settings")


@overload
def load(path: Path, kind: Literal["reward"]) -> RewardRun: ...
@overload
def load(path: Path, kind: Literal["sft"]) -> SftRun: ...
@overload
def load(path: Path, kind: Literal["dpo"]) -> DpoRun: ...
@overload
def load(path: Path, kind: Kind) -> RewardRun | SftRun | DpoRun: ...
def load(path: Path, kind: Kind) -> RewardRun | SftRun | DpoRun:
    """Read a run file for `kind`.

    Raises:
        ConfigError: naming the setting and what it may be.
    """
    run = _read(path)
    if run.setdefault("kind", kind) != kind:
        raise ConfigError(f'{path}: kind is "{run["kind"]}", but this is training.{kind}: run training.{run["kind"]}')
    recipe = _recipe(kind, run.setdefault("recipe", "laptop"), path)
    for other in ({*TABLES} - {kind}) & run.keys():
        raise ConfigError(f"{path}: a {kind} run has no table [{other}]: remove it")
    merged = _merge(recipe, run)
    if isinstance(merged.get("model"), dict) and merged["model"].get("dtype") == "auto":
        from training.model.precision import training_dtype  # brings torch, which a run file alone does not need

        merged["model"] = merged["model"] | {"dtype": training_dtype()}
    _choose_rate(merged)
    _settle_trainer(merged, run)
    merged.setdefault("cache", "../cache")  # beside the run's folder, so that the next night's run finds it
    for key in ("snapshot", "output", "parent_adapter", "cache", "verified", "unseen"):
        if isinstance(merged.get(key), str):
            merged[key] = (path.parent / merged[key]).resolve()
    _settle_sources(merged, path)
    _resolve_base(path, merged)
    return tables.of(RUNS[kind], merged, path)


def _recipe(kind: str, name: str, path: Path) -> dict[str, Any]:
    recipe = RECIPES / f"{kind}.{name}.toml"
    if not recipe.is_file():
        known = sorted(file.name.split(".")[1] for file in RECIPES.glob(f"{kind}.*.toml"))
        raise ConfigError(f'{path}: there is no recipe "{name}", use one of: {", ".join(known)}')
    return _read(recipe)


def _settle_sources(merged: dict[str, Any], path: Path) -> None:
    """Paths are relative to the run file; what a source is must be known to whoever resumes, said or not."""
    sources = merged.get("sources")
    if not isinstance(sources, list):
        return
    settled: list[Any] = []
    for given in sources:
        source = dict(given) if isinstance(given, dict) else given
        if isinstance(source, dict) and isinstance(source.get("path"), str):
            source["path"] = (path.parent / source["path"]).resolve()
            if "sha256" not in source:
                source["sha256"] = _digest(source["path"], path)
        settled.append(source)
    merged["sources"] = settled


def _digest(file: Path, path: Path) -> str:
    try:
        return checkpoints.sha256(file)
    except OSError as error:
        raise ConfigError(
            f"{path}: the source {file} cannot be read ({error.strerror}): correct sources.path"
        ) from None


def _choose_rate(table: dict[str, Any]) -> None:
    """Take the learning rate of what is trained, where the recipe has one for adapters and one for all weights."""
    optim, model = table.get("optim"), table.get("model")
    if isinstance(optim, dict) and isinstance(model, dict) and isinstance(optim.get("learning_rate"), dict):
        rates, trains = optim["learning_rate"], model.get("trains", "adapter")
        table["optim"] = optim | {"learning_rate": rates.get(trains, rates) if isinstance(trains, str) else rates}


def _settle_trainer(merged: dict[str, Any], said: dict[str, Any]) -> None:
    """Put the trainer in the place of "auto"; `merged` is the recipe under the run file, `said` the run file alone.

    What a recipe says for Corral's trainers is taken back where TRL, which has it not, trains; what the run file itself says
    is refused (`check_trainer`), so that the manifest says what was computed.
    """
    dpo = merged.get("dpo")
    loss = str(dpo.get("loss_type", "sigmoid")) if isinstance(dpo, dict) else None
    merged["trainer"] = chosen(merged.get("trainer", "auto"), loss)
    if merged["trainer"] != "trl" or not isinstance(dpo, dict):
        return
    has_not: dict[str, dict[str, Any]] = {"dpo": {"mask_format_tokens": False}, "data": {"newest_weight": 1.0}}
    if loss in UNPAIRED | ODDS:
        has_not["dpo"]["nll_weight"] = 0.0
    for table, values in has_not.items():
        own, whole = said.get(table), merged.get(table)
        if isinstance(whole, dict):
            merged[table] = whole | {
                name: value for name, value in values.items() if not isinstance(own, dict) or name not in own
            }


def load_as(cls: type[Settings], path: Path) -> Settings:
    """Read the file of a tool into the dataclass `cls`; paths in it are relative to the file.

    A tool has no recipe, but where `cls` has the setting `recipe` and the file says one.

    Raises:
        ConfigError: naming the setting and what it may be.
    """
    table = _read(path)
    if table.get("recipe") and "recipe" in get_type_hints(cls):
        table = _merge(_recipe(getattr(cls, "kind", ""), table["recipe"], path), table)
    for name, hint in get_type_hints(cls).items():
        value = table.get(name)
        if Path in (hint, *get_args(hint)) and isinstance(value, str):
            table[name] = (path.parent / value).resolve()
        if hint == list[Path] and isinstance(value, list):
            table[name] = [(path.parent / item).resolve() if isinstance(item, str) else item for item in value]
    _resolve_base(path, table)
    return tables.of(cls, table, path)


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
