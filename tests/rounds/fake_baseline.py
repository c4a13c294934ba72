"""Stands in for ``workers.selection.baseline``: it finds no held-out votes."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    told = tomllib.loads(Path(sys.argv[1]).read_text())
    Path(told["output"]).write_text(json.dumps({"pairs": 0}))
