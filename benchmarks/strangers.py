"""What three attacks of strangers cost an annotator: ``next`` under each of them beside ``next`` on the idle server.

    python -m benchmarks.strangers [--samples 600] [--rounds 3] [--attacks sign-ins ampersands half-requests]

Budget: the 99th percentile under each attack is at most 5 times that of the idle server, and no annotator is refused.
The server is the real one (``python -m app.site.serve``) on a temporary PostgreSQL. Four annotators take an item and judge
it, over and over, with a tenth of a second between; what is timed is ``POST /annotate/next`` as they see it, with the new
connection where the old one had to give way. The samples are taken in rounds, in each of which the server is idle once and
attacked once in each way: what else the machine does falls on all of them. A second process attacks from sixteen
addresses:

- ``sign-ins``: 64 connections try one password after the other, each for another account
- ``ampersands``: 16 connections send 4 MB of ``&`` to ``/login``, over and over
- ``half-requests``: 1,100 connections send half a head and keep still; each that is closed comes back

An attacker has computers of their own. This one shares the machine's, so it runs with the lowest priority there is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.kernel.db import get_engine
from app.kernel.settings import ROOT, get_settings
from app.services.embedded import ensure_database, temporary_postgres
from benchmarks.budget import Budget, verdict
from benchmarks.fill import fill, migrate
from benchmarks.web_cycle import CORRAL, Client, served, tokens

TIMES_IDLE = 5
ANNOTATORS = 4
PAUSE = 0.1
ADDRESSES = 16
UNDER_WAY = "attacking"
WARM_UP = 10
"""Calls of each annotator that are not counted."""

_number = itertools.count()


@dataclass(frozen=True)
class Result:
    """How long ``next`` took, in milliseconds, and what became of the rest."""

    name: str
    p50: float
    p99: float
    worst: float
    refused: int
    again: int
    """Calls for which the connection had to be opened anew."""


# ── The attacker ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def _open(port: int, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    here = f"127.0.1.{1 + number % ADDRESSES}" if sys.platform == "linux" else "127.0.0.1"
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(here, 0))


def _post(body: bytes) -> bytes:
    head = "POST /login HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-origin\r\n"
    kind = "content-type: application/x-www-form-urlencoded\r\n"
    return f"{head}{kind}content-length: {len(body)}\r\n\r\n".encode() + body


async def _ask(port: int, number: int, sent: Callable[[], bytes]) -> None:
    """One request after the other over a connection, until the server closes it."""
    reader, writer = await _open(port, number)
    try:
        while True:
            writer.write(sent())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
    finally:
        writer.close()


async def sign_in(port: int, number: int) -> None:
    """Another account each time, so that no account's own bound is what holds."""
    await _ask(
        port, number, lambda: _post(b"email=a%d%%40example.org&password=not-this-one-%d" % (next(_number), number))
    )


async def ampersands(port: int, number: int) -> None:
    """Four megabytes that mean nothing."""
    sent = _post(b"&" * 4_000_000)
    await _ask(port, number, lambda: sent)


async def half_request(port: int, number: int) -> None:
    """Half a head, until the server has enough of it."""
    reader, writer = await _open(port, number)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
        await reader.read()
    finally:
        writer.close()


ATTACKS: dict[str, tuple[int, Callable[[int, int], Awaitable[None]]]] = {
    "sign-ins": (64, sign_in),
    "ampersands": (16, ampersands),
    "half-requests": (1100, half_request),
}


async def _attack(name: str, port: int) -> None:
    many, act = ATTACKS[name]

    async def for_ever(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, StopIteration):
                await act(port, number)
            await asyncio.sleep(0.01)

    print(UNDER_WAY, flush=True)
    await asyncio.gather(*map(for_ever, range(many)))


