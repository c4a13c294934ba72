"""A whole Corral as a user starts it: ``corral up`` as a child process with its own data folder and free ports."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine, text

from app.kernel.db import make_engine
from app.kernel.settings import ROOT
from app.services.embedded import free_port
from tests.patience import PATIENCE, eventually

LINK = re.compile(r"https?://\S+/invite/\S+")


@dataclass
class Installation:
    """A running ``corral up``."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    log: Path
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """What a browser opens."""
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        """Everything that ``corral up`` printed so far."""
        return self.log.read_text(errors="replace")

    def admin_link(self) -> str:
        """The one-time link for the first admin, as printed."""

        def look() -> str | None:
            if self.process.poll() is not None:
                raise AssertionError(f"corral up ended with {self.process.returncode}:\n{self.said()[-3000:]}")
            found = LINK.search(self.said())
            return found.group(0) if found else None

        return eventually(look, PATIENCE, "the first admin's link")

    def corral(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another ``corral`` command against this installation, with ``stdin`` as its input."""
        return subprocess.run(
            [sys.executable, "-m", "app.commands.cli", *arguments],
            env=self.environment,
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def children(self, *words: str) -> list[psutil.Process]:
        """Descendants whose command line has every one of ``words``."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(child.cmdline())
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if all(word in line for word in words):
                found.append(child)
        return found

    def kill9(self, *words: str) -> list[int]:
        """SIGKILL every descendant that :meth:`children` finds; returns their process ids, of which there is at least one."""
        victims = eventually(lambda: self.children(*words), PATIENCE, f"a process with {words}")
        for victim in victims:
            victim.kill()
        return [victim.pid for victim in victims]

    @cached_property
    def database(self) -> Engine:
        """An engine of the test's own on the installation's database."""
        url = eventually(lambda: self.corral("db", "url").stdout.strip() or None, PATIENCE, "the database's address")
        return make_engine(url.splitlines()[-1], 2)

    def greedy(self, model: str, prompt: str) -> tuple[str, float]:
        """What the engine answers as ``model`` at temperature zero, asked directly; and its log-probability in nats.

        After a few steps on a few pairs the likeliest words may be the same ones. How likely they are is not.
        """
        running = json.loads((self.data_dir / "running.json").read_text())
        answer = httpx.post(
            f"{running['engine_url']}/chat/completions",
            headers={"authorization": f"Bearer {running['engine_api_key']}"},
            json={
                "model": model,
                "messages": [{"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": 40,
                "logprobs": True,
            },
            timeout=300,
        )
        choice = answer.raise_for_status().json()["choices"][0]
        return str(choice["message"]["content"]), sum(each["logprob"] for each in choice["logprobs"]["content"])

    def scalar(self, query: str, **values: object) -> object:
        """One value from the database."""
        with self.database.connect() as connection:
            return connection.execute(text(query), values).scalar()

    def stop(self) -> int:
        """Ctrl-C, as a user would; returns the exit status. Kills what is left so that a failing test leaves nothing.

        Raises:
            AssertionError: it ended and left a process behind.
        """
        if self.process.poll() is not None:
            return self.process.returncode
        descendants = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        orderly = self.process.poll() is not None
        self.process.kill()
        left, names = psutil.wait_procs(descendants, timeout=0 if orderly else 5)[1], []
        for process in left:
            with contextlib.suppress(psutil.Error):
                names += [" ".join(process.cmdline())] if process.status() != psutil.STATUS_ZOMBIE else []
                process.kill()
        assert not (orderly and names), f"corral up left behind: {names}"
        return self.process.wait(10)


@contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator[Installation]:
    """``corral up`` over ``folder`` with ``CORRAL_*`` settings, and the code that ``PYTHONPATH`` names; stopped at the end."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CORRAL_")}
    clean.pop("DATABASE_URL", None)
    clean.pop("BROKER_URL", None)
    environment = clean | {"CORRAL_DATA_DIR": str(folder), "CORRAL_NIGHTLY_AT": "", "PYTHONUNBUFFERED": "1"} | settings
    log = folder.parent / f"{folder.name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.commands.cli", "up", "--port", str(port), *arguments],
            env=environment,
            cwd=settings.get("PYTHONPATH", ROOT),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    installation = Installation(process, port, folder, log, environment)
    try:
        yield installation
    finally:
        if "database" in vars(installation):
            installation.database.dispose()
        installation.stop()
