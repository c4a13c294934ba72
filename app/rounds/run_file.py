"""What a stage is told: one TOML file, made of the run's stored configuration and of nothing else.

The file is written the same way each time the run starts. Training resumes a saved state only under the very settings
that it was saved with, so a resumed run must not differ in a byte.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w


def write_toml(path: Path, config: Mapping[str, Any]) -> None:
    """Write a settings file so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(tomli_w.dumps(config))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
