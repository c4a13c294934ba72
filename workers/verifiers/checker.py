"""Runs checks in a process of their own, and ends that process where a check takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, Self

from workers.verifiers.protocol import Case, Finding

STARTING_S: Final = 60.0
"""Seconds for the process to start and to load a verifier, which on a busy machine is slow and no check's fault."""
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "OMP_NUM_THREADS")
"""The environment that checks see; also what starts with CORRAL_SANDBOX. Addresses and secrets are not among it."""


class CheckerBroken(Exception):
    """No check can be made at all: the process does not start. Nothing is said of any response."""


class WrongCase(ValueError):
    """The case or a verifier's name is wrong; the message says which."""


class _Gone(Exception):
    """The process ended, or did not answer in time; the message says which, for a person."""


class Checker:
    """Checks cases, one after the other; safe to use from several threads.

    One check that hangs costs its ``limit_s``, its finding is null, and those after it run in a new process.
    """

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "workers.verifiers.child")) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a later check starts a new one."""
        with self._lock:
            self._end()

    def check(self, case: Case, verifiers: Sequence[str] | None = None) -> list[Finding]:
        """The findings of these verifiers, or of all, as far as they apply to the case; in the order in which they ran.

        Raises:
            WrongCase: the case cannot be read, or no verifier has one of these names.
            CheckerBroken: the process does not start.
        """
        with self._lock:
            names = self._ask(case, verifiers)
            findings: list[Finding] = []
            while True:
                findings += self._findings(names[len(findings) :])
                if len(findings) == len(names):
                    return findings
                self._ask(case, names[len(findings) :])

    def _ask(self, case: Case, verifiers: Sequence[str] | None) -> list[str]:
        """Put the case before the process, started where there is none; the names of what it will run."""
        request = {"case": asdict(case), "verifiers": None if verifiers is None else list(verifiers)}
        line = json.dumps(request, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        why = ""
        for _ in range(2):  # an old process may have been killed since the last case
            process = self._started()
            try:
                assert process.stdin is not None  # noqa: S101  # it is a pipe
                process.stdin.write(line)
                process.stdin.flush()
                answer = self._answer(STARTING_S)
            except (OSError, _Gone) as error:
                why = str(error)
                self._end()
                continue
            if "error" in answer:
                raise WrongCase(answer["error"])
            return list(answer["verifiers"])
        raise CheckerBroken(f"The process that makes checks does not work: {why}")

    def _findings(self, names: Sequence[str]) -> list[Finding]:
        """The findings of these verifiers until the process goes: then the last is null and says why."""
        findings: list[Finding] = []
        for name in names:
            version = ""
            try:
                begins = self._answer(STARTING_S)
                version = begins["version"]
                findings.append(Finding(**self._answer(begins["limit_s"])["finding"]))
            except _Gone as error:
                self._end()
                return [*findings, Finding(name, version, None, f"Could not be checked: {error}")]
        return findings

    def _answer(self, seconds: float) -> dict[str, Any]:
        """The next line from the process.

        Raises:
            _Gone: it ended first, or the time was over.
        """
        process = self._process
        if process is None or process.stdout is None:
            raise _Gone("it was not started")
        until = time.monotonic() + seconds
        while b"\n" not in self._read:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise _Gone(f"it took longer than {seconds:g} s")
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                raise _Gone(f"its process ended {_how(process.wait())}")
            self._read += part
        line, self._read = self._read.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._read = b""
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith("CORRAL_SANDBOX")},
                start_new_session=True,  # so that what it started ends with it
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unsent bytes of a process that is gone
                    pipe.close()


def _how(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
