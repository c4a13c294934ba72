"""An export of any size holds as much memory as a small one."""

import json
import subprocess
import sys

import pytest
from sqlalchemy import Engine

from app.preferences.exporters import Format
from benchmarks.export import seed

FETCH = 250
"""Rows of a fetch, half of what they are: what is measured is how the peak goes with the number of fetches."""
SMALL, LARGE = 2 * FETCH, 6 * FETCH

TEXT_BYTES = 4 * 600
"""An annotation has at least this much text. An export that kept its rows held four times this more at the larger size."""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_export(committed: Engine) -> None:
    seed(LARGE, candidates=4)
    program = [sys.executable, "-m", "tests.preferences.peaks", str(SMALL), str(LARGE)]
    peaks = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
    growth = {form: large - small for form, (small, large) in peaks.items()}
    assert set(growth) == set(Format)
    assert max(growth.values()) < (LARGE - SMALL) * TEXT_BYTES, growth
