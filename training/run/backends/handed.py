"""What all of TRL's trainers have in common here: they are handed rows that are ready, and report as ours do."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from training.formats.errors import ConfigError
from training.run.trainer import out_of_memory


class Handed:
    """In front of each of TRL's trainers: its rows are ready, and it reports as ours do."""

    held = Dataset.from_list

    def _send_telemetry(self) -> None:
        """Nobody is told."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """A checkpoint has ours."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def counted(self) -> int:
        """The tokens that the run had trained on when it was interrupted."""
        history = reversed(self.state.log_history)  # type: ignore[attr-defined]  # the trainer's behind it
        return next((int(entry["num_tokens"]) for entry in history if "num_tokens" in entry), 0)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Forward and backward, with a remedy where memory runs out; a run that goes on goes on counting tokens."""
        if not getattr(self, "_total_train_tokens", 1):
            self._total_train_tokens = self.counted()
        try:
            return super().training_step(*args, **kwargs)  # type: ignore[misc]
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise ConfigError(
                "memory ran out in a pass of TRL's trainer: set model.gradient_checkpointing = true, or a smaller "
                "model.pack_tokens or data.max_length"
            ) from None
