"""One run, from the snapshot to the finished checkpoint: five steps, whatever is trained.

What a kind of run adds is a trainer, which says its loss and how it is measured (`reward.py`, `sft.py` and `dpo.py`).
"""

from collections.abc import Callable
from pathlib import Path

from training.data.chat import Tokenizer
from training.data.rows import Prepared
from training.formats.events import EventLog
from training.formats.settings import Run
from training.run import pace, stages
from training.run.progress import Progress, resume_point
from training.run.trainer import RowTrainer

Build = Callable[[Run, Path, Tokenizer, Prepared, Progress], RowTrainer]
"""Makes the trainer of a run, over rows that are tokenised already."""


def train(build: Build[Run], config: Run, run_dir: Path, events: EventLog) -> None:
    """Train what `build` gives the trainer of.

    Raises:
        TrainingError: what is wrong with the data, the models or the disk, or that training diverged.
    """
    # 1. The data, before anything heavy: what is wrong with it should be said within seconds.
    tokenizer, prepared = stages.data(config, run_dir, events)

    # 2. The model. A policy says now what it thinks of rows and held-out pairs, being still its own reference.
    progress = Progress(config, prepared.snapshot_sha256, events, pace.evaluation_in_steps(config, prepared))
    trainer = build(config, run_dir, tokenizer, prepared, progress)
    untrained, held_out = trainer.measures(prepared.held_out, events)

    # 3. The untrained model, so that the result has something to stand beside.
    baseline = stages.baseline(config, events, prepared, untrained)

    # 4. Training, from the last whole state where the run was interrupted.
    progress.evaluate = held_out
    stages.fit(trainer, events, resume_point(config, run_dir, prepared.snapshot_sha256, events))

    # 5. The result.
    final = stages.result(events, held_out, trainer.state.global_step)
    stages.publish(config, events, prepared, {"baseline": baseline, "final": final}, trainer)
