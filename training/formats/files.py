"""Files that are replaced as a whole, and what outlasts a power cut."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, body: Any) -> None:
    """Write a report so that no reader ever sees half of it."""
    write_text(path, json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def sync(path: Path) -> None:
    """Have what was written to a file, or which names a folder has, outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
