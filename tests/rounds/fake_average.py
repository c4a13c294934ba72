"""Stands in for ``training.average``: writes a checkpoint of its own, and the report that it was made.

``FAKE_AVERAGE=strangers`` finds that the policies cannot be averaged.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

from tests.rounds.fake_training import finish


def main(settings: Path) -> None:
    told = tomllib.loads(settings.read_text())
    left_out = "they are not alike" if os.environ.get("FAKE_AVERAGE") == "strangers" else None
    if left_out is None and not Path(told["output"]).exists():
        assert len(told["checkpoints"]) > 1
        run = {"kind": "policy", "base_model": "base", "seed": 0, **told}
        finish(run, {"sha256": None}, {})
    Path(told["report"]).write_text(json.dumps({"name": told["name"], "left_out": left_out}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
