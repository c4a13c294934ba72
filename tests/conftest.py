"""A real PostgreSQL and a migrated database for each worker; every test runs in a transaction that is rolled back.

Set ``CORRAL_TEST_DATABASE_URL`` (a server where databases may be created) to use another server than the embedded one.
Tests that need real commits (concurrency, workers) take ``committed``: all tables but the one loop are emptied afterwards.
"""

from __future__ import annotations

import os

# Workers share the processor: torch, here or in a child, would start a thread a core in each, and they would wait for each
# other ten times as long as they compute. Before anything imports torch.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import uvicorn
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import settings
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

import app.kernel.db
from app.accounts import bounded, hashing
from app.kernel import locales
from app.kernel.db import get_engine
from app.kernel.settings import ROOT, get_settings
from app.services.embedded import free_port, temporary_postgres
from app.site.main import create_app
from tests import catalogues
from tests.emptying import empty
from tests.patience import PATIENCE, eventually

# No example of a property is wrong because another test had the processor; a hang is what the timeout is for.
settings.register_profile("corral", deadline=None)
settings.load_profile("corral")

LONGEST_NAME = 80
"""Characters of a text that stand in the name of a test."""


def pytest_collection_finish() -> None:
    """Thousands of tests and the modules of torch live until the end: no collection of garbage has to walk them each time.

    And what a test makes is looked through less often. Measured: both were 60 % of what a worker did.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Long texts have names of a line: workers send the name of a test with all that they say of it.

    Bytes are named by how many they are: what is packed says when, and workers that collect other names do not begin.
    """
    if isinstance(val, bytes) and not (val.isascii() and len(val) <= LONGEST_NAME):
        return f"{len(val)} bytes"
    if isinstance(val, str) and len(val) > LONGEST_NAME:
        return f"{val[:LONGEST_NAME]!r}... of {len(val)}"
    return None


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server of this worker's own: the given one, or an embedded one that goes away with the run."""
    given = os.environ.get("CORRAL_TEST_DATABASE_URL")
    if given:
        yield given
    else:
        with temporary_postgres("fsync=off", "full_page_writes=off") as url:  # nothing of it outlives the run
            yield url


@pytest.fixture(scope="session")
def database_url(server_url: str) -> str:
    """The URL of this worker's own database."""
    name = f"corral_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    parts = urlsplit(server_url)
    return parts._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This worker's data folder."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session", autouse=True)
def environment(database_url: str, data_dir: Path) -> Iterator[None]:
    """Settings of the whole test run: nothing points outside it."""
    os.environ |= {
        "DATABASE_URL": database_url,
        "BROKER_URL": "memory://",  # rings go nowhere, at once; who listens for them asks for a real one
        "CORRAL_DATA_DIR": str(data_dir),
        "CORRAL_ENGINE_URL": "http://127.0.0.1:1/v1",
        "CORRAL_TRAINING_ENGINE_WAIT": "0",  # an engine that a test takes away does not come back
        "CORRAL_TRAINING_SAMPLES": "0",  # needs an engine; tests of the whole pipeline ask for it
        "CORRAL_HOSTS": "testserver, test",  # what clients without a socket call the application
    }
    get_settings.cache_clear()
    get_engine.cache_clear()
    command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
    yield
    get_engine().dispose()


@pytest.fixture(scope="session")
def engine(environment: None) -> Iterator[Engine]:
    """The engine over this worker's database."""
    engine = get_engine()
    yield engine
    engine.dispose()  # a command that a test ran may have put another one in its place


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection in an outer transaction that is rolled back after the test."""
    with engine.connect() as connection, connection.begin() as transaction:
        # what was refused in a test without this transaction is committed; past the log's triggers
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM audit_events"))
        connection.execute(text("SET LOCAL session_replication_role = origin"))
        # on a busy machine a test leaves it idle for longer than an installation would let it
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield connection
        transaction.rollback()


@pytest.fixture
def session(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session inside the test's transaction; the application under test commits into savepoints of it."""

    def joined() -> Session:
        return Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)

    monkeypatch.setattr(app.kernel.db, "make_session", joined)
    with joined() as session:
        yield session


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """Settings that a test changed end with it: this is taken down after ``monkeypatch``."""
    yield
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def nothing_refused_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests had refused leaves this one its own share of the audit log; and nobody waits to hear of it."""
    monkeypatch.setattr(hashing, "REFUSED_SECONDS", 0.0)
    monkeypatch.setattr(bounded, "FAILURES", bounded.Share())
    monkeypatch.setattr(bounded, "REFUSALS", bounded.Share())


@pytest.fixture(scope="session")
def web(environment: None) -> FastAPI:
    """This worker's application. It keeps nothing between requests, and building it takes longer than most tests."""
    return create_app()


@pytest.fixture(scope="session")
def server(environment: None) -> Iterator[str]:
    """The web application behind uvicorn on a free port."""
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(create_app(), port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    eventually(lambda: running.started, PATIENCE, "the server's start")
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(PATIENCE)


@pytest.fixture
def client(web: FastAPI, session: Session) -> Iterator[TestClient]:
    """A browser-like client of the application inside the test's transaction, not signed in."""
    with TestClient(web, headers={"sec-fetch-site": "same-origin"}, follow_redirects=False) as client:
        yield client


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation in English and German. It gives the folder of the catalogues, for a test that wants more of them."""
    folder = tmp_path / "translations"
    folder.mkdir()
    monkeypatch.setattr(locales, "FOLDER", folder)
    for code in ("en", "de"):
        catalogues.write(folder, code)
    yield folder
    catalogues.forget()


@pytest.fixture
def committed(engine: Engine) -> Iterator[Engine]:
    """For tests with several real transactions: everything really commits, all tables but the one loop are emptied afterwards."""
    yield engine
    for tries_left in (2, 1, 0):
        try:
            with engine.begin() as connection:
                empty(connection)
            return
        except OperationalError:  # a deadlock with a request that a page of the test had still under way
            if not tries_left:
                raise
