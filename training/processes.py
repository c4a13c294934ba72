"""Which of the processes of a run this is, before anything is loaded that could tell.

`accelerate launch` and `torchrun` start one process a device and say in the environment which it is. All of them read the
data and train; the first alone holds the lock, reports and writes.
"""

import os


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process reports and writes."""
    return rank() == 0
