"""What annotating costs the server: next + submit over the API, 32 annotators at once, beside the floor of this machine.

    python -m benchmarks.web_cycle [--cycles 3000] [--clients 32]

Budgets: at most 3.5 times the server CPU of the floor for one next + submit, and twice the floor for both in one exchange. The
floor is the smallest thing that could do any of it with this stack: a FastAPI application that inserts one row through the ORM
and commits, per request. Both run on the same machine in the same minutes, so a slow or busy one changes the ratio little.
Three rounds are driven by the same clients (threads with raw keep-alive connections, outside the server's process):

- ``cycle``: POST /annotate/next, then POST /assignments/{id}/submit, by bearer token; every fourth with an edited text
- ``one exchange``: POST submit?next=true, which answers with the following item
- ``floor``: one insert and commit

Server CPU is what the operating system charged the web server's process. Everything lies in a temporary PostgreSQL.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.accounts import service as accounts
from app.kernel.db import get_engine, make_engine, session_scope
from app.kernel.settings import ROOT, get_settings
from app.services.embedded import ensure_database, free_port, temporary_postgres
from benchmarks.budget import Budget, verdict
from benchmarks.fill import annotators, fill, migrate

CYCLE_BUDGET, EXCHANGE_BUDGET = 3.5, 2.0
"""Times the server CPU of the floor."""


class FloorBase(DeclarativeBase):
    """Base of the floor's only table."""


class FloorRow(FloorBase):
    """What the floor inserts."""

    __tablename__ = "bench_floor"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


def floor_app() -> FastAPI:
    """One ORM insert and commit per request."""
    web = FastAPI()
    engine = make_engine(get_settings().database_url)

    @web.post("/floor")
    def insert() -> dict[str, int]:
        with Session(engine) as session:
            row = FloorRow(body="x" * 600)
            session.add(row)
            session.commit()
            return {"id": row.id}

    return web


