"""How many events of what was refused are written, so that no flood of refusals fills the disk or the log.

A stranger decides how often they are refused. What was done is written always; of what was *not* done each process writes

- once in ten minutes what is alike: the same refusal of the same person from the same network at the same address;
- no more than ``HOURLY_OF_SOURCE`` an hour from one network, and no more than ``HOURLY`` in all.

The rest is counted, and the next event that is written says how many were left out before it. Each is in the request log.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

ALIKE_SECONDS = 600
ALIKE_KEPT = 4096
HOUR = 3600
HOURLY_OF_SOURCE = 100
HOURLY = 500


class Share:
    """The events of one kind that may be written, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._alike: OrderedDict[Hashable, list[float]] = OrderedDict()
        """Of each: when one was written last, and how many came since."""
        self._since = clock()
        self._of_source: dict[str, int] = {}
        self._left_out = 0

    def take(self, source: str, alike: Hashable = None) -> int | None:
        """Whether to write one more event: how many were left out before it, or None where this one is left out, too.

        Args:
            source: The network that it comes from.
            alike: What makes two events the same; None where each is one of its own.
        """
        with self._lock:
            now = self._clock()
            if now - self._since >= HOUR:
                self._since = now
                self._of_source.clear()
            last = self._alike.get(alike) if alike is not None else None
            if last and now - last[0] < ALIKE_SECONDS:
                last[1] += 1
                return None
            of_source = self._of_source.get(source, 0)
            if of_source >= HOURLY_OF_SOURCE or sum(self._of_source.values()) >= HOURLY:
                self._left_out += 1
                return None
            self._of_source[source] = of_source + 1
            left_out = self._left_out + (int(last[1]) if last else 0)
            self._left_out = 0
            if alike is not None:
                self._alike[alike] = [now, 0]
                self._alike.move_to_end(alike)
                if len(self._alike) > ALIKE_KEPT:
                    self._alike.popitem(last=False)
            return left_out


FAILURES = Share()
"""Failed tries to sign in. Apart from other refusals: a flood of those hides none of these."""
REFUSALS = Share()
