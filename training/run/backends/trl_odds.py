"""TRL's ORPOTrainer. TRL calls it experimental: it may change with every version, and ours is held to one."""

import warnings
from typing import Any

from training.run.backends.handed import Handed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the sentence above
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

__all__ = ["ORPOConfig", "Odds"]


class Ready(list[dict[str, Any]]):
    """Examples that nothing is to be done to: ORPOTrainer has no one method that prepares them."""

    def map(self, *_: Any, **__: Any) -> "Ready":
        """These."""
        return self


class Odds(Handed, ORPOTrainer):
    """The likelihood of preferred responses, and the odds of it over the others'; without a reference."""

    held = Ready

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """One step, whose tokens are counted: this trainer of TRL's does not say them."""
        self._tokens = getattr(self, "_tokens", None) or self.counted()
        mine = sum(inputs[f"{side}_attention_mask"].sum() for side in ("chosen", "rejected"))
        self._tokens += int(self.accelerator.gather(mine.to(self.accelerator.device)).sum())
        return super().training_step(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """With them."""
        super().log(logs | {"num_tokens": self._tokens} if "loss" in logs else logs, *args, **kwargs)
