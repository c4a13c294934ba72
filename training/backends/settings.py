"""Which trainer a run file asks for, and what of its settings that trainer has not.

TRL has one mask for all terms of a loss, no weights and no ensemble. What a recipe says of these for Corral's trainers is
taken back where TRL trains; what the run file itself says is refused, so that the manifest says what was computed.
"""

from typing import TYPE_CHECKING, Any

from training.errors import ConfigError
from training.formats.trainers import ODDS, OWN, UNPAIRED, chosen, class_of

if TYPE_CHECKING:
    from training.config import RunConfig


def settle(merged: dict[str, Any], said: dict[str, Any]) -> None:
    """Put the trainer in the place of "auto"; `merged` is the recipe under the run file, `said` the run file alone."""
    dpo = merged.get("dpo")
    loss = str(dpo.get("loss_type", "sigmoid")) if isinstance(dpo, dict) else None
    merged["trainer"] = chosen(merged.get("trainer", "auto"), loss)
    if merged["trainer"] != "trl" or not isinstance(dpo, dict):
        return
    own = said.get("dpo")
    has_not = {"mask_format_tokens": False} | ({"nll_weight": 0.0} if loss in UNPAIRED | ODDS else {})
    merged["dpo"] = dpo | {
        name: value for name, value in has_not.items() if not isinstance(own, dict) or name not in own
    }


def check(config: "RunConfig") -> None:
    """Refuse what the trainer of a run has not.

    Raises:
        ConfigError: naming the setting and what to do about it.
    """
    loss = config.dpo.loss_type if config.dpo else None
    if config.trainer == "corral":
        if loss is not None and loss not in OWN:
            raise ConfigError(
                f'"dpo.loss_type" is {loss!r}, which Corral has not (it has {", ".join(sorted(OWN))}): set trainer = "trl"'
            )
        return
    trains = f"TRL's {class_of(config.kind, loss)}"
    if config.model.sharded:
        raise ConfigError(f"{trains} does not shard weights as Corral does: set model.sharded = false")
    if config.reward and config.reward.heads > 1:
        raise ConfigError(f'{trains} has one head: set reward.heads = 1, or trainer = "corral" for an ensemble')
    if config.dpo and config.dpo.mask_format_tokens:
        raise ConfigError(
            f"{trains} has one mask for all terms of a loss: set dpo.mask_format_tokens = false"
            + (', or trainer = "corral"' if loss in OWN else "")
        )
    if config.dpo and config.dpo.nll_weight and loss in UNPAIRED | ODDS:
        own = "has no such term" if loss in UNPAIRED else "has its own, of weight 1"
        raise ConfigError(f"dpo.nll_weight is {config.dpo.nll_weight}, but {trains} {own}: set dpo.nll_weight = 0")
    if config.dpo and loss == "exo_pair" and config.dpo.label_smoothing == 0:
        raise ConfigError("the loss exo_pair divides by dpo.label_smoothing: set it above 0, the paper has 0.001")
