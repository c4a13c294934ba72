"""What runs the calls of tools in one worker: Corral's own tools, with the documents that their search needs, and servers.

``python -m workers.toolbox`` writes every tool that there is as a prompt declares it, one a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.kernel.settings import Settings, get_settings
from app.prompts import documents
from workers.tools.calculator import Calculator
from workers.tools.documents import Search
from workers.tools.interpreter import Interpreter
from workers.tools.kit import made, runs, searches
from workers.tools.mcp import BETWEEN, ForeignTool, Server
from workers.tools.protocol import Tool, ToolFailed, shown

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What endpoints take as the name of a tool."""
INDEXES = 4
"""Batches whose index of documents a worker keeps."""


class NoDocuments(Exception):
    """The prompt has the search tool, and its batch nothing to search in."""


class Toolbox:
    """What runs calls, for one worker: an index of documents is kept as long as they stay the same."""

    def __init__(self, settings: Settings) -> None:
        self._servers = servers(settings)
        self._indexes: dict[int, tuple[tuple[int, ...], Search]] = {}
        self._indexing = threading.Lock()
        self.at_once = asyncio.Semaphore(max(2, (os.cpu_count() or 2) // 2))
        """Tools that run beside one another."""

    def runs(self, tools: Sequence[Any] | None, tests: Any = None) -> bool:
        """Whether calls of these tools are run here; see :func:`workers.tools.kit.runs`."""
        return runs(tools, tests, self._servers)

    def close(self) -> None:
        """Close the connections to servers."""
        for server in self._servers.values():
            server.close()

    def of(self, session: Session, tools: list[Any] | None, tests: Any, batches: Sequence[int]) -> list[Tool] | None:
        """What runs the calls of a prompt, searching in the documents of the first batch that has any; None: nothing is run.

        Raises:
            NoDocuments: there is nothing to search in.
        """
        if tools is None or not self.runs(tools, tests):
            return None
        return made(tools, self._search(session, batches) if searches(tools) else None, self._servers)

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


def servers(settings: Settings) -> dict[str, Server]:
    """The servers that the operator named."""
    return {
        name: Server(name, there.url, there.key.get_secret_value(), there.seconds)
        for name, there in settings.tool_servers.items()
    }


def main() -> int:
    """Write the tools, and on standard error those that cannot be used; 1 where a server did not say what it offers."""
    for tool in (Calculator(), Interpreter(), Search({})):
        _write(tool)
    status = 0
    for name, server in servers(get_settings()).items():
        try:
            offered = server.tools()
        except ToolFailed as error:
            sys.stderr.write(f"{error}\n")
            status = 1
        else:
            for each in offered:
                called = f"{name}{BETWEEN}{each.name}"
                if _NAME.fullmatch(called):
                    _write(ForeignTool(server, called, each.description, each.parameters))
                else:
                    sys.stderr.write(f"{called} is left out: a name has at most 64 letters, digits, _ and -\n")
        finally:
            server.close()
    return status


def _write(tool: Tool) -> None:
    sys.stdout.write(json.dumps(shown(tool), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
