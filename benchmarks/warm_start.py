"""How long a warm start takes until the first page is there, and where the time goes.

    python -m benchmarks.warm_start [RUNS]

The budget is three seconds from the command to the first answer to ``GET /``, over data that exists. One cold start makes
the data, then each run starts ``corral up --no-engine`` (the engine starts behind the first page), asks for the page
from the first moment on, and reads the steps from the notes that the servers leave. The interpreter's own start is
measured in the same run: no launcher written in Python can be faster than that.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.budget import Budget, verdict

BUDGET = 3.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Start:
    """Seconds after the command was typed, and the processor time of everything until the first page."""

    bound: float
    database: float
    prepared: float
    page: float
    cpu: float


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_answer(port: int, process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """When the port was bound and when ``GET /`` was answered, by the clock."""
    while True:
        if process.poll() is not None:
            raise SystemExit(f"corral up ended with {process.returncode}")
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=120)
            break
        except ConnectionRefusedError:
            time.sleep(0.005)
    bound = time.perf_counter()
    with connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        status = connection.recv(200).split(b"\r\n")[0]
        answered = time.perf_counter()
    assert b" 303 " in status or b" 200 " in status, status
    return bound, answered


def processor_time(process: psutil.Process) -> float:
    """Seconds that the process and its descendants have spent, those that ended included."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        spent = each.cpu_times()
        total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def start(data_dir: Path) -> Start:
    """One start and stop."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "BROKER_URL"}}
    command = [
        sys.executable,
        "-m",
        "app.commands.cli",
        "up",
        "--no-engine",
        "--port",
        str(port),
        "--data-dir",
        str(data_dir),
    ]
    began, wall = time.perf_counter(), time.time()
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        bound, answered = first_answer(port, process)
        cpu = processor_time(psutil.Process(process.pid))
        # PostgreSQL writes its note anew when it is ready; prepare's log is put aside when it starts and web says when it serves
        database = (data_dir / "postgres" / "postmaster.pid").stat().st_mtime - wall
        prepared = (data_dir / "logs" / "web.log").stat().st_mtime - wall
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    return Start(bound - began, database, prepared, answered - began, cpu)


def interpreter() -> float:
    """The median seconds of ``python -c pass`` out of five."""
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main(runs: int) -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="corral-warm-") as folder:
        Path(folder).chmod(0o755)
        data_dir = Path(folder) / "var"
        cold = start(data_dir)
        warm = [start(data_dir) for _ in range(runs)]
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores, load {load:.1f}; python -c pass: {interpreter():.3f} s; seconds after the command:\n"
    )
    print(f"{'':<14}{'port bound':>12}{'database':>12}{'serving':>12}{'first page':>12}{'cpu':>8}")
    for name, one in [("cold", cold), *((f"warm {number + 1}", one) for number, one in enumerate(warm))]:
        print(f"{name:<14}{one.bound:>12.2f}{one.database:>12.2f}{one.prepared:>12.2f}{one.page:>12.2f}{one.cpu:>8.2f}")
    median = statistics.median(one.page for one in warm)
    return verdict(Budget(f"first page, median of {runs}", median, BUDGET, "s"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
