"""A fake engine over real HTTP, and settings that point at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel import live_stream
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import Settings, get_settings
from app.services.embedded import Valkey
from tests.factories import make_user
from tests.fake_engine import FakeEngine
from tests.findings.judges import judging, labelled
from tests.generating import serve_base, settings_for, tiny_engine
from tests.living import listening
from tests.synthesis.writing import Writer
from tests.workers.test_chat import TOOL_USE
from workers import stopping
from workers.tools.calculator import Calculator


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with tiny_engine(tmp_path).running() as engine:
        yield engine


@pytest.fixture
def tool_use(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The model has a template for tools; the calculator needs no process of its own, which a busy machine makes wait."""
    assert fake.model is not None
    monkeypatch.setattr(Calculator, "run", lambda _, arguments: "42" if arguments["expression"] == "21*2" else "?")
    (fake.model / "additional_chat_templates").mkdir()
    (fake.model / "additional_chat_templates" / "tool_use.jinja").write_text(TOOL_USE)
    return fake


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The doorbells that were rung; nobody hears them here."""
    rung: list[Job] = []
    monkeypatch.setattr("app.kernel.jobs.ring", lambda job, *_: rung.append(job))
    return rung


@pytest.fixture
def settings(
    fake: FakeEngine, committed: Engine, rung: list[Job], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    assert fake.model is not None
    found = settings_for(
        monkeypatch, fake.url, fake.model, engine_timeout=60
    )  # no answer takes so long on a busy machine
    shutil.rmtree(found.served_dir, ignore_errors=True)
    fake.resolves = found.served_dir
    yield found
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def impatient(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a test in which the engine never answers: it is given up soon."""
    return settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), engine_timeout=3)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey."""
    valkey = Valkey(tmp_path_factory.mktemp("broker"))
    with listening(valkey):
        yield valkey.url


@pytest.fixture
def streamed(settings: Settings, broker: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The worker and the web server meet in a real broker."""
    found = settings.model_copy(update={"broker_url": broker})
    monkeypatch.setattr(live_stream, "get_settings", lambda: found)
    with redis.Redis.from_url(broker) as client:
        client.flushall()  # ids begin anew with each test's tables
    return found


@pytest.fixture
def alice(committed: Engine) -> User:
    """Who waits."""
    with Session(committed, expire_on_commit=False) as session:
        return make_user(session)


@pytest.fixture
def base_is_served(settings: Settings) -> Iterator[None]:
    """The base with its two samplings, loaded."""
    with session_scope() as session:
        serve_base(session, settings)
    yield
    stopping.clear()


@pytest.fixture
def judge(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    """A judge of facts that is right, and admitted."""
    monkeypatch.setattr("app.kernel.jobs.ring", lambda *_: True)
    with judging(monkeypatch) as writer:
        with session_scope() as session:
            labelled(session, make_user(session, Role.REVIEWER), 60, 60)
        yield writer
