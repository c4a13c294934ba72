"""Where the small files lie that once broke something: beside the checkout, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.kernel.settings import ROOT

CASES = ROOT.parent / "shared" / "cases"


def case(name: str) -> Path:
    """The file, or the test is skipped by its name."""
    path = CASES / name
    if not path.is_file():
        pytest.skip(f"the case {name} is not beside the checkout")
    return path
