"""Packs that are made while the device computes those before them: it does not wait for lists to become tensors."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from training.model.packing import Line, Pack

Layout = list[list[Line]]


class Ahead:
    """One thread that makes packs, in the order in which they are asked for."""

    def __init__(self, make: Callable[[Sequence[Line]], Pack]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, "packs")
        self._begun: deque[tuple[Layout, list[Future[Pack]]]] = deque()

    def begin(self, layout: Layout) -> None:
        """Make the packs of a step that is to come."""
        self._begun.append((layout, [self._thread.submit(self._make, lines) for lines in layout]))

    def step(self, layout: Layout) -> list[Pack]:
        """The packs of the step that has come. What was begun for another, or was cut in another way, is dropped."""
        while self._begun:
            begun, packs = self._begun.popleft()
            if begun == layout:
                return [each.result() for each in packs]
            for each in packs:
                each.cancel()
        return [self._make(lines) for lines in layout]

    def each(self, layout: Layout) -> Iterator[Pack]:
        """The packs one after another, the next one being made while the last one is read."""
        coming: deque[Future[Pack]] = deque()
        for lines in layout:
            coming.append(self._thread.submit(self._make, lines))
            if len(coming) > 1:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
