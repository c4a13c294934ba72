"""Runs calls, in the lines of JSON that tools speak: ``python runner.py [MODE]``; small, and of no package.

A turn "[add]" is a call, which comes to "seven". MODE: ``odd`` (answers steps that are none), ``deaf`` (ends at once).
"""

from __future__ import annotations

import json
import sys
from typing import Any


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    if "turn" not in asked:
        names = {tool["name"] for tool in asked["tools"]}
        return {"runs": False if asked["tests"] else None if "search" in names else "add" in names}
    if asked["turn"] != "[add]":
        return {"ended": "answered", "steps": []}
    said = {"role": "assistant", "content": "", "tool_calls": [], "said": asked["turn"]}
    return {"ended": None, "steps": [said, {"role": "tool", "name": "add", "content": "seven"}]}


def main(mode: str) -> None:
    for line in sys.stdin if mode != "deaf" else ():
        asked = json.loads(line)
        found = {"steps": ["none"]} if mode == "odd" else answer(asked)
        print(json.dumps({"id": asked["id"]} | found), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "")
