"""Public data of capabilities, which may lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.kernel.settings import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "capabilities"


def public(name: str) -> Path:
    """The file of that name; a test is skipped where it is missing."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"the public file {name} is not beside the checkout")
    return path
