"""A training run that dies at a chosen place, as kill -9 would end it: ``python -m tests.training.dies PLACE KIND RUN.toml``.

The places lie between the files of a save, where no signal from outside can be aimed at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Trainer

from training import dpo, reward, sft
from training.formats import checkpoints, files
from training.model import models
from training.run import runner

STATUS = 137
SAVE = "checkpoint-4"  # of the second state: a whole one lies before it
KINDS: dict[Any, Any] = {"reward": reward, "dpo": dpo, "sft": sft}


def die(*_: Any, **__: Any) -> None:
    os._exit(STATUS)


def die_in_a_state_without_its_optimizer() -> None:
    save = Trainer._save_optimizer_and_scheduler

    def dying(trainer: Any, folder: str) -> None:
        if Path(folder).name == SAVE:
            die()
        save(trainer, folder)

    Trainer._save_optimizer_and_scheduler = dying


def die_in_a_state_before_its_manifest_is_renamed() -> None:
    sync = files.sync

    def dying(path: Path) -> None:
        if path.parent.name == SAVE and path.name == f"{checkpoints.MANIFEST}.tmp":
            die()
        sync(path)

    files.sync = dying


def die_in_a_draft_of_the_checkpoint() -> None:
    save = models.save

    def dying(model: Any, tokenizer: Any, folder: Path, weights: Any = None) -> None:
        save(model, tokenizer, folder, weights)
        die()

    models.save = dying


def die_before_the_checkpoint_is_renamed() -> None:
    seal = checkpoints.seal

    def dying(path: Path, manifest: checkpoints.Manifest) -> None:
        seal(path, manifest)
        if manifest.kind != "trainer_state":
            die()

    checkpoints.seal = dying


PLACES: dict[str, Callable[[], None]] = {
    "state without its optimizer": die_in_a_state_without_its_optimizer,
    "state before its manifest": die_in_a_state_before_its_manifest_is_renamed,
    "draft of the checkpoint": die_in_a_draft_of_the_checkpoint,
    "checkpoint before its rename": die_before_the_checkpoint_is_renamed,
}


if __name__ == "__main__":
    place, kind, run_file = sys.argv[1:]
    PLACES[place]()
    sys.exit(runner.main(kind, KINDS[kind].build_trainer, [run_file]))  # type: ignore[arg-type]
