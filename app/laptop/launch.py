"""``corral up``: what is started on one machine, in which order, and what is said about it.

1. Hold the data folder, bind the web server's socket, see that there is room.
2. Database, broker, and at the same time the web server's imports and the migrations: the first page comes first.
3. Say the address and, while there is no admin, the one-time link that makes the first.
4. One worker per queue and the clock; then the base model, converted once; then the engine.
5. Stay until asked to stop, or until something without which nothing works keeps dying.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from app.kernel import launchers
from app.kernel.errors import CannotStart
from app.kernel.settings import Settings, get_settings
from app.kernel.store import StoreAway
from app.laptop import engine_command as engine
from app.laptop import prepare
from app.laptop.supervisor import Console, Stopped, Supervisor
from app.registry.files import push_base
from app.services import broker_log
from app.services.embedded import Valkey, free_port, poll
from app.services.instance import Instance, Running, adopt
from app.services.processes import Command
from app.site import serve

MIB = 1024 * 1024
ROOM_TO_RUN = 300 * MIB
ROOM_FOR_THE_MODEL = 700 * MIB
"""The converted base model, and a first checkpoint beside it."""
LOCK_PATIENCE = 20.0
"""Seconds that a killed predecessor's watchdog may take."""
TROUBLE = re.compile(
    r"(?<!%)\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b|\[(warning|error|critical) *\]|^Traceback|Error: ", re.ASCII
)


@dataclass(frozen=True)
class Options:
    """What the command line adds to the settings."""

    engine: bool = True
    open_browser: bool = False


def up(options: Options) -> None:
    """Start everything and stay until Ctrl-C or SIGTERM.

    Raises:
        CannotStart: one sentence with the remedy; nothing is left running.
    """
    settings = get_settings()
    launchers.located(settings.training_launch)
    instance = Instance(settings.data_dir.resolve())
    console = Console()
    with _hold(instance, console), listen(settings.host, settings.port) as listener:
        _see_room(instance, settings)
        instance.set_broken_aside()
        _make_folders(instance)
        instance.make_private()
        try:
            with Supervisor(instance.logs, console) as supervisor:
                Launch(options, settings, instance, supervisor, listener).run()
        except Stopped:
            console.plain("")
            console.say("corral", "stopped; everything is kept.")
        finally:
            instance.running_file.unlink(missing_ok=True)


class Launch:
    """One start of everything."""

    def __init__(
        self, options: Options, settings: Settings, instance: Instance, supervisor: Supervisor, listener: socket.socket
    ) -> None:
        self.options = options
        self.settings = settings
        self.instance = instance
        self.supervisor = supervisor
        self.console = supervisor.console
        self.listener = listener
        elsewhere = "engine_url" in settings.model_fields_set or settings.engine_urls
        self.starts_engine = options.engine and not elsewhere
        self.invite: str | None = None

    def run(self) -> None:
        """All of it; ends only by an exception."""
        self.console.say("corral", f"data in {self.instance.data_dir}")
        self._services()
        self._web()
        self._tell()
        self._workers()
        if self.starts_engine:
            self._engine()
        elif self.options.engine:
            at = self.settings.engine_url if self.settings.is_balanced else self.settings.engine_urls
            self.console.say("engine", f"is expected at {at}")
        self.supervisor.forever()

    def _services(self) -> None:
        addresses = {"CORRAL_DATA_DIR": str(self.instance.data_dir)}
        if not self.settings.database_url:
            server = self.instance.postgres
            if not (server.folder / "PG_VERSION").exists():
                self.console.say("database", "setting up PostgreSQL (first start only)")
            server.prepare()
            server.stop()  # a killed predecessor's: the folder is held, so nobody uses it
            database = Command(
                "database",
                server.command(),
                options=server.popen_options(),
                essential=True,
                stage=5,
                stop_signal=signal.SIGINT,
                stop_deadline=30.0,
                shows=lambda line: "PANIC" in line,
            )
            self.supervisor.start(database)
            addresses["DATABASE_URL"] = server.url()
        if not self.settings.broker_url:
            broker = Valkey(self.instance.broker_dir)
            broker.prepare()
            broker_log.set_broken_aside(broker)
            self.supervisor.start(Command("broker", broker.command(), stage=4, essential=True))
            addresses["BROKER_URL"] = broker.url
        if self.starts_engine:
            addresses["CORRAL_ENGINE_URL"] = f"http://127.0.0.1:{free_port()}/v1"
            if not self.settings.engine_api_key.get_secret_value():
                addresses["CORRAL_ENGINE_API_KEY"] = secrets.token_urlsafe(24)
        self.settings = adopt(**addresses)

    def _web(self) -> None:
        serving = Heard(serve.SERVING)
        gate, opener = os.pipe()
        descriptors = (self.listener.fileno(), gate)
        web = Command(
            "web",
            [sys.executable, "-m", "app.site.serve", *map(str, descriptors)],
            options={"pass_fds": descriptors},
            essential=True,
            stage=2,
            hears=serving,
            shows=troubles,
        )
        log = self.supervisor.start(web).log
        try:
            ours = "database" in self.supervisor.children
            patience = prepare.PATIENCE if ours else prepare.PATIENCE_WITH_OTHERS
            words = [sys.executable, "-m", "app.laptop.prepare", str(patience)]
            self.supervisor.run(Command("prepare", words, once=True, hears=self._hear_invite), within=300)
        finally:
            os.close(opener)  # stays open at both ends for a web server that is started again: it reads the end at once
        self.supervisor.until(lambda: serving.heard, 120, f"The web server does not answer; see {log}.")

    def _hear_invite(self, line: str) -> bool:
        if not line.startswith(prepare.INVITE):
            return False
        self.invite = line.removeprefix(prepare.INVITE)
        return True

    def _tell(self) -> None:
        address = address_of(self.settings)
        self.instance.announce(
            Running(
                pid=os.getpid(),
                address=address,
                database_url=self.settings.database_url,
                broker_url=self.settings.broker_url,
                engine_url=self.settings.engine_url if self.settings.is_balanced else "",
                engine_api_key=self.settings.engine_api_key.get_secret_value(),
                engine_urls=self.settings.engine_urls,
            )
        )
        lines = ["", f"    Corral is at   {address}"]
        if self.invite:
            lines += [f"    First admin    {address}/invite/{self.invite}", "                   (this link works once)"]
        lines += ["    Ctrl-C stops everything and keeps the data.", ""]
        self.console.plain("\n".join(lines))
        if self.options.open_browser:
            webbrowser.open(f"{address}/invite/{self.invite}" if self.invite else address)

    def _workers(self) -> None:
        from app.laptop.pools import POOLS  # brings Celery along, which the first page need not wait for

        celery = [sys.executable, "-m", "celery", "-A", "workers.celery_app"]
        for queue, pool in POOLS.items():
            words = [*celery, "worker", *pool.of(queue), "-n", f"{queue.value}@%h"]
            words += ["--without-gossip", "--without-mingle"]  # they meet in the database
            hears = self._herald(queue.value, " ready.")
            worker = Command(queue.value, words, stage=1, stop_deadline=20.0, hears=hears, shows=troubles)
            self.supervisor.start(worker)
        self.supervisor.start(Command("beat", [*celery, "beat"], stage=0, shows=troubles))

    def _engine(self) -> None:
        if not engine.installed():
            self.console.say("engine", engine.NOT_INSTALLED)
            return
        try:
            self._base_model()
        except CannotStart as failed:
            self.console.say("engine", f"There is no base model, so no candidates are generated: {failed.message}")
            return
        try:
            push_base()
        except StoreAway as away:
            self.console.say("store", away.message)
        self.settings.served_dir.mkdir(parents=True, exist_ok=True)
        port = urlsplit(self.settings.engine_url).port or 0
        key = self.settings.engine_api_key.get_secret_value()
        self.console.say("engine", "starting; the first candidates arrive in about half a minute")
        server = Command(
            "engine",
            engine.command(self.settings, sys.executable, port),
            environment=engine.environment(self.settings, key),
            stage=3,
            stop_deadline=15.0,
            hears=self._herald("engine", engine.READY),
            shows=lambda line: " ERROR " in line and "Traceback" not in line,
        )
        self.supervisor.start(server)

    def _base_model(self) -> None:
        if not engine.base_model_is_due(self.settings):
            return
        if not Path(self.settings.base_model_path).exists():  # else it only gets what came with a later release
            self.console.say("engine", "converting the base model, once; about half a minute")
        words = [sys.executable, "-m", "training.base_model", self.settings.base_model_path]
        self.supervisor.run(Command("base-model", words, once=True), within=1800)

    def _herald(self, name: str, words: str) -> Callable[[str], bool]:
        def hears(line: str) -> bool:
            if words in line:
                self.console.say(name, "ready")
            return False

        return hears


