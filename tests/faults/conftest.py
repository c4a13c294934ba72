"""The rig of the fault tests: everything real but the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from tests.faults.rig import Rig
from tests.generating import serve_base, settings_for, tiny_engine


@pytest.fixture
def rig(tmp_path: Path, committed: Engine, monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Iterator[Rig]:
    """A fake engine that is served, and processes that have not been started yet. Leases last three seconds."""
    engine = tiny_engine(tmp_path)
    assert engine.model is not None
    with engine.running():
        settings = settings_for(monkeypatch, engine.url, engine.model, generation_lease=3, sweep_interval=1)
        environment = {
            "CORRAL_ENGINE_URL": engine.url,
            "CORRAL_BASE_MODEL": str(engine.model),
            "CORRAL_GENERATION_LEASE": "3",
            "CORRAL_SWEEP_INTERVAL": "1",
            "CORRAL_NIGHTLY_AT": "",
        }
        with session_scope() as session:
            serve_base(session, settings)
        rig = Rig(engine, tmp_path, environment)
        try:
            yield rig
        finally:
            rig.stop()
            for name, said in rig.logs():
                print(f"── {name}\n{said}")  # noqa: T201 - pytest shows it when the test failed
            monkeypatch.undo()
            get_settings.cache_clear()
