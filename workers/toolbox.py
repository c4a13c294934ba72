"""What runs the calls of tools in one worker: Corral's own tools, with the documents that their search needs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.prompts import documents
from workers.tools.documents import Search
from workers.tools.kit import made, runs, searches
from workers.tools.protocol import Tool

INDEXES = 4
"""Batches whose index of documents a worker keeps."""


class NoDocuments(Exception):
    """The prompt has the search tool, and its batch nothing to search in."""


class Toolbox:
    """What runs calls, for one worker: an index of documents is kept as long as they stay the same."""

    def __init__(self) -> None:
        self._indexes: dict[int, tuple[tuple[int, ...], Search]] = {}
        self._indexing = threading.Lock()
        self.at_once = asyncio.Semaphore(max(2, (os.cpu_count() or 2) // 2))
        """Tools that run beside one another."""

    def runs(self, tools: Sequence[Any] | None, tests: Any = None) -> bool:
        """Whether calls of these tools are run here; see :func:`workers.tools.kit.runs`."""
        return runs(tools, tests)

    def of(self, session: Session, tools: list[Any] | None, tests: Any, batches: Sequence[int]) -> list[Tool] | None:
        """What runs the calls of a prompt, searching in the documents of the first batch that has any; None: nothing is run.

        Raises:
            NoDocuments: there is nothing to search in.
        """
        if tools is None or not self.runs(tools, tests):
            return None
        return made(tools, self._search(session, batches) if searches(tools) else None)

    def _search(self, session: Session, batches: Sequence[int]) -> Search:
        with self._indexing:
            for batch_id in batches:
                there = documents.ids(session, batch_id)
                if there:
                    return self._index(session, batch_id, there)
        raise NoDocuments

    def _index(self, session: Session, batch_id: int, there: tuple[int, ...]) -> Search:
        known = self._indexes.pop(batch_id, None)
        if known is None or known[0] != there:
            known = there, Search(documents.texts(session, batch_id))
        self._indexes[batch_id] = known  # last, so that the one that was not asked for longest goes first
        while len(self._indexes) > INDEXES:
            del self._indexes[next(iter(self._indexes))]
        return known[1]
