"""One installation's data folder: its layout, its lock, and how a command reaches its database.

Exactly one process owns the folder's services at a time: ``corral up``, or a command that starts the database for as
long as it runs. An advisory lock on ``corral.lock`` says so; the kernel drops it with its holder, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.kernel.errors import CannotStart
from app.services.aside import unless
from app.services.embedded import Postgres, poll
from training.formats.aside import BROKEN

if TYPE_CHECKING:
    from app.kernel.settings import Settings

BEAT = "beat"
"""The file that every tick of the clock touches; a health check looks at its age."""
OURS = (
    "logs",
    "broker",
    "models",
    "checkpoints",
    "served",
    "snapshots",
    "runs",
    "corral.lock",
    "running.json",
    "running.tmp",
    BEAT,
)
"""What lies in a data folder beside the database, which sees to its own."""
PATIENCE = 60.0
"""Seconds that a command waits for another one that holds the database."""


@dataclass(frozen=True)
class Running:
    """The addresses of a running ``corral up``, for commands in another terminal."""

    pid: int
    address: str
    database_url: str
    broker_url: str
    engine_url: str
    engine_api_key: str
    engine_urls: str = ""
    """Where there are several; ``engine_url`` is empty then, unless a load balancer stands there."""

    @property
    def engines(self) -> dict[str, str]:
        """Where engines are, by the variables that say so."""
        found = {"CORRAL_ENGINE_URL": self.engine_url, "CORRAL_ENGINE_URLS": self.engine_urls}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Instance:
    """Paths below one data folder."""

    data_dir: Path

    @property
    def postgres(self) -> Postgres:
        """The embedded database."""
        return Postgres(self.data_dir / "postgres")

    @property
    def broker_dir(self) -> Path:
        """The embedded broker's log and configuration."""
        return self.data_dir / "broker"

    @property
    def logs(self) -> Path:
        """One log a child."""
        return self.data_dir / "logs"

    @property
    def running_file(self) -> Path:
        """Where ``corral up`` notes its addresses; it holds the broker's password, so only the owner reads it."""
        return self.data_dir / "running.json"

    def make_private(self) -> None:
        """Close to other users what an older version, or an operator's ``mkdir``, left open.

        A folder that holds other things as well (a home, a disk) stays as it is: what is ours in it is closed.
        """
        ours = [entry for entry in self.data_dir.iterdir() if entry.name.split(BROKEN)[0] in OURS]
        if {entry.name for entry in self.data_dir.iterdir()} <= {"postgres", *(entry.name for entry in ours)}:
            _close(self.data_dir)
        for entry in ours:
            for path in (entry, *entry.rglob("*")) if entry.is_dir() and not entry.is_symlink() else (entry,):
                _close(path)

    def set_broken_aside(self) -> None:
        """Set aside what is no folder, or no file, and should be; what is in them is each reader's business."""
        unless(Path.is_dir, self.logs, self.broker_dir)
        files = [self.running_file, self._draft, self.data_dir / BEAT, self.broker_dir / "valkey.conf"]
        unless(Path.is_file, *files, *self.logs.glob("*.log*"))

    @property
    def _draft(self) -> Path:
        return self.running_file.with_suffix(".tmp")

    def announce(self, running: Running) -> None:
        """Note the addresses, whole or not at all."""
        draft = self._draft
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(running), file)
        draft.replace(self.running_file)

    def running(self) -> Running | None:
        """The running ``corral up`` of this folder, if there is one."""
        try:
            noted = Running(**json.loads(self.running_file.read_text()))
            holder = int((self.data_dir / "corral.lock").read_text())
        except (OSError, ValueError, TypeError):
            return None
        with self.try_lock() as mine:
            return None if mine or holder != noted.pid else noted

    @contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Lock the folder for the block; yields False when another process holds the lock."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            unless(Path.is_file, self.data_dir / "corral.lock")
            descriptor = os.open(self.data_dir / "corral.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CannotStart(
                f"{self.data_dir} cannot be written ({error.strerror}): make yourself its owner, or choose another "
                f"--data-dir."
            ) from error
        held = False
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                held = True
            yield held
        finally:
            os.close(descriptor)


def _close(path: Path) -> None:
    mode = stat.S_IMODE(path.lstat().st_mode)
    if mode & 0o077 and not path.is_symlink():
        with contextlib.suppress(PermissionError):  # somebody else's, who decides
            path.chmod(mode & 0o700)


@contextmanager
def database(*, migrate: bool = True) -> Iterator[str]:
    """The database of this installation for the time of a command; its URL is also in ``DATABASE_URL``.

    A configured one is taken as it is. The embedded one is found running, or started, migrated and stopped again.
    With ``migrate`` false it is left at the schema that it has.

    Raises:
        CannotStart: another command holds the folder and does not let go.
    """
    from app.kernel.settings import get_settings

    settings = get_settings()
    if settings.database_url:
        yield settings.database_url
        return
    instance = Instance(settings.data_dir.resolve())
    for _ in poll(PATIENCE, every=0.1):
        with instance.try_lock() as mine:
            if mine:
                with _own_database(instance, migrate=migrate) as url:
                    yield url
                return
        running = instance.running()
        if running is not None:
            adopt(DATABASE_URL=running.database_url, BROKER_URL=running.broker_url, **running.engines)
            yield running.database_url
            return
    raise CannotStart(
        f"Another corral command has been using {instance.data_dir} for a minute: wait for it, or stop it."
    )


@contextmanager
def _own_database(instance: Instance, *, migrate: bool) -> Iterator[str]:
    from app.services.migrating import upgrade

    server = instance.postgres
    server.start()
    try:
        url = server.ensure_database()
        # what a command enqueues has no broker to go to: the sweeper finds the rows at the next start
        adopt(DATABASE_URL=url, BROKER_URL="memory://")
        if migrate:
            upgrade(url)
        yield url
    finally:
        server.stop()


def join(running: Running) -> Settings:
    """Use the services of a running ``corral up``."""
    return adopt(
        DATABASE_URL=running.database_url,
        BROKER_URL=running.broker_url,
        CORRAL_ENGINE_API_KEY=running.engine_api_key,
        **running.engines,
    )


def adopt(**environment: str) -> Settings:
    """Put addresses into this process's environment, for itself and its children; returns the reloaded settings."""
    from app.kernel.settings import get_settings

    os.environ |= environment
    get_settings.cache_clear()
    return get_settings()
