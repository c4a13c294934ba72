"""Several processes of one training, as the worker sees them: one launcher, and a folder in which they say how they ended.

What stands beside each of them is :mod:`workers.training.rank`. The worker guards the launcher as it guards a single process;
through the folder its word reaches processes that no signal of it does, in sessions of their own or on other hosts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from app.kernel import launchers
from app.kernel.settings import get_settings
from app.rounds.claims import Claim
from app.rounds.plan import STATUS_LAUNCHER, Stage
from workers.training import rank

FOLDER = ".ranks"
"""In the run's folder, with one folder an attempt; nothing of it goes to a store."""
END_SECONDS = 10.0


class Ranks:
    """The processes of one stage."""

    def __init__(self, folder: Path, launch: list[str]) -> None:
        """Make ``folder`` anew; what is left of an earlier attempt ends, as its folder is gone."""
        self._folder, self._launch = folder, launch
        self._status: int | None = None
        self.said = ""
        """The last words of the first one that failed."""
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)

    @classmethod
    def of(cls, claim: Claim, stage: Stage) -> Self | None:
        """Of a stage that several processes do; None where one does.

        Raises:
            CannotStart: this host has not what launches them.
            OSError: the run's folder cannot be written.
        """
        launch = launchers.located(get_settings().training_launch) if stage.parallel else []
        return cls(claim.folder / FOLDER / str(claim.token), launch) if launch else None

    def command(self, module: list[str]) -> list[str]:
        """What starts them, each with the module and its arguments."""
        worker = f"{rank.here()}:{os.getpid()}"
        return launchers.of(self._launch, ["workers.training.rank", str(self._folder), worker, *module])

    def look(self) -> None:
        """End all where what stood beside one of them was killed; a launcher may not have noticed."""
        if any(each["host"] == rank.here() and self._living(each["pid"]) is None for each in self._begun()):
            self._say_killed()

    def status(self, launcher: int) -> int:
        """How the training ended, given how the launcher did: as the process that failed first.

        Where one is gone without a word, it was killed, and the training with it.
        """
        if self._status is None:
            self._status = self._ended(launcher)
        return self._status

    def _ended(self, launcher: int) -> int:
        with suppress(OSError, ValueError):
            ended: dict[str, Any] = json.loads((self._folder / rank.ENDED).read_text(encoding="utf-8"))
            self.said = str(ended["said"])
            return int(ended["status"])
        if launcher <= 0:
            return launcher
        began = any(self._folder.glob("*-*.json")) or not self._folder.exists()
        return -signal.SIGKILL if began else STATUS_LAUNCHER

    def end(self) -> None:
        """End all that are left, on every host; those of this one are gone when this returns."""
        self._say_killed()
        here = [found for each in self._begun() if each["host"] == rank.here() and (found := self._living(each["pid"]))]
        children = [child for each in here for child in _children(each)]
        for each in (*here, *children):
            with suppress(psutil.Error):
                each.kill()
        psutil.wait_procs([*here, *children], END_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):  # another worker's attempt lies there
            self._folder.parent.rmdir()

    def _say_killed(self) -> None:
        with suppress(OSError):  # a full disk; at the end the folder goes all the same
            rank.write(self._folder / rank.ENDED, {"status": -signal.SIGKILL, "said": ""})

    def _begun(self) -> list[dict[str, Any]]:
        found = []
        for file in self._folder.glob("rank-*.json"):
            with suppress(OSError, ValueError):
                found.append(json.loads(file.read_text(encoding="utf-8")))
        return found

    def _living(self, pid: int) -> psutil.Process | None:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if str(self._folder) in process.cmdline():  # the number may be another's by now
                return process
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []
