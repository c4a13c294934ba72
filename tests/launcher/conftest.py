"""A folder for whole installations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import temporary_place


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of the test's own."""
    with temporary_place() as folder:
        yield folder
