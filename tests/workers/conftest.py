"""A fake engine over real HTTP, and settings that point at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.jobs import Job
from app.settings import Settings, get_settings
from tests.fake_engine import FakeEngine
from tests.generating import settings_for, tiny_engine


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with tiny_engine(tmp_path).running() as engine:
        yield engine


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The doorbells that were rung; nobody hears them here."""
    rung: list[Job] = []
    monkeypatch.setattr("app.jobs.ring", lambda job, *_: rung.append(job))
    return rung


@pytest.fixture
def settings(
    fake: FakeEngine, committed: Engine, rung: list[Job], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    assert fake.model is not None
    yield settings_for(monkeypatch, fake.url, fake.model, engine_timeout=3)
    monkeypatch.undo()
    get_settings.cache_clear()
