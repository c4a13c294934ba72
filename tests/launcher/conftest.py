"""A folder for whole installations, and the command line inside a test's transaction."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from app.commands import cli
from app.kernel.db import get_engine
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


Corral = Callable[..., Result]


@pytest.fixture
def corral(session: Session, monkeypatch: pytest.MonkeyPatch) -> Corral:
    """Runs a command inside the test's transaction; ``typed`` is what comes from standard input."""
    monkeypatch.setattr(get_engine(), "dispose", lambda: None)  # its pool holds the connection of that transaction

    def run(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(cli.app, arguments, input=typed)

    return run


def refused(result: Result, words: str) -> None:
    """Assert that a command ended with 1 and one sentence that has ``words``."""
    assert result.exit_code == 1
    assert result.exception is not None
    assert words in str(result.exception)
