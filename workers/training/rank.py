"""Stands beside one process of a training that several run together, and ends with it.

``python -m workers.training.rank FOLDER WORKER MODULE ARGUMENTS`` is what a launcher starts, as often as it is told to.

Launchers differ in what becomes of the others when one process fails, in how long that takes, and none says how it ended:
their own status is 1. So each process has this parent, which shares a folder with the others. The first whose process fails
writes there how; the others end theirs as soon as that stands there, or the folder is gone, or the training worker is. What
the parent is killed by ends its process too (:mod:`workers.training.guard`).

Standard library only: it is in memory as often as there are processes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from workers.training import guard

ENDED = "ended.json"
"""The status of the first process that failed, and its last words."""
MEETING = "meeting.json"
"""Where the processes find the first one, where the launcher does not say."""
POLL_SECONDS = 0.2
GRACE_SECONDS = 15.0
"""From the SIGTERM that is passed on to SIGKILL: shorter than what launchers and the worker wait."""
DOUBT_SECONDS = 1.0
"""A process whose neighbour was killed sees that as an error of its own: the neighbour's parent has the first word."""
MEETING_SECONDS = 300.0
LAST_WORDS = 4000
ENDED_BY_US = 128 + signal.SIGKILL


def here() -> str:
    """The host, and whose process numbers these are."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def write(file: Path, body: Mapping[str, Any]) -> bool:
    """Write a file whole, unless it is there; whether this call did. A folder that is gone takes none.

    Raises:
        OSError: the disk refuses.
    """
    draft = file.with_name(f".{file.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(body), encoding="utf-8")
        os.link(draft, file)
    except (FileExistsError, FileNotFoundError):
        return False
    else:
        return True
    finally:
        draft.unlink(missing_ok=True)


def is_over(folder: Path) -> bool:
    """Whether a process has failed, or the worker has put an end to all."""
    try:
        (folder / ENDED).stat()
    except FileNotFoundError:
        return not folder.exists()
    except OSError:  # a disk that is away for a moment ends nobody
        return False
    return True


def named(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment by which torch knows which process this is, made of Slurm's where the launcher was srun alone.

    Raises:
        TimeoutError: the first process has not said where it is.
    """
    found = dict(environment)
    if "RANK" in found or "SLURM_STEP_ID" not in found or found.get("SLURM_NTASKS", "1") == "1":
        return found
    devices = [each for each in found.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    rank = found["SLURM_PROCID"]
    address = _first_says(folder, found) if rank == "0" else _first_said(folder)
    return found | {
        "RANK": rank,
        "WORLD_SIZE": found["SLURM_NTASKS"],
        "LOCAL_RANK": "0" if len(devices) == 1 else found.get("SLURM_LOCALID", "0"),  # of the devices that it sees
        **address,
    }


def _first_says(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    alone = environment.get("SLURM_NNODES", "1") == "1"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1" if alone else "", 0))
        port = probe.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1" if alone else socket.gethostname(), "MASTER_PORT": str(port)}
    write(folder / MEETING, address)
    return address


def _first_said(folder: Path) -> dict[str, str]:
    ends = time.monotonic() + MEETING_SECONDS
    while not (folder / MEETING).exists():
        if time.monotonic() > ends or is_over(folder):
            raise TimeoutError(
                "the first process of this training has not said where it is: put the data folder on a disk that all "
                "of its hosts share"
            )
        time.sleep(POLL_SECONDS)
    said: dict[str, str] = json.loads((folder / MEETING).read_text(encoding="utf-8"))
    return said


class Heard(threading.Thread):
    """Passes on what a process writes to its standard error, and remembers its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.said = b""

    def run(self) -> None:
        """Until the stream ends."""
        while part := os.read(self._stream.fileno(), 65536):
            self.said = (self.said + part)[-LAST_WORDS:]
            sys.stderr.buffer.write(part)
            sys.stderr.buffer.flush()


def main(folder: Path, worker: str, module: list[str]) -> int:
    """Run ``module`` with its arguments until it ends, or has to; returns a status for the launcher.

    ``worker`` is the training worker: its host, a colon, and its process number.
    """
    asked: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(time.monotonic()))
    guard.die_with_parent()
    host, _, number = worker.rpartition(":")
    beside = int(number) if host == here() else 0
    try:
        environment = named(os.environ, folder)
    except TimeoutError as error:
        return _say(folder, 1, str(error))
    rank = environment.get("RANK", "0")
    begun = folder / f"rank-{rank}.json"
    if is_over(folder) or not write(begun, {"host": here(), "pid": os.getpid()}):
        return ENDED_BY_US  # it was started again by a launcher, after the end of all
    with subprocess.Popen(
        [sys.executable, "-m", "workers.training.guard", str(os.getpid()), sys.executable, "-m", *module],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None  # noqa: S101 - it was asked for
        heard = Heard(process.stderr)
        heard.start()
        killed = _watch(process, folder, beside, asked)
        heard.join(1.0)  # whatever it has started may hold the stream for longer
        if process.returncode == 0 or killed:
            with suppress(OSError):
                begun.rename(folder / f"over-{rank}.json")
            return ENDED_BY_US if process.returncode < 0 else process.returncode
        return _say(folder, process.returncode, heard.said.decode("utf-8", errors="replace"))


def _watch(process: subprocess.Popen[bytes], folder: Path, worker: int, asked: list[float]) -> bool:
    """Wait until the process has ended; whether it was killed here."""
    told = killed = False
    while True:
        try:
            process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        else:
            return killed
        if asked and not told:
            process.terminate()
            told = True
        if (asked and time.monotonic() - asked[0] > GRACE_SECONDS) or is_over(folder) or _is_gone(worker):
            process.kill()
            killed = True


def _is_gone(worker: int) -> bool:
    if not worker:
        return False
    try:
        os.kill(worker, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, as somebody else
        pass
    return False


def _say(folder: Path, status: int, said: str) -> int:
    """Write how the process ended, where no other has; returns what a shell would call that."""
    if status == 1 or (status < 0 and status != -signal.SIGKILL):  # an exception; or a library that gave up
        time.sleep(DOUBT_SECONDS)
    write(folder / ENDED, {"status": status, "said": said.replace("\x00", "")[-LAST_WORDS:]})
    return status if status > 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