class Client:
    """One annotator: a connection that is kept, and a token."""

    def __init__(self, port: int, token: str, number: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self.number = number
        self.sent = 0
        self.item: dict[str, Any] | None = None

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        """The JSON answer; anything but a 200 ends the benchmark."""
        self.connection.request("POST", path, json.dumps(body or {}), self.headers | headers)
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise SystemExit(f"web_cycle: {path} answered {answer.status}: {said.decode()[:300]}")
        return json.loads(said)

    def judgement(self, item: dict[str, Any]) -> dict[str, Any]:
        """A ranking of all responses; every fourth with an edit of the chosen one."""
        self.sent += 1
        body = {
            "fencing_token": item["fencing_token"],
            "outcome": "ranked",
            "ranking": [[response["position"]] for response in item["responses"]],
            "strengths": [3] * (len(item["responses"]) - 1),
            "active_seconds": 60.5,
        }
        return body | ({"edited_text": item["responses"][0]["text"] + " So there."} if self.sent % 4 == 0 else {})

    def submit(self, item: dict[str, Any], query: str = "") -> Any:
        """Submit ``item`` under a key of its own."""
        key = {"idempotency-key": f"{self.number}-{item['id']}"}
        return self.post(f"/api/v1/assignments/{item['id']}/submit{query}", self.judgement(item), **key)

    def cycle(self) -> None:
        """Next, then submit."""
        self.submit(self.post("/api/v1/annotate/next"))

    def exchange(self) -> None:
        """Submit and get the next one in the same answer."""
        item = self.item or self.post("/api/v1/annotate/next")
        self.item = self.submit(item, "?next=true")["next"]

    def floor(self) -> None:
        """One insert."""
        self.post("/floor")


@dataclass(frozen=True)
class Result:
    """One round: CPU per cycle, cycles a second, latencies."""

    name: str
    cpu_ms: float
    rate: float
    p50_ms: float
    p99_ms: float


CORRAL = ("app.site.serve",)
"""The web server as ``corral up`` and the image start it, with all its bounds."""
FLOOR = ("uvicorn", "--factory", "benchmarks.web_cycle:floor_app", "--no-access-log", "--log-level", "error")


@contextmanager
def served(module: Sequence[str]) -> Iterator[tuple[int, psutil.Process]]:
    """The process of ``python -m MODULE …`` on a free port, ready to answer."""
    port = free_port()
    place = ["--port", str(port)] if module[0] == "uvicorn" else []
    with subprocess.Popen(
        [sys.executable, "-m", *module, *place],
        cwd=ROOT,
        env=os.environ | {"CORRAL_PORT": str(port), "CORRAL_HOST": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{module[0]}: the server did not start")
                time.sleep(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    except OSError:
        return False
    return True


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def drive(
    name: str, port: int, server: psutil.Process, tokens: list[str], act: Callable[[Client], None], count: int
) -> Result:
    """Let all clients do ``act`` until ``count`` were done together, after a warm-up of a tenth."""
    clients = [Client(port, token, number) for number, token in enumerate(tokens)]
    _together(clients, act, max(len(clients) * 2, count // 10))
    before, began = _seconds(server), time.perf_counter()
    latencies = _together(clients, act, count)
    elapsed = time.perf_counter() - began
    done = len(latencies)
    return Result(
        name,
        (_seconds(server) - before) / done * 1000,
        done / elapsed,
        statistics.median(latencies) * 1000,
        statistics.quantiles(latencies, n=100)[-1] * 1000,
    )


def _together(clients: list[Client], act: Callable[[Client], None], count: int) -> list[float]:
    each = count // len(clients)
    latencies: list[float] = []
    failed: list[BaseException] = []

    def work(client: Client) -> None:
        try:
            for _ in range(each):
                began = time.perf_counter()
                act(client)
                latencies.append(time.perf_counter() - began)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - handed to the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return latencies


def tokens(count: int) -> list[str]:
    """Bearer tokens of as many annotators."""
    with session_scope() as session:
        people = annotators(session, count)
        return [accounts.create_token(session, person, "bench", ["annotate"]) for person in people]


def show(results: list[Result], clients: int) -> int:
    """Print the table and how it stands to the budgets; returns the exit status."""
    floor = results[-1]
    print(f"\n{clients} clients{'server CPU':>21}{'× floor':>10}{'per second':>13}{'p50':>10}{'p99':>10}")
    for result in results:
        print(
            f"{result.name:<14}{result.cpu_ms:>13.2f} ms{result.cpu_ms / floor.cpu_ms:>10.1f}"
            f"{result.rate:>13.0f}{result.p50_ms:>7.0f} ms{result.p99_ms:>7.0f} ms"
        )
    cycle, exchange = results[:2]
    return verdict(
        Budget("next, then submit", cycle.cpu_ms / floor.cpu_ms, CYCLE_BUDGET, "× the floor"),
        Budget("both in one exchange", exchange.cpu_ms / floor.cpu_ms, EXCHANGE_BUDGET, "× the floor"),
    )


def main() -> int:
    """Fill, serve, drive, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=3000)
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args()
    with temporary_postgres() as server_url:
        ensure_database(server_url, "web_cycle")
        os.environ["DATABASE_URL"] = server_url.replace("/postgres?", "/web_cycle?", 1)
        get_settings.cache_clear()
        migrate()
        fill(get_settings().database_url, "bench", int(arguments.cycles * 2.6) + 20 * arguments.clients)
        FloorBase.metadata.create_all(get_engine())
        people = tokens(arguments.clients)
        with served(CORRAL) as (port, process):
            results = [
                drive("cycle", port, process, people, Client.cycle, arguments.cycles),
                drive("one exchange", port, process, people, Client.exchange, arguments.cycles),
            ]
        with session_scope() as session:
            doubled = session.scalar(text("SELECT count(*) FROM comparisons WHERE annotators_done > annotators_wanted"))
            stored = session.scalar(text("SELECT count(*) FROM annotations"))
        with served(FLOOR) as (port, process):
            results.append(drive("floor", port, process, people, Client.floor, arguments.cycles))
        get_engine().dispose()
    print(f"{stored:,} annotations stored, {doubled} comparisons over their overlap")
    return show(results, arguments.clients)


if __name__ == "__main__":
    sys.exit(main())
