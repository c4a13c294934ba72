"""When the nightly start comes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.kernel.settings import get_settings
from app.rounds.views import next_nightly


@pytest.fixture
def nightly_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CORRAL_NIGHTLY_AT", "02:30")
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.mark.parametrize(("hour", "day"), [(1, 10), (2, 10), (3, 11)])
def test_the_next_nightly_start_is_the_next_time_that_the_clock_says_so(nightly_at: None, hour: int, day: int) -> None:
    assert next_nightly(datetime(2026, 5, 10, hour, 0, tzinfo=UTC)) == datetime(2026, 5, day, 2, 30, tzinfo=UTC)
