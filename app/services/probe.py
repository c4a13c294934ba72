"""A container's health check: ``python -m app.services.probe web``, ``worker QUEUE`` or ``beat``; and whose fault it is.

The status is 0 when the service is well, 1 when it is not, and 3 when it waits for another one: starting it again would not
bring that back. docker-compose.yml ends a container whose status stays 1, and one that was never well is left alone.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

WELL, UNWELL, WAITS = 0, 1, 3
WEB = "http://127.0.0.1:8000"
PATIENCE = 5.0
"""Seconds for one question; ``/readyz`` answers within three, whatever it finds."""
TICKS = 120.0
"""Seconds without a tick after which the clock has stopped; it ticks every five."""


def web() -> tuple[int, str]:
    """The process answers, and is ready. Where it is not although its database is, something in it is stuck."""
    if _status("/healthz") != 200:
        return UNWELL, "does not answer"
    if _status("/readyz") == 200:
        return WELL, "ready"
    fault = _of_the_database()
    return (WAITS, fault) if fault else (UNWELL, "is not ready, although its database answers")


def worker(queue: str) -> tuple[int, str]:
    """This worker answers for itself: a ping without a name is content with any worker's answer."""
    from app.kernel.jobs import producer

    fault = _of_the_broker()
    if fault:
        return WAITS, fault
    if producer().control.ping(destination=[f"{queue}@{socket.gethostname()}"], timeout=PATIENCE):
        return WELL, "answers"
    return UNWELL, "does not answer, although its broker does"


def beat() -> tuple[int, str]:
    """Every tick of the clock touches a file."""
    from app.kernel.settings import get_settings
    from app.services.instance import BEAT

    folder = get_settings().data_dir
    try:
        since = time.time() - (folder / BEAT).stat().st_mtime
    except OSError:
        since = TICKS
    if since < TICKS:
        return WELL, "ticks"
    fault = _of_the_broker() or _of_the_folder(folder)
    return (WAITS, fault) if fault else (UNWELL, f"has not ticked for {since:.0f} s")


def _status(path: str) -> int:
    try:
        with urlopen(f"{WEB}{path}", timeout=PATIENCE) as answer:  # noqa: S310 - an address of our own
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return 0


def _of_the_database() -> str:
    """Why nobody could be ready on it; empty when it answers and has the tables of this version."""
    import psycopg

    from app.kernel.settings import get_settings
    from app.services.migrating import heads

    try:
        with psycopg.connect(
            get_settings().database_url, connect_timeout=3, options="-c statement_timeout=3000"
        ) as connection:
            found = {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")}
    except psycopg.Error as error:
        return f"the database cannot be queried: {str(error).splitlines()[0]}"
    return "" if found == heads() else "the database has the tables of another version"


def _of_the_broker() -> str:
    """Why nobody could work with it; empty when it answers and takes a write."""
    import redis

    from app.kernel.settings import get_settings

    client = redis.Redis.from_url(get_settings().broker_url, socket_timeout=3, socket_connect_timeout=3)
    try:
        client.set("corral:probe", "1", ex=60)
    except redis.RedisError as error:
        return f"the broker cannot be used: {error}"
    finally:
        client.close()
    return ""


def _of_the_folder(folder: Path) -> str:
    """Why nobody could write there (a full disk); empty when it can be written."""
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    return ""


PROBES: dict[str, Callable[..., tuple[int, str]]] = {"web": web, "worker": worker, "beat": beat}


def main(arguments: Sequence[str]) -> int:
    """Ask, say in one line what was found, and return the status."""
    name, *rest = arguments
    status, found = PROBES[name](*rest)
    sys.stdout.write(f"{' '.join(arguments)}: {found}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
