"""``corral worker``: what it looks at before it starts, what it becomes, and when one that is started for the night ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import OperationalError

from app.commands.worker import command
from app.kernel.db import session_scope
from app.kernel.errors import CannotStart
from app.kernel.jobs import Queue
from app.kernel.settings import Settings, get_settings
from app.laptop.pools import POOLS
from app.loops.models import Round, RoundState
from app.preferences.models import Snapshot, SnapshotState
from app.rounds.models import RunKind, RunState, TrainingRun
from app.services.embedded import free_port
from app.services.instance import Running
from app.services.migrating import config
from app.upkeep import joining, night
from app.upkeep.diagnoses import Level
from tests.fake_engine import write_tiny_model
from tests.fake_srun import install


@pytest.mark.parametrize("queue", list(Queue))
def test_it_becomes_the_celery_worker_of_its_queue(queue: Queue) -> None:
    words = command(queue, "%h")
    assert words[1:6] == ["-m", "celery", "-A", "workers.celery_app", "worker"]
    assert words[6:12] == POOLS[queue].of(queue)
    assert f"{queue.value}@%h" in words


def test_without_addresses_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("CORRAL_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()
    try:
        with pytest.raises(CannotStart, match="needs DATABASE_URL: give it the addresses"):
            joining.settings_here()
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()


@pytest.mark.parametrize(
    ("url", "urls", "balanced"),
    [
        ("http://one/v1", "", True),
        ("http://proxy/v1", "http://one/v1,http://two/v1", True),
        ("", "http://one/v1,http://two/v1", False),
    ],
)
def test_it_asks_the_engines_of_a_running_installation(url: str, urls: str, *, balanced: bool) -> None:
    running = Running(
        1, "http://x", "postgresql:///x", "redis://x", engine_url=url, engine_api_key="", engine_urls=urls
    )
    told = {name.removeprefix("CORRAL_").lower(): value for name, value in running.engines.items()}
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("CORRAL_ENGINE_URL")
        settings = Settings(**told)  # type: ignore[arg-type]
    assert settings.is_balanced is balanced
    assert settings.engine_urls == urls
    assert not url or settings.engine_url == url


@pytest.fixture
def another_schema(committed: Engine) -> Iterator[Callable[[str], None]]:
    """The database says that it is at this migration."""

    def say(revision: str) -> None:
        with committed.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :at"), {"at": revision})

    with committed.connect() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    yield say
    say(before)


def test_the_tables_are_those_of_this_release(committed: Engine) -> None:
    [found] = joining.look_at_schema(get_settings())
    assert found.level is Level.OK


def test_other_tables_are_refused_with_what_to_do(another_schema: Callable[[str], None]) -> None:
    *_, first = ScriptDirectory.from_config(config()).walk_revisions()
    for revision, remedy in (
        ("from_the_future", "Install the release here that the main host runs."),
        (first.revision, "Run `corral db upgrade` on the main host"),
    ):
        another_schema(revision)
        [found] = joining.look_at_schema(get_settings())
        assert found.level is Level.FAIL
        assert found.remedy.startswith(remedy)


def test_what_does_not_answer_is_named(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    settings = Settings(
        database_url=f"postgresql://corral@{nowhere}/corral",
        broker_url=f"redis://{nowhere}/0",
        engine_url=f"http://{nowhere}/v1",
        base_model=str(tmp_path / "models" / "none" / "here"),
    )
    found = {each.subject: each for each in joining.examine(settings, Queue.GENERATION)}
    assert {subject: each.level for subject, each in found.items()} == {
        "database": Level.FAIL,
        "broker": Level.FAIL,
        "tokeniser": Level.FAIL,
        "engine": Level.WARN,
    }
    assert "CORRAL_BASE_MODEL" in found["tokeniser"].remedy
    assert {each.subject for each in joining.examine(settings, Queue.CHECKS)} == {"database", "broker"}


def test_a_launcher_that_this_host_has_not_is_named_before_a_night_is_lost(tmp_path: Path) -> None:
    [found] = joining.look_at_launcher(Settings(training_launch=f"{tmp_path}/srun --ntasks 4"))
    assert (found.level, found.remedy) == (
        Level.FAIL,
        "Install it here, write its path, or leave the setting empty to train in one process.",
    )
    [found] = joining.look_at_launcher(Settings(training_launch=f"{install(tmp_path)} --ntasks 4"))
    assert (found.level, found.found) == (Level.OK, f"{tmp_path}/srun --ntasks 4")
    assert list(joining.look_at_launcher(Settings())) == []


def test_a_tokeniser_that_is_here_will_do(tmp_path: Path) -> None:
    [found] = joining.look_at_tokeniser(Settings(base_model=str(write_tiny_model(tmp_path / "tiny"))))
    assert (found.level, found.found) == (Level.OK, "of tiny")


# ── For the night ────────────────────────────────────────────────────────────────────────────────────────────────────
class Child:
    """A worker's process."""

    def __init__(self, *, status: int | None = None, deaf: bool = False) -> None:
        self.status, self.deaf = status, deaf
        self.done: list[str] = []

    def poll(self) -> int | None:
        return self.status

    def terminate(self) -> None:
        self.done.append("asked to end")

    def wait(self, timeout: float) -> int:
        if self.deaf and "killed" not in self.done:
            raise subprocess.TimeoutExpired("worker", timeout)
        return 0

    def kill(self) -> None:
        self.done.append("killed")


