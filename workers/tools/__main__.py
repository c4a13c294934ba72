"""``python -m workers.tools``: turns in, what tools answer out, as lines of JSON; for trainings, which know no worker.

``{"id": anything, "tools": [...], "tests": null}`` asks whether calls of these tools are run, and is answered by ``{"id",
"runs": true | false | null}``: null where they would be, but not here, for documents and servers are the installation's, of
which this program knows nothing.

``{"id", "tools": [...], "turn": "text", "cut": false, "steps": [...]}`` is a turn of a model and what came before it. It is
answered by ``{"id", "ended", "steps"}``: ``ended`` is null where calls were run, and ``steps`` are the messages that follow;
else it says why the answer ends here (``answered``, ``broken``, ``cut``). ``{"id", "error"}`` answers a line that is wrong.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from workers.tools.kit import made, runs, searches
from workers.tools.loop import LIMIT_S, Said, turned
from workers.tools.mcp import server_of
from workers.tools.schemas import BadSchema, function_of


def main() -> int:
    """Serve lines until standard input ends."""
    for line in sys.stdin:
        if line.strip():
            sys.stdout.write(json.dumps(_answer(line), ensure_ascii=False) + "\n")
            sys.stdout.flush()
    return 0


def _answer(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        number = record.get("id")
    except (ValueError, AttributeError, RecursionError) as error:
        return {"id": None, "error": f"This line is no JSON object: {error}"}
    tools, steps, turn = (record.get(key) for key in ("tools", "steps", "turn"))
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        return {"id": number, "runs": False} if turn is None else {"id": number, "error": "tools: no list of objects"}
    if turn is None:
        return {"id": number, "runs": _runs(tools, record.get("tests"))}
    if not isinstance(turn, str) or not isinstance(steps, list) or _runs(tools, None) is not True:
        return {"id": number, "error": "turn, steps or tools: of the wrong type, or no tools that are run here"}
    said, ends = Said(turn, cut=bool(record.get("cut"))), time.monotonic() + LIMIT_S
    found = asyncio.run(turned(said, steps, made(tools, None), tools, ends=ends))
    return {"id": number, "ended": found.ended, "steps": found.steps}


def _runs(tools: Sequence[Mapping[str, Any]], tests: Any) -> bool | None:
    try:
        named = {server for tool in tools if (server := server_of(function_of(tool)["name"]))}
        if not runs(tools, tests, named):
            return False
        return None if named or searches(tools) else True
    except BadSchema:
        return False


if __name__ == "__main__":
    sys.exit(main())