@contextmanager
def attacked(name: str, port: int) -> Iterator[None]:
    """The attack, from another process."""
    command = [sys.executable, "-m", "benchmarks.strangers", "--attack", name, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or UNDER_WAY not in process.stdout.readline():
                raise SystemExit("strangers: the attack did not start")
            time.sleep(2)  # until all have come, and what they may do for free is done
            yield
            if process.poll() is not None:
                raise SystemExit("strangers: the attack ended before its time")
        finally:
            process.kill()


# ── The annotators ────────────────────────────────────────────────────────────────────────────────────────────────────


class Annotator(Client):
    """Takes an item and judges it; a connection that the server has closed is opened anew, as browsers do."""

    def __init__(self, port: int, token: str, number: int) -> None:
        super().__init__(port, token, number)
        self.again = self.refused = 0
        self.seconds: list[float] = []

    def work(self, samples: int) -> None:
        """So many items, with a pause after each."""
        for count in range(WARM_UP + samples):
            began = time.perf_counter()
            item = self._kept("/api/v1/annotate/next")
            if count >= WARM_UP:
                self.seconds.append(time.perf_counter() - began)
            if item is not None:
                self.item = item
                while not self._submitted():
                    time.sleep(PAUSE)
            time.sleep(PAUSE)

    def _submitted(self) -> bool:
        try:
            self.submit(self.item or {})
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return False
        return True

    def _kept(self, path: str) -> dict[str, object] | None:
        while True:
            try:
                return dict(self.post(path))
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.again += 1
            except SystemExit:  # answered with another status
                self.refused += 1
                return None


def measured(port: int, people: list[str], samples: int) -> list[Annotator]:
    """So many calls of ``next``, shared by all annotators."""
    all_of_them = [Annotator(port, token, number) for number, token in enumerate(people)]
    threads = [threading.Thread(target=each.work, args=(samples // len(people),)) for each in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return all_of_them


def told(name: str, all_of_them: list[Annotator]) -> Result:
    """What the annotators of all rounds saw."""
    took = [1000 * each for one in all_of_them for each in one.seconds]
    return Result(
        name,
        statistics.median(took),
        statistics.quantiles(took, n=100)[-1],
        max(took),
        sum(each.refused for each in all_of_them),
        sum(each.again for each in all_of_them),
    )


def show(idle: Result, attacks: list[Result]) -> int:
    """Print the table and how it stands to the budgets; returns the exit status."""
    print(f"\n{'next':<16}{'p50':>10}{'p99':>10}{'× idle':>9}{'worst':>10}{'refused':>10}{'reopened':>10}")
    for each in [idle, *attacks]:
        print(
            f"{each.name:<16}{each.p50:>7.1f} ms{each.p99:>7.1f} ms{each.p99 / idle.p99:>9.1f}"
            f"{each.worst:>7.0f} ms{each.refused:>10}{each.again:>10}"
        )
    return verdict(
        *(Budget(f"next under {each.name}, p99", each.p99 / idle.p99, TIMES_IDLE, "× idle") for each in attacks),
        Budget("annotators refused", sum(each.refused for each in attacks), 0),
    )


def main() -> int:
    """Fill, serve, measure, attack and measure again, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--attack", choices=ATTACKS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        asyncio.run(_attack(arguments.attack, arguments.port))
    each_time = arguments.samples // arguments.rounds
    with temporary_postgres() as server_url:
        ensure_database(server_url, "strangers")
        os.environ["DATABASE_URL"] = server_url.replace("/postgres?", "/strangers?", 1)
        get_settings.cache_clear()
        migrate()
        times = (len(arguments.attacks) + 1) * arguments.rounds
        fill(get_settings().database_url, "bench", times * (each_time + ANNOTATORS * (WARM_UP + 5)))
        people = tokens(ANNOTATORS)
        idle: list[Annotator] = []
        attacks: dict[str, list[Annotator]] = {name: [] for name in arguments.attacks}
        with served(CORRAL) as (port, _):
            for _round in range(arguments.rounds):
                idle.extend(measured(port, people, each_time))
                for name, seen in attacks.items():
                    with attacked(name, port):
                        seen.extend(measured(port, people, each_time))
        get_engine().dispose()
    return show(told("idle", idle), [told(name, seen) for name, seen in attacks.items()])


if __name__ == "__main__":
    sys.exit(main())
