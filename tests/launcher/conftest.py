"""A folder for whole installations."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import temporary_place


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of the test's own."""
    with temporary_place() as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _terminals_can_close() -> Iterator[None]:
    """Programs that the tests start hear SIGHUP, even where the tests themselves were started under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
