"""Which of the processes of a run this is, before anything is loaded that could tell.

`accelerate launch` and `torchrun` start one process a device and say in the environment which it is. All of them read the
data and train; the first alone holds the lock, reports and writes.
"""

import os
from typing import TypeVar

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process reports and writes."""
    return rank() == 0


def agreed(value: T) -> T:
    """What the first process says, on all; they must call it together."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list  # brings torch, which a dry run does not need

    meet()
    found: list[T] = broadcast_object_list([value])
    return found[0]


def smallest(value: int) -> int:
    """The smallest of what all processes say; they must call it together."""
    if count() == 1:
        return value
    from accelerate.utils import gather_object

    meet()
    return int(min(gather_object([value])))


def meet() -> None:
    """Let the processes find each other, on the device that they train on."""
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.accelerator.is_available())
