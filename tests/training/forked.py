"""Programs of training in processes of their own that have their libraries already.

An interpreter that trains a tiny model spends nearly all of its time importing torch. Here one process imports (the fork
server of multiprocessing), and each program is a fork of it: a process of its own in all else.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess

from torch.distributed import TCPStore  # type: ignore[attr-defined]

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.training.preloaded"])


def start(module: str, *arguments: str, said: Path, **environment: str) -> ForkServerProcess:
    """``python -m MODULE ARGUMENTS`` with one thread; what it writes to its standard streams stands in ``said``."""
    process = SERVER.Process(target=_program, args=(module, arguments, environment, said), daemon=True)
    process.start()
    return process


def run(module: str, *arguments: str, processes: int = 1) -> CompletedProcess[str]:
    """Run a program to its end, several of them as ``accelerate launch`` does: the first that fails ends the others.

    The status is that of the first to fail. Standard error is of all of them, and the standard output with it.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        files = [Path(folder) / str(rank) for rank in range(processes)]
        # The store listens here, on a port that it finds by itself: none is chosen before it is taken.
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(minutes=9))
        found: list[ForkServerProcess] = []
        for rank, said in enumerate(files):
            ranks = _ranks(rank, processes, store.port) if processes > 1 else {}
            found.append(start(module, *arguments, said=said, **ranks))
            stack.callback(found[-1].join)
            stack.callback(found[-1].kill)
        status, left = 0, list(found)
        while left and status == 0:
            ended = wait([process.sentinel for process in left])
            status = next((p.exitcode for p in left if p.sentinel in ended and p.exitcode), 0)
            left = [process for process in left if process.sentinel not in ended]
        stack.close()
        return CompletedProcess([module, *arguments], status, "", "".join(said.read_text() for said in files))


def _ranks(rank: int, processes: int, port: int) -> dict[str, str]:
    """What ``accelerate launch --multi_gpu`` says to each of its processes on a machine without GPUs."""
    number, count = str(rank), str(processes)
    return {
        "RANK": number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "ACCELERATE_USE_CPU": "true",
        "ACCELERATE_MIXED_PRECISION": "no",
    }


def _program(module: str, arguments: tuple[str, ...], environment: dict[str, str], said: Path) -> None:
    with said.open("wb", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