def watched(
    child: Child, *due: bool | Exception, asked: Sequence[int] = (), waits: float = night.NIGHT_S
) -> tuple[int, float]:
    """The status, and how long it took by a clock on which each look lasts a quarter of an hour; the last ``due`` stays."""
    now, left = [0.0], list(due)

    def look() -> bool:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, Exception):
            raise said
        return said

    def sleep(_seconds: float) -> None:
        now[0] += 900

    return night.watch(child, look, asked, waits, sleep, lambda: now[0]), now[0]


def test_it_ends_once_the_training_has() -> None:
    child = Child()
    assert watched(child, False, True, True, False) == (0, 2700)
    assert child.done == ["asked to end"]


def test_it_ends_after_an_hour_without_a_training() -> None:
    child = Child()
    assert watched(child, False) == (0, 3600)
    assert child.done == ["asked to end"]


def test_until_idle_it_ends_at_once_where_nothing_waits_and_not_where_nobody_says() -> None:
    child = Child()
    assert watched(child, False, waits=night.IDLE_S) == (0, 0)
    assert child.done == ["asked to end"]
    away = OperationalError("SELECT", {}, Exception("gone"))
    assert watched(Child(), away, True, True, False, waits=night.IDLE_S) == (0, 2700)


def test_a_database_that_is_away_ends_no_training() -> None:
    away = OperationalError("SELECT", {}, Exception("gone"))
    assert watched(Child(), True, away, away, True, False) == (0, 3600)


def test_a_worker_that_ended_by_itself_says_how() -> None:
    child = Child(status=70)
    assert watched(child, True) == (70, 0)
    assert child.done == []


def test_whoever_asks_it_to_end_is_heard_and_one_that_does_not_is_killed() -> None:
    child = Child(deaf=True)
    assert watched(child, True, asked=[signal.SIGTERM]) == (143, 0)
    assert child.done == ["asked to end", "killed"]


@pytest.mark.parametrize(
    ("state", "due"), [(RoundState.TRAINING, True), (RoundState.CHECKING, True), (RoundState.COLLECTING, False)]
)
def test_a_round_that_is_trained_or_checked_is_something_to_do(
    committed: Engine, state: RoundState, *, due: bool
) -> None:
    assert not night.training_is_due()
    with session_scope() as session:
        session.add(Round(number=1, state=state))
    assert night.training_is_due() is due


def test_its_status_says_that_a_run_failed_since_it_started(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's process itself ends well: whoever started it has to learn it from the status."""
    before = night.database_time()
    assert not night.failed_since(before)
    make_failed_run()
    assert night.failed_since(before)
    assert not night.failed_since(night.database_time())
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    with restored_signals():
        assert night.run(sleeps, night.IDLE_S) == 0
        monkeypatch.setattr(night, "training_is_due", make_failed_run)
        assert night.run(sleeps, night.IDLE_S) == night.RUN_FAILED


@contextmanager
def restored_signals() -> Iterator[None]:
    """A run hears signals for the rest of its process, which here is that of the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def make_failed_run() -> bool:
    """A training run that failed just now, after which there is nothing to do."""
    with session_scope() as session:
        its_round = session.scalar(select(Round)) or Round(number=1, state=RoundState.COLLECTING)
        number = session.scalar(select(func.count()).select_from(Snapshot))
        snapshot = Snapshot(name=f"snapshot-{number}", filter={}, state=SnapshotState.READY, sha256="0" * 64)
        session.add_all([its_round, snapshot])
        session.flush()
        session.add(
            TrainingRun(
                round_id=its_round.id,
                kind=RunKind.REWARD,
                snapshot_id=snapshot.id,
                state=RunState.FAILED,
                error="The disk is full.",
                config={},
                finished_at=func.clock_timestamp(),
            )
        )
    return False
