"""``python -m attacks NAME``: try one, and tell of it in lines of JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from . import ATTACKS, target


def main(name: str) -> None:
    """Try one: ``{"started": true}``, then ``{"open": bool, "got": …}``."""
    target.update(json.loads(Path("target.json").read_text()))
    os.write(1, b'{"started": true}\n')
    came_open, got = ATTACKS[name]()
    os.write(1, json.dumps({"open": came_open, "got": got}).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