class Heard:
    """Remembers that a line was said."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.heard = False

    def __call__(self, line: str) -> bool:
        """Hear ``line``; it is no secret."""
        self.heard = self.heard or self.words in line
        return False


def troubles(line: str) -> bool:
    """Whether a line of a log is worth a look on the console."""
    return TROUBLE.search(line) is not None


def address_of(settings: Settings) -> str:
    """What a person types into a browser."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{settings.port}"


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """The web server's listening socket.

    Raises:
        CannotStart: somebody else listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(256)
        except PermissionError as error:
            raise CannotStart(f"Port {port} is for administrators only: choose one above 1023 with --port.") from error
        except OSError as error:
            if error.errno == 98 or "in use" in str(error):
                raise CannotStart(
                    f"Port {port} on {host} is taken by another program: choose another with --port."
                ) from error
            raise CannotStart(f"Cannot listen on {host}:{port} ({error.strerror or error}): correct --host.") from error
        yield listener


@contextmanager
def _hold(instance: Instance, console: Console) -> Iterator[None]:
    """Hold the data folder for the block.

    Raises:
        CannotStart: another ``corral up`` has it, or it cannot be written.
    """
    for turn, _ in enumerate(poll(LOCK_PATIENCE, every=0.1)):
        with instance.try_lock() as mine:
            if mine:
                yield
                return
        running = instance.running()
        if running is not None and _alive(running.pid):
            raise CannotStart(
                f"Corral already runs on {instance.data_dir}, at {running.address} (process {running.pid}): "
                "stop it, or choose another --data-dir."
            )
        if turn == 0:
            console.say("corral", "waiting for another corral command to release the data folder")
    raise CannotStart(f"Another corral command is using {instance.data_dir}: stop it, or choose another --data-dir.")


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return True
    return False


def _see_room(instance: Instance, settings: Settings) -> None:
    first = not settings.base_model and not Path(settings.base_model_path).exists()
    needed = ROOM_TO_RUN + (ROOM_FOR_THE_MODEL if first else 0)
    free = shutil.disk_usage(instance.data_dir).free
    if free < needed:
        raise CannotStart(
            f"Only {free // MIB} MB are free in {instance.data_dir} and Corral needs {needed // MIB} MB: "
            "make room, or choose another --data-dir."
        )


def _make_folders(instance: Instance) -> None:
    try:
        instance.logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(
            f"{error.filename} cannot be created ({error.strerror}): make yourself its owner, or choose another "
            f"--data-dir."
        ) from error
