"""What can go wrong in a training run, and the exit code that says so.

::

    TrainingError            2
    ├── ConfigError          2   the TOML file
    ├── DataError            2   the snapshot
    ├── CheckpointError      2   a folder of weights
    ├── NonFiniteError       3   the loss or a gradient is not a number any more
    ├── StorageError         4   the disk is full or cannot be written
    └── BusyError            5   another process trains into the same directory

Every message is one sentence that names the file or row and the remedy, because it is all that the person who pressed
"Train" will see.
"""

from typing import ClassVar


class TrainingError(Exception):
    """A run that cannot continue."""

    exit_code: ClassVar[int] = 2


class ConfigError(TrainingError):
    """The run file asks for something that does not exist or contradicts itself."""


class DataError(TrainingError):
    """The snapshot is damaged, or nothing in it can be trained on."""


class CheckpointError(TrainingError):
    """A folder of weights is incomplete, changed or in a format that is not trusted."""


class NonFiniteError(TrainingError):
    """Training diverged: its results must not be promoted."""

    exit_code = 3


class StorageError(TrainingError):
    """The disk refused."""

    exit_code = 4


class BusyError(TrainingError):
    """Nothing is wrong with the run: it can start once the other process is gone."""

    exit_code = 5
