"""Argon2id in a process of its own (``app.accounts.argon``), asked and watched from here.

It is started when first needed, and another one when it ended: who asked just then hears so, nobody waits for ever.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import select
import subprocess
import sys
import threading
from functools import lru_cache

from argon2 import PasswordHasher

from app.kernel.errors import Unavailable
from app.kernel.locales import gettext as _
from app.kernel.settings import ROOT

MODULE = "app.accounts.argon"
ANSWER_SECONDS = 60
"""A process that has not answered by then is stopped or stuck; on a busy machine a hash takes seconds."""
AGAIN = 5


class Hasher:
    """Hashes and verifies in processes that wait for that; as many as there are calls at a time."""

    def __init__(self) -> None:
        self._local = PasswordHasher()
        self._free: list[Process] = []
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        """The argon2id hash, parameters included; :class:`Unavailable` when the process ended over it."""
        return str(self._ask(password=password))

    def verify(self, stored: str, password: str) -> bool:
        """Whether ``password`` is the one behind ``stored``; :class:`Unavailable` when the process ended over it."""
        return self._ask(stored=stored, password=password) is True

    def check_needs_rehash(self, stored: str) -> bool:
        """Whether ``stored`` was made with weaker parameters than today's; this hashes nothing."""
        return self._local.check_needs_rehash(stored)

    def end(self) -> None:
        """End the processes that wait; the next call starts another."""
        while self._free:
            self._free.pop().end()

    def _ask(self, **question: str) -> object:
        process = self._take()
        try:
            answer = process.ask(question)
        except BaseException as error:
            process.end()
            if not isinstance(error, (OSError, ValueError)):
                raise
            raise Unavailable(
                _("The password could not be checked at this moment. Try again in a few seconds."), retry_after=AGAIN
            ) from error
        with self._lock:
            self._free.append(process)
        return answer

    def _take(self) -> Process:
        """One that lives: who died while nobody asked costs nobody a sign-in."""
        with self._lock:
            while self._free:
                process = self._free.pop()
                if process.lives():
                    return process
                process.end()
        return Process()


class Process:
    """One of them, with a pipe to it and one back."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid

    def lives(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, question: dict[str, str]) -> object:
        """Its answer; ``OSError`` or ``ValueError`` when it gives none."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None  # noqa: S101 - both are pipes, see above
        assert back is not None  # noqa: S101
        to.write(json.dumps(question).encode() + b"\n")
        to.flush()
        poll = select.poll()  # a server has more descriptors than select() takes
        poll.register(back, select.POLLIN)
        if not poll.poll(1000 * ANSWER_SECONDS):
            raise TimeoutError
        return json.loads(back.readline())

    def end(self) -> None:
        """Kill it, leaving nothing behind."""
        self._process.kill()
        with contextlib.suppress(OSError):
            self._process.communicate()


@lru_cache(maxsize=1)
def hasher() -> Hasher:
    """The one of this process."""
    made = Hasher()
    atexit.register(made.end)
    return made
