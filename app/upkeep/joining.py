"""What a worker needs on whichever host it is started, looked at before it starts: of its faults most are of the first minute."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from app.kernel import launchers, store
from app.kernel.data_folder import HERE
from app.kernel.errors import CannotStart
from app.kernel.jobs import Queue
from app.kernel.settings import EngineKind, Settings, get_settings
from app.services.instance import Instance, join
from app.upkeep.diagnoses import Diagnosis, Level, fail, ok
from app.upkeep.doctor import TIMEOUT, look_at_engine, look_at_store

ASKS_ENGINE = frozenset({Queue.GENERATION, Queue.LIVE, Queue.TRAINING, Queue.CONTROL})
RENDERS = frozenset({Queue.GENERATION, Queue.LIVE, Queue.TRAINING})
"""Queues whose work sends an engine token ids, with the tokeniser of the base model."""

Look = Callable[[Settings], Iterator[Diagnosis]]


def settings_here() -> Settings:
    """The settings of a worker: of a running ``corral up`` where one has this data folder, else of the environment.

    Raises:
        CannotStart: nothing says where database and broker are.
    """
    settings = get_settings()
    running = Instance(settings.data_dir.resolve()).running()
    if running is not None and not settings.database_url:
        return join(running)
    missing = [
        name
        for name, value in (("DATABASE_URL", settings.database_url), ("BROKER_URL", settings.broker_url))
        if not value
    ]
    if missing:
        raise CannotStart(
            f"A worker needs {' and '.join(missing)}: give it the addresses that the main host's services have, "
            "or the --data-dir of a running `corral up`."
        )
    return settings


def examine(settings: Settings, queue: Queue) -> Iterator[Diagnosis]:
    """Every diagnosis for a worker of ``queue``. An engine that is away is a warning: work waits until it is back."""
    yield from look_at_schema(settings)
    yield from look_at_broker(settings)
    yield from look_at_store(settings, None)
    if queue is Queue.TRAINING:
        yield from look_at_launcher(settings)
    if queue in RENDERS and settings.engine_kind is EngineKind.VLLM:
        yield from look_at_tokeniser(settings)
    if queue in ASKS_ENGINE:
        for found in look_at_engine(settings, None):
            waits = "Correct CORRAL_ENGINE_URL if it is wrong; else nothing: work waits until the engine answers."
            yield found if found.level is Level.OK else Diagnosis(Level.WARN, found.subject, found.found, waits)


def look_at_schema(settings: Settings) -> Iterator[Diagnosis]:
    """The database answers, and has the tables that this release reads."""
    from sqlalchemy.exc import SQLAlchemyError

    from app.kernel.db import make_engine
    from app.services.migrating import current, heads, is_known

    engine = make_engine(settings.database_url, 1)
    try:
        with engine.connect() as connection:
            at = current(connection)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).strip().splitlines()[0]
        yield fail("database", f"does not answer ({said})", "Correct DATABASE_URL, or let this host reach it.")
        return
    finally:
        engine.dispose()
    if at == heads():
        yield ok("database", f"answers, at migration {', '.join(at)}")
    elif at and not is_known(at):
        found = f"is at migration {', '.join(sorted(at))}, which this release does not know"
        yield fail("database", found, "Install the release here that the main host runs.")
    else:
        found = f"is at migration {', '.join(sorted(at)) or 'none'}, not {', '.join(sorted(heads()))}"
        yield fail(
            "database", found, "Run `corral db upgrade` on the main host, or install the release here that it runs."
        )


def look_at_broker(settings: Settings) -> Iterator[Diagnosis]:
    """It answers, and takes our password."""
    import redis

    client = redis.Redis.from_url(settings.broker_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
    try:
        client.ping()
    except redis.RedisError as error:
        yield fail("broker", f"does not answer ({error})", "Correct BROKER_URL, or let this host reach it.")
    else:
        yield ok("broker", "answers")
    finally:
        client.close()


def look_at_launcher(settings: Settings) -> Iterator[Diagnosis]:
    """Where several processes train together, what starts them is on this host."""
    try:
        found = launchers.located(settings.training_launch)
    except CannotStart as error:
        said, _, remedy = error.message.partition(": ")
        yield fail("launcher", said, f"{remedy[:1].upper()}{remedy[1:]}")
    else:
        if found:
            yield ok("launcher", shlex.join(found))


def look_at_tokeniser(settings: Settings) -> Iterator[Diagnosis]:
    """The base model's tokeniser and chat template are on this host, or can be downloaded."""
    from app.kernel.chat_templates import config_of, folder_of
    from training.formats.templates import NoChatTemplate, compiled, read

    model = settings.base_model_path
    try:
        if settings.name_of(model).startswith(HERE):
            store.pull(Path(model))
        folder = folder_of(model, download=True)
        compiled(read(folder, config_of(folder)))
    except (NoChatTemplate, store.StoreAway, OSError, ValueError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        remedy = "Copy the model's tokeniser files to this host, and name their folder in CORRAL_BASE_MODEL."
        yield fail("tokeniser", f"of {model} cannot be read ({said})", remedy)
    else:
        yield ok("tokeniser", f"of {Path(model).name}")
